"""``tenantlimpyd scan``: the keys of all tenants."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tenantlimpyd._scan.scan import TenantScan
from tenantlimpyd.cli.options import AsJson, Config, Tenants, Verbose, finite, open_router
from tenantlimpyd.cli.output import FAILED, reporting, warn
from tenantlimpyd.cli.scan_output import ScanView

__all__ = ["scan"]


class OnError(StrEnum):
    """What becomes of failures; on the command line the first two are alike."""

    defer = "defer"
    collect = "collect"
    stop = "raise"


Pattern = Annotated[
    str | None, typer.Argument(help="A glob such as 'invoice:*', relative to each tenant's key prefix.")
]
Type = Annotated[
    str | None, typer.Option("--type", help="Only keys of this type: string, hash, list, set, zset, stream.")
]
Count = Annotated[int | None, typer.Option(min=1, help="Keys a server looks at in a round trip.")]
PerTenant = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        callback=finite,
        min=0.001,
        max=86_400,
        help="Seconds for each tenant, in all. Without it: no limit but 10 s for each answer.",
    ),
]
Policy = Annotated[
    OnError, typer.Option(help="When a tenant fails: 'raise' stops; the others go on with the next tenants.")
]
Unique = Annotated[
    bool, typer.Option("--unique", help="Print each key once, as far as a million keys can be remembered.")
]
Resume = Annotated[
    Path | None,
    typer.Option(
        help="A file for the scan's place: written when it ends before all tenants are through, gone on from when it is "
        "there, and removed when they are.",
    ),
]
Summary = Annotated[
    bool | None,
    typer.Option("--summary/--no-summary", help="A table of tenants on stderr. Without either: on a terminal."),
]


def scan(
    ctx: typer.Context,
    pattern: Pattern = None,
    *,
    config: Config = None,
    tenant: Tenants = None,
    key_type: Type = None,
    count: Count = None,
    timeout: PerTenant = None,
    on_error: Policy = OnError.defer,
    unique: Unique = False,
    resume: Resume = None,
    summary: Summary = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Print the keys of all tenants as they come: a tenant, a tab, a key; with --json, an object on each line.

    Keys are escaped where a terminal could obey them. The exit code is 1 if a tenant failed; stderr says which, and why.
    """
    with reporting(), open_router(ctx, config, verbose=verbose) as router:
        try:
            walk = router.scan_pages(
                pattern,
                count,
                key_type,
                tenants=tenant or None,
                on_error="raise" if on_error is OnError.stop else "collect",
                timeout=timeout,
                unique=unique,
                resume=_token(resume),
            )
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--resume") from None
        with walk, ScanView(walk.tenants, as_json=as_json) as view, _keeping_place(walk, resume):
            _print_all(walk, view)
        view.summary(walk.outcomes, wanted=summary)
        if unique and not walk.exact:
            warn("some keys may have been printed more than once: not all could be remembered")
        failed = {name: outcome.error for name, outcome in walk.outcomes.items() if outcome.error is not None}
        for name, failure in failed.items():
            warn(f"tenant {name} failed: {type(failure).__name__}: {failure}")
        if failed:
            raise typer.Exit(FAILED)


def _token(path: Path | None) -> str | None:
    if path is None or not path.exists():
        return None
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path} can't be read: {error}", param_hint="--resume") from None


@contextlib.contextmanager
def _keeping_place(walk: TenantScan[tuple[str, list[str]]], path: Path | None) -> Iterator[None]:
    """Write where the walk was when it ends early, by whatever end."""
    try:
        yield
    finally:
        if path is not None:
            if walk.complete:
                path.unlink(missing_ok=True)
            else:
                path.write_text(walk.token() + "\n", encoding="ascii")


def _print_all(walk: TenantScan[tuple[str, list[str]]], view: ScanView) -> None:
    try:
        for tenant, keys in walk:
            view.page(tenant, keys, done=len(walk.outcomes))
    except Exception as error:
        # --on-error raise: a tenant's error is told with its outcome. Any other is none of a tenant's.
        if all(outcome.error is not error for outcome in walk.outcomes.values()):
            raise
