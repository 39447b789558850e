"""A connection that a command moved, altered or left with a reply must not be another caller's."""

from __future__ import annotations

import asyncio

import pytest

from tenantlimpyd.exceptions import ImplementationError


def test_select_is_refused_and_the_database_stays(database):
    with pytest.raises(ImplementationError, match="SELECT is refused"):
        database.connection.select(5)
    for word in ("select", b"SELECT", "Select", "SELECT 5", b" select 5", bytearray(b"SELECT"), "RESET", "reset"):
        with pytest.raises(ImplementationError, match="is refused: other tenants share this connection"):
            database.connection.execute_command(word, 5)
    database.connection.set("k", "v")
    assert list(database.scan_keys()) == ["k"]


def test_select_in_a_pipeline_is_refused(database):
    for transaction in (True, False):
        pipeline = database.connection.pipeline(transaction=transaction)
        pipeline.set("before", 1).execute_command("SELECT", 5)
        pipeline.set("after", 1)
        with pytest.raises(ImplementationError):
            pipeline.execute()
    assert list(database.scan_keys()) == []


async def test_select_is_refused_in_asyncio(database):
    with pytest.raises(ImplementationError):
        await database.aconnection.select(5)
    async with database.aconnection.pipeline() as pipeline:
        pipeline.set("before", 1).execute_command("SELECT", 5)
        with pytest.raises(ImplementationError):
            await pipeline.execute()
    await database.aconnection.set("k", "v")
    assert [key async for key in database.ascan_keys()] == ["k"]
    await database.aclose()


@pytest.mark.parametrize("words", [("CLIENT", "SETNAME", "renamed"), ("CLIENT SETNAME", "renamed")])
def test_altered_connection_is_closed_on_release(database, words):
    database.connection.execute_command(*words)
    assert database.connection.client_getname() is None


async def test_altered_connection_is_closed_in_asyncio(database):
    await database.aconnection.client_setname("renamed")
    assert await database.aconnection.client_getname() is None
    await database.aclose()


def test_unread_reply_is_not_given_to_another_caller(database):
    pool = database.connection.connection_pool
    connection = pool.get_connection()
    connection.send_command("ECHO", "of somebody else")
    assert connection.can_read(timeout=5)
    connection.owed = 0  # as if the count had missed it: checking out must notice by itself
    pool.release(connection)
    database.connection.set("k", "v")
    assert [database.connection.get("k") for _ in range(3)] == ["v"] * 3


async def test_reply_that_nobody_read_is_handed_to_nobody_in_asyncio(database):
    pool = database.aconnection.connection_pool
    assert not pool.maint_notifications_enabled()
    connection = await pool.get_connection()
    await connection.send_command("ECHO", "of somebody else")
    while not await connection.can_read():  # noqa: ASYNC110 - redis-py has nothing to wait for
        await asyncio.sleep(0)
    connection.owed = 0
    await pool.release(connection)
    await database.aconnection.set("k", "v")
    assert [await database.aconnection.get("k") for _ in range(3)] == ["v"] * 3
    await database.aclose()


def test_manual_transaction_does_not_queue_commands_of_others(database):
    database.connection.execute_command("MULTI")
    assert database.connection.set("k", "v") is True
    assert database.connection.get("k") == "v"
    database.connection.execute_command("WATCH", "k")
    with database.connection.pipeline() as pipeline:
        database.connection.set("k", "w")
        pipeline.get("k")
        assert pipeline.execute() == ["w"]


def test_finished_manual_transaction_keeps_its_connection(database):
    names = database.connection.client_id()
    with database.connection.pipeline() as pipeline:
        pipeline.set("k", "v").get("k")
        assert pipeline.execute() == [True, "v"]
    assert database.connection.client_id() == names
