"""What several commands take, and the router they work on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, TypeAlias

import attrs
import typer

from tenantlimpyd.cli.log_output import configure_logging
from tenantlimpyd.exceptions import ConfigurationError
from tenantlimpyd.router import DatabaseRouter

__all__ = ["AsJson", "Config", "State", "Tenants", "Timeout", "Verbose", "finite", "open_router"]

VARIABLE = "TENANTLIMPYD_CONFIG"

Config: TypeAlias = Annotated[
    Path | None, typer.Option("--config", "-c", envvar=VARIABLE, help="The TOML file that lists the tenants.")
]
Verbose: TypeAlias = Annotated[bool, typer.Option("--verbose", "-v", help="Show all log events, on stderr.")]
Tenants: TypeAlias = Annotated[
    list[str] | None, typer.Option("--tenant", "-t", help="Only this tenant; may be repeated. Without it: all.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def finite(seconds: float | None) -> float | None:
    """Refuse what is no number, which is neither below nor above a limit."""
    if seconds is not None and math.isnan(seconds):
        raise typer.BadParameter("it is a number of seconds")
    return seconds


Timeout: TypeAlias = Annotated[
    float, typer.Option(callback=finite, min=0.001, max=86_400, help="Seconds for each tenant.")
]


@attrs.frozen
class State:
    """What was given before the command's name."""

    config: Path | None
    verbose: bool


def open_router(ctx: typer.Context, config: Path | None, *, verbose: bool) -> DatabaseRouter:
    """Return the router of the configuration; set up logging first.

    Args:
        ctx: holds the options before the command's name.
        config: the file named after it, which wins.
        verbose: whether all log events are to be shown.

    Raises:
        ConfigurationError: there is no configuration, or it is wrong.
    """
    configure_logging(verbose=verbose or ctx.obj.verbose)
    # An option after the command also reads the variable, so what stood before the command by hand must win over that.
    given_here = ctx.get_parameter_source("config")
    path = ctx.obj.config if config is None or (given_here is not None and given_here.name == "ENVIRONMENT") else config
    if path is None:
        raise ConfigurationError(f"no configuration: give --config FILE, or set {VARIABLE} to the path of one")
    return DatabaseRouter.from_config(path)
