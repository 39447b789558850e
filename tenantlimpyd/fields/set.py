"""``SetField``: a set of values."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar

from tenantlimpyd._operations.steps import Command, Operation, Traits, twins
from tenantlimpyd.atomic import Change, KnownValues, StaleError, perform
from tenantlimpyd.fields.base import Value
from tenantlimpyd.fields.multi_value import MultiValuesField
from tenantlimpyd.fields.own_key import NAMES_VALUES, in_parts, need_any
from tenantlimpyd.fields.sort_arguments import sort_command
from tenantlimpyd.fields.value_scan import aitems, items, pattern_words

__all__ = ["SetField"]


def _bools(replies: Sequence[Any]) -> list[bool]:
    return [bool(reply) for reply in replies]


class SetField(MultiValuesField):
    """A set of values in a Redis set of its own: ``{model}:{pk}:{field}``."""

    kind: ClassVar[str] = "set"
    store_word: ClassVar[str] = "SADD"

    def content_words(self) -> tuple[Any, ...]:
        """Return the command, without its key, that reads all values."""
        return ("SMEMBERS",)

    # Reading

    def _smembers(self) -> Operation[AbstractSet[str]]:
        """Return all values."""
        return (yield from self._read("SMEMBERS", reply=set))  # type: ignore[no-any-return]

    smembers, asmembers = twins(_smembers)
    proxy_get, aproxy_get = smembers, asmembers

    def _scard(self) -> Operation[int]:
        """Return how many values there are."""
        return (yield from self._read("SCARD"))  # type: ignore[no-any-return]

    scard, ascard = twins(_scard)

    def _sismember(self, value: Value) -> Operation[bool]:
        """Return whether a value is there."""
        return (yield from self._read("SISMEMBER", self._sendable(value), reply=bool))  # type: ignore[no-any-return]

    sismember, asismember = twins(_sismember)

    def _smismember(self, *values: Value) -> Operation[list[bool]]:
        """Return for each value whether it is there."""
        need_any(values, "smismember")
        return (yield from self._read("SMISMEMBER", *self._all_sendable(values), reply=_bools))  # type: ignore[no-any-return]

    smismember, asmismember = twins(_smismember)

    def _srandmember(self, number: int | None = None) -> Operation[Any]:
        """Return a value at random (None where there is none), or with ``number`` a list of that many at most."""
        words = () if number is None else (number,)
        return (yield from self._read("SRANDMEMBER", *words))

    srandmember, asrandmember = twins(_srandmember)

    def sscan(self, match: str | None = None, count: int | None = None) -> Iterator[str]:
        """Iterate over the values, page by page; ``match`` is a glob pattern, ``count`` the size of a page."""
        return items(self, "SSCAN", pattern_words(match, count), iter)

    def asscan(self, match: str | None = None, count: int | None = None) -> AsyncIterator[str]:
        """Iterate as :meth:`sscan`, with ``async for``."""
        return aitems(self, "SSCAN", pattern_words(match, count), iter)

    def _sort(self, /, **options: Any) -> Operation[Any]:
        """Return the values in order; options as for redis-py's ``sort``. ``store`` is a key as it stands in Redis."""
        self._bound().require_pk()
        reply = yield sort_command(self.key, **options)
        return self.post_command(self, "sort", reply, (), options)

    sort, asort = twins(_sort)

    # Writing

    def _sadd(self, *values: Value) -> Operation[int]:
        """Add values; return how many were new.

        Raises:
            UniquenessError: If the field is unique, and another object has one of the values. None was added.
        """
        return (yield from self._named("SADD", values, sum, adding=True, certain=True))

    sadd, asadd = twins(_sadd, NAMES_VALUES)

    def _proxy_set(self, value: Any) -> Operation[int]:
        """Add a value, or all values of a list, tuple or set; return how many were new."""
        return (yield from self._sadd(*self.given(value)))

    proxy_set, aproxy_set = twins(_proxy_set)

    def _srem(self, *values: Value) -> Operation[int]:
        """Remove values; return how many were there."""
        return (yield from self._named("SREM", values, sum, adding=False))

    srem, asrem = twins(_srem, NAMES_VALUES)

    def _spop(self, count: int | None = None) -> Operation[Any]:
        """Remove a value at random and return it (None where there is none); with ``count``, a list of that many at most."""
        number = () if count is None else (count,)
        if not self.indexable or (count is not None and count < 0):  # the server refuses a negative count
            return (yield from self._write("SPOP", *number))
        instance = self._bound()
        yield from instance.ready_to_change()
        # What the server would pop can't be known beforehand: values picked at random are removed by name, unless another
        # client was faster with one of them.
        picked: list[str] = []

        def plan(known: KnownValues) -> Change:
            change = instance._new_change("live")
            if self._whole:  # the change has to know all values in any case: it picks among them
                there = known.affected.get(self.key, [])
                picked[:] = random.sample(there, min(len(there), 1 if count is None else count))
            self.settle(change, known, values=picked, adding=False, must_hold=picked)
            change.writes += [(word, self.key, *rest) for word, *rest in in_parts("SREM", picked)]
            return change

        while True:
            if not self._whole:
                picked[:] = yield Command("SRANDMEMBER", self.key, 1 if count is None else count)
            try:
                yield from perform(plan, repr(instance), once=not self._whole)
            except StaleError:
                continue
            break
        instance._seen()
        reply = picked if count is not None else (picked[0] if picked else None)
        return self.post_command(self, "spop", reply, number, {})

    spop, aspop = twins(_spop, Traits(prepares="SRANDMEMBER"))
