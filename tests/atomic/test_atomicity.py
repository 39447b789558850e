"""A value and its index entries change atomically, whatever other clients do."""

from __future__ import annotations

import asyncio
import threading

import pytest
from redis.exceptions import ResponseError

from tenantlimpyd import fields, model
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import DoesNotExist, UniquenessError
from tenantlimpyd.indexes import EqualIndex, NumberRangeIndex, TextRangeIndex
from tenantlimpyd.testing import count_commands
from tests.support.models import assert_indexes_right, define, keyspace
from tests.support.multi_value_models import everything


async def attempt(call, raw, error, target, command, /, *args, **kwargs):
    """Call a command that must fail without changing the keyspace."""
    before = keyspace(raw)
    with pytest.raises(error):
        await call(target, command, *args, **kwargs)
    assert keyspace(raw) == before


@pytest.mark.parametrize(
    ("command", "args"),
    [("set", ("b",)), ("append", ("b",)), ("setrange", (0, "b")), ("incr", ()), ("delete", ()), ("getset", ("b",))],
)
async def test_value_key_of_another_type_stops_an_indexed_write(call, person, raw, command, args):
    p = await call.create(person, name="1")
    raw.delete("spec:person:1:name")
    raw.sadd("spec:person:1:name", "member")
    await attempt(call, raw, ResponseError, p.name, command, *args)


@pytest.mark.parametrize("index", ["new", "old"])
async def test_index_key_of_another_type_stops_the_write(call, person, raw, index):
    p = await call.create(person, name="old", city="old")
    raw.delete(f"spec:person:name:{index}", f"spec:person:city:{index}")
    raw.set(f"spec:person:name:{index}", "no set")
    raw.set(f"spec:person:city:{index}", "no set")
    if index == "new":
        await attempt(call, raw, ResponseError, p.name, "set", "new")
        await attempt(call, raw, ResponseError, p.city, "hset", "new")
        await attempt(call, raw, ResponseError, p, "hmset", city="new", age=1)
        await attempt(call, raw, ResponseError, person, "get_or_connect", name="new")
        return
    await attempt(call, raw, ResponseError, p.name, "set", "new")
    await attempt(call, raw, ResponseError, p.city, "hdel")
    await attempt(call, raw, ResponseError, p, "delete")


async def test_command_refused_by_the_server_changes_neither_value_nor_index(call, person, raw):
    p = await call.create(person, name="word", city="word", email="word")
    for target, command, args in [
        (p.name, "incr", ()),
        (p.name, "incrbyfloat", (1.5,)),
        (p.email, "decr", ()),
        (p.city, "hincrby", (1,)),
        (p.city, "hincrbyfloat", (1.5,)),
        (p.name, "setrange", (-1, "x")),
        (p.name, "setbit", (0, 7)),
    ]:
        await attempt(call, raw, ResponseError, target, command, *args)
    assert_indexes_right(raw, person)


@pytest.mark.parametrize("stored", ["1e999999999", "nan", "inf", "-1e5000", "0x10", " 5", "5_0"])
async def test_server_decides_which_numbers_are_valid(call, person, raw, stored):
    p = await call.create(person, name=stored, note=stored)
    for command, args in [("incr", ()), ("incrbyfloat", (0.5,))]:
        try:
            plain = await call(p.note, command, *args)
        except ResponseError:
            await attempt(call, raw, ResponseError, p.name, command, *args)
        else:
            assert await call(p.name, command, *args) == plain
            assert raw.get("spec:person:1:name") == raw.get("spec:person:1:note")
        assert_indexes_right(raw, person)


async def test_write_is_repeated_if_another_client_changed_the_value(call, person, raw):
    for command, args, value in [
        ("set", ("mine",), "mine"),
        ("append", ("!",), "theirs!"),
        ("setrange", (0, "T"), "Theirs"),
        ("getset", ("mine",), "mine"),
        ("delete", (), None),
    ]:
        p = await call.create(person, name="first")
        other = await call(person, "get", p._pk)
        await call(other.name, "set", "theirs")
        with count_commands() as sent:
            await call(p.name, command, *args)
        assert raw.get(f"spec:person:{p._pk}:name") == value
        assert_indexes_right(raw, person)
        assert 2 <= sent.trips <= 3, sent


async def test_wrong_expected_value_costs_one_round_trip(call, person, raw):
    for stored, command, args, value in [
        ("a", "setrange", (0, "b"), "b"),
        ("a", "setbit", (6, 1), "c"),
        ("0.1", "incrbyfloat", (0.2,), "0.3"),
        ("5", "incrbyfloat", (1e-5,), "5.00001"),
        ("9007199254740993", "incr", (), "9007199254740994"),
        ("-0.1", "incrbyfloat", (0.1,), "0"),
    ]:
        p = await call.create(person, name=stored, city=stored)
        raw.persist(f"spec:person:{p._pk}:name")
        await call(p.name, command, *args)
        assert float(raw.get(p.name.key)) == float(value) if "float" in command else raw.get(p.name.key) == value
        assert_indexes_right(raw, person)


async def test_refused_write_keeps_the_value_and_its_expiry(call, person, raw):
    await call.create(person, email="ab")
    p = await call.create(person, email="a")
    raw.pexpire("spec:person:2:email", 3_600_000)  # as an older application may have written it
    before = keyspace(raw)
    with pytest.raises(UniquenessError):
        await call(p.email, "setrange", 1, "b")
    assert keyspace(raw) == before
    assert raw.pttl("spec:person:2:email") > 3_500_000


async def test_bytes_that_are_not_text_are_refused_by_an_indexed_field(call, person, raw):
    p = await call.create(person, name="a", city="a")
    await attempt(call, raw, UnicodeDecodeError, p.name, "setbit", 0, 1)
    await attempt(call, raw, UnicodeDecodeError, p.name, "set", b"\xff")
    await attempt(call, raw, UnicodeDecodeError, p.city, "hset", b"\xff")
    assert await call(p.name, "get") == "a"  # the connection is usable
    assert await call(p.name, "set", "b") is True


@pytest.mark.parametrize(
    ("field", "command", "args"),
    [
        ("name", "set", ("b",)),
        ("name", "setnx", ("b",)),
        ("name", "append", ("b",)),
        ("name", "delete", ()),
        ("email", "set", ("b",)),
        ("city", "hset", ("b",)),
        ("city", "hincrby", (1,)),
        ("city", "hdel", ()),
    ],
)
async def test_object_deleted_by_another_client_is_not_written(call, person, raw, field, command, args):
    p = await call.create(person, name="1", email="1", city="1")
    await call(await call(person, "get", 1), "delete")
    await attempt(call, raw, DoesNotExist, getattr(p, field), command, *args)
    await attempt(call, raw, DoesNotExist, p, "delete")
    await attempt(call, raw, DoesNotExist, p, "hmset", city="x", age=1)
    assert keyspace(raw) == {"spec:person:max_pk": "1"}


def test_only_one_of_many_threads_gets_a_unique_value(person, raw):
    ready, outcomes = threading.Barrier(8), []

    def want():
        ready.wait(10)
        try:
            outcomes.append(person(email="one", name="n").pk.get())
        except UniquenessError:
            outcomes.append(None)

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    winners = [pk for pk in outcomes if pk]
    assert (len(outcomes), len(winners)) == (8, 1)
    assert raw.smembers("spec:person:collection") == set(winners)
    assert_indexes_right(raw, person)


async def test_concurrent_increments_of_an_indexed_number_are_all_counted(person, raw):
    await person.acreate(name=0, city=0)

    async def add():
        p = await person.aget(1)
        for _ in range(10):
            await p.name.aincr()
            await p.city.ahincrbyfloat(0.5)

    await asyncio.gather(*(add() for _ in range(8)))
    assert raw.get("spec:person:1:name") == "80"
    assert raw.hget("spec:person:1:hash", "city") == "40"
    assert_indexes_right(raw, person)


async def test_only_one_of_many_objects_with_one_pk_is_created(database, raw):
    hosted_by = database

    class Land(model.RedisModel):
        database = hosted_by
        code = fields.PKField()
        name = fields.StringField(indexable=True)

    made = await asyncio.gather(*(Land.acreate(code="fr", name=n) for n in range(8)), return_exceptions=True)
    assert sum(isinstance(each, UniquenessError) for each in made) == 7
    assert raw.smembers(":land:collection") == {"fr"}
    assert_indexes_right(raw, Land)


async def test_value_does_not_overwrite_an_index_under_the_same_key(call, database, raw):
    """The layout escapes nothing: the key of pk "name" and field "color" is that of the value "color" of "name"."""
    hosted_by = database

    class Odd(model.RedisModel):
        database = hosted_by
        pk = fields.PKField()
        name = fields.StringField(indexable=True)
        color = fields.StringField()

    await call.create(Odd, pk="a", name="color")
    before = keyspace(raw)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await call.create(Odd, pk="name", color="red")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await call.create(Odd, pk="name", name="color", color="red")
    assert keyspace(raw) == before


async def test_value_does_not_overwrite_its_own_index_entry(call, database, raw):
    """Of pk "name", the key of the field "name" is that of the index of its value "name"."""
    hosted_by = database

    class Odd(model.RedisModel):
        database = hosted_by
        pk = fields.PKField()
        name = fields.StringField(indexable=True)
        color = fields.StringField()

    p = await call.create(Odd, pk="name", color="red")
    for command in ("set", "setnx", "getset"):
        await attempt(call, raw, ResponseError, p.name, command, "name")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await call(p.name, "append", "name")


@pytest.mark.parametrize("before", [None, "old", "5"])
@pytest.mark.parametrize("last", ["zz", "5.5"])
async def test_entries_added_before_a_refused_one_are_removed(call, database, raw, before, last):
    several = [TextRangeIndex, NumberRangeIndex.configure(key="a-number"), EqualIndex]
    thing = define(
        database,
        name=fields.StringField(indexable=True, indexes=several),
        city=fields.InstanceHashField(indexable=True, indexes=several),
        other=fields.StringField(),
    )
    values = {"other": "x"} if before is None else {"name": before, "city": before}
    p = await call.create(thing, **values)
    for field in ("name", "city"):
        for index in (f":thing:{field}:{last}", f":thing:{field}:text-range"):
            kept = raw.dump(index)
            raw.delete(index)
            raw.set(index, "in the way")
            there = everything(raw)
            for target, command in ((p.name, "set"), (p.city, "hset")):
                if target.name == field:
                    with pytest.raises(ResponseError, match="WRONGTYPE"):
                        await call(target, command, last)
            assert everything(raw) == there
            raw.delete(index)
            if kept is not None:
                raw.restore(index, 0, kept)
    await call(p.name, "set", last)
    await call(p.city, "hset", last)
    assert raw.smembers(f":thing:city:{last}") == {p._pk}


async def test_write_without_permission_stores_no_partial_object(call, server, database, raw):
    raw.execute_command("ACL", "SETUSER", "no-lists", "on", ">pw", "~*", "+@all", "-rpush")
    limited = RedisDatabase(**server.settings, db=0, username="no-lists", password="pw")
    thing = define(
        limited,
        name=fields.StringField(indexable=True),
        city=fields.InstanceHashField(indexable=True, indexes=[TextRangeIndex]),
        log=fields.ListField(),
    )
    try:
        p = await call.create(thing, name="a", city="b")
        before = everything(raw) | {":thing:max_pk": "2"}
        with pytest.raises(ResponseError, match=r"permission|can't run"):
            await call.create(thing, name="a", city="c", log=["x"])
        assert everything(raw) == before
        raw.execute_command("ACL", "SETUSER", "no-lists", "-srem", "-zrem")
        with pytest.raises(ResponseError, match=r"permission|can't run"):
            await call(p.name, "set", "b")
        with pytest.raises(ResponseError, match=r"permission|can't run"):
            await call(p.city, "hdel")
        assert everything(raw) == before
    finally:
        await limited.aclose()
        limited.close()
        raw.execute_command("ACL", "DELUSER", "no-lists")
