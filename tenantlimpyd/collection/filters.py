"""Filters: from ``field__prefix__suffix=value`` to the key of the set of pks that match."""

from __future__ import annotations

from typing import Any

import attrs

from tenantlimpyd.exceptions import ImplementationError, shown
from tenantlimpyd.fields.pk import PKField
from tenantlimpyd.indexes import BaseIndex

__all__ = ["ParsedFilter", "parse"]


@attrs.frozen
class ParsedFilter:
    """One filter on an indexed field.

    Attributes:
        index: what answers it.
        suffix: what follows the field's name, without the index's prefix; None for plain equality.
        value: what to look for, transformed already where the index transforms.
    """

    index: BaseIndex
    suffix: str | None
    value: Any

    def key(self, storage: str) -> str:
        """Return the key of the set of pks that match, for a model's storage name in a database."""
        return self.index.storage_key(storage, self.value, transform_value=False)


def parse(model: Any, name: str, value: Any) -> ParsedFilter | str:
    """Parse one filter.

    Args:
        model: the model class.
        name: the keyword: ``field``, ``field__eq``, ``field__prefix``, ``pk``...
        value: its value.

    Returns:
        The filter; for the pk, the pk as text.

    Raises:
        AttributeError: the model has no such field.
        ImplementationError: the field is not indexed, or none of its indexes takes this filter.
    """
    field_name, _, rest = name.partition("__")
    suffix = rest or None
    field = model.get_class_field(field_name)
    if isinstance(field, PKField):
        if suffix not in (None, "eq"):
            raise ImplementationError(f"the pk can be filtered by equality only, not by {shown(suffix)}")
        return field.normalize(value)
    if not field.indexable:
        raise ImplementationError(
            f"the field {field_name!r} of {model.__name__} can't be filtered: it is not indexable. Add indexable=True, and "
            "store the values of existing objects again."
        )
    for index in field.indexes:
        if index.can_handle_suffix(suffix):
            if value is None:
                raise ImplementationError(f"{name}=None finds nothing: a field without a value is in no index")
            return ParsedFilter(index, index.remove_prefix(suffix), value)
    raise ImplementationError(
        f"no index of the field {field_name!r} of {model.__name__} takes the filter {shown(name)}"
    )
