"""The command line: ``tenantlimpyd``, or ``python -m tenantlimpyd``. It needs the extra ``cli``."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path

__all__ = ["main"]

_EXTRA = frozenset({"typer", "rich"})


def main() -> None:
    """Run the command line, and end the process with its exit code.

    0: all is well. 1: a tenant failed, or a check found something. 2: wrong arguments or a wrong configuration.
    """
    try:
        from tenantlimpyd.cli.app import app
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRA:
            raise
        sys.exit(f"The command line needs {missing}, which is not installed. Run: pip install 'tenantlimpyd[cli]'")
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - for as long as the process lives
    if sys.stdout is None:
        sys.exit("stdout is closed, and there is nowhere to print to. Redirect it to a file or /dev/null.")
    for stream in (sys.stdout, sys.stderr):
        # A terminal or a pipe that can't show a character gets it escaped; it is no reason to end.
        with contextlib.suppress(AttributeError, io.UnsupportedOperation):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    app(prog_name="tenantlimpyd")
