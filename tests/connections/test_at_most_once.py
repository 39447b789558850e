"""Invariant 11: a command that may write is sent again only if the server certainly did not get it."""

from __future__ import annotations

import asyncio
import time

import pytest
import redis

from tenantlimpyd import fields, model
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.embedded import EmbeddedServer
from tenantlimpyd.exceptions import UNKNOWN_OUTCOME


@pytest.fixture
def stalling():
    """A separate server, which tests pause."""
    with EmbeddedServer() as server:
        yield server


async def connected(database):
    """Connect both clients, so that a test's command is the first thing they send."""
    database.connection.ping()
    await database.aconnection.ping()


async def stalled(server, call, database, *command):
    """Send a command while the server is paused for longer than ``socket_timeout``; return what was raised or returned."""
    server.pause()
    resume = asyncio.get_running_loop().run_in_executor(None, lambda: (time.sleep(0.45), server.resume()))
    try:
        return await call.concurrently(
            database.connection.execute_command, database.aconnection.execute_command, *command
        )
    except redis.RedisError as error:
        return error
    finally:
        await resume
        await asyncio.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "key", "once"),
    [(("INCR", "n"), "n", "1"), (("APPEND", "s", "x"), "s", "x")],
)
async def test_write_whose_reply_is_late_is_executed_once_and_the_error_says_so(stalling, call, command, key, once):
    async with RedisDatabase(**stalling.settings, socket_timeout=0.3) as database:
        await connected(database)
        seen = await stalled(stalling, call, database, *command)
        assert isinstance(seen, redis.TimeoutError)
        assert UNKNOWN_OUTCOME in seen.__notes__
        assert database.connection.get(key) == once


@pytest.mark.slow
async def test_read_whose_reply_is_late_is_retried(stalling, call):
    async with RedisDatabase(**stalling.settings, socket_timeout=0.3) as database:
        await connected(database)
        database.connection.set("k", "v")
        assert await stalled(stalling, call, database, "GET", "k") == "v"


@pytest.mark.slow
async def test_pipeline_with_a_write_is_not_sent_again(stalling, call):
    async with RedisDatabase(**stalling.settings, socket_timeout=0.3) as database:
        await connected(database)

        async def execute():
            with database.pipeline() as pipe:
                pipe.incr("n")
                pipe.get("n")
                return await call.concurrently(pipe.execute, pipe.aexecute)

        stalling.pause()
        resume = asyncio.get_running_loop().run_in_executor(None, lambda: (time.sleep(0.45), stalling.resume()))
        with pytest.raises(redis.TimeoutError) as caught:
            await execute()
        await resume
        await asyncio.sleep(0.1)
        assert UNKNOWN_OUTCOME in caught.value.__notes__
        assert database.connection.get("n") == "1"


@pytest.mark.slow
async def test_create_whose_reply_is_late_is_not_answered_by_a_uniqueness_error(stalling):
    class Person(model.RedisModel):
        database = RedisDatabase(**stalling.settings, socket_timeout=0.3)
        name = fields.PKField()
        visits = fields.InstanceHashField(indexable=True)

    Person(name="bob", visits=0)
    stalling.pause()
    resume = asyncio.get_running_loop().run_in_executor(None, lambda: (time.sleep(0.45), stalling.resume()))
    with pytest.raises(redis.TimeoutError) as caught:
        await asyncio.to_thread(Person, name="ann", visits=0)
    await resume
    assert UNKNOWN_OUTCOME in caught.value.__notes__
    assert any("'ann'" in note and "pk exists" in note for note in caught.value.__notes__)
    await asyncio.sleep(0.1)
    assert Person.exists(name="ann")


async def test_write_that_could_not_be_sent_is_retried(call, stalling):
    async with RedisDatabase(**stalling.settings, breaker=None) as database:
        await connected(database)
        port = stalling.port
        stalling.restart()  # closes every connection
        assert stalling.port == port
        await asyncio.sleep(0.05)  # until the event loop sees the end of the stream
        assert (await call.result(call.client(database).incr("n"))) == 1
