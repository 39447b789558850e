"""Commands that let sub-keys of a hash expire: Redis 7.4, Valkey 9."""

from __future__ import annotations

from typing import Any

from tenantlimpyd.fields.base import Value
from tenantlimpyd.fields.content import ContentField, need_any
from tenantlimpyd.fields.expiring import Moment, Seconds, milliseconds, moment, moment_ms, seconds, when_words
from tenantlimpyd.operations import Operation, twins

__all__ = ["ExpiringSubkeys"]


class ExpiringSubkeys(ContentField):
    """The part of a hash that lets its sub-keys expire. Refused where they are indexed: their entries would stay.

    Each command takes the sub-keys one by one and returns a number for each. Those that set an expiry give 1, 0 where
    ``nx``, ``xx``, ``gt`` or ``lt`` forbade it, 2 where the sub-key expired at once, -2 where there is none.
    """

    def _subkeys(self, word: str, time: Any, when: list[str], keys: tuple[Value, ...]) -> Operation[list[int]]:
        if time is not None:
            self.refuse_expiry(word.lower())
        need_any(keys, word.lower())
        words = [*([] if time is None else [time]), *when, "FIELDS", len(keys), *keys]
        return (yield from self._read(word, *words))  # type: ignore[no-any-return]

    def _hexpire(
        self, time: Seconds, *keys: Value, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Operation[list[int]]:
        """Let sub-keys expire after ``time`` seconds."""
        return (yield from self._subkeys("HEXPIRE", seconds(time), when_words(nx, xx, gt, lt), keys))

    hexpire, ahexpire = twins(_hexpire)

    def _hpexpire(
        self, time: Seconds, *keys: Value, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Operation[list[int]]:
        """Let sub-keys expire after ``time`` milliseconds."""
        return (yield from self._subkeys("HPEXPIRE", milliseconds(time), when_words(nx, xx, gt, lt), keys))

    hpexpire, ahpexpire = twins(_hpexpire)

    def _hexpireat(
        self, when: Moment, *keys: Value, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Operation[list[int]]:
        """Let sub-keys expire at a Unix time in seconds, or a datetime."""
        return (yield from self._subkeys("HEXPIREAT", moment(when), when_words(nx, xx, gt, lt), keys))

    hexpireat, ahexpireat = twins(_hexpireat)

    def _hpexpireat(
        self, when: Moment, *keys: Value, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Operation[list[int]]:
        """Let sub-keys expire at a Unix time in milliseconds, or a datetime."""
        return (yield from self._subkeys("HPEXPIREAT", moment_ms(when), when_words(nx, xx, gt, lt), keys))

    hpexpireat, ahpexpireat = twins(_hpexpireat)

    def _httl(self, *keys: Value) -> Operation[list[int]]:
        """Return for each sub-key the seconds until it expires; -1: never, -2: there is none."""
        return (yield from self._subkeys("HTTL", None, [], keys))

    httl, ahttl = twins(_httl)

    def _hpttl(self, *keys: Value) -> Operation[list[int]]:
        """Return for each sub-key the milliseconds until it expires; -1: never, -2: there is none."""
        return (yield from self._subkeys("HPTTL", None, [], keys))

    hpttl, ahpttl = twins(_hpttl)

    def _hexpiretime(self, *keys: Value) -> Operation[list[int]]:
        """Return for each sub-key when it expires, as Unix time in seconds; -1: never, -2: there is none."""
        return (yield from self._subkeys("HEXPIRETIME", None, [], keys))

    hexpiretime, ahexpiretime = twins(_hexpiretime)

    def _hpexpiretime(self, *keys: Value) -> Operation[list[int]]:
        """Return for each sub-key when it expires, as Unix time in milliseconds; -1: never, -2: there is none."""
        return (yield from self._subkeys("HPEXPIRETIME", None, [], keys))

    hpexpiretime, ahpexpiretime = twins(_hpexpiretime)

    def _hpersist(self, *keys: Value) -> Operation[list[int]]:
        """Let sub-keys expire no more; 1 where one would have, -1 where it would not."""
        return (yield from self._subkeys("HPERSIST", None, [], keys))

    hpersist, ahpersist = twins(_hpersist)
