"""Indexes whose entries depend on several fields of an object.

A change of any of the fields computes the entries again, from all their values, in the same atomic step. The other fields
carry a :class:`Companion`, which makes them indexed fields, so that their writes go that way.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeAlias

import attrs

from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.indexes.base import BaseIndex
from tenantlimpyd.indexes.entries import Claim, Entry, stored_text
from tenantlimpyd.indexes.pk_sources import Source

__all__ = ["AtSubkey", "Companion", "Held", "Row", "Spanning", "rows_of", "turned"]


@attrs.frozen
class AtSubkey:
    """One value of a hash, with its sub-key."""

    subkey: Any
    value: Any


Row: TypeAlias = Mapping[str, Any]
"""The values of fields by their names, of a hash an :class:`AtSubkey`; None where a field has none."""

Held: TypeAlias = Mapping[str, Any]
"""The same, with a tuple of values for a field of many."""


def rows_of(held: Held) -> list[Row]:
    """Return every choice of one value of each field; none where a field of many has none."""
    choices = [values if isinstance(values, tuple | list) else (values,) for values in held.values()]
    return [dict(zip(held, values, strict=True)) for values in itertools.product(*choices)]


def turned(held: Held, turns: Iterable[tuple[Any, Any, tuple[Any, ...], Any]]) -> dict[str, Any]:
    """Return the values of fields after some of them became others, given as an atomic change has it (``ValueChange``)."""
    after = dict(held)
    for _, field, subkeys, value in turns:
        if field.name not in after:
            continue
        if not subkeys:
            after[field.name] = value
            continue
        subkey = stored_text(subkeys[0])
        others = tuple(each for each in after[field.name] if each.subkey != subkey)
        after[field.name] = others if value is None else (*others, AtSubkey(subkey, value))
    return after


class Spanning(BaseIndex):
    """An index of one field together with others of the same object. Of fields of many values, each value is indexed; of
    hashes, each value with its sub-key.

    Subclasses override :meth:`other_names` and :meth:`row_entries`, and :meth:`row_claims` where they keep something
    unique.
    """

    def spanning(self) -> list[Spanning]:
        """Return this index."""
        return [self]

    @classmethod
    def spanning_classes(cls) -> list[type[Spanning]]:
        """Return this class."""
        return [cls]

    @classmethod
    def other_names(cls) -> tuple[str, ...]:
        """Return the names of the other fields."""
        return ()

    @property
    def injective(self) -> bool:
        """Whether different values never share an entry: ``a:b`` and ``c`` have that of ``a`` and ``b:c``."""
        return False

    @property
    def filtered_fields(self) -> tuple[str, ...]:
        """The names of all its fields, the one that has the index first."""
        return self.field.name, *self.other_names()

    def entries(self, name: str, pk: str, *args: Any) -> set[Entry]:  # noqa: ARG002 - one value is not enough
        """Return nothing: what it keeps depends on more than one value, see :meth:`row_entries`."""
        return set()

    def row_entries(self, name: str, pk: str, row: Row) -> set[Entry]:
        """Return what the index keeps for the values of an object.

        Args:
            name: the model's storage name with the database's prefix.
            pk: the object's.
            row: the values of ``filtered_fields``.
        """
        raise NotImplementedError

    def all_entries(self, name: str, pk: str, held: Held) -> set[Entry]:
        """Return what the index keeps for all values of an object; arguments as for :meth:`row_entries`."""
        return set().union(*(self.row_entries(name, pk, row) for row in rows_of(held)))

    def row_claims(self, name: str, row: Row) -> list[Claim]:  # noqa: ARG002 - for subclasses
        """Return what no other object may have; arguments as for :meth:`row_entries`."""
        return []

    def check_row(self, row: Row) -> None:
        """Raise an error if the values of the fields can't be indexed, before they are stored.

        Raises:
            ValueError: If they can't be indexed.
        """

    def joint_source(self, name: str, values: Mapping[str, tuple[Any, ...]]) -> Source:
        """Return where the pks are of objects with values of all the fields.

        Args:
            name: the model's storage name with the database's prefix.
            values: by field, its value alone in a tuple; the one of this index's field transformed already.
        """
        raise NotImplementedError

    @classmethod
    def checked_model(cls, model: Any, field: Any) -> None:
        """Raise where a model doesn't have the fields this index needs.

        Raises:
            ImplementationError: If a field is missing, is named twice, or can hold more than one value.
        """
        what = f"the {cls.__name__} of the field {field.name!r} of {model.__name__}"
        others = cls.other_names()
        if not others:
            raise ImplementationError(f"{what} names no other field")
        if len({field.name, *others}) != len(others) + 1:
            raise ImplementationError(
                f"{what} must name other fields than its own, each once, and has {', '.join(others)}"
            )
        for name in others:
            if not model.has_field(name):
                raise ImplementationError(f"{what} needs the field {name!r}, which the model does not have")
        for each in (field, *map(model.get_class_field, others)):
            if not each.many_values and not hasattr(each, "slot"):
                raise ImplementationError(
                    f"{what} can't be over such a field: {each.name!r} is a {type(each).__name__}"
                )


class Companion(BaseIndex):
    """What the other fields of a spanning index carry: it keeps nothing itself.

    Attributes:
        owner: the name of the field that has the index.
        number: which one it is, of those the field has.
    """

    handle_uniqueness: ClassVar[bool] = False
    owner: ClassVar[str]
    number: ClassVar[int]

    @classmethod
    def of(cls, owner: str, number: int, index: type[Spanning]) -> type[Companion]:
        """Return the class for the other fields of an index, the ``number``-th of the field ``owner``."""
        body = {"owner": owner, "number": number, "filter_single_field": index.filter_single_field}
        return type(cls.__name__, (cls,), {"__module__": cls.__module__, **body})

    @property
    def index(self) -> Spanning:
        """The index."""
        owner = self.field._model.get_class_field(self.owner)
        own: list[Spanning] = [each for index in owner.indexes for each in index.spanning() if each.field is owner]
        return own[self.number]

    def spanning(self) -> list[Spanning]:
        """Return the index."""
        return [self.index]

    @property
    def filtered_fields(self) -> tuple[str, ...]:
        """The names of all fields of the index."""
        return self.index.filtered_fields

    def joint_source(self, name: str, values: Mapping[str, tuple[Any, ...]]) -> Source:
        """Return what the index says."""
        return self.index.joint_source(name, values)

    def leaves(self) -> list[BaseIndex]:
        """Return nothing: it has no keys."""
        return []

    def can_handle_suffix(self, suffix: str | None) -> bool:
        """Return whether the filter can be one of those that the index answers together."""
        return not self.filter_single_field and suffix in self.index.handled_suffixes

    @property
    def injective(self) -> bool:
        """Whether different values never share an entry: see the index."""
        return False

    def entries(self, name: str, pk: str, *args: Any) -> set[Entry]:  # noqa: ARG002 - it keeps none
        """Return nothing."""
        return set()

    def source(self, name: str, suffix: str | None, value: Any, *subkeys: Any) -> Source:
        """Raise: this field has to be filtered together with others.

        Raises:
            ImplementationError: Always.
        """
        return self.index.source(name, suffix, value, *subkeys)
