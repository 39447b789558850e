"""Commands that let a field's key expire."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from tenantlimpyd._operations.steps import Operation, Runner, twins
from tenantlimpyd.exceptions import DataError, ImplementationError

__all__ = [
    "Expiring",
    "Moment",
    "Seconds",
    "expiry_words",
    "milliseconds",
    "moment",
    "moment_ms",
    "seconds",
    "when_words",
]

Seconds: TypeAlias = int | datetime.timedelta
Moment: TypeAlias = int | datetime.datetime


def seconds(time: Seconds) -> int:
    """Return a time as whole seconds."""
    return int(time.total_seconds()) if isinstance(time, datetime.timedelta) else time


def milliseconds(time: Seconds) -> int:
    """Return a time as whole milliseconds; a number already is that many."""
    return int(time.total_seconds() * 1000) if isinstance(time, datetime.timedelta) else time


def moment(when: Moment) -> int:
    """Return a moment as Unix time in seconds."""
    return int(when.timestamp()) if isinstance(when, datetime.datetime) else when


def moment_ms(when: Moment) -> int:
    """Return a moment as Unix time in milliseconds; a number already is that."""
    return int(when.timestamp() * 1000) if isinstance(when, datetime.datetime) else when


def when_words(nx: bool, xx: bool, gt: bool, lt: bool) -> list[str]:
    """Return the words for when an expiry is set: if there is none, if there is one, if it is later, if it is earlier."""
    return [word for word, wanted in (("NX", nx), ("XX", xx), ("GT", gt), ("LT", lt)) if wanted]


def expiry_words(
    command: str,
    ex: Seconds | None,
    px: Seconds | None,
    exat: Moment | None,
    pxat: Moment | None,
    others: Mapping[str, bool],
) -> list[Any]:
    """Return the words for one time of several, or for another option in its place.

    Raises:
        redis.DataError: If more than one time is given.
    """
    times: list[list[Any]] = [
        ["EX", None if ex is None else seconds(ex)],
        ["PX", None if px is None else milliseconds(px)],
        ["EXAT", None if exat is None else moment(exat)],
        ["PXAT", None if pxat is None else moment_ms(pxat)],
    ]
    given = [pair for pair in times if pair[1] is not None] + [[word] for word, wanted in others.items() if wanted]
    if len(given) > 1:
        raise DataError(f"{command} takes one of ex, px, exat, pxat and {', '.join(others).lower()}")
    return given[0] if given else []


class Expiring:
    """The part of a field with a key of its own that lets it expire. Indexed fields can't: their entries would stay."""

    if TYPE_CHECKING:
        name: str
        indexable: bool

        def _resolve(self) -> Runner: ...
        def _read(self, word: str, *args: Any, **options: Any) -> Operation[Any]: ...

    def refuse_expiry(self, command: str) -> None:
        """Raise an error if the field is indexed.

        Raises:
            ImplementationError: If the field is indexed.
        """
        if self.indexable:
            raise ImplementationError(
                f"{command} is refused for the indexed field {self.name!r}: when the value expired, its index entries "
                "would stay. Delete the field when its time has come, or make it not indexable."
            )

    def _expires(self, word: str, *args: Any) -> Operation[bool]:
        self.refuse_expiry(word.lower())
        return (yield from self._read(word, *args))  # type: ignore[no-any-return]

    def _expire(
        self, time: Seconds, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Operation[bool]:
        """Let the value expire after ``time`` seconds; return whether it will. Refused on an indexed field."""
        return (yield from self._expires("EXPIRE", seconds(time), *when_words(nx, xx, gt, lt)))

    expire, aexpire = twins(_expire)

    def _pexpire(
        self, time: Seconds, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Operation[bool]:
        """Let the value expire after ``time`` milliseconds; return whether it will. Refused on an indexed field."""
        return (yield from self._expires("PEXPIRE", milliseconds(time), *when_words(nx, xx, gt, lt)))

    pexpire, apexpire = twins(_pexpire)

    def _expireat(
        self, when: Moment, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Operation[bool]:
        """Let the value expire at a Unix time in seconds, or a datetime. Refused on an indexed field."""
        return (yield from self._expires("EXPIREAT", moment(when), *when_words(nx, xx, gt, lt)))

    expireat, aexpireat = twins(_expireat)

    def _pexpireat(
        self, when: Moment, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Operation[bool]:
        """Let the value expire at a Unix time in milliseconds, or a datetime. Refused on an indexed field."""
        return (yield from self._expires("PEXPIREAT", moment_ms(when), *when_words(nx, xx, gt, lt)))

    pexpireat, apexpireat = twins(_pexpireat)

    def _ttl(self) -> Operation[int]:
        """Return the seconds until the value expires; -1: never, -2: there is none."""
        return (yield from self._read("TTL"))  # type: ignore[no-any-return]

    ttl, attl = twins(_ttl)

    def _pttl(self) -> Operation[int]:
        """Return the milliseconds until the value expires; -1: never, -2: there is none."""
        return (yield from self._read("PTTL"))  # type: ignore[no-any-return]

    pttl, apttl = twins(_pttl)

    def _expiretime(self) -> Operation[int]:
        """Return when the value expires, as Unix time in seconds; -1: never, -2: there is none. Redis 7 and later."""
        return (yield from self._read("EXPIRETIME"))  # type: ignore[no-any-return]

    expiretime, aexpiretime = twins(_expiretime)

    def _pexpiretime(self) -> Operation[int]:
        """Return when the value expires, as Unix time in milliseconds; -1: never, -2: there is none. Redis 7 and later."""
        return (yield from self._read("PEXPIRETIME"))  # type: ignore[no-any-return]

    pexpiretime, apexpiretime = twins(_pexpiretime)

    def _persist(self) -> Operation[bool]:
        """Let the value expire no more; return whether it would have."""
        return (yield from self._read("PERSIST"))  # type: ignore[no-any-return]

    persist, apersist = twins(_persist)
