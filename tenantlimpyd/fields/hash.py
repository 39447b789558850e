"""``HashField``: a hash of sub-keys and values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tenantlimpyd._operations.steps import Operation, twins
from tenantlimpyd.atomic import Change, Content, KnownValues, Stored, ValueChange, perform
from tenantlimpyd.exceptions import DataError, ImplementationError
from tenantlimpyd.fields.base import Value
from tenantlimpyd.fields.hash_reads import HashReading
from tenantlimpyd.fields.own_key import CHUNK, NAMES_VALUES, in_parts, need_any
from tenantlimpyd.fields.predictions import Guess, added, added_float
from tenantlimpyd.fields.server_support import needing
from tenantlimpyd.indexes import stored_text
from tenantlimpyd.keys import make_key

__all__ = ["HashField"]


class HashField(HashReading):
    """Sub-keys and values in a Redis hash of its own: ``{model}:{pk}:{field}``. Values are indexed by sub-key.

    Raises:
        ImplementationError: If it is declared unique, which a hash can't be.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self.unique:
            raise ImplementationError("a HashField can't be unique: its values belong to sub-keys")

    def turn(self, subkey: Any, value: Any) -> ValueChange:
        """Return that the value of a sub-key becomes ``value``; None: it goes."""
        return ValueChange(self.slot(subkey), self, (subkey,), value)

    # Writing

    def _hset(self, key: Value, value: Value) -> Operation[int]:
        """Store the value of a sub-key; return 1 where there was none, else 0."""
        new = self._sendable(value)
        return (yield from self._changed("HSET", key, new, guess=_always(new)))  # type: ignore[no-any-return]

    hset, ahset = twins(_hset, NAMES_VALUES)

    def _hsetnx(self, key: Value, value: Value) -> Operation[bool]:
        """Store the value of a sub-key if there is none; return whether it was stored."""
        new = self._sendable(value)
        guess: Guess = lambda old: new if old is None else old  # noqa: E731
        return (yield from self._changed("HSETNX", key, new, guess=guess, reply=bool))  # type: ignore[no-any-return]

    hsetnx, ahsetnx = twins(_hsetnx, NAMES_VALUES)

    def _hmset(self, mapping: Mapping[Any, Value] | None = None, /, **values: Value) -> Operation[bool]:
        """Store the values of sub-keys, from a mapping or ``subkey=value``, in one atomic step; return True.

        Raises:
            redis.DataError: If no values are given.
        """
        given, words = self._sendable_pairs({**(mapping or {}), **values})
        if not given:
            raise DataError(f"hmset of {self.name!r} needs at least one sub-key and value")
        if self.indexable:
            yield from self._change(in_parts("HSET", words), {key: _always(value) for key, value in given.items()})
        else:
            yield from self._write_guarded(in_parts("HSET", words))
        return self.post_command(self, "hmset", True, (given,), {})  # type: ignore[no-any-return]

    hmset, ahmset = twins(_hmset, NAMES_VALUES)

    def _proxy_set(self, value: Mapping[Any, Value]) -> Operation[bool]:
        """Store the values of a mapping's sub-keys; return True."""
        return (yield from self._hmset(self._mapping(value)))

    proxy_set, aproxy_set = twins(_proxy_set)

    def _hincrby(self, key: Value, amount: int = 1) -> Operation[int]:
        """Add ``amount`` to a sub-key's value, an integer (0 where there is none); return the new one."""
        if not isinstance(amount, int) or isinstance(amount, bool):
            raise TypeError(f"the amount must be a whole number, not a {type(amount).__name__}")
        return (yield from self._changed("HINCRBY", key, amount, guess=added(amount), certain=False, reply=int))  # type: ignore[no-any-return]

    hincrby, ahincrby = twins(_hincrby, NAMES_VALUES)

    def _hincrbyfloat(self, key: Value, amount: float = 1.0) -> Operation[float]:
        """Add ``amount`` to a sub-key's value, a number (0 where there is none); return the new one."""
        return (  # type: ignore[no-any-return]
            yield from self._changed("HINCRBYFLOAT", key, amount, guess=added_float(amount), certain=False, reply=float)
        )

    hincrbyfloat, ahincrbyfloat = twins(_hincrbyfloat, NAMES_VALUES)

    def _hdel(self, *keys: Value) -> Operation[int]:
        """Delete sub-keys; return how many there were."""
        need_any(keys, "hdel")
        words = [_subkey(key) for key in keys]
        if not self.indexable:
            return (yield from self._write("HDEL", *words))  # type: ignore[no-any-return]
        replies = yield from self._change(in_parts("HDEL", words), dict.fromkeys(words, _always(None)))
        return self.post_command(self, "hdel", sum(replies), tuple(words), {})  # type: ignore[no-any-return]

    hdel, ahdel = twins(_hdel, NAMES_VALUES)

    def _hgetdel(self, *keys: Value) -> Operation[list[str | None]]:
        """Delete sub-keys and return their values; None where there was none.

        Raises:
            UnsupportedCommandError: If the server is older than Redis 8.0 or Valkey 9.1.
        """
        need_any(keys, "hgetdel")
        words = [_subkey(key) for key in keys]
        if not self.indexable:
            deleting = self._write("HGETDEL", "FIELDS", len(words), *words)
            return (yield from needing("HGETDEL", deleting))  # type: ignore[no-any-return]
        parts = [words[at : at + CHUNK] for at in range(0, len(words), CHUNK)]
        writes = [("HGETDEL", "FIELDS", len(part), *part) for part in parts]
        replies = yield from needing("HGETDEL", self._change(writes, dict.fromkeys(words, _always(None))))
        values = [value for reply in replies for value in reply]
        return self.post_command(self, "hgetdel", values, tuple(words), {})  # type: ignore[no-any-return]

    hgetdel, ahgetdel = twins(_hgetdel)

    def _delete(self) -> Operation[int]:
        """Delete all sub-keys; return 1, or 0 where there was none."""
        if not self.indexable:
            return (yield from self._write("DEL", name="delete"))  # type: ignore[no-any-return]
        instance = self._bound()
        yield from instance.ready_to_change()

        def plan(known: KnownValues) -> Change:
            change = instance._new_change("live")
            self.removal(change, known)
            return change

        performed = yield from perform(plan, instance)
        instance._seen()
        for slot in performed.change.guards:
            instance._remember(slot, None)
        return self.post_command(self, "delete", performed.replies[0], (), {})  # type: ignore[no-any-return]

    delete, adelete = twins(_delete)

    # Together with the indexes

    def _mapping(self, value: Any) -> Mapping[Any, Value]:
        if not isinstance(value, Mapping):
            raise TypeError(f"the hash {self.name!r} takes a mapping of sub-keys to values")
        return value

    def _sendable_pairs(self, given: Mapping[Any, Any]) -> tuple[dict[Any, Any], list[Any]]:
        """Return sub-keys and values as they are sent: as a mapping, and as words."""
        pairs = {_subkey(key): self._sendable(value) for key, value in given.items()}
        return pairs, [word for pair in pairs.items() for word in pair]

    def creation(self, change: Change, value: Any) -> None:
        """Add to a change what stores ``value``, a mapping, in a new object."""
        given, words = self._sendable_pairs(self._mapping(value))
        change.writes += [(word, self.key, *rest) for word, *rest in in_parts("HSET", words)]
        turns = {stored_text(key): self.turn(key, each) for key, each in given.items()}
        self._bound()._reindex(change, KnownValues(), list(turns.values()), fresh=True)

    def given_values(self, value: Any) -> dict[str, str]:
        """Return sub-keys and values as texts, of what an argument of the constructor stands for."""
        return {
            stored_text(key): stored_text(each) for key, each in self._sendable_pairs(self._mapping(value))[0].items()
        }

    def removal(self, change: Change, known: KnownValues) -> None:
        """Add to a change what deletes the field of an object."""
        key = self.key
        change.contents[key] = Content(key, "hash")
        if self.indexable:
            self._bound()._reindex(
                change, known, [self.turn(subkey, None) for subkey in self.held_values(change, known)]
            )
        change.writes.append(("DEL", key))

    def held_values(self, change: Change, known: KnownValues) -> dict[str, str]:
        """Return all sub-keys and values, as far as they are known, and let a change depend on them."""
        key, instance = self.key, self._bound()
        subkeys = [
            slot.field
            for slot, value in instance._known.items()
            if slot.key == key and slot.field and value is not None
        ]
        if key in known.affected:
            flat = known.affected[key]
            subkeys = flat[::2]
            known.before.update(zip(map(self.slot, subkeys), flat[1::2], strict=True))
        change.contents[key] = Content(key, "hash", ("HGETALL",), frozenset(subkeys))
        held = {}
        for subkey in subkeys:
            slot = self.slot(subkey)
            value = change.guards.setdefault(slot, known.before.get(slot, instance._known_value(slot)))
            if value is not None:
                held[subkey] = value
        return held

    def _changed(
        self,
        word: str,
        key: Value,
        *args: Any,
        guess: Guess,
        certain: bool = True,
        reply: Callable[[Any], Any] | None = None,
    ) -> Operation[Any]:
        """Send a command that changes one sub-key; where the field is indexed, with its entries in one atomic step."""
        _subkey(key)
        if not self.indexable:
            return (yield from self._write(word, key, *args, reply=reply))
        raw = (yield from self._change([(word, key, *args)], {key: guess}, certain=certain))[0]
        return self.post_command(self, word.lower(), raw if reply is None else reply(raw), (key, *args), {})

    def _change(
        self, writes: list[tuple[Any, ...]], becomes: Mapping[Any, Guess], *, certain: bool = True
    ) -> Operation[list[Any]]:
        """Change values of sub-keys and their index entries in one atomic step; see ``SingleValueField``."""
        guesses = {stored_text(subkey): guess for subkey, guess in becomes.items()}
        instance = self._bound()
        yield from instance.ready_to_change()

        def plan(known: KnownValues) -> Change:
            change = instance._new_change("live")
            change.writes += [(word, self.key, *rest) for word, *rest in writes]
            turns = []
            for subkey, guess in guesses.items():
                slot = self.slot(subkey)
                old: Stored = known.before.get(slot, instance._known_value(slot))
                turns.append(self.turn(subkey, known.after[slot] if slot in known.after else guess(old)))
            if not certain:
                change.after |= {turn.slot: _text(turn.value) for turn in turns}
            turns += self._look_alikes(known, guesses)
            instance._reindex(change, known, turns)
            return change

        performed = yield from perform(plan, instance)
        instance._seen()
        for subkey, guess in guesses.items():
            slot = self.slot(subkey)
            value = _text(guess(performed.change.guards[slot])) if certain else performed.change.after[slot]
            instance._remember(slot, value)
        return performed.replies

    def _look_alikes(self, known: KnownValues, changing: Mapping[str, Any]) -> list[ValueChange]:
        """Return turns, that change nothing, of sub-keys that may share an index entry with those that change.

        Sub-key and value stand in the index's key side by side, so ``{"a:b": "c"}`` and ``{"a": "b:c"}`` have one entry,
        which stays for as long as either is there.
        """
        instance = self._bound()
        start = make_key(instance._storage, self.name, "")
        others: dict[str, None] = {}
        for subkey in changing:
            slot = self.slot(subkey)
            before = known.before.get(slot, instance._known_value(slot))
            if before is None:
                continue
            for index in self.indexes:
                for entry in index.entries(instance._storage, instance.known_pk, subkey, before):
                    parts = entry.key.removeprefix(start).split(":")
                    others |= dict.fromkeys(":".join(parts[:end]) for end in range(1, len(parts)))
        slots = {other: self.slot(other) for other in others if other not in changing}
        return [self.turn(other, known.before.get(slot, instance._known_value(slot))) for other, slot in slots.items()]


def _subkey(key: Any) -> Any:
    """Return a sub-key if redis-py can send a value of its type.

    Raises:
        redis.DataError: If it can't.
    """
    if isinstance(key, bool) or not isinstance(key, str | bytes | memoryview | int | float):
        raise DataError(f"a sub-key can't be a {type(key).__name__}: give text, bytes, a whole number or a float")
    return key


def _text(value: Any) -> Stored:
    return None if value is None else stored_text(value)


def _always(value: Any) -> Guess:
    return lambda _: value
