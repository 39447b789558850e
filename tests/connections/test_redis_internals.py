"""The undocumented parts of redis-py that are used: these tests fail when a release changes them."""

from __future__ import annotations

import asyncio
import functools
import inspect
import re
import socket

import pytest
import redis
import redis.asyncio
import redis.asyncio.connection
import redis.connection
from redis.observability.providers import get_observability_instance

from tenantlimpyd._connections.client import AsyncClient, Client
from tenantlimpyd._connections.redis_internals import (
    NOTHING,
    has_unread_data,
    is_send_unmodified,
    new_reader,
    socket_of,
    stream_of,
)
from tenantlimpyd.database import RedisDatabase
from tests.support.waiting import aeventually

SYNC, ASYNC = redis.connection.AbstractConnection, redis.asyncio.connection.AbstractConnection


@pytest.mark.parametrize("connection", [SYNC, ASYNC], ids=["sync", "async"])
def test_connections_have_the_overridden_methods(connection):
    for name in (
        *("connect_check_health", "check_health", "send_packed_command", "send_command", "read_response", "disconnect"),
        *("pack_command", "pack_commands", "can_read", "connect", "should_reconnect"),
    ):
        assert name in vars(connection) or name in dir(connection), name
    assert "disable_decoding" in inspect.signature(connection.read_response).parameters
    assert "check_health" in inspect.signature(connection.send_packed_command).parameters


def test_sending_and_reading_call_the_overridden_methods():
    for connection in (SYNC, ASYNC):
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


def test_async_send_writes_to_the_stream_and_drains_it():
    """Short commands are written directly to the transport, so redis-py must do nothing more than that."""
    source = inspect.getsource(ASYNC.send_packed_command) + inspect.getsource(ASYNC._send_packed_command)
    assert set(re.findall(r"self\.(_writer\.\w+|\w+)", source)) == {
        *("is_connected", "connect_check_health", "check_health", "disconnect"),  # ours do these before, and on errors
        *("socket_timeout", "_send_packed_command", "_writer.writelines", "_writer.drain"),
    }
    assert is_send_unmodified()


async def test_patched_send_method_is_called(opened, monkeypatch):
    database = opened(db=1)
    heard = []
    original = ASYNC.send_packed_command

    async def send_packed_command(self, command, *args, **options):
        heard.append(b"".join(command))
        await original(self, command, *args, **options)

    await database.aconnection.get("k")
    with monkeypatch.context() as patch:
        patch.setattr(ASYNC, "send_packed_command", send_packed_command)
        assert not is_send_unmodified()
        await database.aconnection.get("k")
    await database.aconnection.get("k")
    assert heard == [b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"]
    await database.aclose()


async def test_received_data_is_in_the_stream_until_it_is_read(opened):
    database = opened(db=1)
    pool = database.aconnection.connection_pool
    connection = await pool.get_connection()
    stream = connection._reader
    assert isinstance(stream, asyncio.StreamReader)
    assert isinstance(connection._writer, asyncio.StreamWriter)
    assert not has_unread_data(stream)
    await connection.send_command("PING")
    await aeventually(lambda: has_unread_data(stream))
    assert await connection.read_response() == "PONG"
    assert not has_unread_data(stream)
    await pool.release(connection)
    await database.aclose()


@pytest.mark.parametrize("protocol", [2, 3])
async def test_parser_returns_errors_as_objects(opened, protocol):
    database = opened(db=1, protocol=protocol)
    connection = database.connection.connection_pool.get_connection()
    connection.send_packed_command(connection._pack([("GET",), ("PING",)]))
    error, pong = connection._read_replies((True, False))
    assert isinstance(error, redis.ResponseError)
    assert pong == "PONG"
    database.connection.connection_pool.release(connection)
    pool = database.aconnection.connection_pool
    connection = await pool.get_connection()
    await connection.send_packed_command(connection._pack([("GET",), ("PING",)]))
    error, pong = await connection._read_replies((True, False))
    assert isinstance(error, redis.ResponseError)
    assert pong == "PONG"
    await pool.release(connection)
    await database.aclose()


async def test_replies_received_together_are_read_together(opened):
    database = opened(db=1)
    commands = [("SET", "k", "v"), ("GET",), ("GET", "k"), ("LRANGE", "none", 0, -1)]
    flags = (True, False, True, False)
    connection = database.connection.connection_pool.get_connection()
    connection.send_packed_command(connection._pack(commands))
    done, error, value, none = connection._read_replies(flags)
    assert (done, value, none, connection.owed) == (b"OK", b"v", [], 0)
    assert isinstance(error, redis.ResponseError)
    database.connection.connection_pool.release(connection)
    pool = database.aconnection.connection_pool
    connection = await pool.get_connection()
    await connection.send_packed_command(connection._pack(commands))
    done, error, value, none = await connection._read_replies(flags)
    assert (done, value, none, connection.owed) == (b"OK", b"v", [], 0)
    assert isinstance(error, redis.ResponseError)
    await pool.release(connection)
    await database.aclose()


@pytest.mark.parametrize("protocol", [2, 3])
async def test_push_message_or_fatal_error_among_replies_received_together(opened, protocol):
    """A push message is no reply. An error such as LOADING ends the connection."""
    database = opened(db=1, protocol=protocol)
    pools = database.connection.connection_pool, database.aconnection.connection_pool
    told = b">2\r\n+note\r\n+told\r\n" if protocol == 3 else b""
    for pool in pools:
        connection = await settled(pool.get_connection())
        connection._parser._reader.feed(b"+OK\r\n" + told + b"$1\r\nv\r\n")
        connection.owed = 2
        assert await settled(connection._read_replies((True, False))) == [b"OK", "v"]
        connection._parser._reader.feed(b"+OK\r\n-LOADING soon\r\n")
        connection.owed = 2
        with pytest.raises(redis.exceptions.BusyLoadingError):
            await settled(connection._read_replies((True, False)))
        assert not connection.is_connected
        await settled(pool.release(connection))
    await database.aclose()


async def settled(result):
    """Return the result of a sync or an async call."""
    return await result if inspect.isawaitable(result) else result


@pytest.mark.parametrize("client", [redis.Redis, redis.asyncio.Redis], ids=["sync", "async"])
async def test_tracing_library_gets_commands(opened, monkeypatch, client):
    """Tracing libraries patch redis-py's method, which is bypassed otherwise."""
    database = opened(db=1)
    heard = []
    original = client.execute_command

    @functools.wraps(original)
    def execute_command(self, *args, **options):
        heard.append(args)
        return original(self, *args, **options)

    async def ask():
        if client is redis.Redis:
            return database.connection.get("k")
        return await database.aconnection.get("k")

    await ask()
    with monkeypatch.context() as patch:
        patch.setattr(client, "execute_command", execute_command)
        assert await ask() is None
    await ask()
    assert heard == [("GET", "k")]
    await database.aclose()


async def test_telemetry_of_redis_py_gets_commands(opened, monkeypatch, call):
    database = opened(db=1)
    recorded = []

    def record(**told):
        recorded.append((told["command_name"], told["db_namespace"]))

    async def arecord(**told):
        record(**told)

    telemetry = get_observability_instance()
    with monkeypatch.context() as patch:
        patch.setattr(telemetry, "_provider_manager", object())
        patch.setattr(redis.client, "record_operation_duration", record)
        patch.setattr(redis.asyncio.client, "record_operation_duration", arecord)
        await call.result(call.client(database).get("k"))
    assert recorded == [("GET", "1")]
    await database.aclose()


@pytest.mark.parametrize(
    "command",
    [
        ("GET", "k"),
        ("CONFIG GET", "maxmemory"),
        (b"GET", b"k"),
        ("SET", "k\u00e9", 10**30),
        ("SET", "k", 1.5),
        ("SET", "", b"\x00\r\n"),
        ("SET", "k", memoryview(b"v")),
        ("SET", "k", bytearray(b"v")),
        ("SET", "k", "v" * 100_000),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "UTF8"])
async def test_commands_are_packed_as_redis_py_packs_them(opened, command, encoding):
    pool = opened(db=1, encoding=encoding).aconnection.connection_pool
    connection = pool.connection_class(**pool.connection_kwargs)
    assert b"".join(connection.pack_command(*command)) == b"".join(ASYNC.pack_command(connection, *command))


@pytest.mark.parametrize("refused", [True, None, 1j, object()])
async def test_arguments_that_redis_py_refuses_to_pack_are_refused(opened, refused):
    database = opened(db=1)
    with pytest.raises(redis.DataError):
        await database.aconnection.execute_command("SET", "k", refused)
    assert await database.aconnection.get("k") is None
    await database.aclose()


async def test_copied_client_has_every_attribute_of_a_client(opened):
    database = opened(db=1)
    for from_template, made in ((database.connection, redis.Redis()), (database.aconnection, redis.asyncio.Redis())):
        for name in vars(made):
            assert hasattr(from_template, name), name
    assert isinstance(database.connection, Client)
    assert isinstance(database.aconnection, AsyncClient)
    await database.aclose()


async def test_pool_view_has_the_interface_that_clients_use(opened):
    database = opened(db=6)
    for client, module in ((database.connection, redis.connection), (database.aconnection, redis.asyncio.connection)):
        view = client.connection_pool
        for name in vars(module.ConnectionPoolInterface):
            assert name.startswith("_") or hasattr(view, name), name
        assert view.connection_kwargs["db"] == client.get_connection_kwargs()["db"] == 6
        assert client.get_encoder().decode_responses is True
        assert client.himport_registry is not None
    await database.aclose()


async def test_response_callback_of_one_database_does_not_affect_others(opened):
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
    for shown in (
        database.connection,
        database.connection.connection_pool,
        database.server,
        database.server.pool_stats(),
    ):
        assert "s3cret" not in repr(shown)
        assert "ann" not in repr(shown)
    assert "h:6379, db 3" in repr(database.connection)


@pytest.mark.parametrize("protocol", [2, 3])
async def test_separate_parser_reads_the_data_of_a_connection(opened, protocol):
    database = opened(db=1, protocol=protocol)
    commands = [("SET", "k", b"caf\xe9"), ("GET",), ("GET", "k"), ("GET", "none"), ("LRANGE", "none", 0, -1)]
    pool, apool = database.connection.connection_pool, database.aconnection.connection_pool
    connection, aconnection = pool.get_connection(), await apool.get_connection()
    connection.send_packed_command(connection._pack(commands))
    await aconnection.send_packed_command(aconnection._pack(commands))
    for each in (connection, aconnection):
        reader, replies = new_reader(each), []
        while len(replies) < len(commands):
            data = socket_of(each).recv(4096) if each is connection else await stream_of(each).read(4096)
            reader.feed(data)
            while (reply := reader.gets()) is not NOTHING:
                replies.append(reply)
        done, error, value, none, empty = replies
        assert (done, value, none, empty) == ("OK", "caf\udce9", None, [])
        assert isinstance(error, redis.ResponseError)
        assert not reader.has_data()
        reader.feed(b"-LOADING wait\r\n")
        assert isinstance(reader.gets(), redis.BusyLoadingError)
        reader.feed(b"?")
        with pytest.raises(redis.InvalidResponse):
            reader.gets()
        each.owed = 0
    pool.release(connection)
    await apool.release(aconnection)
    await database.aclose()


async def test_disconnect_closes_a_connection_whose_peer_reads_no_more(opened):
    """asyncio closes a transport after all data was sent, which never happens if the server stops reading."""
    listening = socket.create_server(("127.0.0.1", 0))
    connection = opened(
        host="127.0.0.1", port=listening.getsockname()[1]
    ).aconnection.connection_pool.connection_class()
    connection._reader, connection._writer = await asyncio.open_connection(*listening.getsockname())
    sock = connection._writer.get_extra_info("socket")
    connection._writer.write(b"x" * 20_000_000)
    await connection.disconnect(nowait=True)
    await asyncio.sleep(0)
    assert sock.fileno() == -1
    listening.close()
