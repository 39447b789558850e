"""Run a random program on both libraries: each step has the same reply or error, and the same keys.

What differs must be one of the lines of ``differences.toml`` that says when (``when``). The keys of our side are then
copied to limpyd's, and the program goes on.

Replies are compared as they are, but for these: what has no order is sorted; a tuple is as good as a list and a generator
as good as both; of a pick at random only the number counts, of a time to live only whether there is one.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import redis

from integration.parity.commands import UNSTABLE
from integration.parity.expected import Expected
from integration.parity.keyspace import content_of
from integration.parity.libraries import LIMPYD, OURS, Library
from integration.parity.random_models import Model

__all__ = ["Bench", "Step"]

Step = tuple[Any, ...]

_FAILED = "failed:"
_LEFT = re.compile(rb":__collection__:(final|store|tmp):|:__index__:.*:tmp:")
"""Keys that limpyd leaves behind where it counts or fails (P45), and stored collections, which are compared by reading."""


def _is_numbers(key: bytes) -> bool:
    """Return whether a key is that of numbers, which are kept in another form where they are many (P47)."""
    return key.endswith((b":number-range", b":own"))


class Hand:
    """One library at work on its own database."""

    def __init__(self, library: Library, settings: dict[str, Any], db: int) -> None:
        self.library = library
        self.settings, self.db = settings, db
        self.raw = redis.Redis(**settings, db=db)

    def begin(self, declared: Model) -> None:
        """Make the model anew, on an empty database."""
        self.raw.flushdb()
        self.database = self.library.pipelines(**self.settings, db=self.db)
        _ = self.database.connection  # limpyd opens no pipeline before that (P22)
        self.model = declared.made_by(self.library, self.database)
        self.handles: dict[str, Any] = {}

    def end(self) -> None:
        """Close what was begun."""
        if self.library is OURS:
            self.database.close()

    def close(self) -> None:
        """Close all connections."""
        self.raw.close()
        if self.library is LIMPYD:
            self.library.disconnect(self.library.pipelines(**self.settings, db=self.db))

    def handle(self, pk: str) -> Any:
        """Return an object; the same one for as long as it is there."""
        if pk not in self.handles:
            self.handles[pk] = self.model(pk)
        return self.handles[pk]

    def content(self, declared: Model) -> dict[bytes, Any]:
        """Return all keys, but for those that are different on purpose whatever happens."""
        numbers = [
            f"random:thing:{field.name}:".encode() for field in declared.fields if {"number", "many"} <= field.tags
        ]
        return {
            key: held
            for key, held in content_of(self.raw).items()
            if not _LEFT.search(key)
            and not (held[0] == b"zset" and key.startswith(tuple(numbers)) and _is_numbers(key))
        }

    def take(self, step: Step, pks: list[str]) -> Any:
        """Do a step; return what came of it as plain data."""
        try:
            return self.plain(getattr(self, f"do_{step[0]}")(pks, *step[1:]), step)
        except Exception as error:  # noqa: BLE001 - compared with what the other library raises
            return f"{_FAILED}{type(error).__name__}"

    def plain(self, value: Any, step: Step) -> Any:
        """Return a reply as plain data."""
        if isinstance(value, self.library.model.RedisModel):
            return type(value).__name__, value.pk.get()
        if isinstance(value, dict):
            return {key: self.plain(each, step) for key, each in value.items()}
        if isinstance(value, set | frozenset):
            return sorted((self.plain(each, step) for each in value), key=repr)
        if isinstance(value, list | tuple):
            return [self.plain(each, step) for each in value]
        if isinstance(value, Iterator):
            return sorted(([self.plain(each, step) for each in value]), key=repr)
        if isinstance(value, float) and math.isnan(value):
            return "nan"
        return value

    # Steps

    def do_create(self, _: list[str], values: dict[str, Any]) -> Any:
        return self.model(**values)

    def do_field(self, pks: list[str], who: int, name: str, command: str, args: Any) -> Any:
        field = getattr(self.handle(pks[who % len(pks)]), name)
        reply = getattr(field, command)(**args) if isinstance(args, dict) else getattr(field, command)(*args)
        if command in UNSTABLE:
            return len(reply) if isinstance(reply, list | set | tuple) else reply is not None
        if command in ("ttl", "pttl"):
            return min(reply, 0)
        return sorted(reply) if command in ("hkeys", "hvals") else reply

    def do_pk(self, pks: list[str], who: int, command: str, args: Any) -> Any:
        return getattr(self.handle(pks[who % len(pks)]).pk, command)(*args)

    def do_fresh(self, _: list[str], pk: Any) -> Any:
        fresh = self.model()
        return fresh.connected, fresh.pk.set(pk), fresh.pk.get(), fresh.connected

    def do_all_pks(self, _: list[str]) -> Any:
        return self.model.get_field("pk").collection()

    def do_object(self, pks: list[str], who: int, command: str, args: Any) -> Any:
        method = getattr(self.handle(pks[who % len(pks)]), command)
        reply = method(**args) if isinstance(args, dict) else method(*args)
        return sorted(reply) if command in ("hkeys", "hvals") else reply

    def do_delete(self, pks: list[str], who: int) -> Any:
        self.handle(pks[who % len(pks)]).delete()

    def do_forget(self, pks: list[str], who: int) -> Any:
        pk = pks[who % len(pks)]
        self.handles[pk] = self.model.lazy_connect(pk)

    def do_get(self, _: list[str], filters: dict[str, Any]) -> Any:
        return self.model.get(**filters)

    def do_exists(self, _: list[str], filters: dict[str, Any]) -> Any:
        return bool(self.model.exists(**filters))

    def do_get_or_connect(self, _: list[str], filters: dict[str, Any]) -> Any:
        return self.model.get_or_connect(**filters)

    def do_from_pks(self, _: list[str], given: list[Any]) -> Any:
        return list(self.model.from_pks(given))

    def do_collect(self, pks: list[str], filters: dict[str, Any], shape: tuple[Any, ...], last: tuple[Any, ...]) -> Any:
        found = self.model.collection(**filters)
        self.asked_stored: list[bool] = []
        for what, *rest in shape:
            found = self.shaped(found, pks, what, rest)
        ordered = any(what.startswith("sort") for what, *_ in shape)
        return self.asked(found, ordered, *last), self.asked_stored

    def shaped(self, found: Any, pks: list[str], what: str, rest: list[Any]) -> Any:
        if what == "call":
            return found(**rest[0])
        if what == "filter":
            return found.filter(**rest[0])
        if what == "filter_by_field":
            return found.filter(**{rest[1]: getattr(self.handle(pks[rest[0] % len(pks)]), rest[1])})
        if what == "intersect":
            return found.intersect([pk for at, pk in enumerate(pks) if at in rest[0]])
        if what == "intersect_key":
            return found.intersect("random:thing:collection")
        if what == "store":
            return found.store()
        if what == "from_stored":
            kept = found.store(key="kept")
            self.asked_stored.append(kept.stored_key_exists())
            return self.model.collection().from_stored(kept.stored_key)
        if what == "sort_by_score":
            return found.sort(by_score=getattr(self.handle(pks[rest[0] % len(pks)]), rest[1]), **rest[2])
        args, kwargs = rest
        return getattr(found, what)(*args, **kwargs)

    def asked(self, found: Any, ordered: bool, what: str, *args: Any) -> Any:
        if what == "len":
            return len(found)
        if what == "bool":
            return bool(list(found))
        if what == "in":
            return args[0] in found
        if what == "slice":
            return list(found[slice(*args)])
        if what == "item":
            return found[args[0]]
        items = list(found)
        return items if ordered else iter(items)

    def do_maintain(self, pks: list[str], name: str, what: str) -> Any:
        field = self.model.get_field(name)
        if what == "rebuild":
            field.clear_indexes()
            field.rebuild_indexes()
        elif what == "rebuild aggressively":
            field.rebuild_indexes(aggressive_clear=True)
        elif what == "clear index and rebuild":
            for index in field._indexes or field.indexes:
                index.clear()
                index.rebuild()
        else:
            bound = getattr(self.model(pks[0]), name)
            bound.deindex()
            bound.index()

    def do_pipeline(self, pks: list[str], calls: list[tuple[int, str, str, Any]]) -> Any:
        handles = [getattr(self.handle(pks[who % len(pks)]), name) for who, name, _, _ in calls]
        for handle in handles:
            with contextlib.suppress(Exception):
                handle._instance.connect()  # limpyd looks lazy objects up inside, where everything is there (P19)
        with self.database.pipeline() as pipe:
            for field, (_, _, command, args) in zip(handles, calls, strict=True):
                getattr(field, command)(*args)
            return pipe.execute()


class Bench:
    """Both libraries, each on a database of its own, and what was done with them."""

    def __init__(self, settings: dict[str, Any], expected: Expected) -> None:
        self.limpyd, self.ours = Hand(LIMPYD, settings, 1), Hand(OURS, settings, 2)
        self.expected = expected
        self.done: Counter[str] = Counter()
        """How often each command succeeded on both sides, as ``class.command``; indexes and steps by their names."""

    def close(self) -> None:
        """Close all connections."""
        self.limpyd.close()
        self.ours.close()

    def play(self, declared: Model, steps: list[Step]) -> None:
        """Run a program; raise at the first step with a difference that is not expected."""
        told: list[str] = []
        self.limpyd.begin(declared)
        self.ours.begin(declared)
        try:
            marks: set[str] = set()
            for step in steps:
                self.step(declared, step, marks, told)
                if step[0] == "maintain":
                    marks.add("maintained")
        finally:
            self.limpyd.end()
            self.ours.end()

    def step(self, declared: Model, step: Step, marks: set[str], told: list[str]) -> None:
        """Do one step on both sides."""
        pks = sorted(member.decode() for member in self.ours.raw.smembers("random:thing:collection"))
        if not pks and step[0] in ("field", "pk", "object", "delete", "forget", "maintain", "pipeline", "collect"):
            return
        theirs, mine = self.limpyd.take(step, pks), self.ours.take(step, pks)
        their_keys, my_keys = self.limpyd.content(declared), self.ours.content(declared)
        told.append(f"{step} -> {mine!r}, and limpyd {theirs!r}")
        tags = _tags(declared, step, theirs, mine) | marks
        chance = step[0] == "field" and step[3] in UNSTABLE
        if theirs != mine:
            tags.add("reply")
        if their_keys != my_keys:
            tags.add("keys")
        if not tags & {"reply", "keys"} or (chance and "reply" not in tags):
            self.count(declared, step, mine)
        elif self.expected.claims(tags):
            if not _failed(mine):
                self.count(declared, step, mine)
        else:
            keys = [
                f"  {key!r}: {my_keys.get(key)}, and limpyd: {their_keys.get(key)}"
                for key in sorted(my_keys.keys() | their_keys.keys())
                if my_keys.get(key) != their_keys.get(key)
            ]
            shown = [f"tags: {' '.join(sorted(tags))}", f"model: {declared}", "steps:", *told, "keys:", *keys]
            self.unexpected("\n".join(shown))
        if their_keys != my_keys:
            self.settled(declared, my_keys, told)
            self.copy()
        if step[0] in ("delete", "create", "fresh") or their_keys != my_keys:
            for hand in (self.limpyd, self.ours):
                hand.handles = {}

    def settled(self, declared: Model, before: dict[bytes, Any], told: list[str]) -> None:
        """Raise unless our indexes are those that our values call for: building them anew changes nothing."""
        for field in declared.fields:
            if field.indexes is not None:
                self.ours.model.get_field(field.name).rebuild_indexes(aggressive_clear=True)
        if (after := self.ours.content(declared)) != before:
            keys = [
                f"  {key!r}: {before.get(key)}, and anew: {after.get(key)}"
                for key in sorted(before.keys() | after.keys())
                if before.get(key) != after.get(key)
            ]
            self.unexpected("\n".join(["tags: stale", f"model: {declared}", "steps:", *told, "keys:", *keys]))

    def unexpected(self, what: str) -> None:
        """Raise."""
        raise AssertionError(what)

    def count(self, declared: Model, step: Step, reply: Any) -> None:
        """Count what succeeded."""
        if _failed(reply):
            return
        self.done[step[0]] += 1
        if step[0] == "field":
            field = declared.field(step[2])
            self.done[f"{field.kind}.{step[3]}"] += 1
            for name in field.index_names:
                self.done[f"{name}.write"] += 1
        elif step[0] in ("pk", "fresh", "all_pks"):
            command = {"fresh": "set", "all_pks": "collection"}.get(step[0]) or step[2]
            self.done[f"{'AutoPKField' if declared.auto else 'PKField'}.{command}"] += 1
        elif step[0] == "object":
            self.done[f"RedisModel.{step[2]}"] += 1
        elif step[0] == "create":
            for name in step[1]:
                for index in declared.field(name).index_names if name not in ("code", "pk") else ():
                    self.done[f"{index}.write"] += 1
        elif step[0] == "collect":
            for what, *_ in step[2]:
                self.done[f"collection.{what}"] += 1
            for name in step[1]:
                for index in declared.field(name.split("__")[0]).index_names if not name.startswith("pk") else ():
                    self.done[f"{index}.filter"] += 1

    def copy(self) -> None:
        """Give limpyd's side the keys of ours."""
        keys = self.ours.raw.keys()
        with self.ours.raw.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.dump(key)
                pipe.pttl(key)
            replies = iter(pipe.execute())
        with self.limpyd.raw.pipeline(transaction=False) as pipe:
            pipe.flushdb()
            for key, dumped, left in zip(keys, replies, replies, strict=True):
                pipe.restore(key, max(left, 0), dumped)
            pipe.execute()


def _failed(reply: Any) -> bool:
    return isinstance(reply, str) and reply.startswith(_FAILED)


def _outcome(reply: Any) -> str:
    return reply.removeprefix(_FAILED) if _failed(reply) else "ok"


def _tags(declared: Model, step: Step, theirs: Any, mine: Any) -> set[str]:
    """Return what differences are told by."""
    tags = {f"step:{step[0]}", f"limpyd:{_outcome(theirs)}", f"ours:{_outcome(mine)}"}
    tags.add("auto" if declared.auto else "given")
    named: list[str] = []
    if step[0] == "field":
        named = [step[2]]
        tags |= {f"command:{step[3]}", f"args:{len(step[4])}"}
    elif step[0] in ("object", "pk"):
        tags.add(f"command:{step[2]}")
    elif step[0] == "maintain":
        named = [step[1]]
        tags.add(f"maintain:{step[2]}")
    elif step[0] in ("collect", "get", "exists", "get_or_connect"):
        later = [rest[0] for what, *rest in (step[2] if step[0] == "collect" else ()) if what in ("call", "filter")]
        filters = {name: value for given in (step[1], *later) for name, value in given.items()}
        tags |= {"filter:none" for value in filters.values() if value == []}
        tags |= {"filter:empty" for value in filters.values() if value == ""}
        named = [name.split("__")[0] for name in filters]
        tags |= {f"filter:{part}" for name in filters for part in name.split("__")[1:]}
        tags.add("filters:1" if len(filters) == 1 else "filters:more" if filters else "filters:none")
        tags |= {"pk-filter"} if "pk" in filters else set()
        if step[0] == "collect":
            tags |= {f"shape:{what}" for what, *_ in step[2]} | {f"last:{step[3][0]}"}
            tags |= {f"at:{'-' if each < 0 else '+'}" for each in step[3][1:] if isinstance(each, int)}
    elif step[0] == "create":
        named = list(step[1])
    for field in declared.fields:
        if field.name in named or step[0] in ("delete", "object", "create"):
            tags |= field.tags
        tags |= {f"model:{tag}" for tag in field.tags}
    return tags
