"""One object several times in one pipeline: the result is that of the same operations one by one."""

from __future__ import annotations

import pytest

from tenantlimpyd import fields
from tenantlimpyd.database import RedisDatabase
from tests.support.models import define

pytestmark = pytest.mark.slow


async def carried_out(mode, pipe):
    return await pipe.aexecute() if mode.awaiting else pipe.execute()


@pytest.mark.parametrize("transaction", [False, True])
async def test_writes_to_an_object_with_a_given_pk_follow_its_creation(mode, database, transaction):
    named = define(
        database, "Named", name=fields.PKField(), city=fields.StringField(indexable=True), note=fields.StringField()
    )
    with database.pipeline(transaction=transaction) as pipe:
        if mode.awaiting:
            one = await named.acreate(name="b", city="2")
            await one.note.aset("x")
        else:
            one = named(name="b", city="2")
            one.note.set("x")
        assert await carried_out(mode, pipe) == [None, True]
    assert await mode(one.note, "get") == "x"


async def test_deleted_and_created_again_and_unique_values_freed(mode, database):
    again = define(
        database,
        "Again",
        name=fields.PKField(),
        u=fields.StringField(unique=True),
        tags=fields.SetField(indexable=True),
    )
    one, other = await mode.make(again, name="e", u="2"), await mode.make(again, name="a", u="1")
    with database.pipeline() as pipe:
        one.delete()
        again(name="e", u="2").delete()
        again(name="e", u="2")
        await carried_out(mode, pipe)
    with database.pipeline() as pipe:
        other.tags.delete()
        other.tags.sadd("q")
        other.u.set("3")
        again(name="c", u="1")
        await carried_out(mode, pipe)
    assert sorted(await mode.every(again.collection())) == ["a", "c", "e"]


@pytest.mark.parametrize("protocol", [2, 3])
async def test_floats_and_scores_in_a_transaction_are_results(mode, server, protocol):
    async with RedisDatabase(**server.settings, db=3, protocol=protocol) as database:
        floats = define(
            database, "Floats", n=fields.StringField(), z=fields.SortedSetField(), h=fields.HashField(), namespace="f"
        )
        one = await mode.make(floats, n=1, z={"a": 1, "b": 2}, h={"x": 1})
        with database.pipeline(transaction=True) as pipe:
            one.n.incrbyfloat(1.5)
            one.h.hincrbyfloat("x", 1.5)
            one.z.zrange(0, -1, withscores=True)
            one.z.zscore("a")
            one.z.zincrby(1, "a")
            one.z.zpopmin()
            results = await carried_out(mode, pipe)
        assert results[:2] == [2.5, 2.5]
        assert [tuple(pair) for pair in results[2]] == [("a", 1.0), ("b", 2.0)]
        assert results[3:5] == [1.0, 2.0]
        assert [tuple(pair) for pair in results[5]] == [("a", 2.0)]
        database.connection.flushdb()
