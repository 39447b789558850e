"""What every index is: configuration, normalisation, and the entries of a value."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from tenantlimpyd._abc import IndexedField
from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.indexes.entries import Claim, Entry, stored_text
from tenantlimpyd.indexes.maintenance import IndexMaintenance
from tenantlimpyd.indexes.pk_sources import Source
from tenantlimpyd.keys import make_key

__all__ = ["BaseIndex", "Claim", "Entry", "stored_text"]


class BaseIndex(IndexMaintenance):
    """An index of one field.

    :meth:`configure` an existing class, or subclass to make one: say which ``handled_suffixes`` it takes, and override

    - :meth:`entries`: what the index keeps for a value,
    - :meth:`source`: where the pks are that a filter asks for,
    - :meth:`claim`: how to tell that a unique value is taken (or set ``handle_uniqueness = False``),

    and with these :meth:`injective` where two values may share an entry without a transform. Keys begin with
    :meth:`base_key`. None of them talks to Redis. Class attributes:

    Attributes:
        handled_suffixes: what may follow the field's name (and prefix) in a filter; None stands for nothing.
        handle_uniqueness: whether the index can tell that a unique value is taken.
        filter_single_field: whether a filter on this field alone can be answered.
        supported_key_types: the kinds of the keys its entries are in, ``set`` and ``zset``.
        key: an additional part of the index's keys, to tell two indexes of a field apart.
        prefix: an additional part of keys *and* filters (``field__prefix__eq``).
        transform: changes a value before it is indexed: ``transform(value)`` or ``transform(index, value)``. Filters
            give the transformed value.
    """

    handled_suffixes: ClassVar[frozenset[str | None]] = frozenset()
    handle_uniqueness: ClassVar[bool] = True
    filter_single_field: ClassVar[bool] = True
    supported_key_types: ClassVar[frozenset[str]] = frozenset({"set"})
    key: ClassVar[str | None] = None
    prefix: ClassVar[str | None] = None
    transform: ClassVar[Callable[..., Any] | None] = None
    configurable_attrs: ClassVar[frozenset[str]] = frozenset(
        {"prefix", "transform", "handle_uniqueness", "key", "name"}
    )

    def __init__(self, field: IndexedField, parent: BaseIndex | None = None) -> None:
        """Make the index of a field.

        Args:
            field: its declaration.
            parent: the index this one is composed into: its key and transform come before this one's.
        """
        self.field = field
        self.parent = parent

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        transform = cls.__dict__.get("transform")
        if callable(transform) and not isinstance(transform, staticmethod | classmethod):
            cls.transform = staticmethod(transform) if _takes_value_alone(transform) else _as_method(transform)

    @classmethod
    def configure(cls, **options: Any) -> type[BaseIndex]:
        """Return a subclass with other class attributes.

        Args:
            **options: ``prefix``, ``transform``, ``handle_uniqueness``, ``key``, and ``name`` for the class itself.

        Raises:
            TypeError: If the index class does not have an option.
        """
        if unknown := sorted(options.keys() - cls.configurable_attrs):
            raise TypeError(
                f"{cls.__name__}.configure has no {', '.join(unknown)}; it takes {', '.join(sorted(cls.configurable_attrs))}"
            )
        name = options.pop("name", cls.__name__)
        return type(name, (cls,), {"__module__": cls.__module__, **options})

    def can_handle_suffix(self, suffix: str | None) -> bool:
        """Return whether a filter may end with ``suffix`` (the parts after the field's name, joined by ``__``)."""
        try:
            return self.remove_prefix(suffix) in self.handled_suffixes
        except ImplementationError:
            return False

    def remove_prefix(self, suffix: str | None) -> str | None:
        """Return ``suffix`` without this index's prefix; None where nothing is left.

        Raises:
            ImplementationError: If the suffix doesn't start with the prefix.
        """
        if not self.prefix:
            return suffix
        head, _, rest = (suffix or "").partition("__")
        if head != self.prefix:
            raise ImplementationError(f"{suffix!r} does not start with the prefix {self.prefix!r} of the index")
        return rest or None

    def transform_value(self, value: Any) -> Any:
        """Return what is indexed for ``value``."""
        if self.parent is not None:
            value = self.parent.transform_value(value)
        return value if self.transform is None else self.transform(value)

    def normalize_value(self, value: Any, *, transform: bool = True) -> str:
        """Return ``value`` as it stands in a key: transformed, then as the text Redis gets."""
        if transform:
            value = self.transform_value(value)
        return stored_text(self.field.from_python(value))

    @functools.cached_property
    def fixed_parts(self) -> tuple[str, ...]:
        """The parts of all keys of the index that follow the field's name and sub-key."""
        outer = self.parent.fixed_parts if self.parent is not None else ()
        return (*outer, *(part for part in (self.prefix, self.key) if part))

    def base_key(self, name: str, *subkeys: Any) -> str:
        """Return ``{name}:{field}[:sub-key][:keys of parents][:prefix][:key]``, which all keys of the index start with.

        Args:
            name: the model's storage name with the database's prefix.
            *subkeys: the sub-key, for fields that have them.
        """
        if not subkeys and not self.fixed_parts:  # most of them
            return f"{name}:{self.field.name}"
        return make_key(name, self.field.name, *map(self.field.from_python, subkeys), *self.fixed_parts)

    @property
    def ends_with_value(self) -> bool:
        """Whether keys of the index end with a value; otherwise they are :meth:`base_key`."""
        return True

    def leaves(self) -> list[BaseIndex]:
        """Return the indexes that have keys: this one, or those it is composed of."""
        return [self]

    def storage_key(self, name: str, *args: Any, transform_value: bool = True) -> str:
        """Return the key for a value.

        Args:
            name: the model's storage name with the database's prefix.
            *args: the value, after the sub-key for fields that have them.
            transform_value: False where the value already is transformed, as in filters.
        """
        *subkeys, value = args
        return f"{self.base_key(name, *subkeys)}:{self.normalize_value(value, transform=transform_value)}"

    # Several fields

    def spanning(self) -> list[Any]:
        """Return the indexes over several fields whose entries depend on this index's field; for most, none."""
        return []

    @classmethod
    def checked_model(cls, model: Any, field: Any) -> None:
        """Hook: called for each field that has this index when its model is made; raises where it can't have it."""

    @classmethod
    def spanning_classes(cls) -> list[type[Any]]:
        """Return the classes of the indexes over several fields that it is, or is composed of; for most, none."""
        return []

    # What it keeps

    def check_value(self, *args: Any) -> None:
        """Raise an error if a value can't be indexed, before it is stored; the arguments are those of :meth:`entries`.

        Raises:
            ValueError: If the value can't be indexed.
        """

    @property
    def injective(self) -> bool:
        """Whether two different values never share an entry."""
        return not self.transforms

    @property
    def transforms(self) -> bool:
        """Whether values are changed before they are indexed."""
        return self.transform is not None or (self.parent is not None and self.parent.transforms)

    def entries(self, name: str, pk: str, *args: Any) -> set[Entry]:
        """Return what the index keeps for a value of the object ``pk``; arguments as for :meth:`storage_key`."""
        raise NotImplementedError

    def source(self, name: str, suffix: str | None, value: Any, *subkeys: Any) -> Source:
        """Return where the pks of objects are that match a filter.

        Args:
            name: the model's storage name with the database's prefix.
            suffix: what the filter ends with, without this index's prefix.
            value: the filter's value, transformed already where the index transforms.
            *subkeys: the sub-key, for fields that have them.
        """
        raise NotImplementedError

    def claim(self, name: str, *args: Any) -> Claim:
        """Return how to tell that no other object has a value; arguments as for :meth:`storage_key`."""
        raise NotImplementedError

    def keeper(self) -> BaseIndex:
        """Return the index that keeps values unique, where this one is asked to: itself, or one it is composed of."""
        return self

    def claims(self, name: str, *args: Any) -> list[Claim]:
        """Return all that has to be free for a value to be unique."""
        return [self.claim(name, *args)]


def _as_method(transform: Callable[..., Any]) -> Callable[..., Any]:
    """Return a transform of (index, value) as a function, which an index gives itself to."""
    return transform if inspect.isfunction(transform) else lambda index, value: transform(index, value)  # noqa: PLW0108 - a lambda binds


def _takes_value_alone(transform: Callable[..., Any]) -> bool:
    """Return whether a transform takes the value only, not the index before it."""
    try:
        parameters = inspect.signature(transform).parameters.values()
    except (TypeError, ValueError):  # some builtins have no signature: str.lower's kind take the value
        return True
    positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    required = [each for each in positional if each.default is each.empty]
    return len(required) < 2
