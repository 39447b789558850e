"""Evaluate a collection in one round trip: by one plain command if that is enough, else by the Lua script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from tenantlimpyd._operations.steps import Batch, Command, Operation, Script
from tenantlimpyd.collection.evaluation_script import EVALUATE, FIRST
from tenantlimpyd.collection.order import Order
from tenantlimpyd.collection.plan import AllOf, Members, Place, Words
from tenantlimpyd.exceptions import DoesNotExist, shown
from tenantlimpyd.indexes.pk_sources import AnyOf, Nothing, Whole

__all__ = ["Column", "counted", "first_live", "found", "rows", "stored"]


@attrs.frozen
class Column:
    """A column of the result: one value that is read for each object.

    Attributes:
        name: the field's name.
        kind: ``pk``, ``string``, ``hash``, or ``score`` for the score it was sorted by.
    """

    name: str
    kind: str


def _sets(place: Place) -> list[str] | None:
    """Return the keys of the sets whose intersection ``place`` is; None if it is something else."""
    parts = place.sources if isinstance(place, AllOf) else (place,)
    keys = [each.key for each in parts if isinstance(each, Whole) and each.kind == "set"]
    return keys if len(keys) == len(parts) else None


def _one_pk(place: Place) -> tuple[str, list[str]] | None:
    """Return the only pk that can match, and the keys of the sets it must be in; None if ``place`` is something else."""
    if not isinstance(place, AllOf):
        return None
    pks = [each.pks for each in place.sources if isinstance(each, Members)]
    keys = _sets(AllOf(tuple(each for each in place.sources if not isinstance(each, Members))))
    return (pks[0][0], keys) if keys and len(pks) == 1 and len(pks[0]) == 1 else None


def _look_up(pk: str, keys: list[str]) -> Operation[list[str]]:
    if len(keys) == 1:
        return [pk] if (yield Command("SISMEMBER", keys[0], pk)) else []
    replies = yield Batch([Command("SISMEMBER", key, pk) for key in keys])
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return [pk] if all(replies) else []


def _asked(words: Words) -> Operation[Any]:
    try:
        reply = yield words.script(EVALUATE)
    except Exception as error:
        if "converted into double" in str(error):
            error.add_note("A value to sort by is not a number. Sort by text with sort(alpha=True).")
        raise
    if reply[0] == "gone":
        raise DoesNotExist(
            f"the stored collection {shown(reply[1])} is gone: it has expired, or was deleted. Store it again"
        )
    if reply[0] == "kind":
        raise ValueError(
            f"{shown(reply[1])} holds a {reply[2]}: a collection can be intersected with a set, a sorted set or a list"
        )
    return reply[1]


def found(storage: str, place: Place, order: Order | None = None) -> Operation[list[str]]:
    """Return the pks, in ``order``; None: in no order."""
    if isinstance(place, Nothing):
        return []
    if one := _one_pk(place):
        pks = yield from _look_up(*one)
        if order is not None:
            pks = pks[order.start :] if order.number < 0 else pks[order.start : order.start + order.number]
        return pks
    if order is None:
        if keys := _sets(place):
            return list((yield Command("SMEMBERS" if len(keys) == 1 else "SINTER", *keys)))
        if isinstance(place, AnyOf) and (keys := _sets(AllOf(place.sources))):
            return list((yield Command("SUNION", *keys)))
    words = Words(storage)
    words.place(place)
    words.say("pks")
    _tell(words, order)
    return list((yield from _asked(words)))


def _tell(words: Words, order: Order | None) -> None:
    if order is None:
        words.say("any")
    else:
        order.tell(words)


def rows(
    storage: str, place: Place, columns: Sequence[Column], order: Order | None = None
) -> Operation[list[tuple[str | None, ...]]]:
    """Return the values of the columns for each object, in ``order``; None: in no order."""
    if isinstance(place, Nothing):
        return []
    words = Words(storage)
    words.place(place)
    words.say("rows")
    _tell(words, order)
    words.say(storage)
    hashed = [column.name for column in columns if column.kind == "hash"]
    words.say_list(hashed)
    words.say(len(columns))
    for column in columns:
        words.say(column.kind, hashed.index(column.name) + 1 if column.kind == "hash" else column.name)
    flat = yield from _asked(words)
    return list(zip(*[iter(flat)] * len(columns), strict=True))


def counted(storage: str, place: Place) -> Operation[int]:
    """Return the number of pks."""
    if isinstance(place, Nothing):
        return 0
    if one := _one_pk(place):
        return len((yield from _look_up(*one)))
    if isinstance(place, Whole):
        return int((yield Command("SCARD" if place.kind == "set" else "ZCARD", place.key)))
    words = Words(storage)
    words.place(place)
    words.say("count")
    return int((yield from _asked(words)))


def first_live(live: str, key: str, number: int) -> Operation[list[str]]:
    """Return up to ``number`` live pks of a set, in no order, without reading the whole set if possible."""
    return list((yield Script(FIRST, [live, key], [number])))


def stored(storage: str, place: Place, order: Order, target: str, seconds: int | None) -> Operation[int]:
    """Store the pks as a list at ``target``, replacing any value there; return their number."""
    words = Words(storage)
    words.place(place)
    words.say("store")
    order.tell(words)
    words.keys.append(target)
    words.say("" if seconds is None else seconds)
    return int((yield from _asked(words)))
