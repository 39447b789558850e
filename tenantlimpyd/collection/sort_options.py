"""The options of ``sort``, and keys as users give them."""

from __future__ import annotations

from typing import Any

from tenantlimpyd.collection.order import Order
from tenantlimpyd.exceptions import ImplementationError, shown
from tenantlimpyd.fields.base import RedisField
from tenantlimpyd.fields.instance_hash import InstanceHashField
from tenantlimpyd.fields.pk import PKField
from tenantlimpyd.keys import make_key

__all__ = ["own_key", "sort_order"]


def own_key(prefix: str, key: str) -> str:
    """Return a key that a user gives, in a database's keyspace: under its prefix, which may be there already."""
    return key if key.startswith(prefix) else prefix + key


def sort_order(
    model: Any,
    prefix: str,
    by: Any = None,
    *,
    desc: bool = False,
    alpha: bool = False,
    start: int | None = None,
    num: int | None = None,
    **others: Any,
) -> Order:
    """Return the order that options of ``sort`` mean.

    Raises:
        TypeError: If an option is unknown.
        ValueError: If only one of ``start`` and ``num`` is given.
        ImplementationError: If it sorts by a field, and the model's keys contain a ``*``.
    """
    if others:
        raise TypeError(
            f"sort takes by, desc, alpha, start and num, not {', '.join(sorted(others))}: see values() to read other values, "
            "and store() to keep the result"
        )
    if (start is None) != (num is None):
        raise ValueError("sort takes both start and num, or neither")
    if isinstance(by, RedisField):
        by = by.name
    if by is not None and not isinstance(by, str):
        raise TypeError(f"sort takes the name of a field, or the field, not a {type(by).__name__}")
    if by is not None and by.startswith("-"):
        by, desc = by[1:], True
    return Order(
        by=_pattern(model, prefix, by),
        desc=desc,
        alpha=alpha,
        start=start or 0,
        number=-1 if num is None else num,
    )


def _sortable(model: Any) -> str:
    names = [name for name in model._fields if model.get_class_field(name).single_value]
    return f"it can be sorted by {', '.join(names)}"


def _pattern(model: Any, prefix: str, by: str | None) -> str | None:
    if by is None or by == "nosort":
        return by
    if not model.has_field(by):
        if "*" in by:
            return own_key(prefix, by)
        raise ImplementationError(
            f"{model.__name__} has no field {shown(by)} to sort by: {_sortable(model)}, 'nosort', or a pattern with a *"
        )
    field = model.get_class_field(by)
    if isinstance(field, PKField):
        return None
    if not field.single_value:
        raise ImplementationError(
            f"{model.__name__} can't be sorted by {by!r}, a {type(field).__name__}, which has many values: {_sortable(model)}"
        )
    storage = model.storage_name(prefix)
    if "*" in storage:
        raise ImplementationError(
            f"SORT can't find the fields of {model.__name__}: its keys start with {storage!r}, and SORT puts pks where the "
            "first * is"
        )
    if isinstance(field, InstanceHashField):
        return f"{make_key(storage, '*', 'hash')}->{field.name}"
    return make_key(storage, "*", field.name)
