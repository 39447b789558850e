"""How many round trips things take."""

from __future__ import annotations

import pytest

from tenantlimpyd.operations import together
from tenantlimpyd.testing import count_commands


@pytest.fixture
async def warm(person):
    """The model, once the server has the script."""
    (await person.acreate(name="warm", email="w", city="w")).delete()
    return person


async def trips(colour, expected, target, command, /, *args, **kwargs):
    with count_commands() as sent:
        result = await colour(target, command, *args, **kwargs)
    assert sent.trips == expected, sent
    return result


async def test_creating_and_deleting(colour, warm):
    with count_commands() as sent:
        p = await colour.make(warm, name="Ann", email="a@x", city="Rome", note="n")
    assert sent.trips == 2, sent
    await trips(colour, 1, p, "delete")
    with count_commands() as sent:
        p = await colour.make(warm, name="Ann", email="a@x", city="Rome")
    other = warm.lazy_connect(p._pk)
    await trips(colour, 2, other, "delete")


async def test_writing_an_indexed_field(colour, warm):
    p = await colour.make(warm, name="Ann", city="Rome", email="a@x")
    for command, args in [("set", ("b",)), ("append", ("c",)), ("set", ("5",)), ("incr", ()), ("delete", ())]:
        await trips(colour, 1, p.name, command, *args)
    await trips(colour, 1, p.city, "hset", "Oslo")
    await trips(colour, 1, p, "hmset", city="Bonn", age=1)
    await trips(colour, 1, p.email, "set", "b@x")
    await trips(colour, 1, p.badge, "hset", "b")
    q = warm.lazy_connect(p._pk)
    await trips(colour, 2, q.email, "set", "c@x")
    await trips(colour, 1, q.email, "set", "d@x")
    await trips(colour, 1, q.city, "hget")
    await trips(colour, 1, q.city, "hset", "Rome")


async def test_a_plain_field_takes_the_command_and_nothing_else(colour, warm):
    p = await colour.make(warm, note="n", age=1)
    for target, command, args in [
        (p.note, "set", ("m",)),
        (p.note, "get", ()),
        (p.age, "hset", (2,)),
        (p.age, "hget", ()),
        (p, "hmget", ("age", "city")),
    ]:
        await trips(colour, 1, target, command, *args)


async def test_finding(colour, warm):
    for number in range(100):
        await colour.make(warm, name="Ann", email=f"{number}@x", city="Rome", age=number)
    await trips(colour, 1, warm, "get", pk=5)
    await trips(colour, 1, warm, "get", email="5@x")
    await trips(colour, 1, warm, "get", email="5@x", city="Rome")
    await trips(colour, 1, warm, "exists", email="5@x")
    for found in (
        warm.collection(),
        warm.collection(name="Ann"),
        warm.collection(name="Ann", city="Rome"),
        warm.instances(name="Ann"),
        warm.instances(name="Ann", lazy=True),
    ):
        with count_commands() as sent:
            assert len(await colour.every(found)) == 100
        assert sent.trips == 1, sent
        await colour.slice(found, slice(0, 1))  # the server learns the script
        with count_commands() as sent:
            assert len(await colour.slice(found, slice(10, 20))) == 10
            await colour.item(found, 3)
            await colour.item(found, -3)
            await colour.count(found)
        assert sent.trips == (4 if colour.awaiting else 3), sent  # the blocking one keeps its items: no count
    with count_commands() as sent:
        objects = await colour.every(warm.instances(name="Ann"))
        reading = together(p.age._hget() for p in objects)
        runner = objects[0]._resolve()
        ages = await runner.arun(reading) if colour.awaiting else runner.run(reading)
    assert sent.trips == 2, sent
    assert sorted(map(int, ages)) == list(range(100))


def test_an_evaluated_collection_is_kept_and_a_call_gives_a_fresh_one(warm):
    warm(name="Ann")
    found = warm.collection(name="Ann")
    first = list(found)
    warm(name="Ann")
    with count_commands() as sent:
        assert list(found) == first
        assert (len(found), bool(found), first[0] in found) == (1, True, True)
    assert sent.trips == 0
    assert len(found()) == 2
