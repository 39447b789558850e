"""Each key once, in bounded memory, and never a key less."""

from __future__ import annotations

from tenantlimpyd import logs
from tenantlimpyd.exceptions import shown

__all__ = ["REMEMBERED", "KeyDeduplicator", "checked_unique"]

REMEMBERED = 1_000_000
"""Keys that a walk with ``unique=True`` remembers: those of tenants it is not through with. About 130 MB at most."""
_LONG = 64


def checked_unique(unique: object) -> int:
    """Return how many keys are to be remembered; 0: none.

    Raises:
        TypeError, ValueError: neither a truth value nor a positive whole number.
    """
    if isinstance(unique, bool):
        return REMEMBERED if unique else 0
    if not isinstance(unique, int):
        raise TypeError(f"unique must be True, False or how many keys to remember, not {shown(unique)}")
    if unique < 1:
        raise ValueError(f"unique must be at least 1, not {unique}")
    return unique


class KeyDeduplicator:
    """Remembers the keys of tenants that are being walked.

    A filter of fixed size would be smaller, and would now and then take a new key for one it has seen: that key would be
    lost. So this one remembers the keys themselves, and when there are too many, remembers no more of them: from then on
    a key may come twice, and :attr:`exact` says so.

    Attributes:
        exact: whether every key came once so far.
    """

    def __init__(self, most: int) -> None:
        self.exact = True
        self._room = most
        self._most = most
        self._seen: dict[str, set[str]] = {}

    def new(self, tenant: str, keys: list[str]) -> list[str]:
        """Return those of a tenant's keys that did not come before, each once."""
        seen = self._seen.setdefault(tenant, set())
        new = [key for key in dict.fromkeys(keys) if key not in seen]
        cost = sum(1 + len(key) // _LONG for key in new)  # a long key takes the room of several
        if cost <= self._room:
            self._room -= cost
            seen.update(new)
        elif new and self.exact:
            self.exact = False
            logs.emit("scan_not_exact", remembered=self._most)
        return new

    def forget(self, tenant: str) -> None:
        """Make room: no more keys of a tenant will come."""
        self._room += sum(1 + len(key) // _LONG for key in self._seen.pop(tenant, ()))
