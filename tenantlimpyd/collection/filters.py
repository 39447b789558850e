"""Parse filters such as ``field__sub-key__prefix__suffix=value`` to the sources of the pks that match."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import attrs

from tenantlimpyd._registry.placement import Placement
from tenantlimpyd.collection.operands import ReadValues, resolved, right_hand
from tenantlimpyd.exceptions import ImplementationError, shown
from tenantlimpyd.fields.base import RedisField
from tenantlimpyd.fields.hash import HashField
from tenantlimpyd.fields.pk import PKField
from tenantlimpyd.indexes import BaseIndex
from tenantlimpyd.indexes.pk_sources import AnyOf, Nothing, Source

__all__ = ["ParsedFilter", "parse", "sources_of"]

_JOINT_SUFFIXES = (None, "eq", "in")


@attrs.frozen
class ParsedFilter:
    """One filter on an indexed field.

    Attributes:
        index: the index that answers this filter alone; None: only an index of several fields accepts it.
        suffix: the words after the field's name and sub-key, including the index's prefix.
        extra_field_parts: the sub-key, for hash fields.
        value: the value to find. A bound field is read when the collection is evaluated.
        field: the field's declaration.
    """

    index: BaseIndex | None
    suffix: str | None
    extra_field_parts: tuple[str, ...]
    value: Any
    field: Any

    def source(self, storage: str, known: ReadValues) -> Source:
        """Return the source of the pks that match, for a model's storage name."""
        index = self.index
        if index is None:
            raise ImplementationError(
                f"{self.field.name!r} can only be filtered together with the other fields of its index: "
                f"{' or '.join(sorted({', '.join(each.filtered_fields) for each in _joint(self.field)}))}"
            )
        value = resolved(self.value, known)
        if value is None:
            return Nothing()
        return index.source(storage, index.remove_prefix(self.suffix), value, *self.extra_field_parts)


def _joint(field: Any) -> Iterator[Any]:
    """Return the indexes of a field that answer filters of several fields together."""
    return (each for index in field.indexes for each in index.spanning() if not each.filter_single_field)


def parse(model: Any, name: str, value: Any, placement: Placement) -> ParsedFilter | str | RedisField:
    """Parse one filter.

    Args:
        model: the model class.
        name: the keyword: ``field``, ``field__eq``, ``field__prefix``, ``hashfield__subkey__in``, ``pk``...
        value: its value; for ``in``, several of them.
        placement: the placement of the collection.

    Returns:
        The filter; for the pk, the pk as text, or the bound field that holds it.

    Raises:
        AttributeError: If the model has no such field.
        ImplementationError: If the field is not indexed, or none of its indexes accepts the filter.
        ValueError: If the value is a field without a single value: one of a class, or of many values.
        WrongTenantError: If the value is a field or an object of another tenant.
    """
    field_name, *rest = name.split("__")
    field = model.get_class_field(field_name)
    if isinstance(field, PKField):
        if rest not in ([], ["eq"]):
            raise ImplementationError(f"the pk can be filtered by equality only, not by {shown('__'.join(rest))}")
        value = right_hand(value, placement, name)
        return value if isinstance(value, RedisField) else field.normalize(value)
    if not field.indexable:
        raise ImplementationError(
            f"the field {field_name!r} of {model.__name__} can't be filtered: it is not indexable. Add indexable=True, and "
            "store the values of existing objects again."
        )
    subkeys: tuple[str, ...] = ()
    if isinstance(field, HashField):
        if not rest or not rest[0]:
            raise ImplementationError(
                f"{field_name!r} of {model.__name__} is a hash: write {field_name}__KEY=value to filter by one of its keys"
            )
        subkeys, rest = (rest[0],), rest[1:]
    suffix = "__".join(rest) or None
    takers = [index for index in field.indexes if index.can_handle_suffix(suffix)]
    if not takers:
        raise ImplementationError(
            f"no index of the field {field_name!r} of {model.__name__} takes the filter {shown(name)}"
        )
    if value is None:
        raise ImplementationError(f"{name}=None finds nothing: a field without a value is in no index")
    alone = next((index for index in takers if getattr(index, "filter_single_field", True)), None)
    if (
        takers[0].remove_prefix(suffix) == "in"
    ):  # made a tuple, since an iterator would be empty at the second evaluation
        value = tuple(_operand(field, each, placement, name) for each in value)
    else:
        value = _operand(field, value, placement, name)
    return ParsedFilter(alone, suffix, subkeys, value, field)


def _operand(field: RedisField, value: Any, placement: Placement, name: str) -> Any:
    operand = right_hand(value, placement, name)
    field.check_operand(value, placement, name)
    return operand


# Indexes of several fields

Group: TypeAlias = tuple[Any, tuple[ParsedFilter, ...]]


def sources_of(filters: Sequence[ParsedFilter], storage: str, known: ReadValues) -> list[Source]:
    """Return the sources of the pks that match all filters, as few as the indexes allow.

    Filters on all fields of an index of several fields are answered by it at once. Such an index has
    ``filter_single_field = False``, the names of its fields in ``filtered_fields``, and ``joint_source(storage, parts)``,
    which takes for each name the value and then the sub-key.

    Raises:
        ImplementationError: If a filter needs an index of several fields, and filters on its other fields are missing.
    """
    found: list[Source] = []
    answered: set[int] = set()
    for index, group in _groups(filters):
        answered.update(map(id, group))
        choices = [[(each, value) for value in _values(each, known)] for each in group]
        sources = [
            index.joint_source(storage, {each.field.name: (value, *each.extra_field_parts) for each, value in choice})
            for choice in itertools.product(*choices)
        ]
        found.append(sources[0] if len(sources) == 1 else AnyOf(tuple(sources)) if sources else Nothing())
    return [*found, *(each.source(storage, known) for each in filters if id(each) not in answered)]


def _values(each: ParsedFilter, known: ReadValues) -> Iterable[Any]:
    value = resolved(each.value, known)
    values = value if isinstance(value, tuple) else (value,)
    return [one for one in dict.fromkeys(values) if one is not None]


def _groups(filters: Sequence[ParsedFilter]) -> Iterator[Group]:
    """Yield each index of several fields and the filters it answers, but no index whose fields are part of another's."""
    by_field: dict[str, list[ParsedFilter]] = {}
    indexes: dict[frozenset[str], Any] = {}
    for each in filters:
        joint = [
            index
            for index in _joint(each.field)
            if (index.can_handle_suffix(each.suffix) if index.field is each.field else each.suffix in _JOINT_SUFFIXES)
        ]
        if joint:
            by_field.setdefault(each.field.name, []).append(each)
        indexes.update((frozenset(index.filtered_fields), index) for index in joint)
    covered = [names for names in indexes if names <= by_field.keys()]
    for names in covered:
        if not any(names < other for other in covered):
            index = indexes[names]
            for choice in itertools.product(*(by_field[name] for name in index.filtered_fields)):
                yield index, choice
