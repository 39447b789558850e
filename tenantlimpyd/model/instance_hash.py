"""The commands of an object on the hash that its instance hash fields share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tenantlimpyd._operations.steps import Command, Operation, twins
from tenantlimpyd.atomic import Change, KnownValues, Stored, ValueChange, ValueLocation, perform, write_guarded
from tenantlimpyd.exceptions import shown
from tenantlimpyd.indexes import stored_text

if TYPE_CHECKING:
    from tenantlimpyd._registry.placement import Database

__all__ = ["InstanceHashCommands"]


class InstanceHashCommands:
    """The part of a model that reads and writes several instance hash fields at once."""

    if TYPE_CHECKING:
        _instancehash_fields: list[str]
        _related_fields: tuple[str, ...]

        @property
        def key(self) -> str: ...
        @property
        def key_base(self) -> str: ...

        @property
        def known_pk(self) -> str: ...

        def _live(self) -> str: ...
        def _resolve(self) -> Database: ...
        def _bound_field(self, name: str) -> Any: ...
        def require_pk(self) -> None: ...
        def _link_given(self, values: dict[str, Any]) -> Operation[None]: ...
        def ready_to_write(self) -> Operation[None]: ...
        def ready_to_change(self) -> Operation[None]: ...
        def _seen(self) -> None: ...
        def _new_change(self, rule: str) -> Change: ...
        def _reindex(
            self, change: Change, known: KnownValues, turns: Sequence[ValueChange], *, fresh: bool = False
        ) -> None: ...
        def _known_value(self, slot: ValueLocation) -> Stored: ...
        def _remember(self, slot: ValueLocation, value: Stored) -> None: ...
        def post_command(self, sender: Any, name: str, result: Any, args: Any, kwargs: Any) -> Any: ...
        @classmethod
        def has_field(cls, name: str) -> bool: ...

    def _checked_names(self, names: tuple[str, ...], command: str) -> None:
        """Raise unless there are names, and all are of instance hash fields.

        Raises:
            ValueError: If no name is given, or that of another kind of field.
            AttributeError: If a field is unknown.
        """
        if not names:
            raise ValueError(f"{command} needs the name of at least one instance hash field")
        for name in names:
            if not type(self).has_field(name):
                raise AttributeError(f"{type(self).__name__} has no field {shown(name)}")
            if name not in type(self)._instancehash_fields:
                raise ValueError(
                    f"{name!r} of {type(self).__name__} is no instance hash field: {command} takes only those"
                )

    def _read_hash(self, word: str, *args: Any) -> Operation[Any]:
        self.require_pk()
        reply = yield Command(word, self.key, *args)
        return self.post_command(self, word.lower(), reply, args, {})

    def _hmget(self, *names: str) -> Operation[list[str | None]]:
        """Return the values of instance hash fields, in the order of the names; None where there is none.

        Raises:
            ValueError: If no name is given, or that of another kind of field.
        """
        self._checked_names(names, "hmget")
        return (yield from self._read_hash("HMGET", *names))  # type: ignore[no-any-return]

    hmget, ahmget = twins(_hmget)

    def _hgetall(self) -> Operation[dict[str, str]]:
        """Return names and values of all instance hash fields that have one."""
        return (yield from self._read_hash("HGETALL"))  # type: ignore[no-any-return]

    hgetall, ahgetall = twins(_hgetall)

    def _hkeys(self) -> Operation[list[str]]:
        """Return the names of the instance hash fields that have a value."""
        return (yield from self._read_hash("HKEYS"))  # type: ignore[no-any-return]

    hkeys, ahkeys = twins(_hkeys)

    def _hvals(self) -> Operation[list[str]]:
        """Return the values of the instance hash fields that have one."""
        return (yield from self._read_hash("HVALS"))  # type: ignore[no-any-return]

    hvals, ahvals = twins(_hvals)

    def _hlen(self) -> Operation[int]:
        """Return how many instance hash fields have a value."""
        return (yield from self._read_hash("HLEN"))  # type: ignore[no-any-return]

    hlen, ahlen = twins(_hlen)

    def _hmset(self, /, **values: Any) -> Operation[bool]:
        """Store values of instance hash fields, with their index entries, in one atomic step.

        Args:
            **values: values by field name.

        Returns:
            True.

        Raises:
            ValueError: If no value is given, or one for another kind of field.
            UniquenessError: If another object has a unique value. Nothing was written.
            DoesNotExist: If the object is not in the database.
        """
        names = tuple(values)
        self._checked_names(names, "hmset")
        if type(self)._related_fields:
            yield from self._link_given(values)
        words = [word for pair in values.items() for word in pair]
        if not self._indexed(names):
            yield from self.ready_to_change()
            yield from write_guarded(self, self.key, [("HSET", *words)])
        else:
            yield from self._change_hash("HSET", words, values)
        return self.post_command(self, "hmset", True, (values,), {})  # type: ignore[no-any-return]

    hmset, ahmset = twins(_hmset)

    def _hdel(self, *names: str) -> Operation[int]:
        """Delete values of instance hash fields, with their index entries, in one atomic step; return how many there were.

        Raises:
            ValueError: If no name is given, or that of another kind of field.
            DoesNotExist: If the object is not in the database.
        """
        self._checked_names(names, "hdel")
        if not self._indexed(names):
            yield from self.ready_to_write()
            reply = yield Command("HDEL", self.key, *names)
        else:
            reply = yield from self._change_hash("HDEL", names, dict.fromkeys(names))
        return self.post_command(self, "hdel", reply, names, {})  # type: ignore[no-any-return]

    hdel, ahdel = twins(_hdel)

    def _indexed(self, names: tuple[str, ...]) -> list[Any]:
        return [field for field in map(self._bound_field, names) if field.indexable]

    def _change_hash(self, word: str, words: Iterable[Any], values: dict[str, Any]) -> Operation[Any]:
        yield from self.ready_to_change()
        slots = {field.slot(self.key_base): field for field in self._indexed(tuple(values))}

        def plan(known: KnownValues) -> Change:
            change = self._new_change("live")
            change.writes.append((word, self.key, *words))
            turns = [field.turn(self.key_base, values[field.name]) for field in slots.values()]
            self._reindex(change, known, turns)
            return change

        replies, _, _ = yield from perform(plan, self)
        self._seen()
        for slot, field in slots.items():
            value = values[field.name]
            self._remember(slot, None if value is None else stored_text(value))
        return replies[0]
