"""``CollectionManager``: a lazy query over the objects of a model."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from tenantlimpyd._operations.steps import Operation
from tenantlimpyd.collection import evaluation
from tenantlimpyd.collection.evaluation import Column
from tenantlimpyd.collection.filters import ParsedFilter, parse, sources_of
from tenantlimpyd.collection.lazy_sequence import LazySequence
from tenantlimpyd.collection.operands import ReadValues, read_fields, resolved
from tenantlimpyd.collection.order import OWN, Order
from tenantlimpyd.collection.plan import Members, Place, all_of
from tenantlimpyd.collection.result_shapes import Fetched, Objects, PrimaryKeys, Shape, columns_of
from tenantlimpyd.collection.sort_options import sort_order
from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.fields.base import RedisField
from tenantlimpyd.indexes.pk_sources import Nothing, Whole

if TYPE_CHECKING:
    from tenantlimpyd._registry.host import Database, Placement

__all__ = ["CollectionManager"]

M = TypeVar("M")
I = TypeVar("I")  # noqa: E741 - the items: pks, or objects


class CollectionManager(LazySequence[M, I]):
    """The objects of a model that match filters, or all of them.

    Building one asks Redis for nothing. It belongs to the database that was current when it was built. It is evaluated by
    iterating, ``len``, ``bool``, indexing or slicing, each in one trip (two, where a filter's value is a field of an
    object), which leaves nothing behind in Redis. What iterating gave is kept; calling the collection gives a fresh one.
    In asyncio, ``async for``, :meth:`acount`, :meth:`alist`, :meth:`aitem` and :meth:`aslice` ask each time.

    Its items are pks, as text; after :meth:`instances`, objects. Unless :meth:`sort` says otherwise, slices and single
    items come in the numeric order of pks, or in their alphabetical order where some are not numbers, and whole results
    in no order. Where an index or an intersected key is a sorted set, its scores give the order of all of them.

    A subclass may add filters of its own in ``__init__``, by :meth:`_add_filters`, and override :meth:`_places`.
    """

    def __init__(self, model: type[M]) -> None:
        self.model: Any = model
        self._placement: Placement | None = None
        self._filters: list[ParsedFilter] = []
        self._pks: list[str | RedisField] = []
        self._order: Order | None = None
        self._shape: Shape = PrimaryKeys()

    # Building

    def place(self, placement: Placement) -> None:
        """Let the collection live at ``placement``."""
        self._placement = placement

    def _clone(self) -> Self:
        clone = copy.copy(self)
        clone._forget()
        clone._filters = list(self._filters)
        clone._pks = list(self._pks)
        return clone

    def __call__(self, **filters: Any) -> Self:
        """Return this collection with more filters; an object must match all of them."""
        clone = self._clone()
        clone._add_filters(**filters)
        return clone

    def _add_filters(self, **filters: Any) -> None:
        """Add filters to this collection itself."""
        for name, value in filters.items():
            parsed = parse(self.model, name, value, self._at())
            if isinstance(parsed, ParsedFilter):
                self._filters.append(parsed)
            else:
                self._pks.append(parsed)

    def _shaped(self, shape: Shape) -> Any:
        clone = self._clone()
        clone._shape = shape
        return clone

    def instances(self, lazy: bool = False) -> CollectionManager[M, M]:
        """Return the collection with objects as its items.

        Args:
            lazy: True: don't leave out objects that are in an index only.
        """
        return cast("CollectionManager[M, M]", self._shaped(Objects(live=not lazy)))

    def primary_keys(self) -> CollectionManager[M, str]:
        """Return the collection with pks as its items."""
        return cast("CollectionManager[M, str]", self._shaped(PrimaryKeys()))

    def fetch(self, *fields: str) -> CollectionManager[M, M]:
        """Return the collection with objects as its items that carry values of fields, read in the same trip.

        Each object has them in ``fetched``, a dictionary by field name. They are what was stored when the collection was
        evaluated: the fields' own getters ask Redis as ever::

            for person in Person.instances(city="Rome").fetch("name", "age"):
                print(person.fetched["name"], person.fetched["age"])

        Args:
            *fields: names of fields of one value; none: all of them.

        Raises:
            ValueError: an unknown field, or one of many values.
        """
        if self.model.has_field("fetched"):
            raise ImplementationError(f"{self.model.__name__} has a field named 'fetched', which fetch would hide")
        columns = columns_of(self.model, fields, what="fetch")
        live = not isinstance(self._shape, Objects) or self._shape.live
        wanted = Fetched(live=live, columns=(Column("pk", "pk"), *columns))
        return cast("CollectionManager[M, M]", self._shaped(wanted))

    def sort(self, by: Any = None, desc: bool = False, alpha: bool = False, **limits: Any) -> Self:
        """Return the collection in an order. The last call counts.

        Args:
            by: the name of a field of one value (with ``-`` before it: from the end), ``pk``, ``nosort``, or a pattern of
                keys as SORT takes it, within the database's prefix. None: by pk.
            desc: from the end.
            alpha: as text. Values that are no numbers need it; pks don't.
            **limits: ``start`` and ``num``: a part of whole results.

        Raises:
            TypeError: another option.
        """
        clone = self._clone()
        clone._order = sort_order(self.model, self._prefix(), by, desc=desc, alpha=alpha, **limits)
        return clone

    # Evaluating

    def _at(self) -> Placement:
        if self._placement is None:
            self._placement = self.model.database.placement()
        return self._placement

    def _resolve(self) -> Database:
        return self._at().runner()

    def _prefix(self) -> str:
        return str(self._at().database.key_prefix)

    @property
    def _storage(self) -> str:
        return str(self.model.storage_name(self._prefix()))

    def _live(self) -> str:
        return str(self.model.collection_key(self._prefix()))

    def _right_hands(self) -> Iterable[Any]:
        """Return the values of all filters, among which are fields to read."""
        return [*(each.value for each in self._filters), *self._pks]

    def _places(self, known: ReadValues) -> list[Place]:
        """Return what an object has to be in: the sources of all filters.

        Args:
            known: values of the bound fields among :meth:`_right_hands`.
        """
        places: list[Place] = list(sources_of(self._filters, self._storage, known))
        pks = {resolved(each, known) for each in self._pks}
        if len(pks) > 1 or None in pks:
            return [Nothing()]
        if pks:
            places.append(Members(tuple(pks)))
        return places

    def _place(self, known: ReadValues, *, live: bool = False) -> Place:
        """Return where the pks come from; ``live``: only those of objects that are there."""
        places = self._places(known)
        if live or self._shape.live or self._pks or not self._filters:
            places.append(Whole(self._live()))
        return all_of(places)

    def _source(self, *, live: bool = False) -> Operation[Place]:
        known = yield from read_fields(self._right_hands())
        return self._place(known, live=live)

    def _read(self, order: Order | None) -> Operation[list[I]]:
        place = yield from self._source()
        columns = self._shape.columns
        found: list[Any]
        if columns is None:
            found = yield from evaluation.found(self._storage, place, order)
        else:
            found = yield from evaluation.rows(self._storage, place, columns, order)
        return self._shape.items(self.model, self._at(), found)

    def _whole(self) -> Operation[list[I]]:
        return (yield from self._read(self._order or (OWN if self._shape.ordered else None)))

    def _part(self, start: int, number: int, *, reverse: bool = False) -> Operation[list[I]]:
        order = self._order or OWN
        return (yield from self._read((order.reversed() if reverse else order).part(start, number)))

    def _reversible(self) -> bool:
        return (self._order or OWN).reversible

    def _size(self) -> Operation[int]:
        place = yield from self._source()
        return (yield from evaluation.counted(self._storage, place))

    def first(self, number: int) -> Operation[list[str]]:
        """Return up to ``number`` live pks that match, in no order; asks for no more than it needs to."""
        known = yield from read_fields(self._right_hands())
        place = self._place(known)
        if isinstance(place, Whole) and place.kind == "set" and not all(each.field.unique for each in self._filters):
            return (yield from evaluation.first_live(self._live(), place.key, number))
        return (yield from evaluation.found(self._storage, self._place(known, live=True)))[:number]

    def __repr__(self) -> str:
        wanted = [each.field.name for each in self._filters] + ["pk"] * bool(self._pks)
        return f"<{type(self).__name__} of {self.model.__name__}{' by ' + ', '.join(wanted) if wanted else ''}>"
