"""What a collection can be intersected with: pks, keys, fields of many values, and other collections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import attrs

from tenantlimpyd._registry.placement import Placement
from tenantlimpyd.collection.manager import CollectionManager
from tenantlimpyd.collection.operands import ReadValues, check_same_database, resolved, right_hand
from tenantlimpyd.collection.plan import Keyed, Members, Place
from tenantlimpyd.collection.sort_options import own_key
from tenantlimpyd.exceptions import shown
from tenantlimpyd.fields.base import RedisField
from tenantlimpyd.fields.multi_value import MultiValuesField
from tenantlimpyd.indexes import stored_text
from tenantlimpyd.indexes.pk_sources import Whole

__all__ = ["Operand", "RawFilter", "bound_key", "operand", "place_of", "values_of"]


@attrs.frozen
class RawFilter:
    """A Redis key that holds pks: a set, a sorted set or a list.

    Attributes:
        key: the key; the key prefix of the database is added if it does not start with it.
    """

    key: str


@attrs.frozen(eq=False)
class _Pks:
    values: tuple[Any, ...]


Operand: TypeAlias = Whole | Keyed | _Pks | CollectionManager[Any, Any]


def operand(given: Any, placement: Placement) -> Operand:
    """Return the operand for an argument of ``intersect``.

    Raises:
        ValueError: If the argument is of a kind that can't be intersected.
        WrongTenantError: If it belongs to another tenant.
        ImplementationError: If it is in another database.
    """
    prefix = str(placement.database.key_prefix)
    if isinstance(given, CollectionManager):
        check_same_database(placement, given._at(), "the collection given to intersect")
        return given
    if isinstance(given, RedisField):
        key = bound_key(given, ("set", "zset", "list"), placement, "intersect")
        return Keyed(key) if given.kind == "list" else Whole(key, given.kind)  # type: ignore[attr-defined]
    if isinstance(given, RawFilter | str):
        return Keyed(own_key(prefix, given.key if isinstance(given, RawFilter) else given))
    if isinstance(given, list | tuple | set | frozenset):
        values = (right_hand(each, placement, "intersect") for each in given)
        return _Pks(tuple(each if isinstance(each, RedisField) else stored_text(each) for each in values))
    raise ValueError(
        f"intersect takes lists, tuples and sets of pks, names of keys, set, list and sorted set fields of objects, and "
        f"collections, not {shown(given)}"
    )


def bound_key(field: RedisField, kinds: Sequence[str], placement: Placement, what: str) -> str:
    """Return the key of an object's field of many values.

    Raises:
        ValueError: If it is a field of a class, or of another kind.
        WrongTenantError: If it belongs to another tenant.
    """
    kind = field.kind if isinstance(field, MultiValuesField) else None
    if kind not in kinds:
        raise ValueError(f"{what} takes fields of the kinds {', '.join(kinds)}, not {field!r}")
    if field._instance is None:
        raise ValueError(f"{what} takes the field of an object, not {field!r} of the class {field._model.__name__}")
    check_same_database(placement, field._instance._placement, f"the field {field.name!r} given to {what}")
    return field.key


def values_of(given: Operand) -> list[Any]:
    """Return the values of an operand, among them fields that are read before the evaluation."""
    if isinstance(given, CollectionManager):
        return list(given._right_hands())
    return list(given.values) if isinstance(given, _Pks) else []


def place_of(given: Operand, known: ReadValues) -> Place:
    """Return the source of an operand's pks."""
    if isinstance(given, CollectionManager):
        return given._place(known)
    return Members(tuple(dict.fromkeys(resolved(given.values, known)))) if isinstance(given, _Pks) else given
