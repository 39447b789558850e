"""``ExtendedCollectionManager``: collections that are intersected, read by value, sorted by score, and stored."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any, Final, Self, TypeVar, cast

import attrs

from tenantlimpyd._operations.steps import Command, Operation, twins
from tenantlimpyd.collection import CollectionManager, evaluation
from tenantlimpyd.collection.evaluation import Column
from tenantlimpyd.collection.intersection import Operand, RawFilter, bound_key, operand, place_of, values_of
from tenantlimpyd.collection.operands import ReadValues
from tenantlimpyd.collection.order import OWN, Order
from tenantlimpyd.collection.plan import Listed, Place, all_of
from tenantlimpyd.collection.result_shapes import Values, columns_of
from tenantlimpyd.collection.sort_options import own_key
from tenantlimpyd.fields.base import RedisField
from tenantlimpyd.indexes.pk_sources import Nothing, Whole
from tenantlimpyd.keys import make_key

__all__ = ["DEFAULT_STORE_TTL", "SORTED_SCORE", "ExtendedCollectionManager", "RawFilter"]

SORTED_SCORE: Final = "sorted_score"
"""What stands for the score a collection is sorted by, among the fields of ``values`` and ``values_list``."""

DEFAULT_STORE_TTL: Final = 60
"""For how many seconds a stored collection is kept, unless told otherwise."""

M = TypeVar("M")
I = TypeVar("I")  # noqa: E741 - the items


@attrs.frozen
class _Stored:
    key: str
    size: int


class ExtendedCollectionManager(CollectionManager[M, I]):
    """A collection with more to it: see :class:`~tenantlimpyd.collection.CollectionManager` for the rest.

    Set ``collection_manager = ExtendedCollectionManager`` on a model to have all its collections of this class.
    """

    def __init__(self, model: type[M]) -> None:
        super().__init__(model)
        self._intersected: list[Operand] = []
        self._stored: _Stored | None = None

    def _clone(self) -> Self:
        clone = super()._clone()
        clone._intersected = list(self._intersected)
        return clone

    # Selecting

    def filter(self, **filters: Any) -> Self:
        """Return this collection with more filters.

        Args:
            **filters: as for ``Model.collection``. A value may be a field of one value of an object, which is read when
                the collection is evaluated, or an object, which stands for its pk.
        """
        clone = self._clone()
        clone._add_filters(**filters)
        return clone

    def intersect(self, *sets: Any) -> Self:
        """Return a copy of the collection with only the objects whose pks are in all of ``sets``.

        Args:
            *sets: lists, tuples or sets of pks; names of keys that hold a set, a sorted set or a list, within the
                database's prefix; set, list or sorted set fields of objects; collections, whose own order doesn't matter.

        Raises:
            ValueError: If an argument is of another kind; at the evaluation, if a key holds a value of another type.
            WrongTenantError: If an argument belongs to another tenant.
            ImplementationError: If an argument is in another database.
        """
        clone = self._clone()
        clone._intersected += [operand(each, self._at()) for each in sets]
        return clone

    def _right_hands(self) -> Iterable[Any]:
        return [*super()._right_hands(), *(value for each in self._intersected for value in values_of(each))]

    def _places(self, known: ReadValues) -> list[Place]:
        return [*super()._places(known), *(place_of(each, known) for each in self._intersected)]

    def _place(self, known: ReadValues, *, live: bool = False) -> Place:
        if self._stored is None:
            return super()._place(known, live=live)
        places = self._places(known)
        if live or self._shape.live or self._pks:
            places.append(Whole(self._live()))
        others = (all_of(places),) if places else ()
        if not self._stored.size or any(isinstance(each, Nothing) for each in others):
            return Nothing()
        return Listed(self._stored.key, others, known=True)

    # Reading values

    def values(self, *fields: str) -> ExtendedCollectionManager[M, dict[str, str | None]]:
        """Return a copy of the collection whose items are dictionaries of values by field name, read in one round trip.

        Args:
            *fields: names of fields of one value, ``pk``, :data:`SORTED_SCORE`; without any: all fields of one value.

        Raises:
            ValueError: If a field is unknown or has many values.
        """
        shape = Values(columns=self._columns(fields, "values"), ordered=True)
        return cast("ExtendedCollectionManager[M, dict[str, str | None]]", self._shaped(shape))

    def values_list(self, *fields: str, flat: bool = False) -> ExtendedCollectionManager[M, Any]:
        """Return a copy of the collection whose items are tuples of values, in the order of the given names.

        Args:
            *fields: as for :meth:`values`.
            flat: whether the items are the values of the one given field, instead of tuples.

        Raises:
            ValueError: If a field is unknown or has many values, or ``flat`` is used with more or less than one field.
        """
        if flat and len(fields) != 1:
            raise ValueError(f"values_list with flat=True takes one field, not {len(fields)}")
        shape = Values(columns=self._columns(fields, "values_list"), ordered=True, kind="flat" if flat else "tuple")
        return cast("ExtendedCollectionManager[M, Any]", self._shaped(shape))

    def _columns(self, names: tuple[str, ...], what: str) -> tuple[Column, ...]:
        if not names:
            return columns_of(self.model, (), what=what)
        score = Column(SORTED_SCORE, "score")
        return tuple(score if name == SORTED_SCORE else columns_of(self.model, (name,), what=what)[0] for name in names)

    # Sorting

    def sort(
        self, by: Any = None, desc: bool = False, alpha: bool = False, *, by_score: Any = None, **limits: Any
    ) -> Self:
        """Return the collection in an order. The last call counts.

        Args:
            by: as for :meth:`CollectionManager.sort`; also the field of a class.
            desc: whether to sort in descending order.
            alpha: whether to compare as text.
            by_score: a sorted set field of an object, or the name of a key, whose scores give the order (with ``-``
                before it: descending). Objects without a score are before all others.
            **limits: ``start`` and ``num``: the position of the first item and the number of items of whole results.

        Raises:
            ValueError: If both ``by`` and ``by_score`` are given, or ``by_score`` is of another kind.
            WrongTenantError: If the field belongs to another tenant.
        """
        if by_score is None:
            return super().sort(by, desc, alpha, **limits)
        if by is not None:
            raise ValueError("sort takes by or by_score, not both")
        clone = super().sort(None, desc, alpha, **limits)
        if isinstance(by_score, RedisField):
            key = bound_key(by_score, ("zset",), self._at(), "sort by_score")
        elif isinstance(by_score, str):
            desc = desc or by_score.startswith("-")
            key = own_key(self._prefix(), by_score.removeprefix("-"))
        else:
            raise ValueError(  # noqa: TRY004 - limpyd's type
                f"by_score takes a sorted set field of an object, or the name of a key, not a {type(by_score).__name__}"
            )
        clone._order = attrs.evolve(cast("Order", clone._order), scores=key, desc=desc)
        return clone

    # Storing

    def _of_list(self, key: str, size: int) -> Self:
        clone = type(self)(self.model)
        clone.place(self._at())
        clone._filters, clone._pks, clone._intersected = [], [], []
        clone._shape = self._shape
        clone._stored = _Stored(key, size)
        return clone

    def _store(self, key: str | None = None, ttl: int | None = DEFAULT_STORE_TTL) -> Operation[Self]:
        """Store the pks as a list in Redis, in this collection's order, and return the collection of that list.

        Args:
            key: the key of the list, within the key prefix; any value there is replaced. None: a new key.
            ttl: seconds until the list expires; None: it does not expire.

        Raises:
            ValueError: If ``ttl`` is less than 1.
        """
        if ttl is not None and ttl < 1:
            raise ValueError(
                f"a stored collection is kept for at least 1 second, or with ttl=None for good, not for {ttl}"
            )
        if key is None:
            key = make_key(self._storage, "__collection__", "store", uuid.uuid4().hex)
        target = own_key(self._prefix(), key)
        place = yield from self._source()
        size = yield from evaluation.stored(self._storage, place, self._order or OWN, target, ttl)
        return self._of_list(target, size)

    store, astore = twins(_store)

    def _from_stored(self, key: str) -> Operation[Self]:
        """Return the collection of a stored list, in its order.

        An evaluation after the list has expired raises ``DoesNotExist``. If the list does not exist now, the collection is
        empty.

        Args:
            key: the key of the list, within the key prefix.

        Raises:
            ValueError: If this collection is already that of a stored list.
        """
        if self._stored is not None:
            raise ValueError(f"this collection is the stored one of {self._stored.key!r} already: start with a new one")
        target = own_key(self._prefix(), key)
        clone = self._clone()
        clone._stored = _Stored(target, (yield Command("LLEN", target)))
        return clone

    from_stored, afrom_stored = twins(_from_stored)

    @property
    def stored_key(self) -> str | None:
        """The key of the stored list, including the key prefix; None for a collection that is not stored."""
        return None if self._stored is None else self._stored.key

    def _stored_key_exists(self) -> Operation[bool]:
        """Return whether the stored list exists.

        Raises:
            ValueError: If this collection is not that of a stored list.
        """
        if self._stored is None:
            raise ValueError("this collection is not a stored one: see store() and from_stored()")
        return bool((yield Command("EXISTS", self._stored.key)))

    stored_key_exists, astored_key_exists = twins(_stored_key_exists)
