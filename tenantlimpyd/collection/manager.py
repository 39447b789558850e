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
    from tenantlimpyd._registry.placement import Database, Placement

__all__ = ["CollectionManager"]

M = TypeVar("M")
I = TypeVar("I")  # noqa: E741 - the items: pks, or objects


class CollectionManager(LazySequence[M, I]):
    """The objects of a model that match filters, or all of them.

    A new collection sends nothing to Redis. It belongs to the database that was current when it was made. Iteration,
    ``len``, ``bool``, an index or a slice evaluates it, each in one round trip, or two if the value of a filter is a field
    of an object. The evaluation leaves no keys in Redis. The result of the first iteration is kept; a call of the collection
    returns a new one without it. In asyncio, ``async for``, :meth:`acount`, :meth:`alist`, :meth:`aitem` and
    :meth:`aslice` evaluate it each time.

    The items are pks, as text; after :meth:`instances`, objects. Without :meth:`sort`, slices and single items are in the
    numeric order of pks, or in their alphabetical order if some are not numbers, and whole results are in no order. If an
    index or an intersected key is a sorted set, its scores are the order of all results.

    A subclass may add filters in ``__init__``, by :meth:`_add_filters`, and override :meth:`_places`.
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
        """Set the placement of the collection."""
        self._placement = placement

    def _clone(self) -> Self:
        clone = copy.copy(self)
        clone._forget()
        clone._filters = list(self._filters)
        clone._pks = list(self._pks)
        return clone

    def __call__(self, **filters: Any) -> Self:
        """Return a copy of this collection with more filters; an object must match all of them."""
        clone = self._clone()
        clone._add_filters(**filters)
        return clone

    def _add_filters(self, **filters: Any) -> None:
        """Add filters to this collection, without making a copy."""
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
        """Return a copy of the collection whose items are objects.

        Args:
            lazy: whether to include objects that have an index entry but are not in the set of live pks.
        """
        return cast("CollectionManager[M, M]", self._shaped(Objects(live=not lazy)))

    def primary_keys(self) -> CollectionManager[M, str]:
        """Return a copy of the collection whose items are pks."""
        return cast("CollectionManager[M, str]", self._shaped(PrimaryKeys()))

    def fetch(self, *fields: str) -> CollectionManager[M, M]:
        """Return a copy of the collection whose items are objects with values of fields, read in the same round trip.

        Each object has the values in ``fetched``, a dictionary by field name. They were stored when the collection was
        evaluated; the getters of the fields still read from Redis::

            for person in Person.instances(city="Rome").fetch("name", "age"):
                print(person.fetched["name"], person.fetched["age"])

        Args:
            *fields: names of fields of one value; without any: all of these.

        Raises:
            ValueError: If a field is unknown or has many values.
            ImplementationError: If the model has a field named ``fetched``.
        """
        if self.model.has_field("fetched"):
            raise ImplementationError(f"{self.model.__name__} has a field named 'fetched', which fetch would hide")
        columns = columns_of(self.model, fields, what="fetch")
        live = not isinstance(self._shape, Objects) or self._shape.live
        wanted = Fetched(live=live, columns=(Column("pk", "pk"), *columns))
        return cast("CollectionManager[M, M]", self._shaped(wanted))

    def sort(self, by: Any = None, desc: bool = False, alpha: bool = False, **limits: Any) -> Self:
        """Return a copy of the collection in an order, which replaces that of an earlier call.

        Args:
            by: the name of a field of one value (with ``-`` before it: descending), ``pk``, ``nosort``, or a pattern of
                keys as for SORT (https://redis.io/docs/latest/commands/sort/), within the key prefix. None: by pk.
            desc: whether to sort in descending order.
            alpha: whether to compare as text, which values that are not numbers need; pks don't need it.
            **limits: ``start`` and ``num``: the position of the first item and the number of items of whole results.

        Raises:
            TypeError: If another option is given.
        """
        clone = self._clone()
        clone._order = sort_order(self.model, self._prefix(), by, desc=desc, alpha=alpha, **limits)
        return clone

    # Evaluating

    def _at(self) -> Placement:
        if self._placement is None:
            self._placement = self.model.database._current_placement()
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
        """Return the sources of all filters; an object must be in each of them.

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
        """Return the source of the pks; with ``live``, only those in the set of live pks."""
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
        """Return up to ``number`` live pks that match, in no order, without reading all of them if possible."""
        known = yield from read_fields(self._right_hands())
        place = self._place(known)
        if isinstance(place, Whole) and place.kind == "set" and not all(each.field.unique for each in self._filters):
            return (yield from evaluation.first_live(self._live(), place.key, number))
        return (yield from evaluation.found(self._storage, self._place(known, live=True)))[:number]

    def __repr__(self) -> str:
        wanted = [each.field.name for each in self._filters] + ["pk"] * bool(self._pks)
        return f"<{type(self).__name__} of {self.model.__name__}{' by ' + ', '.join(wanted) if wanted else ''}>"
