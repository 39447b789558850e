"""What a scan shows: keys on stdout, a progress bar on a terminal, a table at the end."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from tenantlimpyd._fanout.outcomes import Outcome
from tenantlimpyd.cli.output import cell, console, counted, printable, table

__all__ = ["ScanView"]


class ScanView:
    """Prints keys as they come.

    Args:
        tenants: how many will be scanned.
        as_json: whether each key is printed as an object of JSON.
    """

    def __init__(self, tenants: int, *, as_json: bool) -> None:
        self._as_json = as_json
        self._stdout = sys.stdout
        out, err = console(), console(stderr=True)
        # Keys and bar must go through one console where both are on the terminal, or they would overwrite each other.
        self._keys_console = out if out.is_terminal else None
        self._progress = Progress(
            SpinnerColumn(),
            MofNCompleteColumn(),
            TextColumn("tenants"),
            BarColumn(),
            TextColumn("{task.fields[keys]} keys"),
            TimeElapsedColumn(),
            console=out if out.is_terminal else err,
            transient=True,
            redirect_stdout=False,
            disable=not (out.is_terminal or err.is_terminal),
        )
        self._keys = 0
        self._task = self._progress.add_task("scan", total=tenants, keys=0)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def page(self, tenant: str, keys: list[str], *, done: int) -> None:
        """Print keys of one tenant.

        Args:
            tenant: its id.
            keys: some of its keys.
            done: how many tenants are through.
        """
        text = "\n".join(self._line(tenant, key) for key in keys)
        if self._keys_console is None:
            self._stdout.write(text + "\n")
            self._stdout.flush()  # whoever reads the pipe has it now, and is noticed when gone
        else:
            self._keys_console.print(Text(text), soft_wrap=True)
        self._keys += len(keys)
        self._progress.update(self._task, completed=done, keys=self._keys)

    def _line(self, tenant: str, key: str) -> str:
        if self._as_json:
            return json.dumps({"tenant": tenant, "key": key})
        return f"{printable(tenant)}\t{printable(key)}"

    def summary(self, outcomes: Mapping[str, Outcome[int]], *, wanted: bool | None) -> None:
        """Print a table of tenants on stderr.

        Args:
            outcomes: what came of each.
            wanted: whether to; None: if it is a terminal.
        """
        err = console(stderr=True)
        if not (err.is_terminal if wanted is None else wanted):
            return
        rows = [
            (tenant, outcome.value if outcome.ok else "", f"{outcome.seconds:.3f}", _state(outcome))
            for tenant, outcome in sorted(outcomes.items())
        ]
        title = f"{counted(self._keys, 'key')} of {counted(len(rows), 'tenant')}"
        err.print(table(title, ("tenant", "keys", "seconds", "state"), rows, right=("keys", "seconds")))


def _state(outcome: Outcome[int]) -> Text:
    return Text("ok", style="green") if outcome.error is None else cell(type(outcome.error).__name__, "red")
