"""Whether two model classes say the same, so that one may stand for the other."""

from __future__ import annotations

import contextlib
from typing import Any

from tenantlimpyd.fields.base import RedisField

__all__ = ["same_model"]


def same_model(one: Any, other: Any) -> bool:
    """Return whether two classes come of the same statement run twice to the same effect, as when a module is reloaded.

    Classes made by one statement in a function or a loop can differ in what they close over: they are not the same then.

    Args:
        one: a model class.
        other: another one.
    """
    return (
        one.__name__ == other.__name__
        and [base.__qualname__ for base in one.__bases__] == [base.__qualname__ for base in other.__bases__]
        and list(one._class_fields) == list(other._class_fields)
        and all(map(_same_field, one._class_fields.values(), other._class_fields.values()))
        and _same_body(one, other)
    )


def _same_field(one: RedisField, other: RedisField) -> bool:
    return (
        type(one).__qualname__ == type(other).__qualname__
        and (one.indexable, one.unique, one.lockable) == (other.indexable, other.unique, other.lockable)
        and one.relation == other.relation
        and _same_value(getattr(one, "default", None), getattr(other, "default", None))
        and len(one.index_classes) == len(other.index_classes)
        and all(map(_same_index, one.index_classes, other.index_classes))
    )


def _same_index(one: Any, other: Any) -> bool:
    return one is other or (one.__qualname__ == other.__qualname__ and _same_body(one, other))


def _same_body(one: type, other: type) -> bool:
    """Compare what two class bodies wrote, fields and what Python adds left out."""
    mine, theirs = _written(one), _written(other)
    return mine.keys() == theirs.keys() and all(_same_value(mine[key], theirs[key]) for key in mine)


_ADDED = frozenset(
    {"__module__", "__dict__", "__weakref__", "__firstlineno__", "__static_attributes__", "__annotate_func__"}
)


def _written(cls: type) -> dict[str, Any]:
    fields = getattr(cls, "_class_fields", {})
    own_marks = {"_registered", "_own_fields", "_class_fields", "_redis_attr_pk", "pk", *fields}
    own_marks.update(f"_redis_attr_{name}" for name in fields)
    return {key: value for key, value in vars(cls).items() if key not in _ADDED and key not in own_marks}


def _same_value(one: Any, other: Any, under: frozenset[tuple[int, int]] = frozenset()) -> bool:
    """Compare two values; functions by their code and what they close over, which may be themselves (``under``)."""
    pair = (id(one), id(other))
    if one is other or pair in under:
        return True
    under |= {pair}
    if type(one) is not type(other):
        return False
    if isinstance(one, staticmethod | classmethod):
        return _same_value(one.__func__, other.__func__, under)
    if isinstance(one, property):
        return all(_same_value(getattr(one, part), getattr(other, part), under) for part in ("fget", "fset", "fdel"))
    if hasattr(one, "__code__"):
        return (
            one.__code__ == other.__code__
            and _same_value(one.__defaults__, other.__defaults__, under)
            and _same_value(one.__kwdefaults__, other.__kwdefaults__, under)
            and _same_value(_closed_over(one), _closed_over(other), under)
        )
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(
            _same_value(mine, theirs, under) for mine, theirs in zip(one, other, strict=True)
        )
    return _equal(one, other)


def _closed_over(function: Any) -> tuple[Any, ...]:
    """Return the values a function closes over; ``super()`` closes over the class itself, which is compared already."""
    values = []
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # a cell that nothing was put into yet
            values += [] if name == "__class__" else [cell.cell_contents]
    return tuple(values)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, type):
        return bool(one.__qualname__ == other.__qualname__)
    return bool(one == other)
