"""Records of what workers sent and what was replied."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs

__all__ = ["Ledger", "Mark"]


@attrs.define
class Mark:
    """The counted commands of a worker for a tenant: each adds 1 to a field of its own, which shows how often it ran.

    Attributes:
        attempted: how many there were.
        acknowledged: the numbers of those that the server confirmed: their counts must be 1. Those of others may be 1 or
            missing.
    """

    attempted: int = 0
    acknowledged: set[int] = attrs.Factory(set)


@attrs.define
class Ledger:
    """The results of a worker's operations, as plain data that can be pickled.

    Attributes:
        checked: replies that were compared, by kind of operation.
        lost: operations that ended without an answer, by why.
        strays: what was wrong, in words.
        broken: errors that none of the faults explains.
        marks: by tenant and worker, joined by ``|``.
        executed: how often the server ran acknowledged commands and others, as the inventory found.
    """

    checked: Counter[str] = attrs.Factory(Counter)
    lost: Counter[str] = attrs.Factory(Counter)
    strays: list[str] = attrs.Factory(list)
    broken: list[str] = attrs.Factory(list)
    marks: dict[str, Mark] = attrs.Factory(dict)
    executed: Counter[str] = attrs.Factory(Counter)

    def mark(self, tenant: str, worker: str) -> Mark:
        """Return the mark of a worker's counted commands for a tenant."""
        return self.marks.setdefault(f"{tenant}|{worker}", Mark())

    def compare(self, kind: str, what: str, tenant: str, expected: Any, answer: Any) -> None:
        """Count a reply, and record it if it is not the tenant's."""
        self.checked[kind] += 1
        if answer != expected:
            self.stray(f"{kind}: {what} under {tenant} gave {_short(answer)}, not {_short(expected)}")

    def stray(self, what: str) -> None:
        if len(self.strays) < 1000:
            self.strays.append(what)

    def add(self, other: Ledger) -> None:
        """Add the records of another worker."""
        self.checked += other.checked
        self.lost += other.lost
        self.strays += other.strays
        self.broken += other.broken
        assert not self.marks.keys() & other.marks.keys(), "two workers have one name"
        self.marks |= other.marks


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) < 200 else f"{shown[:80]}...{shown[-80:]} ({len(shown):,} characters)"
