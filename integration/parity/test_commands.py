"""Every command of fields and models has the replies and keys of limpyd."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest

from integration.parity.recording import Side, Sides

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated (hmset|setex|psetex|getset):DeprecationWarning")

VALUES: dict[str, Any] = {
    "text": "Ann",
    "empty": "",
    "number": 12,
    "float": 1.5,
    "bytes": b"raw",
    "unicode": "Zoë 東京 🦀",
    "colons": "a:b::c",
    "globs": "*?[x]{}",
    "spaces": " two\nlines\r\n",
    "nul": "a\0b",
}

# Each is one command of a StringField; those refused on an indexed field are refused by both.
STRING_COMMANDS: dict[str, Callable[[Any], Any]] = {
    "get": lambda f: f.get(),
    "set": lambda f: f.set("new"),
    "set same": lambda f: f.set("12"),
    "set number": lambda f: f.set(7),
    "set ex": lambda f: f.set("new", ex=100),
    "set px": lambda f: f.set("new", px=100_000),
    "set nx": lambda f: f.set("new", nx=True),
    "set xx": lambda f: f.set("new", xx=True),
    "setnx": lambda f: f.setnx("new"),
    "setex": lambda f: f.setex(100, "new"),
    "psetex": lambda f: f.psetex(100_000, "new"),
    "getset": lambda f: f.getset("new"),
    "append": lambda f: f.append("34"),
    "append unicode": lambda f: f.append("é東"),
    "setrange": lambda f: f.setrange(1, "77"),
    "setrange beyond": lambda f: f.setrange(6, "77"),
    "setbit": lambda f: f.setbit(7, 1),
    "incr": lambda f: f.incr(),
    "incr by": lambda f: f.incr(5),
    "incrby": lambda f: f.incrby(-5),
    "decr": lambda f: f.decr(),
    "decrby": lambda f: f.decrby(2),
    "incrbyfloat": lambda f: f.incrbyfloat(0.25),
    "delete": lambda f: f.delete(),
    "strlen": lambda f: f.strlen(),
    "getrange": lambda f: f.getrange(0, 1),
    "getrange back": lambda f: f.getrange(-2, -1),
    "getbit": lambda f: f.getbit(3),
    "bitcount": lambda f: f.bitcount(),
    "bitcount part": lambda f: f.bitcount(0, 0),
    "bitpos": lambda f: f.bitpos(1),
    "exists": lambda f: f.exists(),
    "expire": lambda f: f.expire(100),
    "expire delta": lambda f: f.expire(datetime.timedelta(minutes=5)),
    "pexpire": lambda f: f.pexpire(100_000),
    "expireat": lambda f: f.expireat(4_000_000_000),
    "pexpireat": lambda f: f.pexpireat(4_000_000_000_000),
    "ttl": lambda f: f.ttl(),
    "pttl": lambda f: f.pttl(),
    "persist": lambda f: f.persist(),
    "proxy_get": lambda f: f.proxy_get(),
    "proxy_set": lambda f: f.proxy_set("proxied"),
}
# On indexed fields limpyd gets the index wrong here: see the table of differences.
UNINDEXED_STRING_COMMANDS: dict[str, Callable[[Any], Any]] = {
    "incrbyfloat whole": lambda f: f.incrbyfloat(3),
}
HASH_COMMANDS: dict[str, Callable[[Any], Any]] = {
    "hget": lambda f: f.hget(),
    "hset": lambda f: f.hset("new"),
    "hset same": lambda f: f.hset("12"),
    "hset number": lambda f: f.hset(7),
    "hdel": lambda f: f.hdel(),
    "delete": lambda f: f.delete(),
    "exists": lambda f: f.exists(),
    "hexists": lambda f: f.hexists(),
    "proxy_get": lambda f: f.proxy_get(),
    "proxy_set": lambda f: f.proxy_set("proxied"),
}
# On indexed fields limpyd forgets the index here: P6.
UNINDEXED_HASH_COMMANDS: dict[str, Callable[[Any], Any]] = {
    "hsetnx": lambda f: f.hsetnx("new"),
    "hincrby": lambda f: f.hincrby(5),
    "hincrbyfloat": lambda f: f.hincrbyfloat(0.25),
    "hincrbyfloat whole": lambda f: f.hincrbyfloat(3),
}
MODEL_COMMANDS: dict[str, Callable[[Any], Any]] = {
    "hmget": lambda o: o.hmget("age", "city", "badge"),
    "hmget repeated": lambda o: o.hmget("age", "age"),
    "hmget no hash field": lambda o: o.hmget("name"),
    "hgetall": lambda o: o.hgetall(),
    "hkeys": lambda o: sorted(o.hkeys()),
    "hvals": lambda o: sorted(o.hvals()),
    "hlen": lambda o: o.hlen(),
    "hmset": lambda o: o.hmset(age=3, city="Rome", badge="b9"),
    "hmset one": lambda o: o.hmset(city="Paris"),
    "hmset unknown": lambda o: o.hmset(height=3, age=2),
    "hmset no hash field": lambda o: o.hmset(name="x"),
    "hdel": lambda o: o.hdel("age", "city", "badge"),
    "hdel one": lambda o: o.hdel("city"),
    "hdel no hash field": lambda o: o.hdel("name"),
    "keys": lambda o: sorted(o.scan_keys()),
    "key": lambda o: o.key,
    "connected": lambda o: o.connected,
    "get_field": lambda o: o.get_field("name").get(),
    "get_field pk": lambda o: o.get_field("pk").get(),
    "get_field unknown": lambda o: o.get_field("height"),
    "pk exists": lambda o: o.pk.exists(),
    "pk set": lambda o: o.pk.set(4),
    "pk delete": lambda o: o.pk.delete(),
    "delete": lambda o: o.delete() and None,
    "equal": lambda o: o == type(o)(o.pk.get()),
    "other class": lambda o: o == 1,
}


def _prepared(side: Side, start: Any) -> Any:
    """Return an object with a neighbour, every field of both set to something."""
    side.m.Person(name="12", email="other", age=1, city="12", badge="other")
    person = side.m.Person(note="n", name="12", email="mine", age="12", city="12", badge="mine")
    if start is not None:
        person.note.set(start)
        person.name.set(start)
        person.email.set(start)
        person.hmset(age=start, city=start, badge=start)
    else:
        for field in ("note", "name", "email", "age", "city", "badge"):
            person.get_instance_field(field).delete()
    return side.m.Person(person.pk.get())


@pytest.mark.parametrize("start", [None, "12", "text"])
@pytest.mark.parametrize("field", ["note", "name", "email"])
def test_commands_of_string_fields_have_the_replies_and_keys_of_limpyd(
    sides: Sides, field: str, start: str | None
) -> None:
    commands = STRING_COMMANDS | (UNINDEXED_STRING_COMMANDS if field == "note" else {})
    for name, command in commands.items():
        sides.clear()
        for side in sides:
            person = _prepared(side, start)
            bound = person.get_instance_field(field)
            side.journal.append(("command", name))
            side(command, bound)
            side(bound.get)
            for value in ("12", "new", "17", "text"):
                side(side.m.Person.collection, **{field if field != "note" else "name": value})
        sides.compare()


@pytest.mark.parametrize("start", [None, "12", "text"])
@pytest.mark.parametrize("field", ["age", "city", "badge"])
def test_commands_of_instance_hash_fields_have_the_replies_and_keys_of_limpyd(
    sides: Sides, field: str, start: str | None
) -> None:
    commands = HASH_COMMANDS | (UNINDEXED_HASH_COMMANDS if field == "age" else {})
    for name, command in commands.items():
        sides.clear()
        for side in sides:
            person = _prepared(side, start)
            bound = person.get_instance_field(field)
            side.journal.append(("command", name))
            side(command, bound)
            side(bound.hget)
            for value in ("12", "new", "17", "text"):
                side(side.m.Person.collection, **{field if field != "age" else "city": value})
        sides.compare()


@pytest.mark.parametrize("start", [None, "12"])
def test_commands_of_objects_have_the_replies_and_keys_of_limpyd(sides: Sides, start: str | None) -> None:
    for name, command in MODEL_COMMANDS.items():
        sides.clear()
        for side in sides:
            person = _prepared(side, start)
            side.journal.append(("command", name))
            side(command, person)
        sides.compare()


@pytest.mark.parametrize("name", VALUES)
def test_values_are_stored_as_by_limpyd(sides: Sides, name: str) -> None:
    value = VALUES[name]
    text = value.decode() if isinstance(value, bytes) else value
    for side in sides:
        made = side(side.m.Person, note=value, name=value, email=value, age=value, city=value, badge=value)
        for field in ("note", "name", "email", "age", "city", "badge"):
            side(made.get_instance_field(field).proxy_get)
        for field in ("name", "email", "city", "badge"):
            side(side.m.Person.collection, **{field: text})
            side(side.m.Person.collection, **{f"{field}__eq": text})
        side(made.name.set, value)
        side(made.hmset, age=value, city=value)
        side(side.m.Country, code=text, name="x")
        if text:
            side(side.m.Country.exists, pk=text)
        side(side.m.Text, body=text, tag=text)
        side(side.m.Nameless, word=value)
        side(side.m.Spaced, word=value)
    sides.compare()


@pytest.mark.parametrize("taken", ["email", "badge"])
def test_used_unique_value_is_refused_and_nothing_changes(sides: Sides, taken: str) -> None:
    for side in sides:
        side.m.Person(email="e1", badge="b1")
        person = side.m.Person(email="e2", badge="b2")
        side(person.get_instance_field(taken).proxy_set, {"email": "e1", "badge": "b1"}[taken])
        side(person.get_instance_field(taken).proxy_get)
    sides.compare()


def test_commands_on_a_value_of_another_type_fail_as_with_limpyd(sides: Sides) -> None:
    for side in sides:
        person = side.m.Person(name="x", note="y")
        side.raw.delete("parity:person:1:note")
        side.raw.rpush("parity:person:1:note", "a list")
        side(person.note.get)
        side(person.note.append, "z")
        side(person.note.incr)
        person.name.set("twelve")
        side(person.name.incr)
        side(person.name.incrbyfloat, 1.5)
        side(person.name.get)
        side(side.m.Person.collection, name="twelve")
    sides.compare()
