"""The commands, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from tenantlimpyd import EXACT_VERSION
from tenantlimpyd.cli.check import check
from tenantlimpyd.cli.demo import demo
from tenantlimpyd.cli.options import Config, State, Verbose
from tenantlimpyd.cli.scan import scan
from tenantlimpyd.cli.tenants import tenants

__all__ = ["app"]

app = typer.Typer(
    help="Work on the databases of all tenants of a service.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # they may hold passwords
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tenantlimpyd {EXACT_VERSION}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    *,
    config: Config = None,
    verbose: Verbose = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Work on the databases of all tenants of a service."""
    del version
    ctx.obj = State(config, verbose=verbose)


app.command()(demo)
app.command()(tenants)
app.command()(check)
app.command()(scan)
