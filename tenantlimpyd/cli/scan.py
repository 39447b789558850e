"""``tenantlimpyd scan``: the keys of all tenants."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from tenantlimpyd._scan.scan import TenantScan
from tenantlimpyd.cli.options import AsJson, Config, Tenants, Verbose, finite, open_router
from tenantlimpyd.cli.output import FAILED, reporting, warn
from tenantlimpyd.cli.scan_output import ScanView

__all__ = ["scan"]

_ENDED_BY_SIGTERM = 143


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
        help="A file for the position of the scan: written if it ends before all tenants are done, read if it exists, and "
        "removed when they are done.",
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
    _check_writable(resume)
    with reporting(), open_router(ctx, config, verbose=verbose) as router:
        try:
            pages = router.scan_pages(
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
        with pages, ScanView(pages.tenants, as_json=as_json) as view, _keeping_place(pages, resume):
            _print_all(pages, view)
        view.summary(pages.outcomes, wanted=summary)
        if unique and not pages.exact:
            warn("some keys may have been printed more than once: not all could be remembered")
        failed = {name: outcome.error for name, outcome in pages.outcomes.items() if outcome.error is not None}
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


def _temporary(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}.tmp")


def _check_writable(path: Path | None) -> None:
    """Refuse a file that could not be written at the end of the scan."""
    if path is None or path.is_dir():  # reading a directory is refused next
        return
    try:
        temporary = _temporary(path)
        temporary.touch()
        temporary.unlink()
    except OSError as error:
        raise typer.BadParameter(f"{path} can't be written: {error}", param_hint="--resume") from None


def _terminated(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(_ENDED_BY_SIGTERM)


@contextlib.contextmanager
def _keeping_place(pages: TenantScan[tuple[str, list[str]]], path: Path | None) -> Iterator[None]:
    """Write the position of the scan when it ends early, by an error, Ctrl-C or SIGTERM."""
    if path is None:
        yield
        return
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _terminated) if main else None
    try:
        yield
    finally:
        if pages.complete:
            path.unlink(missing_ok=True)
        else:
            temporary = _temporary(path)
            temporary.write_text(pages.token() + "\n", encoding="ascii")
            temporary.replace(path)  # the file is the old position or the new one, and never half of it
        if main:
            signal.signal(signal.SIGTERM, before)


def _print_all(pages: TenantScan[tuple[str, list[str]]], view: ScanView) -> None:
    try:
        for tenant, keys in pages:
            view.page(tenant, keys, done=len(pages.outcomes))
    except Exception as error:
        # --on-error raise: a tenant's error is told with its outcome. Any other is none of a tenant's.
        if all(outcome.error is not error for outcome in pages.outcomes.values()):
            raise
