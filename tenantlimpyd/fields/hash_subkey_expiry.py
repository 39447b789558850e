"""Commands that let sub-keys of a hash expire: Redis 7.4, Valkey 9; some need Redis 8."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenantlimpyd._operations.steps import Operation, twins
from tenantlimpyd.exceptions import DataError
from tenantlimpyd.fields.base import Value
from tenantlimpyd.fields.key_expiry import (
    Moment,
    Seconds,
    expiry_words,
    milliseconds,
    moment,
    moment_ms,
    seconds,
    when_words,
)
from tenantlimpyd.fields.own_key import ContentField, need_any
from tenantlimpyd.fields.server_support import needing

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
        return (yield from needing(word, self._read(word, *words)))  # type: ignore[no-any-return]

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

    def _hgetex(
        self,
        *keys: Value,
        ex: Seconds | None = None,
        px: Seconds | None = None,
        exat: Moment | None = None,
        pxat: Moment | None = None,
        persist: bool = False,
    ) -> Operation[list[str | None]]:
        """Return the values of sub-keys, None where there is none, and let them expire.

        Args:
            *keys: the sub-keys.
            ex: after so many seconds; this and the next three are refused on an indexed field.
            px: after so many milliseconds.
            exat: at a Unix time in seconds, or a datetime.
            pxat: at a Unix time in milliseconds, or a datetime.
            persist: no more.

        Raises:
            redis.DataError: If more than one of the options is given.
            UnsupportedCommandError: If the server is older than Redis 8.0 or Valkey 9.0.
        """
        need_any(keys, "hgetex")
        words = expiry_words("hgetex", ex, px, exat, pxat, {"PERSIST": persist})
        if words and not persist:
            self.refuse_expiry("hgetex with an expiry")
        return (  # type: ignore[no-any-return]
            yield from needing("HGETEX", self._read("HGETEX", *words, "FIELDS", len(keys), *keys))
        )

    hgetex, ahgetex = twins(_hgetex)

    def _hsetex(
        self,
        mapping: Mapping[Any, Value],
        ex: Seconds | None = None,
        px: Seconds | None = None,
        exat: Moment | None = None,
        pxat: Moment | None = None,
        keepttl: bool = False,
        fnx: bool = False,
        fxx: bool = False,
    ) -> Operation[bool]:
        """Store values of sub-keys that expire; return whether they were stored. Refused on an indexed field.

        Args:
            mapping: sub-keys to values.
            ex: after so many seconds.
            px: after so many milliseconds.
            exat: at a Unix time in seconds, or a datetime.
            pxat: at a Unix time in milliseconds, or a datetime.
            keepttl: when they would have before.
            fnx: only if none of the sub-keys is there.
            fxx: only if all of them are.

        Raises:
            redis.DataError: If no values, more than one time, or both conditions are given.
            UnsupportedCommandError: If the server is older than Redis 8.0 or Valkey 9.0.
        """
        if not mapping:
            raise DataError(f"hsetex of {self.name!r} needs at least one sub-key and value")
        if fnx and fxx:
            raise DataError("hsetex takes one of fnx and fxx")
        self.refuse_expiry("hsetex")
        words: list[Any] = [word for word, wanted in (("FNX", fnx), ("FXX", fxx)) if wanted]
        words += [*expiry_words("hsetex", ex, px, exat, pxat, {"KEEPTTL": keepttl}), "FIELDS", len(mapping)]
        for key, value in mapping.items():
            words += (key, self._sendable(value))
        return (yield from needing("HSETEX", self._write("HSETEX", *words, reply=bool)))  # type: ignore[no-any-return]

    hsetex, ahsetex = twins(_hsetex)
