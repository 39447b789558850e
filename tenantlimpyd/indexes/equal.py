"""The index for equality: one set of pks for each value."""

from __future__ import annotations

from typing import Any, ClassVar

from tenantlimpyd.indexes.base import BaseIndex, Claim, Entry
from tenantlimpyd.indexes.pk_sources import AnyOf, Nothing, Source, Whole

__all__ = ["EqualIndex"]


class EqualIndex(BaseIndex):
    """Finds objects by a field's exact value: ``field=value``, ``field__eq=value``, ``field__in=[value, ...]``.

    A set for each value: ``{name}:{field}[:sub-key][:prefix][:key]:{value}``.
    """

    handled_suffixes: ClassVar[frozenset[str | None]] = frozenset({None, "eq", "in"})

    def entries(self, name: str, pk: str, *args: Any) -> set[Entry]:
        """Return the one entry of a value."""
        return {Entry(self.storage_key(name, *args), pk)}

    def source(self, name: str, suffix: str | None, value: Any, *subkeys: Any) -> Source:
        """Return the set of a value, or of any of several."""
        if suffix != "in":
            return Whole(self.storage_key(name, *subkeys, value, transform_value=False))
        if not (values := list(dict.fromkeys(value))):
            return Nothing()
        return AnyOf(tuple(Whole(self.storage_key(name, *subkeys, each, transform_value=False)) for each in values))

    def claim(self, name: str, *args: Any) -> Claim:
        """Return how to tell that no other object has a value: the set of its pks."""
        return Claim(self.storage_key(name, *args), ("SMEMBERS",), args[-1])
