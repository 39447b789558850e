"""The number of round trips of operations."""

from __future__ import annotations

import pytest

from tenantlimpyd import fields
from tenantlimpyd.contrib.collection import ExtendedCollectionManager
from tenantlimpyd.contrib.indexes import MultiIndexes
from tenantlimpyd.exceptions import UniquenessError
from tenantlimpyd.indexes import EqualIndex, NumberRangeIndex, TextRangeIndex
from tenantlimpyd.operations import together
from tenantlimpyd.testing import count_commands
from tests.support.models import define


@pytest.fixture
async def warm(person):
    """The model, once the server has the scripts."""
    made = await person.acreate(name="warm", email="w", city="w")
    await made.note.aset("w")
    await made.adelete()
    return person


async def round_trips(call, expected, target, command, /, *args, **kwargs):
    with count_commands() as sent:
        result = await call(target, command, *args, **kwargs)
    assert sent.trips == expected, sent
    return result


async def test_round_trips_of_creating_and_deleting(call, warm):
    with count_commands() as sent:
        p = await call.create(warm, name="Ann", email="a@x", city="Rome", note="n")
    assert sent.trips == 2, sent
    await round_trips(call, 1, p, "delete")
    with count_commands() as sent:
        p = await call.create(warm, name="Ann", email="a@x", city="Rome")
    other = warm.lazy_connect(p._pk)
    await round_trips(call, 2, other, "delete")


async def test_round_trips_of_writing_an_indexed_field(call, warm):
    p = await call.create(warm, name="Ann", city="Rome", email="a@x")
    for command, args in [("set", ("b",)), ("append", ("c",)), ("set", ("5",)), ("incr", ()), ("delete", ())]:
        await round_trips(call, 1, p.name, command, *args)
    await round_trips(call, 1, p.city, "hset", "Oslo")
    await round_trips(call, 1, p, "hmset", city="Bonn", age=1)
    await round_trips(call, 1, p.email, "set", "b@x")
    await round_trips(call, 1, p.badge, "hset", "b")
    q = warm.lazy_connect(p._pk)
    await round_trips(call, 2, q.email, "set", "c@x")
    await round_trips(call, 1, q.email, "set", "d@x")
    await round_trips(call, 1, q.city, "hget")
    await round_trips(call, 1, q.city, "hset", "Rome")


async def test_plain_field_takes_one_round_trip(call, warm):
    p = await call.create(warm, note="n", age=1)
    for target, command, args in [
        (p.note, "set", ("m",)),
        (p.note, "get", ()),
        (p.age, "hset", (2,)),
        (p.age, "hget", ()),
        (p, "hmget", ("age", "city")),
    ]:
        await round_trips(call, 1, target, command, *args)


async def test_finding_takes_one_round_trip(call, warm):
    for number in range(100):
        await call.create(warm, name="Ann", email=f"{number}@x", city="Rome", age=number)
    await round_trips(call, 1, warm, "get", pk=5)
    await round_trips(call, 1, warm, "get", email="5@x")
    await round_trips(call, 1, warm, "get", email="5@x", city="Rome")
    await round_trips(call, 1, warm, "exists", email="5@x")
    for found in (
        warm.collection(),
        warm.collection(name="Ann"),
        warm.collection(name="Ann", city="Rome"),
        warm.instances(name="Ann"),
        warm.instances(name="Ann", lazy=True),
    ):
        with count_commands() as sent:
            assert len(await call.list(found)) == 100
        assert sent.trips == 1, sent
        await call.slice(found, slice(0, 1))  # the server loads the script
        with count_commands() as sent:
            assert len(await call.slice(found, slice(10, 20))) == 10
            await call.item(found, 3)
            await call.item(found, -3)
            await call.count(found)
        assert sent.trips == (4 if call.is_async else 3), sent  # the sync form keeps its items, so it needs no count
    with count_commands() as sent:
        objects = await call.list(warm.instances(name="Ann"))
        reading = together(p.age._hget() for p in objects)
        runner = objects[0]._resolve()
        ages = await runner.arun(reading) if call.is_async else runner.run(reading)
    assert sent.trips == 2, sent
    assert sorted(map(int, ages)) == list(range(100))


def test_evaluated_collection_keeps_its_result_and_a_call_gives_a_new_one(warm):
    warm(name="Ann")
    found = warm.collection(name="Ann")
    first = list(found)
    warm(name="Ann")
    with count_commands() as sent:
        assert list(found) == first
        assert (len(found), bool(found), first[0] in found) == (1, True, True)
    assert sent.trips == 0
    assert len(found()) == 2


INDEXES = {
    "equal": [EqualIndex],
    "text range": [TextRangeIndex],
    "number range": [NumberRangeIndex],
    "several": [EqualIndex, TextRangeIndex],
    "composed": [MultiIndexes.compose([EqualIndex, TextRangeIndex])],
}


@pytest.fixture(params=INDEXES)
async def thing(request, database):
    """A model of three fields, two of them indexed, one of those unique, once the server has the script."""
    indexes = INDEXES[request.param]
    thing = define(
        database,
        code=fields.StringField(unique=True, indexes=indexes),
        size=fields.InstanceHashField(indexable=True, indexes=indexes),
        note=fields.StringField(),
    )
    await (await thing.acreate(code="0")).adelete()
    return thing


async def test_creating_an_object_of_three_fields_takes_two_round_trips(call, thing):
    with count_commands() as sent:
        await call.create(thing, code="1", size="2", note="n")
    assert sent.trips == 2, sent


async def test_unique_write_takes_one_round_trip_if_the_old_value_is_known_else_two(call, thing):
    p = await call.create(thing, code="1", size="2", note="n")
    await call.create(thing, code="5")
    await round_trips(call, 1, p.code, "set", "2")
    await round_trips(call, 1, p.code, "get")
    await round_trips(call, 1, p.code, "set", "3")
    await round_trips(call, 1, p.size, "hset", "3")
    with count_commands() as sent, pytest.raises(UniquenessError):
        await call(p.code, "set", "5")
    assert sent.trips == 1, sent
    for field, command in (("code", "set"), ("size", "hset"), ("code", "delete"), ("size", "hdel")):
        unseen = thing.lazy_connect(p._pk)
        await round_trips(call, 2, getattr(unseen, field), command, *(["4"] if "set" in command else []))


async def test_write_after_a_change_by_another_client_takes_one_more_round_trip(call, thing):
    p = await call.create(thing, code="1", size="2")
    await call(thing.lazy_connect(p._pk).code, "set", "2")
    await round_trips(call, 2, p.code, "set", "3")
    await round_trips(call, 1, p.code, "set", "4")


async def test_deleting_takes_one_round_trip_if_the_values_are_known_else_two(call, thing):
    await round_trips(call, 1, await call.create(thing, code="1", size="2", note="n"), "delete")
    p = await call.create(thing, code="1", size="2", note="n")
    await round_trips(call, 2, thing.lazy_connect(p._pk), "delete")


async def test_found_objects_are_read_in_one_or_two_round_trips(call, warm):
    for number in range(100):
        await call.create(warm, name="Ann", email=f"{number}@x", city="Rome", age=number)
    wanted = sorted(("Ann", "Rome", str(number)) for number in range(100))
    values = warm.collection(ExtendedCollectionManager, name="Ann").values_list("name", "city", "age")
    fetching = warm.instances(name="Ann").fetch("name", "city", "age")
    for found in (values, fetching):
        await call.slice(found, slice(0, 1))  # the server loads the script
        with count_commands() as sent:
            rows = await call.list(found())
        assert sent.trips == 1, sent
        if found is fetching:
            rows = [tuple(each.fetched[name] for name in ("name", "city", "age")) for each in rows]
        assert sorted(rows) == wanted
    with count_commands() as sent:
        objects = await call.list(warm.instances(name="Ann"))
        reading = together(each._hmget("city", "age") for each in objects)
        runner = objects[0]._resolve()
        rows = await runner.arun(reading) if call.is_async else runner.run(reading)
    assert sent.trips == 2, sent
    assert sorted(("Ann", *row) for row in rows) == wanted
