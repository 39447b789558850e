"""Describe a change of one object as data: its guards, its claims of unique values, and its writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import attrs

from tenantlimpyd._operations.steps import Script
from tenantlimpyd.atomic.general_script import CHANGE
from tenantlimpyd.atomic.short_script import KINDS, SHORT
from tenantlimpyd.indexes import Claim, Entry

__all__ = ["Change", "Content", "KnownValues", "Settle", "Stored", "ValueChange", "ValueLocation"]


class ValueLocation(NamedTuple):
    """The location of a single value: a string key, or an entry of a hash.

    Attributes:
        key: the key.
        field: the entry's name; None for a string.
    """

    key: str
    field: str | None = None

    def words(self) -> list[Any]:
        """Return the arguments by which the general script finds the value."""
        return ["string"] if self.field is None else ["hash", self.field]


Stored = str | None
"""A stored value as text; None if nothing is stored."""


class ValueChange(NamedTuple):
    """The change of one value to another.

    Attributes:
        slot: the location of the value.
        field: the field that the value belongs to.
        subkeys: the sub-key, for fields that have sub-keys.
        value: the new value; None: the value is removed.
    """

    slot: ValueLocation
    field: Any
    subkeys: tuple[Any, ...]
    value: Any


@attrs.frozen
class Content:
    """A key of many values that a change reads or writes, and the values that are known.

    Attributes:
        key: the key.
        kind: ``list``, ``set``, ``zset`` or ``hash`` (whose values here are the names of its entries).
        affected: a command without its key, whose reply is every value that the change may remove (HGETALL's: names and
            values alternate); empty: it removes none.
        known: the values whose index entries are part of the change. If the reply to ``affected`` has another value,
            nothing is written.
        must_hold: values that the key must have; otherwise nothing is written.
    """

    key: str
    kind: str
    affected: tuple[Any, ...] = ()
    known: frozenset[str] = frozenset()
    must_hold: tuple[str, ...] = ()


@attrs.frozen
class Settle:
    """An index entry that must exist after the writes if, and only if, the key has one of its values.

    Attributes:
        content: the key of the values.
        entry: the index entry.
        values: the values that have this entry.
    """

    content: str
    entry: Entry
    values: tuple[str, ...]


@attrs.define
class KnownValues:
    """The stored values that a change is computed from; empty for the first attempt, which guesses.

    Attributes:
        before: the stored value at each location.
        after: the value at each location after the change, if an earlier prediction was wrong.
        affected: by key, the values in the reply to ``Content.affected``.
    """

    before: dict[ValueLocation, Stored] = attrs.Factory(dict)
    after: dict[ValueLocation, Stored] = attrs.Factory(dict)
    affected: dict[str, list[str]] = attrs.Factory(dict)


def _expected(value: Stored) -> list[Any]:
    return ["absent"] if value is None else ["value", value]


def _counted(values: Iterable[Any]) -> list[Any]:
    listed = list(values)
    return [len(listed), *listed]


@attrs.define
class Change:
    """One atomic change of one object.

    Attributes:
        pk: the object's pk.
        collection: the key of the set of live pks. With ``rule`` "live" the pk must be in the set, with "new" it must not
            be, with "any" the script does not check.
        guards: locations, and the value that each must have before the change.
        after: for some guards, the predicted value after the change; others are not checked.
        contents: keys of many values, by key.
        claims: values that no other object may have, each with the name of its field.
        adds: index entries to add.
        writes: commands, each a tuple of a name, one key and arguments.
        removes: index entries to remove.
        settles: index entries that depend on the values in ``contents`` after the writes.
        allocated: whether the pk was allocated from the model's counter.
    """

    whole: ClassVar[bool] = False
    """Whether the change creates or deletes the object: indexes of several fields are then updated once, not per field."""

    pk: str
    collection: str
    rule: str = "any"
    guards: dict[ValueLocation, Stored] = attrs.Factory(dict)
    after: dict[ValueLocation, Stored] = attrs.Factory(dict)
    contents: dict[str, Content] = attrs.Factory(dict)
    claims: list[tuple[Claim, str]] = attrs.Factory(list)
    adds: list[tuple[Any, ...]] = attrs.Factory(list)
    writes: list[tuple[Any, ...]] = attrs.Factory(list)
    removes: list[tuple[Any, ...]] = attrs.Factory(list)
    settles: list[Settle] = attrs.Factory(list)
    allocated: bool = False

    def move(self, old: set[Entry], new: set[Entry]) -> None:
        """Add the entries that are only in ``new``, and remove those that are only in ``old``."""
        self.adds += [entry.added() for entry in sorted(new - old)]
        if old:
            staying = {entry.place for entry in new}
            self.removes += [entry.removed() for entry in sorted(old) if entry.place not in staying]

    def settle(self, content: str, entries: Mapping[str, set[Entry]]) -> None:
        """Make index entries depend on the values of a key: ``entries`` has those of each known value."""
        values: dict[Entry, list[str]] = {}
        for value, of_value in entries.items():
            for entry in of_value:
                values.setdefault(entry, []).append(value)
        self.settles += [Settle(content, entry, tuple(values[entry])) for entry in sorted(values)]

    def script(self) -> Script:
        """Return the script that makes the change, with its keys and arguments."""
        return self._long() if self.contents or self.settles else self._short()

    def _short(self) -> Script:
        keys = [self.collection]
        args: list[Any] = [self.pk, self.rule]
        for slot, value in self.guards.items():
            keys.append(slot.key)
            form = "string" if slot.field is None else "hash"
            args += (form, slot.field or "", value) if value is not None else (f"no {form}", slot.field or "", "")
        shown = set(keys)  # to read a key of another type is an error, so their types need no check
        args.append("")
        for claim, _ in self.claims:
            keys.append(claim.key)
            name, *words = claim.words
            args += (name, len(words), claim.cut, *words)
        args.append("")
        for name, key, member in self.removes:
            keys.append(key)
            args += (name, member)
        args.append("")
        before = len(keys)
        for name, key, *words in self.adds:
            keys.append(key)
            args += (name, words[-1], words[0])
        # A key that did not exist when the guard read it is a set now if an index entry was added to it.
        shown.difference_update(keys[before:])
        args += ("", self._first_outside(shown))
        for name, key, *words in self.writes:
            keys.append(key)
            args += (name, len(words), *words)
        args.append("")
        if self.after:
            for number, slot in enumerate(self.guards, 1):
                if slot in self.after:
                    value = self.after[slot]
                    args += (number, "absent", "") if value is None else (number, "value", value)
        return Script(SHORT, keys, args)

    def _first_outside(self, shown: set[str]) -> int | str:
        """Return the number, from 1, of the first write to a key outside ``shown``; empty text if there is none."""
        for number, words in enumerate(self.writes, 1):
            if words[1] not in shown:
                return number
        return ""

    def _long(self) -> Script:
        keys: list[Any] = [self.collection]
        args: list[Any] = [self.pk, self.rule]
        args.append(len(self.guards))
        for slot, value in self.guards.items():
            keys.append(slot.key)
            args += [*slot.words(), *_expected(value)]
        args.append(len(self.contents))
        for content in self.contents.values():
            keys.append(content.key)
            args += [content.kind, *_counted(content.affected), *_counted(content.must_hold), *_counted(content.known)]
        args.append(len(self.claims))
        for claim, _ in self.claims:
            keys.append(claim.key)
            args += [*_counted(claim.words), claim.cut]
        for commands in (self.adds, self.writes, self.removes):
            self._commands(commands, keys, args)
        numbers = {key: number for number, key in enumerate(self.contents, 1)}
        args.append(len(self.settles))
        for settle in self.settles:
            args.append(numbers[settle.content])
            self._commands([settle.entry.added(), settle.entry.removed()], keys, args)
            args += _counted(settle.values)
        for slot in self.guards:
            args += ["known", *_expected(self.after[slot])] if slot in self.after else ["unknown"]
        return Script(CHANGE, keys, args)

    def _commands(self, commands: Sequence[tuple[Any, ...]], keys: list[Any], args: list[Any]) -> None:
        args.append(len(commands))
        for name, key, *words in commands:
            keys.append(key)
            kind = KINDS.get(name, "")
            if name == "DEL":
                kind = self.contents[key].kind if key in self.contents else "string"
            args += [kind, len(words) + 2, name, *words]
