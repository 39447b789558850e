"""Invariant 8: a connection whose state is not certain is closed, never released to the pool."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tenantlimpyd.database import RedisDatabase
from tests.support.chaos_proxy import ChaosProxy
from tests.support.waiting import aeventually, open_connections

ONCE = Retry(NoBackoff(), 0)


class Interrupt(BaseException):
    """Stands for KeyboardInterrupt, which a signal may raise anywhere."""


@pytest.fixture
def proxy(flushed_server):
    with ChaosProxy(flushed_server.host, flushed_server.port) as proxy:
        yield proxy


@pytest.fixture
def through(proxy, client_name):
    with RedisDatabase(host="127.0.0.1", port=proxy.port, db=5, client_name=client_name, retry=ONCE) as database:
        yield database


def idle(database):
    return [connection for connection in database.connection.connection_pool._available_connections if connection._sock]


@pytest.mark.invariant(8)
def test_interrupt_while_reading_closes_the_connection(opened, monkeypatch, flushed_server, client_name):
    database = opened(db=5)
    database.connection.mset({"a": "of a", "b": "of b"})
    parser = type(idle(database)[0]._parser)
    with monkeypatch.context() as patch:
        patch.setattr(parser, "read_response", _interrupt)
        with pytest.raises(Interrupt):
            database.connection.get("a")
    assert idle(database) == []
    assert database.connection.get("b") == "of b"
    assert len(open_connections(flushed_server, client_name)) == 1


@pytest.mark.invariant(8)
def test_interrupt_between_sending_and_reading_closes_the_connection(opened, monkeypatch):
    database = opened(db=5)
    database.connection.mset({"a": "of a", "b": "of b"})
    with monkeypatch.context() as patch:
        patch.setattr(redis.connection.AbstractConnection, "read_response", _interrupt)
        with pytest.raises(Interrupt):
            database.connection.get("a")
    assert idle(database) == []
    assert database.connection.get("b") == "of b"


@pytest.mark.invariant(8)
def test_interrupt_as_sending_returns_closes_the_connection(opened, monkeypatch):
    database = opened(db=5)
    database.connection.mset({"a": "of a", "b": "of b"})
    from redis.connection import AbstractConnection

    original = AbstractConnection.send_packed_command

    def send_packed_command(self, *args, **kwargs):
        original(self, *args, **kwargs)
        _interrupt()

    with monkeypatch.context() as patch:
        patch.setattr(AbstractConnection, "send_packed_command", send_packed_command)
        with pytest.raises(Interrupt):
            database.connection.get("a")
    assert idle(database) == []
    assert database.connection.get("b") == "of b"


async def test_connection_reopened_for_a_retry_is_kept(proxy, client_name, call):
    with RedisDatabase(
        host="127.0.0.1", port=proxy.port, db=5, client_name=client_name, retry=Retry(NoBackoff(), 1)
    ) as database:
        ask = database.aconnection.get if call.is_async else _awaited(database.connection.get)
        await ask("a")
        proxy.disturb(cut_reply_after=1)
        await ask("a")
        assert proxy.accepted == 2
        await ask("a")
        assert proxy.accepted == 2
        await database.aclose()


@pytest.mark.invariant(8)
def test_interrupt_within_a_pipeline_closes_the_connection(opened, monkeypatch):
    database = opened(db=5)
    database.connection.mset({"a": "of a", "b": "of b"})
    calls = iter(range(100))
    original = redis.client.Pipeline.parse_response

    def second_fails(self, *args, **kwargs):
        return original(self, *args, **kwargs) if next(calls) == 0 else _interrupt()

    with monkeypatch.context() as patch:
        patch.setattr(redis.client.Pipeline, "parse_response", second_fails)
        pipeline = database.connection.pipeline(transaction=False)
        pipeline.get("a").get("a").get("a")
        with pytest.raises(Interrupt):
            pipeline.execute()
    pipeline.reset()
    assert idle(database) == []
    assert [database.connection.get(key) for key in "ba"] == ["of b", "of a"]


@pytest.mark.parametrize("after", range(1, 5))
@pytest.mark.invariant(8)
def test_interrupted_handshake_never_uses_database_0(opened, monkeypatch, after, raw):
    database = opened(db=5, client_name="handshake")
    from redis.connection import AbstractConnection

    original, calls = AbstractConnection.read_response, iter(range(1, 100))

    def read_response(self, *args, **kwargs):
        return _interrupt() if next(calls) == after else original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(AbstractConnection, "read_response", read_response)
        with pytest.raises(Interrupt):
            database.connection.set("stray", 1)
    assert idle(database) == []
    database.connection.set("mine", 1)
    assert raw.dbsize() == 0
    assert database.connection.keys() == ["mine"] or database.connection.exists("mine")


@pytest.mark.parametrize("after", range(1, 6))
@pytest.mark.invariant(8)
async def test_handshake_interrupted_before_sending_never_uses_database_0(opened, monkeypatch, after, raw, call):
    """Between two commands no reply is owed and the connection looks healthy, but it uses database 0."""
    database = opened(db=5, client_name="handshake")
    module = redis.connection if not call.is_async else redis.asyncio.connection
    original, calls = module.AbstractConnection.send_packed_command, iter(range(1, 100))

    def send_packed_command(self, *args, **kwargs):
        return _interrupt() if next(calls) == after else original(self, *args, **kwargs)

    write = _awaited(database.connection.set) if not call.is_async else database.aconnection.set
    with monkeypatch.context() as patch:
        patch.setattr(module.AbstractConnection, "send_packed_command", send_packed_command)
        with pytest.raises(Interrupt):
            await write("stray", 1)
    await write("mine", 1)
    assert raw.dbsize() == 0
    await database.aclose()


@pytest.mark.parametrize("cut_after", [1, 20, 150, 200])
@pytest.mark.invariant(8)
def test_handshake_cut_by_the_network_never_uses_database_0(proxy, through, raw, cut_after):
    proxy.disturb(cut_reply_after=cut_after)
    with pytest.raises(redis.ConnectionError):
        through.connection.mget([f"key {number}" for number in range(100)])
    proxy.heal()
    through.connection.set("mine", 1)
    assert raw.dbsize() == 0


@pytest.mark.invariant(8)
async def test_cancelled_command_closes_its_connection(opened, flushed_server, client_name):
    database = opened(db=5)
    await database.aconnection.set("b", "of b")
    waiting = asyncio.create_task(database.aconnection.blpop("queue", 30))
    await aeventually(lambda: any(entry["cmd"] == "blpop" for entry in open_connections(flushed_server, client_name)))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await aeventually(
        lambda: not any(entry["cmd"] == "blpop" for entry in open_connections(flushed_server, client_name))
    )
    assert await database.aconnection.get("b") == "of b"
    await database.aclose()


@pytest.mark.invariant(8)
async def test_commands_cancelled_at_any_step_leave_no_reply(opened, raw):
    database = opened(db=5)
    keys = [f"k{number}" for number in range(8)]
    await database.aconnection.mset({key: f"of {key}" for key in keys})

    async def right(key):
        return await database.aconnection.get(key) == f"of {key}"

    for steps in range(12):
        tasks = [asyncio.create_task(right(key)) for key in keys]
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(result is True or isinstance(result, asyncio.CancelledError) for result in results)
        assert all(await asyncio.gather(*map(right, keys)))
    assert raw.dbsize() == 0
    await database.aclose()


@pytest.mark.invariant(8)
async def test_handshake_cancelled_at_any_step_never_uses_database_0(opened, raw):
    database = opened(db=5)
    for steps in range(25):
        await database.aclose()
        task = asyncio.create_task(database.aconnection.set("mine", steps))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await database.aconnection.set("mine", "again")
        assert raw.dbsize() == 0
    await database.aclose()


@pytest.mark.invariant(8)
async def test_pipeline_cancelled_while_reading_closes_its_connection(proxy, through, opened):
    aclient = through.aconnection
    await aclient.ping()
    proxy.disturb(lose_replies=True)
    pipeline = aclient.pipeline(transaction=False)
    for number in range(3):
        pipeline.set(f"k{number}", number)
    task = asyncio.create_task(pipeline.execute())
    await aeventually(lambda: opened(db=5).connection.exists("k2"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    proxy.heal()
    assert await aclient.get("k1") == "1"
    await through.aclose()


@pytest.mark.invariant(8)
async def test_late_reply_is_not_given_to_another_command(proxy, through, opened, call):
    opened(db=5).connection.mset({"a": "of a", "b": "of b"})
    through.connect(**{**through.connection_settings, "socket_timeout": 0.2})
    proxy.disturb(latency=0.0)
    ask = through.aconnection.get if call.is_async else _awaited(through.connection.get)
    assert await ask("a") == "of a"
    proxy.disturb(latency=0.5)
    with pytest.raises(redis.TimeoutError):
        await ask("a")
    proxy.heal()
    assert await ask("b") == "of b"
    await through.aclose()


@pytest.mark.parametrize("transaction", [True, False])
async def test_server_error_keeps_the_connection(call, opened, flushed_server, client_name, transaction):
    database = opened(db=5)
    client = call.client(database)
    await call.result(client.set("text", "x"))
    before = open_connections(flushed_server, client_name)[0]["id"]
    for _ in range(3):
        with pytest.raises(redis.ResponseError):
            await call.result(client.lpush("text", 1))
    pipeline = client.pipeline(transaction=transaction)
    pipeline.get("text").lpush("text", 1).get("text")
    replies = await call.result(pipeline.execute(raise_on_error=False))
    assert replies[0] == replies[2] == "x"
    assert [entry["id"] for entry in open_connections(flushed_server, client_name)] == [before]
    await database.aclose()


def test_connection_closed_by_the_server_is_replaced(opened, flushed_server, raw):
    database = opened(db=5)
    own = database.connection.client_id()
    raw.client_kill_filter(_id=str(own))
    assert database.connection.get("x") is None
    assert database.connection.client_id() != own


def test_unrequested_data_is_not_taken_for_a_reply(opened):
    """A connection with a surplus reply is closed, and no caller gets that reply."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve():
        while not stop.is_set():
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(peer,), daemon=True).start()

    def answer(peer):
        with peer:
            while data := peer.recv(65536):
                commands = data.count(b"*")
                peer.sendall(b"+OK\r\n" * commands + (b"$5\r\nwrong\r\n" if b"PING" in data else b""))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        database = RedisDatabase(
            host="127.0.0.1", port=listener.getsockname()[1], protocol=2, retry=ONCE, driver_info=None
        )
        assert database.connection.ping() in ("OK", False)
        assert database.connection.execute_command("GET", "x") == "OK"
        database.close()
    finally:
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def _interrupt(*_args, **_kwargs):
    raise Interrupt


def _awaited(function):
    async def call(*args):
        return await asyncio.to_thread(function, *args)

    return call


@pytest.mark.parametrize("steps", range(12))
@pytest.mark.invariant(8)
async def test_no_cancellation_is_lost(opened, steps):
    """A cancelled task ends at any step of a command; redis-py alone loses some cancellations on Python 3.11."""
    database = opened(db=5)
    await database.aconnection.ping()

    async def work():
        await database.aconnection.ping()
        await asyncio.sleep(30)

    task = asyncio.create_task(work())
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=5)
    assert done
    assert task.cancelled()
    await database.aclose()
