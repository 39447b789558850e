"""A connection with another database, altered state or an unread reply is not given to another caller."""

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


@pytest.mark.parametrize("transaction", [True, False])
async def test_select_in_a_pipeline_is_refused(call, database, transaction):
    with pytest.raises(ImplementationError, match="SELECT is refused"):
        await call.result(call.client(database).select(5))
    pipeline = call.client(database).pipeline(transaction=transaction)
    pipeline.set("before", 1).execute_command("SELECT", 5)
    pipeline.set("after", 1)
    with pytest.raises(ImplementationError):
        await call.result(pipeline.execute())
    assert list(database.scan_keys()) == []
    await call.result(call.client(database).set("k", "v"))
    assert await call.scan(database, "scan_keys") == {"k"}
    await database.aclose()


@pytest.mark.parametrize("words", [("CLIENT", "SETNAME", "renamed"), ("CLIENT SETNAME", "renamed")])
async def test_altered_connection_is_closed_on_release(call, database, words):
    await call.result(call.client(database).execute_command(*words))
    assert await call.result(call.client(database).client_getname()) is None
    await database.aclose()


async def test_unread_reply_is_not_given_to_another_caller(call, database):
    pool = call.client(database).connection_pool
    connection = await call.result(pool.get_connection())
    await call.result(connection.send_command("ECHO", "of somebody else"))
    while not await call.result(connection.can_read()):  # noqa: ASYNC110 - redis-py has nothing to wait for
        await asyncio.sleep(0)
    connection.owed = 0  # as if the count had missed it: the next borrower must notice
    await call.result(pool.release(connection))
    await call.result(call.client(database).set("k", "v"))
    assert [await call.result(call.client(database).get("k")) for _ in range(3)] == ["v"] * 3
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
