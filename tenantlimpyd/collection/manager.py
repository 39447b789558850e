"""``CollectionManager``: a lazy query over the objects of a model."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast, overload

from tenantlimpyd.collection.filters import ParsedFilter, parse
from tenantlimpyd.collection.results import CollectionResults
from tenantlimpyd.exceptions import ResponseError, shown
from tenantlimpyd.keys import make_key
from tenantlimpyd.operations import Command, Operation, Transaction, twins

if TYPE_CHECKING:
    from tenantlimpyd.hosting import Database, Placement

__all__ = ["CollectionManager"]

_FAR = 1 << 40  # beyond any set's end, and within the numbers SORT takes

M = TypeVar("M")
I = TypeVar("I")  # noqa: E741 - the items: pks, or objects


class CollectionManager(Generic[M, I]):
    """The objects of a model that match filters, or all of them.

    Building one asks Redis for nothing. It belongs to the database that was current when it was built. It is evaluated by
    iterating, ``len``, ``bool``, indexing or slicing. What iterating gave is kept; calling the collection gives a fresh one.
    In asyncio, ``async for``, :meth:`acount`, :meth:`alist`, :meth:`aitem` and :meth:`aslice` ask each time.

    Its items are pks, as text; after :meth:`instances`, objects. Slices and single items come in the numeric order of
    pks, or in their alphabetical order where some are not numbers. Whole results come in no order.
    """

    def __init__(self, model: type[M]) -> None:
        self.model: Any = model
        self._placement: Placement | None = None
        self._filters: list[ParsedFilter] = []
        self._pks: set[str] = set()
        self._as_instances = False
        self._lazy = False
        self._result: CollectionResults[I] | None = None

    # Building

    def place(self, placement: Placement) -> None:
        """Let the collection live at ``placement``."""
        self._placement = placement

    def _clone(self) -> Self:
        clone = type(self)(self.model)
        clone._placement = self._placement
        clone._filters = list(self._filters)
        clone._pks = set(self._pks)
        clone._as_instances, clone._lazy = self._as_instances, self._lazy
        return clone

    def __call__(self, **filters: Any) -> Self:
        """Return this collection with more filters; an object must match all of them."""
        clone = self._clone()
        clone._add_filters(**filters)
        return clone

    def _add_filters(self, **filters: Any) -> None:
        for name, value in filters.items():
            parsed = parse(self.model, name, value)
            if isinstance(parsed, str):
                self._pks.add(parsed)
            else:
                self._filters.append(parsed)

    def instances(self, lazy: bool = False) -> CollectionManager[M, M]:
        """Return the collection with objects as its items.

        Args:
            lazy: True: don't leave out objects that are in an index only.
        """
        clone = self._clone()
        clone._as_instances, clone._lazy = True, lazy
        return cast("CollectionManager[M, M]", clone)

    def primary_keys(self) -> CollectionManager[M, str]:
        """Return the collection with pks as its items."""
        clone = self._clone()
        clone._as_instances = clone._lazy = False
        return cast("CollectionManager[M, str]", clone)

    # Evaluating

    def _at(self) -> Placement:
        if self._placement is None:
            self._placement = self.model.database.placement()
        return self._placement

    def _resolve(self) -> Database:
        return self._at().runner()

    def _live(self) -> str:
        return str(self.model.collection_key(self._at().database.key_prefix))

    def _keys(self) -> list[str]:
        """Return the keys of the sets whose intersection is wanted."""
        storage = self.model.storage_name(self._at().database.key_prefix)
        keys = list(dict.fromkeys(each.key(storage) for each in self._filters))
        if not keys or (self._as_instances and not self._lazy):
            keys.append(self._live())
        return keys

    def _of_pk(self) -> Operation[list[str]]:
        """Return the pk asked for, if it is live and in all the sets."""
        if len(self._pks) > 1:
            return []
        (pk,) = self._pks
        keys = list(dict.fromkeys([self._live(), *self._keys()]))
        for key in keys:
            if not (yield Command("SISMEMBER", key, pk)):
                return []
        return [pk]

    def _fetch(self) -> Operation[list[str]]:
        """Return all pks, in no order."""
        if self._pks:
            return (yield from self._of_pk())
        keys = self._keys()
        reply = yield Command("SMEMBERS", keys[0]) if len(keys) == 1 else Command("SINTER", *keys)
        return list(reply)

    def _sorted(self, start: int, number: int) -> Operation[list[str]]:
        """Return ``number`` pks (-1: all) from ``start`` on, in order."""
        if self._pks:
            found = yield from self._of_pk()
            return found[start:] if number < 0 else found[start : start + number]
        try:
            return (yield from self._sort(start, number, ()))
        except ResponseError as error:
            if "double" not in str(error):
                raise
        return (yield from self._sort(start, number, ("ALPHA",)))  # some pk is no number

    def _sort(self, start: int, number: int, order: tuple[str, ...]) -> Operation[list[str]]:
        start, number = min(start, _FAR), min(number, _FAR)
        keys = self._keys()
        if len(keys) == 1:
            return list((yield Command("SORT", keys[0], "LIMIT", start, number, *order)))
        storage = self.model.storage_name(self._at().database.key_prefix)
        temporary = make_key(storage, "__collection__", "final", uuid.uuid4().hex)
        replies = yield Transaction(
            [
                Command("SINTERSTORE", temporary, *keys),
                Command("SORT", temporary, "LIMIT", start, number, *order),
                Command("DEL", temporary),
            ]
        )
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return list(replies[1])

    def first(self, number: int) -> Operation[list[str]]:
        """Return up to ``number`` live pks that match, in no order; asks for no more than it needs to."""
        found: list[str]
        if self._pks:
            return (yield from self._of_pk())
        keys = self._keys()
        if len(keys) == 1 and not self._filters[0].index.field.unique:
            # Most often the index has few enough, and all of them are live.
            some: list[str] = yield Command("SRANDMEMBER", keys[0], number)
            found = []
            for pk in some:
                if (yield Command("SISMEMBER", self._live(), pk)):
                    found.append(pk)
            if len(found) == number or len(some) < number:
                return found
        return list((yield Command("SINTER", *dict.fromkeys([*keys, self._live()]))))[:number]

    def _made(self, pks: list[str]) -> list[I]:
        if not self._as_instances:
            return cast("list[I]", pks)
        return [self.model._placed(self._at(), pk, connected=not self._lazy) for pk in pks]

    def _list(self) -> Operation[list[I]]:
        """Return all items, in no order."""
        return self._made((yield from self._fetch()))

    _list_now, alist = twins(_list)

    def _count(self) -> Operation[int]:
        """Return how many items there are."""
        if self._pks:
            return len((yield from self._of_pk()))
        keys = self._keys()
        if len(keys) == 1:
            return (yield Command("SCARD", keys[0]))  # type: ignore[no-any-return]
        return len((yield Command("SINTER", *keys)))

    _count_now, acount = twins(_count)

    def _item(self, index: int) -> Operation[I]:
        """Return the item at a position, counted from the end where it is negative.

        Raises:
            IndexError: there is none.
        """
        if index >= 0:
            found = yield from self._sorted(index, 1)
        else:
            every = yield from self._sorted(0, -1)
            found = [every[index]] if len(every) >= -index else []
        if not found:
            raise IndexError(f"the collection has no item {index}")
        return self._made(found)[0]

    _item_now, aitem = twins(_item)

    def _slice(
        self, start: int | None = None, stop: int | None = None, step: int | None = None
    ) -> Operation[CollectionResults[I]]:
        """Return the items of a slice; arguments as for ``slice``.

        Raises:
            ValueError: a step of 0.
        """
        if step == 0:
            raise ValueError("slice step cannot be zero")
        forward = (step or 1) > 0 and (start or 0) >= 0
        if forward and stop is not None and 0 <= stop <= (start or 0):
            return CollectionResults([])
        if forward:
            first = start or 0
            found = yield from self._sorted(first, stop - first if stop is not None and stop >= 0 else -1)
            wanted = slice(None, stop if stop is not None and stop < 0 else None, step)
        else:
            found = yield from self._sorted(0, -1)
            wanted = slice(start, stop, step)
        return CollectionResults(self._made(found[wanted]))

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
        """Compare the items with those of a list, a set, or other results; collections and lists in any order."""
        if isinstance(other, CollectionManager):
            other = other._all()
        if isinstance(other, set):
            return set(self._all()) == other
        if isinstance(other, list | CollectionResults):
            mine, theirs = list(self._all()), list(other)
            return len(mine) == len(theirs) and set(mine) == set(theirs)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        wanted = [each.index.field.name for each in self._filters] + ["pk"] * bool(self._pks)
        return f"<{type(self).__name__} of {self.model.__name__}{' by ' + ', '.join(wanted) if wanted else ''}>"
