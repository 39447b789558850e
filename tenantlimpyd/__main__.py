"""``python -m tenantlimpyd``: the command line."""

from tenantlimpyd.cli import main

if __name__ == "__main__":
    main()
