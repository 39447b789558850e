"""Where a collection's pks come from, as data, and the words that tell the script so. Arithmetic, no I/O."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any, TypeAlias, cast

import attrs

from tenantlimpyd._operations.steps import Script
from tenantlimpyd.indexes import pk_sources
from tenantlimpyd.indexes.pk_sources import AnyOf, LexRange, Nothing, ScoreRange, SplitScoreRange, Whole
from tenantlimpyd.keys import make_key

__all__ = ["AllOf", "Keyed", "Listed", "Members", "Place", "Words", "all_of"]


@attrs.frozen
class Members:
    """These pks."""

    pks: tuple[str, ...]


@attrs.frozen
class Keyed:
    """All members of a key that is a set, a sorted set or a list, or does not exist."""

    key: str


@attrs.frozen
class Listed:
    """The members of a list, in its order.

    Attributes:
        key: the list.
        others: where they have to be too.
        known: whether the list has been seen, so that it is an error if it is gone.
    """

    key: str
    others: tuple[Place, ...] = ()
    known: bool = False


@attrs.frozen
class AllOf:
    """Pks that are in every one of several sources."""

    sources: tuple[Place, ...]


Place: TypeAlias = pk_sources.Source | Members | Keyed | Listed | AllOf


def all_of(given: Iterable[Place]) -> Place:
    """Return the pks that are in all of these sources, as one source; :class:`Nothing` where that can be told."""
    parts: dict[Place, None] = {}
    for each in map(_simple, given):
        if isinstance(each, Nothing):
            return each
        parts.update(dict.fromkeys(each.sources if isinstance(each, AllOf) else (each,)))
    found = tuple(parts)
    return found[0] if len(found) == 1 else AllOf(found)


def _simple(place: Place) -> Place:
    if isinstance(place, AllOf):
        return all_of(place.sources)
    if isinstance(place, Members) and not place.pks:
        return Nothing()
    if isinstance(place, AnyOf):
        found = [one for one in map(_simple, place.sources) if not isinstance(one, Nothing)]
        if len(found) < 2:
            return found[0] if found else Nothing()
        return AnyOf(cast("tuple[pk_sources.Source, ...]", tuple(found)))
    return place


class Words:
    """The keys and arguments of one run of the script, gathered in the order it takes them.

    Args:
        storage: the model's storage name with the database's prefix; temporary keys start with it.
    """

    def __init__(self, storage: str) -> None:
        self.storage = storage
        self.keys: list[str] = []
        self.args: list[Any] = []

    def say(self, *args: Any) -> None:
        """Add arguments; truth values as the script reads them."""
        self.args += [int(each) if isinstance(each, bool) else each for each in args]

    def say_list(self, items: Iterable[Any]) -> None:
        """Add how many arguments follow, and they."""
        items = list(items)
        self.say(len(items), *items)

    def temporary(self, kind: str = "tmp") -> None:
        """Add the name of a key that doesn't exist."""
        self.keys.append(make_key(self.storage, "__collection__", kind, uuid.uuid4().hex))

    def place(self, place: Place) -> None:
        """Add a source."""
        match place:
            case Whole(key, kind):
                self.say(kind)
                self.keys.append(key)
            case Keyed(key):
                self.say("key")
                self.keys.append(key)
                self.temporary()
            case Members(pks):
                self.say("pks")
                self.temporary()
                self.say_list(pks)
            case ScoreRange(key, low, high):
                self.say("scores", low, high)
                self.keys.append(key)
                self.temporary()
            case SplitScoreRange(key, low, high, separator):
                self.say("splitscores", low, high, separator)
                self.keys.append(key)
                self.temporary()
            case LexRange(key, ranges, separator, without):
                self.say("texts", separator)
                self.keys.append(key)
                self.temporary()
                self.say_list(bound for pair in ranges for bound in pair)
                self.say_list(without)
            case AnyOf(parts) | AllOf(parts):
                self.say("any" if isinstance(place, AnyOf) else "all")
                self.temporary("tmp" if isinstance(place, AnyOf) else "final")
                self._places(parts)
            case Listed(key, others, known):
                self.say("list", known)
                self.keys.append(key)
                self.temporary("final")
                self._places(others)
                if others:
                    self.temporary()
            case Nothing():
                self.say("pks")
                self.temporary()
                self.say(0)

    def _places(self, places: Iterable[Place]) -> None:
        places = list(places)
        self.say(len(places))
        for each in places:
            self.place(each)

    def script(self, source: str) -> Script:
        """Return the run."""
        return Script(source, self.keys, self.args)
