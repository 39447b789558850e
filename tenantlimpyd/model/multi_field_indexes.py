"""Fields that indexes of other fields need: checked, and made to take part, when a model class is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.indexes.multi_field import Companion

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tenantlimpyd.fields.base import RedisField

__all__ = ["join_fields", "parted"]


def parted(fields: Iterable[RedisField]) -> None:
    """Take from fields what a base's indexes over several fields made of them; a submodel joins its own again."""
    for field in fields:
        field.index_classes = [index for index in field.index_classes if not issubclass(index, Companion)]
        if field.joined:
            field.joined = field.indexable = False


def join_fields(model: Any) -> tuple[str, ...]:
    """Check a model's indexes over several fields, and let the fields take part in them.

    Returns:
        The names of the fields that have such an index.

    Raises:
        ImplementationError: an index needs a field that is not there, or not fit.
    """
    spanning = []
    for field in model._class_fields.values():
        for index in field.index_classes:
            index.checked_model(model, field)
        classes = [each for index in field.index_classes for each in index.spanning_classes()]
        spanning += [(field.name, number, index) for number, index in enumerate(classes)]
    named = {(owner, model.get_class_field(name).name) for owner, _, index in spanning for name in index.other_names()}
    for owner, other_name in sorted(named):
        if owner < other_name and (other_name, owner) in named:
            raise ImplementationError(
                f"indexes of the fields {owner!r} and {other_name!r} of {model.__name__} name each other: declare the index "
                "on one of the two fields, it answers filters by both"
            )
    for owner, number, index in spanning:
        for name in index.other_names():
            other = model.get_class_field(name)
            other.joined = not other.indexable or other.joined
            other.indexable = True
            other.index_classes.append(Companion.of(owner, number, index))
    return tuple(dict.fromkeys(owner for owner, _, _ in spanning))
