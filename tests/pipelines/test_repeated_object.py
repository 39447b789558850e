"""One object several times in one pipeline: the result is that of the same operations one by one."""

from __future__ import annotations

import pytest

from tenantlimpyd import fields
from tenantlimpyd.database import RedisDatabase
from tests.support.models import define

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("transaction", [False, True])
async def test_writes_to_an_object_with_a_given_pk_follow_its_creation(call, database, transaction):
    named = define(
        database, "Named", name=fields.PKField(), city=fields.StringField(indexable=True), note=fields.StringField()
    )
    with database.pipeline(transaction=transaction) as pipe:
        one = await call.create(named, name="b", city="2")
        await call(one.note, "set", "x")
        assert await call(pipe, "execute") == [None, True]
    assert await call(one.note, "get") == "x"


async def test_object_is_deleted_and_created_again_with_its_unique_value(call, database):
    again = define(
        database,
        "Again",
        name=fields.PKField(),
        u=fields.StringField(unique=True),
        tags=fields.SetField(indexable=True),
    )
    one, other = await call.create(again, name="e", u="2"), await call.create(again, name="a", u="1")
    with database.pipeline() as pipe:
        one.delete()
        again(name="e", u="2").delete()
        again(name="e", u="2")
        await call(pipe, "execute")
    with database.pipeline() as pipe:
        other.tags.delete()
        other.tags.sadd("q")
        other.u.set("3")
        again(name="c", u="1")
        await call(pipe, "execute")
    assert sorted(await call.list(again.collection())) == ["a", "c", "e"]


@pytest.mark.parametrize("protocol", [2, 3])
async def test_floats_and_scores_in_a_transaction_are_results(call, server, protocol):
    async with RedisDatabase(**server.settings, db=3, protocol=protocol) as database:
        floats = define(
            database, "Floats", n=fields.StringField(), z=fields.SortedSetField(), h=fields.HashField(), namespace="f"
        )
        one = await call.create(floats, n=1, z={"a": 1, "b": 2}, h={"x": 1})
        with database.pipeline(transaction=True) as pipe:
            one.n.incrbyfloat(1.5)
            one.h.hincrbyfloat("x", 1.5)
            one.z.zrange(0, -1, withscores=True)
            one.z.zscore("a")
            one.z.zincrby(1, "a")
            one.z.zpopmin()
            results = await call(pipe, "execute")
        assert results[:2] == [2.5, 2.5]
        assert [tuple(pair) for pair in results[2]] == [("a", 1.0), ("b", 2.0)]
        assert results[3:5] == [1.0, 2.0]
        assert [tuple(pair) for pair in results[5]] == [("a", 2.0)]
        database.connection.flushdb()
