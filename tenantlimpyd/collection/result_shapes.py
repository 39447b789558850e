"""What a collection's items are, and how they are made of what was read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from tenantlimpyd._registry.placement import Placement
from tenantlimpyd.collection.evaluation import Column
from tenantlimpyd.fields.instance_hash import InstanceHashField
from tenantlimpyd.fields.pk import PKField

__all__ = ["Fetched", "Objects", "PrimaryKeys", "Shape", "Values", "columns_of"]


@attrs.frozen
class Shape:
    """What items are.

    Attributes:
        live: whether pks that are in an index only are left out.
        columns: the values read for each object in the same round trip; None: only its pk.
        ordered: whether whole results come in order too, where :meth:`sort` was not called.
    """

    live: bool = False
    columns: tuple[Column, ...] | None = None
    ordered: bool = False

    def items(self, model: Any, placement: Placement, found: Sequence[Any]) -> list[Any]:
        """Return the items for pks; for rows, where there are columns."""
        raise NotImplementedError


@attrs.frozen
class PrimaryKeys(Shape):
    """Pks, as text."""

    def items(self, model: Any, placement: Placement, found: Sequence[Any]) -> list[Any]:  # noqa: ARG002
        """Return the pks."""
        return list(found)


@attrs.frozen
class Objects(Shape):
    """Objects."""

    def items(self, model: Any, placement: Placement, found: Sequence[Any]) -> list[Any]:
        """Return an object for each pk."""
        return [model._placed(placement, pk, connected=self.live) for pk in found]


@attrs.frozen
class Fetched(Shape):
    """Objects that carry values of some of their fields, as they were when the collection was evaluated."""

    def items(self, model: Any, placement: Placement, found: Sequence[Any]) -> list[Any]:
        """Return an object for each row, whose first column is its pk."""
        names = [column.name for column in (self.columns or ())[1:]]
        made = []
        for pk, *values in found:
            instance = model._placed(placement, pk, connected=self.live)
            instance.fetched = dict(zip(names, values, strict=True))
            for name, value in instance.fetched.items():
                field = model.get_class_field(name)
                if field.indexable:  # the next write of it needn't ask what its index holds
                    instance._remember(field.slot(instance.key_base), value)
            made.append(instance)
        return made


@attrs.frozen
class Values(Shape):
    """Values of fields: a dictionary for each object; a tuple; or one value alone.

    Attributes:
        kind: ``dict``, ``tuple`` or ``flat``.
    """

    kind: str = "dict"

    def items(self, model: Any, placement: Placement, found: Sequence[Any]) -> list[Any]:  # noqa: ARG002
        """Return the values of each row."""
        columns = self.columns or ()
        for at, column in enumerate(columns):
            if column.kind == "score":
                found = [(*row[:at], _score(row[at]), *row[at + 1 :]) for row in found]
        if self.kind == "flat":
            return [row[0] for row in found]
        if self.kind == "tuple":
            return list(found)
        names = [column.name for column in columns]
        return [dict(zip(names, row, strict=True)) for row in found]


def _score(text: str | None) -> str | None:
    return str(float(text)) if text else text


def columns_of(model: Any, names: Sequence[str], *, what: str) -> tuple[Column, ...]:
    """Return what to read for fields of one value; for all of them where no name is given.

    Args:
        model: the model class.
        names: their names; ``pk`` is one.
        what: the method that was called, for messages.

    Raises:
        ValueError: If a field is unknown or has many values.
    """
    if not names:
        names = [name for name, field in model._class_fields.items() if field.single_value]
    return tuple(_column(model, name, what) for name in names)


def _column(model: Any, name: str, what: str) -> Column:
    if not isinstance(name, str) or not model.has_field(name):
        raise ValueError(f"{what} takes names of fields of {model.__name__}, not {name!r}: {', '.join(model._fields)}")
    field = model.get_class_field(name)
    if isinstance(field, PKField):
        return Column(name, "pk")
    if not field.single_value:
        raise ValueError(f"{what} can't read {name!r} of {model.__name__}: it holds many values, not one")
    return Column(name, "hash" if isinstance(field, InstanceHashField) else "string")
