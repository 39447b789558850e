"""``watch``, ``multi`` and ``transaction``."""

from __future__ import annotations

import pytest
import redis

from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.testing import count_commands
from tests.support.models import assert_indexes_right, keyspace
from tests.support.pipelines import piped

pytestmark = pytest.mark.slow


async def test_commands_run_at_once_until_multi_and_as_one_transaction_after_it(call, person, database, raw):
    p = await call.create(person, name="Ann", note="1")
    async with piped(call, database) as pipe:
        assert await call(pipe, "watch", p.note, "other") is True
        assert await call(p.note, "get") == "1"
        assert await call(person, "get", 1) == p
        assert await call.count(person.collection(name="Ann")) == 1
        got = pipe.get(p.note.key)
        assert (await got if call.is_async else got) == "1"
        pipe.multi()
        assert await call(p.note, "set", "2") is pipe
        await call(p.name, "set", "Bea")
        q = await call.create(person, name="Cid")
        pipe.get("key")
        with count_commands() as sent:
            assert await call(pipe, "execute") == [True, True, None, None]
        assert sent.sent == [("INCRBY",), ("MULTI", "EVAL", "EVAL", "EVALSHA", "GET", "EXEC")]
        assert q.known_pk == "2"
        assert await call(p.note, "get") is pipe  # as before the watch
    assert_indexes_right(raw, person)


async def test_transaction_is_aborted_if_a_watched_key_changed(call, person, database, raw):
    p = await call.create(person, name="Ann", note="1")
    async with piped(call, database) as pipe:
        await call(pipe, "watch", [p.note])
        pipe.multi()
        await call(p.name, "set", "Bea")
        q = await call.create(person, name="Cid")
        await call(p.note, "set", "2")
        raw.set(p.note.key, "theirs")
        with pytest.raises(redis.WatchError):
            await call(pipe, "execute")
        assert len(pipe) == 0
        assert not q.has_pk
        assert await call(pipe, "execute") == []
        await call(pipe, "watch", p.note)
        raw.set(p.note.key, "again")
        with pytest.raises(redis.WatchError):
            await call(pipe, "execute")  # no command at all, as in redis-py
        await call(p.note, "get")
        assert await call(pipe, "execute") == ["again"]
    assert await call(p.name, "get") == "Ann"
    assert_indexes_right(raw, person)


async def test_unwatch_reset_and_exit_end_the_watch_and_release_the_connection(call, person, database, raw):
    p = await call.create(person, note="1")
    pool = (database._clients.aclient if call.is_async else database._clients.client).connection_pool
    for end in ("unwatch", "reset"):
        async with piped(call, database) as pipe:
            await call(pipe, "watch", p.note)
            assert len(pool._in_use_connections) == 1
            await call(pipe, end)
            assert not pool._in_use_connections
            raw.set(p.note.key, end)
            await call(p.note, "get")
            assert await call(pipe, "execute") == [end]
    with pytest.raises(ZeroDivisionError):
        async with piped(call, database) as pipe:
            await call(pipe, "watch", p.note)
            pipe.multi()
            await call(p.note, "set", "dropped")
            raise ZeroDivisionError
    assert not pool._in_use_connections
    assert await call(p.note, "get") == "reset"


async def test_wrong_order_of_watch_multi_and_commands_is_refused_as_by_redis_py(call, person, database):
    p = await call.create(person, note="1")
    async with piped(call, database) as pipe:
        pipe.multi()
        with pytest.raises(redis.RedisError):
            pipe.multi()
        with pytest.raises(redis.RedisError):
            await call(pipe, "watch", "a")
        await call(p.note, "get")
        assert await call(pipe, "execute") == ["1"]
        await call(p.note, "get")
        with pytest.raises(redis.RedisError):
            pipe.multi()


async def test_watch_in_sync_refuses_commands_in_async_and_vice_versa(person, database):
    with database.pipeline() as pipe:
        with pytest.raises(ImplementationError, match="async with"):
            await pipe.awatch("a")
        pipe.watch("a")
        with pytest.raises(ImplementationError, match="awatch"):
            await pipe.aexecute()
    async with database.apipeline() as pipe:
        await pipe.awatch("a")
        with pytest.raises(ImplementationError, match="aexecute"):
            pipe.execute()


async def test_transaction_is_repeated_until_no_other_client_interferes(call, person, database, raw):
    p = await call.create(person, name="Ann", note="1")
    attempts = []

    async def acount(pipe):
        value = int(await p.note.aget())
        attempts.append(value)
        if len(attempts) < 3:
            raw.incr(p.note.key)
        pipe.multi()
        await p.note.aset(value * 10)
        await p.name.aset(f"after {value}")
        return value

    def count(pipe):
        value = int(p.note.get())
        attempts.append(value)
        if len(attempts) < 3:
            raw.incr(p.note.key)
        pipe.multi()
        p.note.set(value * 10)
        p.name.set(f"after {value}")
        return value

    function = acount if call.is_async else count
    assert await call(database, "transaction", function, p.note) == [True, True]
    assert attempts == [1, 2, 3]
    assert await call(p.note, "get") == "30"
    assert await call(database, "transaction", function, p.note, value_from_callable=True, watch_delay=0.01) == 30
    assert_indexes_right(raw, person)
    plain = await call(database, "transaction", lambda pipe: pipe.incr("n"))
    assert plain == [1]
    with pytest.raises(ZeroDivisionError):
        await call(database, "transaction", lambda pipe: pipe.incr("n") and 1 / 0)
    assert keyspace(raw)["n"] == "1"
