"""What every index is: configuration, normalisation, and the entries of a value."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from tenantlimpyd.exceptions import ImplementationError

if TYPE_CHECKING:
    from tenantlimpyd.fields.base import RedisField

__all__ = ["BaseIndex", "Entry", "stored_text"]


def stored_text(value: Any) -> str:
    """Return ``value`` as it will be read back once redis-py has stored it.

    That is the value itself of an enumeration's text, not its name, and the content of any kind of bytes.

    Raises:
        UnicodeDecodeError: bytes that are not UTF-8.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode()
    if isinstance(value, str):
        return str.__str__(value)
    return repr(value) if isinstance(value, int | float) else str(value)


@attrs.frozen
class Entry:
    """One member an index keeps for a value of an object.

    Attributes:
        key: the whole key of the index's set, database prefix included.
        member: the object's pk.
    """

    key: str
    member: str

    def added(self) -> tuple[Any, ...]:
        """Return the words of the command that adds it."""
        return ("SADD", self.key, self.member)

    def removed(self) -> tuple[Any, ...]:
        """Return the words of the command that removes it."""
        return ("SREM", self.key, self.member)


class BaseIndex:
    """An index of one field.

    Subclass to make one, or :meth:`configure` an existing class. Class attributes:

    Attributes:
        handled_suffixes: what may follow the field's name (and prefix) in a filter; None stands for nothing.
        handle_uniqueness: whether the index can tell that a unique value is taken.
        key: an additional part of the index's keys, to tell two indexes of a field apart.
        prefix: an additional part of keys *and* filters (``field__prefix__eq``).
        transform: changes a value before it is indexed: ``transform(value)`` or ``transform(index, value)``. Filters
            give the transformed value.
    """

    handled_suffixes: ClassVar[frozenset[str | None]] = frozenset()
    handle_uniqueness: ClassVar[bool] = True
    key: ClassVar[str | None] = None
    prefix: ClassVar[str | None] = None
    transform: ClassVar[Callable[..., Any] | None] = None
    configurable_attrs: ClassVar[frozenset[str]] = frozenset(
        {"prefix", "transform", "handle_uniqueness", "key", "name"}
    )

    def __init__(self, field: RedisField) -> None:
        self.field = field

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
            TypeError: an option this index class doesn't have.
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
            ImplementationError: the suffix doesn't start with the prefix.
        """
        if not self.prefix:
            return suffix
        head, _, rest = (suffix or "").partition("__")
        if head != self.prefix:
            raise ImplementationError(f"{suffix!r} does not start with the prefix {self.prefix!r} of the index")
        return rest or None

    def transform_value(self, value: Any) -> Any:
        """Return what is indexed for ``value``."""
        return value if self.transform is None else self.transform(value)

    def normalize_value(self, value: Any, *, transform: bool = True) -> str:
        """Return ``value`` as it stands in a key: transformed, then as the text Redis gets."""
        if transform:
            value = self.transform_value(value)
        return stored_text(self.field.from_python(value))

    def storage_key(self, name: str, *args: Any, transform_value: bool = True) -> str:
        """Return the key of the set for a value.

        Args:
            name: the model's storage name with the database's prefix.
            *args: the value, after the sub-key for fields that have them.
            transform_value: False where the value already is transformed, as in filters.
        """
        raise NotImplementedError

    def entries(self, name: str, pk: str, *args: Any) -> set[Entry]:
        """Return what the index keeps for a value of the object ``pk``; arguments as for :meth:`storage_key`."""
        raise NotImplementedError


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
