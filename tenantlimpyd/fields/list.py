"""``ListField``: a list of values."""

from __future__ import annotations

from typing import Any, ClassVar

from tenantlimpyd._operations.steps import Operation, twins
from tenantlimpyd.fields.base import Value
from tenantlimpyd.fields.multi_value import MultiValuesField
from tenantlimpyd.fields.own_key import NAMES_VALUES
from tenantlimpyd.fields.sort_arguments import sort_command

__all__ = ["ListField"]


def _is_there(position: int | None) -> bool:
    return position is not None


def _ok(reply: Any) -> bool:
    return reply is True or reply == "OK"


def _last(replies: list[Any]) -> int:
    return int(replies[-1])


class ListField(MultiValuesField):
    """A list of values in a Redis list of its own: ``{model}:{pk}:{field}``.

    A value that is in the list several times is in the index until its last copy is gone.
    """

    kind: ClassVar[str] = "list"
    store_word: ClassVar[str] = "RPUSH"

    def content_words(self) -> tuple[Any, ...]:
        """Return the command, without its key, that reads all values."""
        return ("LRANGE", 0, -1)

    # Reading

    def _lmembers(self) -> Operation[list[str]]:
        """Return all values, in order."""
        return (yield from self._read("LRANGE", 0, -1))  # type: ignore[no-any-return]

    lmembers, almembers = twins(_lmembers)
    proxy_get, aproxy_get = lmembers, almembers

    def _lrange(self, start: int, end: int) -> Operation[list[str]]:
        """Return the values from position ``start`` to ``end``, both included; negative ones count from the end."""
        return (yield from self._read("LRANGE", start, end))  # type: ignore[no-any-return]

    lrange, alrange = twins(_lrange)

    def _llen(self) -> Operation[int]:
        """Return how many values there are."""
        return (yield from self._read("LLEN"))  # type: ignore[no-any-return]

    llen, allen = twins(_llen)

    def _lindex(self, index: int) -> Operation[str | None]:
        """Return the value at a position; None where there is none."""
        return (yield from self._read("LINDEX", index))  # type: ignore[no-any-return]

    lindex, alindex = twins(_lindex)

    def _lpos(
        self, value: Value, rank: int | None = None, count: int | None = None, maxlen: int | None = None
    ) -> Operation[Any]:
        """Return the position of a value, or None; with ``count`` the positions of that many copies (0: all)."""
        words: list[Any] = [self._sendable(value)]
        for name, number in (("RANK", rank), ("COUNT", count), ("MAXLEN", maxlen)):
            if number is not None:
                words += [name, number]
        return (yield from self._read("LPOS", *words))

    lpos, alpos = twins(_lpos)

    def _lrank(self, value: Value) -> Operation[int | None]:
        """Return the position of the first copy of a value, or None."""
        return (yield from self._read("LPOS", self._sendable(value), name="lrank"))  # type: ignore[no-any-return]

    lrank, alrank = twins(_lrank)

    def _lcontains(self, value: Value) -> Operation[bool]:
        """Return whether a value is in the list."""
        there = self._read("LPOS", self._sendable(value), name="lcontains", reply=_is_there)
        return (yield from there)  # type: ignore[no-any-return]

    lcontains, alcontains = twins(_lcontains)

    def _lcount(self, value: Value) -> Operation[int]:
        """Return how many copies of a value are in the list."""
        copies = self._read("LPOS", self._sendable(value), "COUNT", 0, name="lcount", reply=len, hooked=(value,))
        return (yield from copies)  # type: ignore[no-any-return]

    lcount, alcount = twins(_lcount)

    def _sort(self, /, **options: Any) -> Operation[Any]:
        """Return the values in order; options as for redis-py's ``sort``. ``store`` is a key as it stands in Redis."""
        self._bound().require_pk()
        reply = yield sort_command(self.key, **options)
        return self.post_command(self, "sort", reply, (), options)

    sort, asort = twins(_sort)

    # Adding

    def _rpush(self, *values: Value) -> Operation[int]:
        """Append values; return how many there are then.

        Raises:
            UniquenessError: If the field is unique, and another object has one of the values. None was added.
        """
        return (yield from self._named("RPUSH", values, _last, adding=True, certain=True))

    rpush, arpush = twins(_rpush, NAMES_VALUES)

    def _proxy_set(self, value: Any) -> Operation[int]:
        """Append a value, or all values of a list, tuple or set; return how many there are then."""
        return (yield from self._rpush(*self.given(value)))

    proxy_set, aproxy_set = twins(_proxy_set)

    def _lpush(self, *values: Value) -> Operation[int]:
        """Prepend values, one after another; return how many there are then."""
        return (yield from self._named("LPUSH", values, _last, adding=True, certain=True))

    lpush, alpush = twins(_lpush, NAMES_VALUES)

    def _rpushx(self, *values: Value) -> Operation[int]:
        """Append values if there is a list; return how many there are then."""
        return (yield from self._named("RPUSHX", values, _last, adding=True))

    rpushx, arpushx = twins(_rpushx, NAMES_VALUES)

    def _lpushx(self, *values: Value) -> Operation[int]:
        """Prepend values if there is a list; return how many there are then."""
        return (yield from self._named("LPUSHX", values, _last, adding=True))

    lpushx, alpushx = twins(_lpushx, NAMES_VALUES)

    def _linsert(self, where: str, refvalue: Value, value: Value) -> Operation[int]:
        """Insert a value ``before`` or ``after`` the first copy of another; return how many there are then, or -1."""
        new = self._sendable(value)
        return (yield from self._changed("LINSERT", where, self._sendable(refvalue), new, values=[new]))  # type: ignore[no-any-return]

    linsert, alinsert = twins(_linsert, NAMES_VALUES)

    # Changing and removing

    def _lset(self, index: int, value: Value) -> Operation[bool]:
        """Replace the value at a position; return True.

        Raises:
            redis.ResponseError: If the list has no such position.
        """
        new = self._sendable(value)
        return (  # type: ignore[no-any-return]
            yield from self._changed(
                "LSET", index, new, values=[new], certain=True, affected=("LINDEX", index), reply=_ok
            )
        )

    lset, alset = twins(_lset)

    def _lrem(self, count: int, value: Value) -> Operation[int]:
        """Remove ``count`` copies of a value (from the end where it is negative; 0: all); return how many were removed."""
        old = self._sendable(value)
        return (yield from self._changed("LREM", count, old, values=[old], adding=False))  # type: ignore[no-any-return]

    lrem, alrem = twins(_lrem, NAMES_VALUES)

    def _lpop(self, count: int | None = None) -> Operation[Any]:
        """Remove the first value and return it (None where there is none); with ``count``, a list of that many at most."""
        number = () if count is None else (count,)
        first = ("LRANGE", 0, 0 if count is None else count - 1) if count != 0 else ()
        return (yield from self._changed("LPOP", *number, adding=False, affected=first))

    lpop, alpop = twins(_lpop)

    def _rpop(self, count: int | None = None) -> Operation[Any]:
        """Remove the last value and return it (None where there is none); with ``count``, a list of that many at most."""
        number = () if count is None else (count,)
        last = ("LRANGE", -1 if count is None else -count, -1) if count != 0 else ()
        return (yield from self._changed("RPOP", *number, adding=False, affected=last))

    rpop, arpop = twins(_rpop)

    def _ltrim(self, start: int, end: int) -> Operation[bool]:
        """Keep the values from position ``start`` to ``end`` only; return True."""
        return (  # type: ignore[no-any-return]
            yield from self._changed("LTRIM", start, end, adding=False, affected=self.content_words(), reply=_ok)
        )

    ltrim, altrim = twins(_ltrim)

    def _lmove(self, src: str = "LEFT", dest: str = "RIGHT") -> Operation[str | None]:
        """Move a value from one end of the list to the other, or the same; return it. The index stays as it is."""
        yield from self._bound().ready_to_write()
        return (yield from self._read("LMOVE", self.key, src, dest, hooked=(src, dest)))  # type: ignore[no-any-return]

    lmove, almove = twins(_lmove)
