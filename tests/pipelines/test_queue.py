"""What happens to commands inside a pipeline's block."""

from __future__ import annotations

import asyncio

import pytest
import redis

from tenantlimpyd import fields
from tenantlimpyd._operations import drivers
from tenantlimpyd.contrib.database import PipelineDatabase
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import DoesNotExist, ImplementationError, UniquenessError
from tenantlimpyd.testing import count_commands
from tests.support.models import assert_indexes_right, define, keyspace
from tests.support.pipelines import piped

pytestmark = pytest.mark.slow


@pytest.fixture(params=[True, False], ids=["transaction", "batch"])
def transaction(request):
    return request.param


async def test_commands_return_the_pipeline_and_execute_returns_results_in_order(call, person, database, transaction):
    p = await call.create(person, name="Ann", note="n", age=3)
    async with piped(call, database, transaction) as pipe:
        with count_commands() as sent:
            assert await call(p.note, "get") is pipe
            assert await call(p.note, "set", "m") is pipe
            assert await call(p.note, "append", "!") is pipe
            assert await call(p.age, "hget") is pipe
            assert await call(p.name, "set", "Bea") is pipe
            assert await call(p, "hmget", "age", "city") is pipe
            assert len(pipe) == 6
            assert sent.trips == 0
            results = await call(pipe, "execute")
        assert results == ["n", True, 2, "3", True, ["3", None]]
        assert sent.trips == 1
        assert (sent.names[0], sent.names[-1]) == (("MULTI", "EXEC") if transaction else ("GET", "HMGET"))
        assert sent.names.count("MULTI") == transaction
        assert len(pipe) == 0
        assert await call(pipe, "execute") == []
    assert await call(p.note, "get") == "m!"


async def test_a_thousand_objects_are_created_in_two_round_trips(call, person, database, raw, transaction):
    async with piped(call, database, transaction) as pipe:
        with count_commands() as sent:
            people = [
                await call.create(person, name=f"n{number % 7}", email=f"{number}@x", city="Rome")
                for number in range(1000)
            ]
            assert not any(p.has_pk for p in people)
            assert await call(pipe, "execute") == [None] * 1000
        assert sent.trips == 2, sent.trips
    assert [p.known_pk for p in people] == [str(number) for number in range(1, 1001)]
    assert all(p.connected and p.created_here for p in people)
    assert_indexes_right(raw, person)
    assert await call(people[8].email, "get") == "8@x"
    assert await call.count(person.collection(name="n3")) == 143


async def test_new_object_can_be_used_after_its_queued_creation(call, person, database, raw):
    async with piped(call, database) as pipe:
        p = await call.create(person, name="Ann")
        await call(p.name, "set", "Bea")
        await call(p.note, "set", "n")
        await call(p.note, "get")
        await call(p.city, "hset", "Rome")
        q = person()
        await call(q.note, "set", "stored by its first write")
        await call(q.pk, "get")
        await call(q, "delete")
        assert await call(pipe, "execute") == [None, True, True, "n", 1, True, "2", None]
    assert p.known_pk == "1"
    assert keyspace(raw) == {
        "spec:person:max_pk": "2",
        "spec:person:collection": {"1"},
        "spec:person:1:name": "Bea",
        "spec:person:1:note": "n",
        "spec:person:1:hash": {"city": "Rome"},
        "spec:person:name:Bea": {"1"},
        "spec:person:city:Rome": {"1"},
    }


async def test_indexed_write_is_correct_after_a_write_of_another_client(call, person, database, raw, transaction):
    p = await call.create(person, name="Ann", city="Rome")
    async with piped(call, database, transaction) as pipe:
        await call(p.name, "set", "Bea")
        await call(p.name, "get")
        await call(p.city, "hset", "Oslo")
        raw.set(p.name.key, "Cid")
        raw.srem("spec:person:name:Ann", p.known_pk)
        raw.sadd("spec:person:name:Cid", p.known_pk)
        with count_commands() as sent:
            assert await call(pipe, "execute") == [True, "Bea", 0]
        assert sent.trips == 2
    assert_indexes_right(raw, person)


async def test_lazy_objects_are_looked_up_first_and_missing_ones_are_not_written(call, person, database, raw):
    await call.create(person, name="Ann", note="n")
    before = keyspace(raw)
    there, missing = person.lazy_connect(1), person.lazy_connect(9)
    async with piped(call, database) as pipe:
        for p in (there, missing):
            await call(p.note, "set", "n")
            await call(p.name, "set", "Ann")
            await call(p.note, "get")
        with count_commands() as sent:
            results = await call(pipe, "execute", raise_on_error=False)
        assert sent.trips == 2, sent  # the commands, and a write whose former value was unknown
    assert results[:3] == [True, True, "n"]
    assert [type(result) for result in results[3:5]] == [DoesNotExist] * 2
    assert results[5] is None
    assert keyspace(raw) == before
    async with piped(call, database) as pipe:
        if not call.is_async:
            person(9)
            with pytest.raises(DoesNotExist):
                pipe.execute()


async def test_object_can_not_be_used_after_its_queued_deletion(call, person, database, raw):
    p = await call.create(person, name="Ann", note="n")
    async with piped(call, database) as pipe:
        await call(p.note, "get")
        await call(p, "delete")
        await call(p.note, "set", "an orphan")
        await call(p.name, "set", "an orphan")
        results = await call(pipe, "execute", raise_on_error=False)
    assert results[:2] == ["n", None]
    assert [type(result) for result in results[2:]] == [DoesNotExist] * 2
    assert keyspace(raw) == {"spec:person:max_pk": "1"}


@pytest.mark.pitfall(19)
async def test_commands_that_need_a_result_at_once_are_refused(call, person, database):
    p = await call.create(person, name="Ann")
    tagged = define(database, "Tagged", tags=fields.SetField())
    t = await call.create(tagged, tags=["a"])
    async with piped(call, database) as pipe:
        for attempt in (
            lambda: call.list(person.collection()),
            lambda: call.list(person.instances(name="Ann")),
            lambda: call.count(person.collection()),
            lambda: call.item(person.collection(), 0),
            lambda: call.slice(person.collection(), slice(0, 2)),
            lambda: call(person, "get", 1),
            lambda: call(person, "get_or_connect", name="Ann"),
            lambda: call(person, "exists", name="Ann"),
            lambda: call.list((person.afrom_pks if call.is_async else person.from_pks)([1])),
            lambda: call.list((t.tags.asscan if call.is_async else t.tags.sscan)()),
        ):
            with pytest.raises(ImplementationError, match="can't be queued"):
                await attempt()
        for attempt in (
            lambda: bool(person.collection()),
            lambda: list(person.collection()),
            lambda: "1" in person.collection(),
            lambda: pipe["key"],
            lambda: "key" in pipe,
        ):
            with pytest.raises(ImplementationError):
                attempt()
        with pytest.raises(TypeError):
            list(pipe)
        assert pipe
        assert len(pipe) == 0
        await call(p.name, "get")
        assert await call(pipe, "execute") == ["Ann"]


async def test_failing_command_does_not_stop_others_and_the_first_error_is_raised(
    call, person, database, raw, transaction
):
    p = await call.create(person, name="Ann", note="n", email="a@x")
    q = await call.create(person, email="b@x")
    async with piped(call, database, transaction) as pipe:
        await call(p.note, "set", "m")
        await call(p.note, "incr")
        await call(q.email, "set", "a@x")
        await call(p.age, "hset", 3)
        with pytest.raises(redis.ResponseError, match="integer") as caught:
            await call(pipe, "execute")
        assert "command 2 of 4" in caught.value.__notes__[0]
        await call(p.note, "get")
        await call(q.email, "set", "a@x")
        await call(p.age, "hget")
        note, email, age = await call(pipe, "execute", raise_on_error=False)
    assert (note, type(email), age) == ("m", UniquenessError, "3")
    assert_indexes_right(raw, person)


async def test_wrong_arguments_are_refused_by_the_call(call, person, database):
    p = await call.create(person, note="n")
    async with piped(call, database) as pipe:
        with pytest.raises(ValueError, match="bit must be"):
            await call(p.note, "bitpos", 2)
        if not call.is_async:
            with pytest.raises(ValueError, match="no field"):
                person(nonsense=1)
        assert len(pipe) == 0


async def test_transaction_refused_by_the_server_changes_nothing(call, person, database):
    p = await call.create(person, note="n")
    async with piped(call, database) as pipe:
        await call(p.note, "set", "m")
        q = await call.create(person, name="Ann")
        pipe.execute_command("NOSUCHCOMMAND")
        with pytest.raises(redis.ResponseError, match="NOSUCHCOMMAND"):
            await call(pipe, "execute")
    assert await call(p.note, "get") == "n"
    assert not q.has_pk


async def test_first_command_gets_a_unique_value_and_can_pass_it_on(call, person, database, raw, transaction):
    p = await call.create(person, email="a@x")
    old = person.lazy_connect(p.known_pk)  # its value is not known here: its first attempt comes too late
    async with piped(call, database, transaction) as pipe:
        await call(old.email, "set", "z@x")
        q = await call.create(person, email="a@x")
        r = await call.create(person, email="a@x")
        results = await call(pipe, "execute", raise_on_error=False)
    assert [type(result) for result in results] == [bool, type(None), UniquenessError]
    assert q.known_pk
    assert not r.has_pk
    assert_indexes_right(raw, person)


async def test_leaving_the_block_discards_queued_commands(call, person, database, raw):
    p = await call.create(person, note="n")
    before = keyspace(raw)
    async with piped(call, database):
        await call(p.note, "set", "dropped")
        q = await call.create(person, name="dropped")
    with pytest.raises(ZeroDivisionError):
        async with piped(call, database):
            await call(p.note, "set", "dropped")
            raise ZeroDivisionError
    assert keyspace(raw) == before
    assert await call(p.note, "get") == "n"
    assert not q.has_pk
    await call(q.name, "set", "stored after all")
    assert q.has_pk


async def test_redis_py_commands_are_queued_with_the_others(call, flushed_server, raw):
    async with RedisDatabase(**flushed_server.settings, key_prefix="p:") as database:
        thing = define(database, value=fields.StringField())
        t = await call.create(thing, value="1")
        async with piped(call, database) as pipe:
            assert pipe.set("key", "a").append("key", "b") is pipe
            await call(t.value, "append", "2")
            pipe.get("key")
            assert (database.aconnection if call.is_async else database.connection).incr("n") is pipe
            assert await call(database, "call_script", {"lua": "return redis.call('GET', KEYS[1])"}, ["key"]) is pipe
            with count_commands() as sent:
                assert await call(pipe, "execute") == [True, 2, 2, "ab", 1, "ab"]
            assert sent.trips == 1
        assert raw.get(t.value.key) == "12"
        assert t.value.key.startswith("p:")
        database.close()


async def test_post_command_gets_results_and_its_commands_are_not_queued(call, database):
    seen = []

    def post_command(self, sender, name, result, args, kwargs):
        seen.append((name, result))
        if name == "append":
            self.log.set("appended")
        return f"<{result}>" if name == "get" else result

    thing = define(database, value=fields.StringField(), log=fields.StringField(), post_command=post_command)
    t = await call.create(thing, value="v")
    seen.clear()
    async with piped(call, database) as pipe:
        await call(t.value, "append", "!")
        await call(t.value, "get")
        assert seen == []
        assert await call(pipe, "execute") == [2, "<v!>"]
        assert len(pipe) == 0
    assert seen == [("append", 2), ("set", True), ("get", "v!")]


@pytest.mark.pitfall(22)
async def test_pipeline_works_before_the_first_connection_and_only_inside_its_block(call, flushed_server, raw):
    async with PipelineDatabase(**flushed_server.settings) as database:
        pipe = database.pipeline()
        for attempt in (
            pipe.execute,
            lambda: pipe.set("a", 1),
            lambda: pipe.watch("a"),
            pipe.multi,
        ):
            with pytest.raises(ImplementationError, match="not entered"):
                attempt()
        with pytest.raises(ImplementationError, match="not entered"):
            await pipe.aexecute()
        assert database.connection.set("a", 1) is True
        async with piped(call, database) as pipe:
            pipe.incr("a")
            assert await call(pipe, "execute") == [2]
            with pytest.raises(ImplementationError, match="already"):
                pipe.__enter__()
        with pytest.raises(ImplementationError, match="was left"):
            pipe.get("a")
        assert database.connection.get("a") == "2"
        database.close()


async def test_nested_blocks_execute_their_own_commands(call, person, database, flushed_server):
    p = await call.create(person, note="n")
    async with RedisDatabase(**flushed_server.settings, db=1) as other:
        async with piped(call, database) as outer:
            await call(p.note, "set", "outer")
            async with piped(call, database, transaction=False) as inner:
                await call(p.note, "get")
                assert await call(inner, "execute") == ["n"]
                async with piped(call, other) as elsewhere:
                    assert await call(p.note, "get") is inner
                    elsewhere.set("a", 1)
                    assert await call(elsewhere, "execute") == [True]
            assert await call(p.note, "get") is outer
            assert await call(outer, "execute") == [True, "outer"]
        other.close()


async def test_operations_of_one_object_keep_their_order_if_some_take_several_round_trips(call, database):
    thing = define(
        database,
        words=fields.ListField(indexable=True),
        tags=fields.SetField(indexable=True),
        size=fields.StringField(indexable=True),
    )
    await call.create(thing, words=["a", "b", "c"], tags=["x"], size=1)
    t = thing.lazy_connect(1)
    async with piped(call, database) as pipe:
        await call(t.words, "ltrim", 0, 0)
        await call(t.words, "rpush", "d")
        await call(t.words, "lrange", 0, -1)
        await call(t.tags, "spop")
        await call(t.tags, "sadd", "y")
        await call(t.tags, "spop")
        for _ in range(3):
            await call(t.size, "incr")
        await call(t.size, "get")
        results = await call(pipe, "execute")
    assert results == [True, 2, ["a", "d"], "x", 1, "y", 2, 3, 4, "4"]
    assert [await call.count(thing.collection(size=size)) for size in range(1, 5)] == [0, 0, 0, 1]


async def test_cancelled_execution_leaves_objects_as_they_were(person, database, raw):
    async with database.apipeline() as pipe:
        p = await person.acreate(name="Ann")
        raw.client_pause(60_000, all=False)
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await pipe.aexecute()
        finally:
            raw.client_unpause()
        assert not p.has_pk
        assert len(pipe) == 0
    await p.name.aset("Bea")
    assert await p.name.aget() == "Bea"


async def test_lost_connection_leaves_objects_as_they_were(call, person, database, monkeypatch):
    def lost(*_):
        raise redis.ConnectionError("lost")

    async def alost(*_):
        raise redis.ConnectionError("lost")

    old = await call.create(person, note="n")
    async with piped(call, database) as pipe:
        p = await call.create(person, name="Ann")
        await call(p.note, "set", "m")
        await call(old, "delete")
        with monkeypatch.context() as broken:
            broken.setattr(drivers, "_perform", lost)
            broken.setattr(drivers, "_aperform", alost)
            with pytest.raises(redis.ConnectionError):
                await call(pipe, "execute")
        assert not p.has_pk
        assert len(pipe) == 0
        await call(p.note, "set", "stored after all")
        await call(old.note, "get")
        assert await call(pipe, "execute") == [True, "n"]


async def test_operation_without_an_owner_is_refused(call, person, database):
    p = await call.create(person, name="Ann")
    async with piped(call, database) as pipe:
        operation = p.name._set("Bea")
        with pytest.raises(ImplementationError, match="can't be queued"):
            await call(database, "run", operation)
        assert await call(database, "run", p.name._set("Bea"), p.name) is pipe
        assert await call(pipe, "execute") == [True]
    assert await call(p.name, "get") == "Bea"
