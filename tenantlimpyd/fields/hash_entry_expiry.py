"""Commands that let an entry of an object's hash expire: Redis 7.4, Valkey 9."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenantlimpyd._operations.steps import Operation, Runner, twins
from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.fields.key_expiry import Moment, Seconds, milliseconds, moment, moment_ms, seconds, when_words
from tenantlimpyd.fields.server_support import needing

__all__ = ["ExpiringEntry"]


class ExpiringEntry:
    """The part of an instance hash field that lets its value expire. Indexed fields can't: their entries would stay.

    Commands that set an expiry return 1, 0 where ``nx``, ``xx``, ``gt`` or ``lt`` forbade it, 2 where the value expired at
    once, -2 where there is none. On servers without them they raise ``UnsupportedCommandError``.
    """

    if TYPE_CHECKING:
        name: str
        indexable: bool

        def _resolve(self) -> Runner: ...
        def _read(self, word: str, *args: Any, **options: Any) -> Operation[Any]: ...

    def _entry(self, word: str, *words: Any) -> Operation[int]:
        if words and self.indexable:
            raise ImplementationError(
                f"{word.lower()} is refused for the indexed field {self.name!r}: when the value expired, its index entries "
                "would stay. Delete the field when its time has come, or make it not indexable."
            )
        (reply,) = yield from needing(word, self._read(word, *words, "FIELDS", 1, self.name))
        return reply  # type: ignore[no-any-return]

    def _hexpire(
        self, time: Seconds, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Operation[int]:
        """Let the value expire after ``time`` seconds. Refused on an indexed field."""
        return (yield from self._entry("HEXPIRE", seconds(time), *when_words(nx, xx, gt, lt)))

    hexpire, ahexpire = twins(_hexpire)

    def _hpexpire(
        self, time: Seconds, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Operation[int]:
        """Let the value expire after ``time`` milliseconds. Refused on an indexed field."""
        return (yield from self._entry("HPEXPIRE", milliseconds(time), *when_words(nx, xx, gt, lt)))

    hpexpire, ahpexpire = twins(_hpexpire)

    def _hexpireat(
        self, when: Moment, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Operation[int]:
        """Let the value expire at a Unix time in seconds, or a datetime. Refused on an indexed field."""
        return (yield from self._entry("HEXPIREAT", moment(when), *when_words(nx, xx, gt, lt)))

    hexpireat, ahexpireat = twins(_hexpireat)

    def _hpexpireat(
        self, when: Moment, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Operation[int]:
        """Let the value expire at a Unix time in milliseconds, or a datetime. Refused on an indexed field."""
        return (yield from self._entry("HPEXPIREAT", moment_ms(when), *when_words(nx, xx, gt, lt)))

    hpexpireat, ahpexpireat = twins(_hpexpireat)

    def _httl(self) -> Operation[int]:
        """Return the seconds until the value expires; -1: never, -2: there is none."""
        return (yield from self._entry("HTTL"))

    httl, ahttl = twins(_httl)

    def _hpttl(self) -> Operation[int]:
        """Return the milliseconds until the value expires; -1: never, -2: there is none."""
        return (yield from self._entry("HPTTL"))

    hpttl, ahpttl = twins(_hpttl)

    def _hexpiretime(self) -> Operation[int]:
        """Return when the value expires, as Unix time in seconds; -1: never, -2: there is none."""
        return (yield from self._entry("HEXPIRETIME"))

    hexpiretime, ahexpiretime = twins(_hexpiretime)

    def _hpexpiretime(self) -> Operation[int]:
        """Return when the value expires, as Unix time in milliseconds; -1: never, -2: there is none."""
        return (yield from self._entry("HPEXPIRETIME"))

    hpexpiretime, ahpexpiretime = twins(_hpexpiretime)

    def _hpersist(self) -> Operation[int]:
        """Let the value expire no more; return 1, -1 where it would not have, -2 where there is none."""
        return (yield from self._entry("HPERSIST"))

    hpersist, ahpersist = twins(_hpersist)
