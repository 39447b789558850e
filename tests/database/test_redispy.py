"""What is used of redis-py that it doesn't document is where this release has it: fails loudly when it moves."""

from __future__ import annotations

import asyncio
import inspect
import time

import pytest
import redis
import redis.asyncio
import redis.asyncio.connection
import redis.connection

from tenantlimpyd.clients import AsyncClient, Client
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.fanout import leases
from tenantlimpyd.redispy import buffered
from tenantlimpyd.router import DatabaseRouter

BLOCKING, AWAITING = redis.connection.AbstractConnection, redis.asyncio.connection.AbstractConnection


@pytest.mark.parametrize("connection", [BLOCKING, AWAITING], ids=["blocking", "asyncio"])
def test_connections_have_the_methods_that_are_overridden(connection):
    for name in (
        *("connect_check_health", "check_health", "send_packed_command", "send_command", "read_response", "disconnect"),
        *("pack_command", "pack_commands", "can_read", "connect", "should_reconnect"),
    ):
        assert name in vars(connection) or name in dir(connection), name
    assert "disable_decoding" in inspect.signature(connection.read_response).parameters
    assert "check_health" in inspect.signature(connection.send_packed_command).parameters


def test_sending_and_reading_go_through_what_is_overridden():
    for connection in (BLOCKING, AWAITING):
        assert "self.send_packed_command" in inspect.getsource(connection.send_command)
        assert "_parser.read_response" in inspect.getsource(connection)
    for client in (redis.client.Redis, redis.asyncio.client.Redis):
        source = inspect.getsource(client)
        assert "conn.send_command" in source
        assert "connection.read_response" in source
    for pipeline in (redis.client.Pipeline, redis.asyncio.client.Pipeline):
        source = inspect.getsource(pipeline)
        assert source.count("connection.pack_commands") == 2
        assert source.count("connection.send_packed_command") == 2


@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_parser_returns_errors_as_objects(opened, protocol):
    database = opened(db=1, protocol=protocol)
    connection = database.connection.connection_pool.get_connection()
    connection.send_packed_command(connection._pack([("GET",), ("PING",)]))
    error, pong = connection._several((True, False))
    assert isinstance(error, redis.ResponseError)
    assert pong == "PONG"
    database.connection.connection_pool.release(connection)
    pool = database.aconnection.connection_pool
    connection = await pool.get_connection()
    await connection.send_packed_command(connection._pack([("GET",), ("PING",)]))
    error, pong = await connection._several((True, False))
    assert isinstance(error, redis.ResponseError)
    assert pong == "PONG"
    await pool.release(connection)
    await database.aclose()


async def test_a_copied_client_has_all_that_a_client_has(opened):
    database = opened(db=1)
    for copied, made in ((database.connection, redis.Redis()), (database.aconnection, redis.asyncio.Redis())):
        for name in vars(made):
            assert hasattr(copied, name), name
    assert isinstance(database.connection, Client)
    assert isinstance(database.aconnection, AsyncClient)
    await database.aclose()


async def test_a_view_has_what_clients_ask_of_a_pool(opened):
    database = opened(db=6)
    for client, module in ((database.connection, redis.connection), (database.aconnection, redis.asyncio.connection)):
        view = client.connection_pool
        for name in vars(module.ConnectionPoolInterface):
            assert name.startswith("_") or hasattr(view, name), name
        assert view.connection_kwargs["db"] == client.get_connection_kwargs()["db"] == 6
        assert client.get_encoder().decode_responses is True
        assert client.himport_registry is not None
    await database.aclose()


async def test_a_callback_of_one_database_is_not_the_others(opened):
    one, other = opened(db=1), opened(db=2)
    one.connection.set_response_callback("GET", lambda reply: f"{reply} of one")
    one.connection.set("k", "v")
    other.connection.set("k", "v")
    assert (one.connection.get("k"), other.connection.get("k")) == ("v of one", "v")
    one.aconnection.set_response_callback("GET", lambda reply: f"{reply} of one")
    assert (await one.aconnection.get("k"), await other.aconnection.get("k")) == ("v of one", "v")
    await one.aclose()
    await other.aclose()


def test_no_secret_is_shown():
    database = RedisDatabase(host="h", username="ann", password="s3cret", db=3)
    for shown in (database.connection, database.connection.connection_pool, database.server, database.server.gauges()):
        assert "s3cret" not in repr(shown)
        assert "ann" not in repr(shown)
    assert "h:6379, db 3" in repr(database.connection)


@pytest.mark.parametrize("protocol", [2, 3])
async def test_replies_that_have_come_are_taken_from_hiredis_reader(opened, protocol):
    """Without it walks would still be right, and ten times slower: this must not go unnoticed."""
    database = opened(db=1, protocol=protocol)
    commands = [("PING",), ("GET",), ("ECHO", "two")]
    pool = database.connection.connection_pool
    connection = pool.get_connection()
    connection.send_packed_command(connection._pack(commands))
    await _come(connection.can_read)
    assert connection.read_response(disable_decoding=True) == b"PONG"
    error, echoed = buffered(connection, 2)
    assert isinstance(error, redis.ResponseError)
    assert echoed == b"two"
    assert buffered(connection, 1) == []
    connection.owed = 0
    pool.release(connection)
    pool = database.aconnection.connection_pool
    connection = await pool.get_connection()
    await connection.send_packed_command(connection._pack(commands))
    assert await connection.read_response(disable_decoding=True) == b"PONG"
    error, echoed = buffered(connection, 2)
    assert isinstance(error, redis.ResponseError)
    assert echoed == b"two"
    connection.owed = 0
    await pool.release(connection)
    await database.aclose()


async def _come(ready):
    deadline = time.monotonic() + 5
    while not ready():
        assert time.monotonic() < deadline
        await asyncio.sleep(0)


@pytest.mark.parametrize("colour", ["blocking", "asyncio"])
async def test_a_walk_reads_from_hiredis_reader(opened, monkeypatch, colour):
    router = DatabaseRouter({f"t{db}": opened(db=db) for db in range(16)})
    taken = []

    def counted(connection, count):
        taken.append(len(replies := buffered(connection, count)))
        return replies

    monkeypatch.setattr(leases, "buffered", counted)
    if colour == "blocking":
        assert list(router.scan_keys()) == []
    else:
        assert [item async for item in router.ascan_keys()] == []
    assert sum(taken) > 30  # SELECT and SCAN for each, and who the server is
    await router.aclose()
