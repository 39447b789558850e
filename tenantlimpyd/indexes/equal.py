"""The index for equality: one set of pks for each value."""

from __future__ import annotations

from typing import Any, ClassVar

from tenantlimpyd.indexes.base import BaseIndex, Entry
from tenantlimpyd.keys import make_key

__all__ = ["EqualIndex"]


class EqualIndex(BaseIndex):
    """Finds objects by a field's exact value: ``field=value`` or ``field__eq=value``."""

    handled_suffixes: ClassVar[frozenset[str | None]] = frozenset({None, "eq"})

    def storage_key(self, name: str, *args: Any, transform_value: bool = True) -> str:
        """Return ``{name}:{field}[:sub-key][:prefix][:key]:{value}``."""
        *subkeys, value = args
        parts = [name, self.field.name, *map(self.field.from_python, subkeys)]
        parts += [part for part in (self.prefix, self.key) if part]
        return make_key(*parts, self.normalize_value(value, transform=transform_value))

    def entries(self, name: str, pk: str, *args: Any) -> set[Entry]:
        """Return the one entry of a value."""
        return {Entry(self.storage_key(name, *args), pk)}
