"""How objects come into being, change and go: the states of an instance, creation and deletion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from tenantlimpyd._abc import QueueTarget
from tenantlimpyd._operations.steps import Command, Operation, Traits, twins
from tenantlimpyd.atomic import Change, Content, KnownValues, Stored, ValueChange, ValueLocation, perform
from tenantlimpyd.exceptions import DoesNotExist, ImplementationError, shown
from tenantlimpyd.fields.base import RedisField, SingleValueField
from tenantlimpyd.fields.hash import HashField
from tenantlimpyd.fields.multi_value import MultiValuesField
from tenantlimpyd.indexes import BaseIndex, Entry, stored_text
from tenantlimpyd.indexes.multi_field import AtSubkey, Held, Spanning, rows_of, turned
from tenantlimpyd.utils import NotProvided

if TYPE_CHECKING:
    from tenantlimpyd._registry.placement import Database, Placement

__all__ = ["Lifecycle"]


@attrs.define
class _ObjectChange(Change):
    """A change by which an object comes or goes."""

    whole: ClassVar[bool] = True


class Lifecycle:
    """The part of a model that knows whether an object is stored, and stores and deletes it.

    An instance is *not stored* (no pk), *lazy* (a pk nobody looked up), *stored*, or *deleted*.
    """

    if TYPE_CHECKING:
        _placement: Placement
        _pk: str | None
        _connected: bool
        _deleted: bool
        _known: dict[ValueLocation, Stored]
        created_here: bool
        _class_fields: dict[str, RedisField]
        _fields: list[str]
        _pk_name: str
        _spanned_fields: tuple[str, ...]
        _related_fields: tuple[str, ...]

        @property
        def _storage(self) -> str: ...
        @property
        def key_base(self) -> str: ...
        def _resolve(self) -> Database: ...
        def _bound_field(self, name: str) -> Any: ...
        def _pk_field(self) -> Any: ...
        @classmethod
        def get_class_field(cls, name: str) -> Any: ...
        @classmethod
        def has_field(cls, name: str) -> bool: ...
        @classmethod
        def collection_key(cls, prefix: str = "") -> str: ...

    def _queue_target(self) -> QueueTarget:
        """Return what operations of this object are about, for pipelines."""
        return QueueTarget(self)

    # States

    @property
    def has_pk(self) -> bool:
        """Whether the object has a pk: it is stored, or was looked up lazily."""
        return self._pk is not None

    @property
    def known_pk(self) -> str:
        """The pk.

        Raises:
            DoesNotExist: If the object was deleted, or is not stored yet.
        """
        pk = self._pk
        if pk is None:
            self.require_pk()
        return pk  # type: ignore[return-value]

    @property
    def connected(self) -> bool:
        """Whether the object is known to be, or have been, in the database."""
        return self._connected

    def require_pk(self) -> None:
        """Raise unless the object has a pk.

        Raises:
            DoesNotExist: If the object was deleted, or is not stored yet and its pk is allocated by its first write.
            ValueError: If the object is not stored yet, and its pk must be given by the application.
        """
        if self._pk is not None:
            return
        if self._deleted:
            raise DoesNotExist(f"this {type(self).__name__} was deleted")
        if not self._pk_field().auto:
            raise ValueError(f"this {type(self).__name__} has no pk yet: give it one, {type(self)._pk_name}.set(...)")
        raise DoesNotExist(f"this {type(self).__name__} is not stored yet: its first write, or pk.get(), stores it")

    def ready_to_write(self) -> Operation[None]:
        """Make sure the object is there before one of its fields changes: store it, or look it up."""
        if self._pk is None:
            yield from self._create_empty()
        elif not self._connected:
            yield from self._verify()

    def ready_to_change(self) -> Operation[None]:
        """Make sure the object has a pk before an atomic change, which looks for itself whether the object is there."""
        if self._pk is None:
            yield from self._create_empty()

    def _seen(self) -> None:
        """Note that the object is in the database."""
        self._connected = True

    def refuse_deleted(self) -> None:
        """Raise if this object was deleted.

        Raises:
            DoesNotExist: If the object was deleted.
        """
        if self._deleted:
            self.require_pk()

    def _verify(self) -> Operation[None]:
        """Look the object up, unless that was done before.

        Raises:
            DoesNotExist: If the object is not in the database.
        """
        if self._connected:
            return
        pk = self.known_pk
        if not (yield Command("SISMEMBER", self._live(), pk)):
            raise DoesNotExist(f"there is no {type(self).__name__} with pk {shown(pk)}")
        self._connected = True

    _connect = _verify
    connect, aconnect = twins(_connect)

    def _live(self) -> str:
        return f"{self._storage}:collection"

    # The values last seen, by which an indexed write needs one round trip

    def _known_value(self, slot: ValueLocation) -> Stored:
        """Return the value last seen at a location; None if there was none or it is unknown. Guards check it in writes."""
        return self._known.get(slot)

    def _remember(self, slot: ValueLocation, value: Stored) -> None:
        """Remember the value seen at a location."""
        self._known[slot] = value

    def _new_change(self, rule: str) -> Change:
        """Return an empty change of this object; see :class:`~tenantlimpyd.atomic.Change` for ``rule``."""
        return Change(self.known_pk, self._live(), rule)

    def _reindex(
        self, change: Change, known: KnownValues, turns: Sequence[ValueChange], *, fresh: bool = False
    ) -> None:
        """Add to a change what indexes have to follow when values change.

        Args:
            change: the change.
            known: what is known of stored values.
            turns: the values, and what they become.
            fresh: the object is new: whatever is stored in its keys is no value of it.
        """
        old: set[Entry] = set()
        new: set[Entry] = set()
        spanning: dict[Spanning, None] = {}
        storage, pk = self._storage, self.known_pk
        for slot, field, subkeys, value in turns:
            if not field.indexable:
                continue
            before = None
            if not fresh:
                before = change.guards[slot] = known.before.get(slot, self._known_value(slot))
            for index in field.indexes:
                if before is not None:
                    old |= index.entries(storage, pk, *subkeys, before)
                if value is not None:
                    index.check_value(*subkeys, value)
                    new |= index.entries(storage, pk, *subkeys, value)
                if spans := index.spanning():
                    spanning.update(dict.fromkeys(spans))
            if field.unique and value is not None:
                for claim in field.unique_index().claims(storage, *subkeys, value):
                    change.claims.append((claim, field.name))
        if not change.whole:
            for each in spanning:
                row = self._row(change, known, each)
                old |= each.all_entries(self._storage, self.known_pk, row)
                new |= self._claimed(change, each, turned(row, turns))
        change.move(old, new)

    def _entries(self, index: BaseIndex, turn: ValueChange, value: Any) -> set[Entry]:
        return set() if value is None else index.entries(self._storage, self.known_pk, *turn.subkeys, value)

    # Indexes over several fields

    def _spanning(self) -> list[Spanning]:
        """Return the indexes over several fields."""
        if not type(self)._spanned_fields:
            return []
        fields = map(type(self).get_class_field, type(self)._spanned_fields)
        return [each for field in fields for index in field.indexes for each in index.spanning() if each.field is field]

    def _row(
        self, change: Change, known: KnownValues, index: Spanning, *, without: str | None = None
    ) -> dict[str, Any]:
        """Return what is known of the values an index needs, and let the change depend on them.

        Args:
            change: the change.
            known: what is known of stored values.
            index: the index.
            without: a field to leave out, whose values the change itself is about.
        """
        row: dict[str, Any] = {}
        for name in index.filtered_fields:
            field = self._bound_field(name)
            if name == without:
                continue
            if field.many_values:
                row[name] = values = tuple(dict.fromkeys(known.affected.get(field.key, ())))
                guard = Content(field.key, field.kind, field.content_words(), frozenset(values), values)
                change.contents.setdefault(field.key, guard)
                continue
            if field.has_subkeys:
                row[name] = tuple(AtSubkey(*pair) for pair in field.held_values(change, known).items())
                continue
            slot = field.slot(self.key_base)
            if slot in known.before:
                self._remember(slot, known.before[slot])
            row[name] = change.guards.setdefault(slot, self._known_value(slot))
        return row

    def _claimed(self, change: Change, index: Spanning, row: Held) -> set[Entry]:
        """Return the entries of values that are to be stored, and let the change claim what must be unique of them."""
        for each in rows_of(row):
            index.check_row(each)
            for claim in index.row_claims(self._storage, each):
                change.claims.append((claim, ", ".join(index.filtered_fields)))
        return index.all_entries(self._storage, self.known_pk, row)

    # Creating

    def _create(self, values: dict[str, Any]) -> Operation[None]:
        """Store this object, which is not stored yet, with values by field name and the defaults of other fields.

        The pk is allocated first; everything else is one atomic step. If that fails, nothing is stored, and the object is as
        it was before. If the error's notes say that the outcome is unknown, it may be stored.
        """
        mine = object()
        if self.__dict__.setdefault("_creator", mine) is not mine:
            raise ImplementationError(
                f"this {type(self).__name__} is being stored by another task or thread: let its first write end before others"
            )
        try:
            yield from self._create_alone(values)
        finally:
            del self.__dict__["_creator"]

    def _create_alone(self, values: dict[str, Any]) -> Operation[None]:
        pk_field = self._pk_field()
        given = self._resolved(values)
        if type(self)._related_fields:
            yield from self._link_given(given)
        pk = given.pop(pk_field.name, None)
        for name, value in given.items():
            self._bound_field(name).check_given(value)
        if pk_field.auto and pk is not None:
            raise ValueError(f"the pk {pk_field.name!r} of {type(self).__name__} is allocated, not given")
        if pk_field.auto:
            pk = str((yield Command("INCRBY", f"{self._storage}:max_pk", 1)))
        self._pk = pk_field.normalize(pk)
        try:
            change = _ObjectChange(self._pk, self._live(), "new", allocated=pk_field.auto)
            change.writes.append(("SADD", self._live(), self._pk))
            stored: dict[ValueLocation, Stored] = {}
            held: dict[str, Any] = {}
            for name, declared in type(self)._class_fields.items():
                value = given.get(name, getattr(declared, "default", NotProvided))
                if value is not NotProvided and name != pk_field.name:
                    field: RedisField = self._bound_field(name)
                    field.creation(change, value)
                    if isinstance(field, SingleValueField) and field.indexable:
                        held[name] = stored[field.slot(self.key_base)] = stored_text(field.stored(value))
                    elif isinstance(field, MultiValuesField) and field.indexable:
                        held[name] = field.given_texts(value)
                    elif isinstance(field, HashField) and field.indexable:
                        held[name] = tuple(AtSubkey(*pair) for pair in field.given_values(value).items())
            for index in self._spanning():
                row = {name: held.get(name) for name in index.filtered_fields}
                change.move(set(), self._claimed(change, index, row))
            yield from perform(lambda _: change, self)
        except BaseException:
            self._pk = None
            raise
        self._connected = self.created_here = True
        self._known.update(stored)

    def _link_given(self, values: dict[str, Any]) -> Operation[None]:
        """Put pks in the place of objects, and of fields that stand for objects, among values by field name."""
        for name in type(self)._related_fields:
            if name in values:
                values[name] = yield from self._bound_field(name).link_given(values[name])

    def _create_empty(self) -> Operation[None]:
        """Store this object, which is not stored yet, with its defaults only."""
        if self._deleted or not self._pk_field().auto:
            self.require_pk()
        yield from self._create({})

    def _resolved(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return values by the real names of fields.

        Raises:
            ValueError: If a field is unknown, or the pk is given under both of its names.
        """
        resolved: dict[str, Any] = {}
        for name, value in values.items():
            if not type(self).has_field(name):
                raise ValueError(
                    f"{type(self).__name__} has no field {shown(name)}: it has {', '.join(type(self)._fields)}"
                )
            real = type(self).get_class_field(name).name
            if real in resolved:
                raise ValueError(f"the pk of {type(self).__name__} is given twice, as 'pk' and as {real!r}")
            resolved[real] = value
        return resolved

    # Deleting

    def _delete(self) -> Operation[None]:
        """Delete the object: its fields, its index entries, its pk; in one atomic step.

        Raises:
            DoesNotExist: If the object is not in the database (any more).
        """
        self.require_pk()
        yield from perform(self._removal, self)
        self._gone()

    def _removal(self, known: KnownValues) -> Change:
        """Return the change that deletes the object."""
        change = _ObjectChange(self.known_pk, self._live(), "live")
        for name in type(self)._fields:
            if name != type(self)._pk_name:
                self._bound_field(name).removal(change, known)
        for index in self._spanning():
            change.move(index.all_entries(self._storage, self.known_pk, self._row(change, known, index)), set())
        change.writes.append(("SREM", self._live(), self._pk))
        return change

    def _gone(self) -> None:
        """Note that the object was deleted."""
        self._pk = None
        self._connected = False
        self._deleted = True
        self._known.clear()

    delete, adelete = twins(_delete, Traits(barrier=True))
