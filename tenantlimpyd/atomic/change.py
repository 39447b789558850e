"""A change of one object as data: what it was computed from, what must not be there, what to do."""

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
    """Where a single value is: a string key, or an entry of a hash.

    Attributes:
        key: the key.
        field: the entry's name; None for a string.
    """

    key: str
    field: str | None = None

    def words(self) -> list[Any]:
        """Return the slot as the script's arguments."""
        return ["string"] if self.field is None else ["hash", self.field]


Stored = str | None
"""What a slot holds: the text, or None where there is nothing."""


class ValueChange(NamedTuple):
    """That a value becomes another.

    Attributes:
        slot: where it is.
        field: the field it belongs to.
        subkeys: the sub-key, for fields that have them.
        value: what it becomes; None: it goes.
    """

    slot: ValueLocation
    field: Any
    subkeys: tuple[Any, ...]
    value: Any


@attrs.frozen
class Content:
    """A key of many values that a change touches, and what is known of it.

    Attributes:
        key: the key.
        kind: ``list``, ``set``, ``zset`` or ``hash`` (whose values here are the names of its entries).
        affected: a command without its key, whose reply is every value that may go away (HGETALL's: names and values in
            turn); empty: none may.
        known: the values whose index entries the change takes care of. One in ``affected`` that is not among them stops
            the change.
        must_hold: values that must be there.
    """

    key: str
    kind: str
    affected: tuple[Any, ...] = ()
    known: frozenset[str] = frozenset()
    must_hold: tuple[str, ...] = ()


@attrs.frozen
class Settle:
    """An index entry that must be there afterwards exactly if one of some values is.

    Attributes:
        content: the key the values are in.
        entry: the entry.
        values: the values it stands for.
    """

    content: str
    entry: Entry
    values: tuple[str, ...]


@attrs.define
class KnownValues:
    """What a plan may go by; empty at first, so that the first plan guesses.

    Attributes:
        before: what slots hold.
        after: what slots will hold, where an earlier guess was wrong.
        affected: by key, the values that ``Content.affected`` gave.
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
        pk: the object's.
        collection: the key of the set of live pks; with ``rule`` "live" the pk must be in it, with "new" it must not,
            with "any" nobody looks.
        guards: slots and what they must hold before.
        after: for some guards, what the slot must hold afterwards; no matter for the others.
        contents: keys of many values, by key.
        claims: values no other object may have, each with the name of its field.
        adds: index entries to add.
        writes: commands, each a tuple of a name, one key and arguments.
        removes: index entries to remove.
        settles: index entries that follow what ``contents`` hold afterwards.
        allocated: whether the pk is from the model's counter.
    """

    whole: ClassVar[bool] = False
    """Whether the object comes or goes by it: indexes over several fields are seen to once, not field by field."""

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
        """Add the entries that are new, remove those that are no longer."""
        self.adds += [entry.added() for entry in sorted(new - old)]
        if old:
            staying = {entry.place for entry in new}
            self.removes += [entry.removed() for entry in sorted(old) if entry.place not in staying]

    def settle(self, content: str, entries: Mapping[str, set[Entry]]) -> None:
        """Let entries follow a content: ``entries`` are those of each of its known values."""
        values: dict[Entry, list[str]] = {}
        for value, of_value in entries.items():
            for entry in of_value:
                values.setdefault(entry, []).append(value)
        self.settles += [Settle(content, entry, tuple(values[entry])) for entry in sorted(values)]

    def script(self) -> Script:
        """Return the change as a script with its keys and arguments."""
        return self._long() if self.contents or self.settles else self._short()

    def _short(self) -> Script:
        keys = [self.collection]
        args: list[Any] = [self.pk, self.rule]
        for slot, value in self.guards.items():
            keys.append(slot.key)
            form = "string" if slot.field is None else "hash"
            args += (form, slot.field or "", value) if value is not None else (f"no {form}", slot.field or "", "")
        shown = set(keys)  # reading them shows of which kind they are
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
        # An entry's key that is written too was none when a guard read it, and is a set since.
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
        """Return the number of the first write to none of some keys; empty text where there is none."""
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
