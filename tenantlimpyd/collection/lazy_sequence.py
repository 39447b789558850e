"""Make a query a Python sequence: iteration, count, items and slices, sync and async."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Generic, TypeVar, overload

from tenantlimpyd._operations.steps import Operation, Runner, twins
from tenantlimpyd.collection.results import CollectionResults
from tenantlimpyd.exceptions import shown

__all__ = ["LazySequence"]

M = TypeVar("M")
I = TypeVar("I")  # noqa: E741 - the items


class LazySequence(Generic[M, I]):
    """The items of a query. Slices and items are those of the list of all items in the query's order."""

    _result: CollectionResults[I] | None = None

    # What a query tells

    def _resolve(self) -> Runner:
        """Return the runner of the query's operations."""
        raise NotImplementedError

    def _whole(self) -> Operation[list[I]]:
        """Return all items."""
        raise NotImplementedError

    def _part(self, start: int, number: int, *, reverse: bool = False) -> Operation[list[I]]:
        """Return ``number`` items (-1: all) from ``start`` on, in order; with ``reverse``, of the reversed sequence."""
        raise NotImplementedError

    def _reversible(self) -> bool:
        """Return whether the order from the end is the exact reverse of the order from the start."""
        raise NotImplementedError

    def _size(self) -> Operation[int]:
        """Return how many items there are."""
        raise NotImplementedError

    def _forget(self) -> None:
        """Drop the kept result."""
        self._result = None

    # Asking

    def _list(self) -> Operation[list[I]]:
        """Return all items."""
        return (yield from self._whole())

    _list_now, alist = twins(_list)

    def _count(self) -> Operation[int]:
        """Return how many items there are."""
        return (yield from self._size())

    _count_now, acount = twins(_count)

    def _contains(self, item: object) -> Operation[bool]:
        """Return whether ``item`` is among the items; unlike ``item in collection``, without using the kept result."""
        return item in (yield from self._whole())

    _contains_now, acontains = twins(_contains)

    def _item(self, index: int) -> Operation[I]:
        """Return the item at a position; a negative position counts from the end.

        Raises:
            IndexError: If there are fewer items.
        """
        if index >= 0:
            found = yield from self._part(index, 1)
        elif self._reversible():
            found = yield from self._part(-index - 1, 1, reverse=True)
        else:
            every = yield from self._part(0, -1)
            found = [every[index]] if len(every) >= -index else []
        if not found:
            raise IndexError(f"the collection has no item {index}")
        return found[0]

    _item_now, aitem = twins(_item)

    def _slice(
        self, start: int | None = None, stop: int | None = None, step: int | None = None
    ) -> Operation[CollectionResults[I]]:
        """Return the items of a slice; the arguments are those of ``slice``.

        Raises:
            ValueError: If the step is 0.
        """
        slice(start, stop, step).indices(0)  # refuses what Python refuses
        first = start or 0
        found: list[I]
        if (step or 1) < 0:
            found = (yield from self._part(0, -1))[slice(start, stop, step)]
        elif first >= 0 and stop is not None and stop >= 0:
            found = (yield from self._part(first, stop - first)) if stop > first else []
            found = found[::step]
        elif first >= 0:
            found = (yield from self._part(first, -1))[slice(None, stop, step)]
        elif (stop is None or stop < 0) and self._reversible():
            skipped = -stop if stop is not None else 0
            backwards = (yield from self._part(skipped, -first - skipped, reverse=True)) if -first > skipped else []
            found = backwards[::-1][::step]
        else:
            found = (yield from self._part(0, -1))[slice(start, stop, step)]
        return CollectionResults(found)

    _slice_now, aslice = twins(_slice)

    # As a Python sequence: the first evaluation's result is kept, as limpyd and Django do; a clone starts without

    def _all(self) -> CollectionResults[I]:
        if self._result is None:
            self._result = CollectionResults(self._list_now())
        else:
            self._resolve()  # still refused under another tenant
        return self._result

    def __iter__(self) -> Iterator[I]:
        return iter(self._all())

    def __aiter__(self) -> AsyncIterator[I]:
        runner = self._resolve()

        async def items() -> AsyncIterator[I]:
            for item in await runner.arun(self._list()):
                yield item

        return items()

    def __len__(self) -> int:
        return self._count_now() if self._result is None else len(self._all())

    def __bool__(self) -> bool:
        return len(self) > 0

    def __contains__(self, item: object) -> bool:
        return item in self._all()

    @overload
    def __getitem__(self, index: int) -> I: ...
    @overload
    def __getitem__(self, index: slice) -> CollectionResults[I]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self._slice_now(index.start, index.stop, index.step)
        if not isinstance(index, int):
            raise TypeError(f"a collection is indexed by whole numbers and slices, not by {shown(index)}")
        return self._item_now(index)

    def __eq__(self, other: object) -> bool:
        """Compare the items with those of a list, a set or another collection, in any order."""
        if isinstance(other, LazySequence):
            other = other._all()
        if isinstance(other, set):
            return set(self._all()) == other
        if isinstance(other, list | CollectionResults):
            mine, theirs = list(self._all()), list(other)
            if len(mine) != len(theirs):
                return False
            try:
                return set(mine) == set(theirs)
            except TypeError:  # dictionaries
                return all(each in theirs for each in mine)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]
