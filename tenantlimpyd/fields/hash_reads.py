"""The commands that read a hash."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from tenantlimpyd._operations.steps import Command, Operation, twins
from tenantlimpyd.atomic import ValueLocation
from tenantlimpyd.fields.base import Value
from tenantlimpyd.fields.hash_subkey_expiry import ExpiringSubkeys
from tenantlimpyd.fields.own_key import need_any
from tenantlimpyd.fields.value_scan import aitems, items, pattern_words
from tenantlimpyd.indexes import stored_text

__all__ = ["HashReading"]


class HashReading(ExpiringSubkeys):
    """The part of a hash that reads it."""

    def slot(self, subkey: Any) -> ValueLocation:
        """Return where the value of a sub-key is."""
        return ValueLocation(self.key, stored_text(subkey))

    def _hgetall(self) -> Operation[dict[str, str]]:
        """Return all sub-keys and values."""
        return (yield from self._read("HGETALL"))  # type: ignore[no-any-return]

    hgetall, ahgetall = twins(_hgetall)
    proxy_get, aproxy_get = hgetall, ahgetall

    def _hget(self, key: Value) -> Operation[str | None]:
        """Return the value of a sub-key; None where there is none."""
        return (yield from self._read("HGET", key, reply=lambda value: self._noted(key, value)))  # type: ignore[no-any-return]

    hget, ahget = twins(_hget)

    def _noted(self, key: Value, value: str | None) -> str | None:
        """Remember the value of a sub-key, so that its next write takes one round trip; return the value."""
        if self.indexable:
            self._bound()._remember(self.slot(key), value)
        return value

    def _hmget(self, *keys: Value) -> Operation[list[str | None]]:
        """Return the values of sub-keys, in their order; None where there is none."""
        need_any(keys, "hmget")
        return (yield from self._read("HMGET", *keys))  # type: ignore[no-any-return]

    hmget, ahmget = twins(_hmget)

    def _hkeys(self) -> Operation[list[str]]:
        """Return all sub-keys."""
        return (yield from self._read("HKEYS"))  # type: ignore[no-any-return]

    hkeys, ahkeys = twins(_hkeys)

    def _hvals(self) -> Operation[list[str]]:
        """Return all values."""
        return (yield from self._read("HVALS"))  # type: ignore[no-any-return]

    hvals, ahvals = twins(_hvals)

    def _hlen(self) -> Operation[int]:
        """Return how many sub-keys there are."""
        return (yield from self._read("HLEN"))  # type: ignore[no-any-return]

    hlen, ahlen = twins(_hlen)

    def _hstrlen(self, key: Value) -> Operation[int]:
        """Return the length of a sub-key's value in bytes."""
        return (yield from self._read("HSTRLEN", key))  # type: ignore[no-any-return]

    hstrlen, ahstrlen = twins(_hstrlen)

    def _hexists(self, key: Value) -> Operation[bool]:
        """Return whether there is a sub-key."""
        if not self._bound().has_pk:
            return False
        return bool((yield Command("HEXISTS", self.key, key)))

    hexists, ahexists = twins(_hexists)
    exists, aexists = hexists, ahexists  # type: ignore[assignment]  # limpyd's: a hash is asked for a sub-key

    def _hrandfield(self, count: int | None = None, withvalues: bool = False) -> Operation[Any]:
        """Return a sub-key at random (None where there is none), or with ``count`` a list of that many at most.

        Args:
            count: how many; where it is negative, sub-keys may come several times.
            withvalues: return pairs of sub-key and value.
        """
        words: list[Any] = [] if count is None else [count]
        if withvalues:
            words.append("WITHVALUES")
        return (yield from self._read("HRANDFIELD", *words, reply=_paired if withvalues else None))

    hrandfield, ahrandfield = twins(_hrandfield)

    def hscan(self, match: str | None = None, count: int | None = None) -> Iterator[tuple[str, str]]:
        """Iterate over sub-keys and values, page by page; ``match`` is a glob pattern, ``count`` the size of a page."""
        return items(self, "HSCAN", pattern_words(match, count), dict.items)

    def ahscan(self, match: str | None = None, count: int | None = None) -> AsyncIterator[tuple[str, str]]:
        """Iterate as :meth:`hscan`, with ``async for``."""
        return aitems(self, "HSCAN", pattern_words(match, count), dict.items)


def _paired(raw: Sequence[Any]) -> list[tuple[str, str]]:
    """Return sub-keys and values as pairs, from a flat list or from pairs."""
    if raw and isinstance(raw[0], list | tuple):
        return [(key, value) for key, value in raw]
    return list(zip(raw[::2], raw[1::2], strict=True))
