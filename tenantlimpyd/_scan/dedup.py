"""Deduplication of keys in bounded memory, without losing a key."""

from __future__ import annotations

from tenantlimpyd import logs
from tenantlimpyd.exceptions import shown

__all__ = ["REMEMBERED", "KeyDeduplicator", "checked_unique"]

REMEMBERED = 1_000_000
"""Keys that a scan with ``unique=True`` remembers, of tenants that are not finished. About 130 MB at most."""
_LONG = 64


def checked_unique(unique: object) -> int:
    """Return the number of keys to remember; 0 for none.

    Raises:
        TypeError: If ``unique`` is neither a bool nor an int.
        ValueError: If it is less than 1.
    """
    if isinstance(unique, bool):
        return REMEMBERED if unique else 0
    if not isinstance(unique, int):
        raise TypeError(f"unique must be True, False or how many keys to remember, not {shown(unique)}")
    if unique < 1:
        raise ValueError(f"unique must be at least 1, not {unique}")
    return unique


class KeyDeduplicator:
    """Remembers the keys of tenants that are being scanned.

    A Bloom filter would need less memory, but would sometimes drop a new key. This class remembers the keys themselves.
    When there
    are too many it stops remembering: from then on a key may be delivered twice, and :attr:`exact` is False.

    Attributes:
        exact: whether every key was delivered once so far.
    """

    def __init__(self, most: int) -> None:
        self.exact = True
        self._room = most
        self._most = most
        self._seen: dict[str, set[str]] = {}

    def new(self, tenant: str, keys: list[str]) -> list[str]:
        """Return a tenant's keys that were not delivered before, each once."""
        seen = self._seen.setdefault(tenant, set())
        new = [key for key in dict.fromkeys(keys) if key not in seen]
        cost = sum(1 + len(key) // _LONG for key in new)  # a long key counts as several
        if cost <= self._room:
            self._room -= cost
            seen.update(new)
        elif new and self.exact:
            self.exact = False
            logs.emit("scan_not_exact", remembered=self._most)
        return new

    def forget(self, tenant: str) -> None:
        """Forget the keys of a finished tenant."""
        self._room += sum(1 + len(key) // _LONG for key in self._seen.pop(tenant, ()))
