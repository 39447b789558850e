"""What every field is: its options, its place in a model, and how it changes together with its indexes."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, overload

from tenantlimpyd._abc import QueueTarget
from tenantlimpyd._operations.steps import Command, Operation, Runner, twins
from tenantlimpyd._registry.placement import Placement
from tenantlimpyd._registry.relations import Relation
from tenantlimpyd.atomic import (
    Change,
    KnownValues,
    Stored,
    ValueChange,
    ValueLocation,
    may_create_key,
    perform,
    read_reply,
    write_guarded,
)
from tenantlimpyd.exceptions import DataError, ImplementationError
from tenantlimpyd.fields.indexing import Indexing
from tenantlimpyd.fields.owner import ModelInstance, OwnerClass
from tenantlimpyd.indexes import BaseIndex, stored_text
from tenantlimpyd.utils import NotProvided, make_key

__all__ = ["RedisField", "SingleValueField", "Value"]

Value: TypeAlias = str | bytes | int | float
"""What redis-py can send; stored, and given back, as text."""

_created = itertools.count()


class RedisField(Indexing):
    """A field of a model.

    On the class it is a declaration (``Model.get_field(name)``); on an instance (``instance.name``) it is bound, and its
    methods talk to the database of the instance.

    Args:
        indexable: whether objects can be found by this field.
        unique: whether two objects may not have the same value; makes the field indexable.
        indexes: index classes; None: the default ones of the field class, the model or the database.
        default: the value new objects get where none is given.
        lockable: kept for limpyd's sake. Indexed writes are atomic on the server, without a lock.

    Raises:
        ImplementationError: If options contradict one another.
    """

    default_indexes: ClassVar[list[type[BaseIndex]] | None] = None
    single_value: ClassVar[bool] = False
    relation: Relation | None = None
    """For fields that hold pks of objects of another model: which one's."""

    name: str
    _model: OwnerClass
    _instance: ModelInstance | None = None

    def __init__(
        self,
        *,
        indexable: bool = False,
        unique: bool = False,
        indexes: Sequence[type[BaseIndex]] | None = None,
        default: Any = NotProvided,
        lockable: bool = True,
    ) -> None:
        self._creation_order = next(_created)
        self.indexable = bool(indexable or unique)
        self.unique = bool(unique)
        self.lockable = lockable
        self.index_classes: list[type[BaseIndex]] = list(indexes or ())
        self.joined = False  # indexed for the sake of another field's index only
        self._indexes: list[BaseIndex] | None = None
        if default is not NotProvided:
            self.default = default
        if self.unique and default is not NotProvided:
            raise ImplementationError("a unique field can't have a default: the second object would not be unique")
        if self.index_classes and not self.indexable:
            raise ImplementationError("indexes are given for a field that is not indexable: add indexable=True")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {getattr(self, 'name', 'of no model')}>"

    # Its place in a model

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type) -> Self: ...
        @overload
        def __get__(self, instance: object, owner: type) -> Self: ...

    def __get__(self, instance: Any, owner: type) -> Self:
        if instance is None:
            raise AttributeError(
                f"{owner.__name__}.{self.name} is no attribute: write {owner.__name__}.get_field({self.name!r})"
            )
        return instance._bound_field(self.name)  # type: ignore[no-any-return]

    def __set__(self, instance: Any, value: Any) -> None:
        raise AttributeError(
            f"{type(instance).__name__}.{self.name} can't be assigned: write instance.{self.name}.proxy_set(...), or the "
            "field's own command, to store a value"
        )

    def attached_copy(self, model: Any, name: str) -> Self:
        """Return a declaration like this one, for a model."""
        field = copy.copy(self)
        field.name = name
        field._model = model
        field._instance = None
        field.index_classes = list(self.index_classes)
        field._indexes = None
        return field

    def bound_to(self, instance: ModelInstance) -> Self:
        """Return this field bound to an instance."""
        field = object.__new__(type(self))  # copy.copy does the same at three times the price, for each object's field
        field.__dict__.update(self.__dict__)
        field._instance = instance
        return field

    @property
    def attached_to_model(self) -> bool:
        """Whether this is the declaration on the class."""
        return self._instance is None

    @property
    def attached_to_instance(self) -> bool:
        """Whether this is the field of an instance."""
        return self._instance is not None

    def _bound(self) -> ModelInstance:
        if self._instance is None:
            raise ImplementationError(
                f"{self.name!r} is the field of the class {self._model.__name__}: this needs the field of an instance"
            )
        return self._instance

    def _queue_target(self) -> QueueTarget:
        """Return what operations of this field are about, for pipelines."""
        instance = self._instance
        return (
            QueueTarget()
            if instance is None
            else QueueTarget(instance, self.name, self.indexable and not self.single_value)
        )

    def _resolve(self) -> Runner:
        if self._instance is None:
            placement: Placement = self._model.database._current_placement()
            return placement.runner()
        return self._instance._resolve()

    @property
    def database(self) -> Any:
        """The database of the instance, or for a declaration the one that is current."""
        placement = (
            self._instance._placement if self._instance is not None else self._model.database._current_placement()
        )
        return placement.database

    @property
    def connection(self) -> Any:
        """The sync redis-py client of that database."""
        return self._resolve().connection  # type: ignore[attr-defined]

    @property
    def key(self) -> str:
        """The name of the Redis key that holds the value, the database's prefix included.

        Raises:
            DoesNotExist: If the instance has no pk (yet).
        """
        return make_key(self._bound().key_base, self.name)

    @property
    def sort_wildcard(self) -> str:
        """The pattern SORT finds this field's values by."""
        return make_key(self._model.storage_name(self._prefix()), "*", self.name)

    def _prefix(self) -> str:
        return self.database.key_prefix  # type: ignore[no-any-return]

    def from_python(self, value: Any) -> Any:
        """Return ``value`` as it is indexed: bytes decoded as UTF-8, anything else as it is."""
        return value.decode() if isinstance(value, bytes) and value else value

    def stored(self, value: Any) -> Any:
        """Return what is sent to Redis for ``value``: itself. Fields that stand for objects send their pk."""
        return value

    def _sendable(self, value: Any) -> Any:
        """Return what is sent to Redis for a value.

        Raises:
            redis.DataError: If redis-py can't send a value of its type.
        """
        value = self.stored(value)
        if type(value) is str:  # most of them
            return value
        if isinstance(value, bool) or not isinstance(value, str | bytes | bytearray | memoryview | int | float):
            raise DataError(
                f"a value for {self.name!r} is a {type(value).__name__}: give text, bytes, a whole number or a float; to "
                "have none, delete the field"
            )
        return value

    def check_given(self, value: Any) -> None:
        """Raise if ``value`` can't be given to a new object, before anything is sent."""

    def check_operand(self, value: Any, placement: Any, name: str) -> None:
        """Raise if ``value`` can't be that of a filter ``name`` of a collection that lives at ``placement``."""

    def post_command(self, sender: Any, name: str, result: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Hook: called with the result of each command of this field; what it returns is the result.

        The field hands it on to its instance, whose hook can be overridden for all fields at once.
        """
        return self._bound().post_command(sender, name, result, args, kwargs)

    # Commands

    def _command(self, word: str, *args: Any, **options: Any) -> Operation[Any]:
        """Send a command on this field's key, and hand its reply to the hook."""
        reply = yield Command(word, self.key, *args, **options)
        return self.post_command(self, word.lower(), reply, args, {})

    def _read(self, word: str, *args: Any, **options: Any) -> Operation[Any]:
        self._bound().require_pk()
        return (yield from self._command(word, *args, **options))

    def _write(self, word: str, *args: Any, **options: Any) -> Operation[Any]:
        """Send a command that changes a field without indexes, or that stores it: then only if the object exists."""
        if not may_create_key(word):
            yield from self._bound().ready_to_write()
            return (yield from self._command(word, *args, **options))
        instance = self._bound()
        yield from instance.ready_to_change()
        (reply,) = yield from write_guarded(instance, self.key, [(word, *args)])
        return self.post_command(self, word.lower(), read_reply(word, reply), args, {})

    def _exists(self) -> Operation[bool]:
        """Return whether the field has a value."""
        instance = self._bound()
        if not instance.has_pk:
            return False
        return bool((yield Command("EXISTS", self.key)))

    exists, aexists = twins(_exists)

    # Values as arguments and defaults give them

    def creation(self, change: Change, value: Any) -> None:
        """Add to a change what stores ``value`` in a new object."""
        raise NotImplementedError

    def removal(self, change: Change, known: KnownValues) -> None:
        """Add to a change what deletes the field of an object."""
        raise NotImplementedError


class SingleValueField(RedisField):
    """A field of one value, which a slot (a string, or an entry of a hash) holds."""

    single_value = True

    def slot(self, key_base: str) -> ValueLocation:
        """Return where the value of the object with these keys is."""
        raise NotImplementedError

    def store_words(self, slot: ValueLocation, value: Any) -> tuple[Any, ...]:
        """Return the command that stores ``value``."""
        raise NotImplementedError

    def clear_words(self, slot: ValueLocation) -> tuple[Any, ...]:
        """Return the command that deletes the value."""
        raise NotImplementedError

    def turn(self, key_base: str, value: Any) -> ValueChange:
        """Return that the value of the object with these keys becomes ``value``; None: it goes."""
        return ValueChange(self.slot(key_base), self, (), value)

    def check_given(self, value: Any) -> None:
        """Raise if ``value`` can't be given to a new object, before anything is sent.

        Raises:
            redis.DataError: If redis-py can't send a value of its type.
        """
        self._sendable(value)

    def creation(self, change: Change, value: Any) -> None:
        """Add to a change what stores ``value`` in a new object."""
        instance = self._bound()
        value = self._sendable(value)
        turn = self.turn(instance.key_base, value)
        change.writes.append(self.store_words(turn.slot, value))
        if self.indexable:
            instance._reindex(change, KnownValues(), [turn], fresh=True)

    def removal(self, change: Change, known: KnownValues) -> None:
        """Add to a change what deletes the field of an object."""
        instance = self._bound()
        turn = self.turn(instance.key_base, None)
        change.writes.append(self.clear_words(turn.slot))
        instance._reindex(change, known, [turn])

    def _change(
        self,
        words: Callable[[ValueLocation], tuple[Any, ...]],
        becomes: Callable[[Stored], Any],
        *,
        certain: bool = False,
    ) -> Operation[Any]:
        """Change an indexed value and its entries in one atomic step.

        Args:
            words: the command.
            becomes: what the value will be, from what it is; a guess, unless ``certain``.
            certain: whether ``becomes`` can't be wrong.
        """
        instance = self._bound()
        yield from instance.ready_to_change()
        slot = self.slot(instance.key_base)

        def plan(known: KnownValues) -> Change:
            old = known.before.get(slot, instance._known_value(slot))
            new = known.after.get(slot) if slot in known.after else becomes(old)
            change = instance._new_change("live")
            change.writes.append(words(slot))
            instance._reindex(change, known, [ValueChange(slot, self, (), new)])
            if not certain:
                change.after[slot] = None if new is None else stored_text(new)
            return change

        replies, _, change = yield from perform(plan, instance)
        instance._seen()
        if slot in change.after:
            instance._remember(slot, change.after[slot])
        else:
            instance._remember(slot, None if (value := becomes(change.guards[slot])) is None else stored_text(value))
        return replies[0]

    def _finished(self, word: str, reply: Any, *args: Any) -> Any:
        return self.post_command(self, word, reply, args, {})

    def proxy_get(self) -> Any:
        """Return the value, by the field's getter."""
        raise NotImplementedError

    def proxy_set(self, value: Any) -> Any:
        """Store a value, by the field's setter."""
        raise NotImplementedError
