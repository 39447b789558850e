"""A dead server costs its first callers a timeout; later ones are refused at once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

import pytest
import redis

from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.embedded import EmbeddedServer, free_port
from tenantlimpyd.exceptions import ServerUnavailableError
from tenantlimpyd.router import DatabaseRouter
from tests.support.caller import Caller
from tests.support.chaos_proxy import ChaosProxy
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

FAST = {"failures": 3, "seconds": 0.05, "max_open_seconds": 0.1}


@contextlib.contextmanager
def silent():
    """A server that accepts and never replies; yields its port and its connections."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


async def ping(database, call):
    return await call.result(call.client(database).ping())


async def until_back(database, call):
    deadline = time.monotonic() + 10
    while True:
        try:
            return await ping(database, call)
        except redis.ConnectionError:
            assert time.monotonic() < deadline, "it did not come back"
            await asyncio.sleep(0.01)


async def test_breaker_opens_for_a_server_that_refuses_connections(call):
    async with RedisDatabase(
        host="127.0.0.1", port=free_port(), breaker={"seconds": 60, "max_open_seconds": 60}
    ) as database:
        with pytest.raises(redis.ConnectionError, match="onnect") as caught:
            await ping(database, call)
        assert not isinstance(caught.value, ServerUnavailableError)  # the first caller sees what happened
        for _ in range(20):
            with pytest.raises(ServerUnavailableError):
                await ping(database, call)
        assert database.server.breaker.status.failures == 3


async def test_silent_server_costs_one_timeout(call):
    with silent() as port:
        settings = {
            "host": "127.0.0.1",
            "port": port,
            "socket_timeout": 1.2,
            "breaker": {"seconds": 60, "max_open_seconds": 60},
        }
        async with RedisDatabase(**settings) as database:
            began = time.monotonic()
            with pytest.raises(redis.TimeoutError):
                await ping(database, call)
            assert time.monotonic() - began < 3  # redis-py alone: eleven of them
            began = time.monotonic()
            for number in range(100):
                async with RedisDatabase(**settings, db=number) as other:
                    with pytest.raises(ServerUnavailableError):
                        await ping(other, call)
            assert time.monotonic() - began < 1


async def test_breaker_closes_when_the_server_is_back(call):
    with EmbeddedServer() as server:
        async with RedisDatabase(**server.settings, breaker=FAST) as database:
            assert await ping(database, call)
            server.kill()
            for _ in range(2):
                with pytest.raises(redis.ConnectionError):
                    await ping(database, call)
            breaker = database.server.breaker
            assert breaker.may_refuse
            eventually(lambda: breaker.status.state == "half-open")
            with pytest.raises(redis.ConnectionError) as caught:
                await ping(database, call)
            assert not isinstance(caught.value, ServerUnavailableError)  # it was the admitted one
            server.start()
            assert await until_back(database, call)
            assert breaker.status.state == "closed"


async def test_concurrent_callers_succeed_when_the_server_is_back(server, call):
    """One is admitted, and the others wait for its result instead of being refused."""
    with ChaosProxy(server.host, server.port) as proxy:
        async with RedisDatabase(host="127.0.0.1", port=proxy.port, breaker=FAST) as database:
            proxy.refuse()
            with pytest.raises(redis.ConnectionError):
                await ping(database, call)
            breaker = database.server.breaker
            assert breaker.may_refuse
            proxy.accept()
            proxy.disturb(latency=0.005)
            eventually(lambda: breaker.status.state == "half-open")
            pings = [call.concurrently(database.connection.ping, database.aconnection.ping) for _ in range(16)]
            assert await asyncio.gather(*pings) == [True] * 16


async def test_sync_and_async_share_the_failures_of_unanswered_commands(call):
    with EmbeddedServer() as server:
        settings = {**server.settings, "socket_timeout": 0.1, "breaker": {"seconds": 0.1, "max_open_seconds": 0.1}}
        async with RedisDatabase(**settings, db=1) as database, RedisDatabase(**settings, db=2) as other:
            assert await ping(database, call)
            server.pause()
            with pytest.raises(redis.TimeoutError):
                await ping(database, call)
            assert database.server.breaker.status.failures >= 3
            with pytest.raises(redis.RedisError):
                await ping(other, Caller(is_async=not call.is_async))
            server.resume()
            assert await until_back(other, call)
            assert not database.server.breaker.may_refuse


async def test_fan_out_with_a_short_deadline_does_not_open_the_breaker(call):
    with EmbeddedServer() as server:
        databases = {f"t{number}": RedisDatabase(**server.settings, db=number) for number in range(8)}
        router = DatabaseRouter(databases)
        server.pause()
        outcomes = await call(
            router, "fan_out", lambda database: call.client(database).ping(), timeout=0.02, on_error="collect"
        )
        assert not any(outcome.ok for outcome in outcomes.values())
        server.resume()
        assert not databases["t0"].server.breaker.has_failures
        assert await ping(databases["t0"], call)
        await router.aclose()


async def test_fan_out_waits_once_for_all_tenants_of_a_dead_server(call):
    with silent() as port:
        policy = {"failures": 3, "seconds": 60, "max_open_seconds": 60}
        router = DatabaseRouter(
            {
                f"t{number}": RedisDatabase(host="127.0.0.1", port=port, db=number, breaker=policy)
                for number in range(200)
            }
        )
        began = time.monotonic()
        outcomes = await call(
            router, "fan_out", lambda database: call.client(database).ping(), timeout=1.3, on_error="collect"
        )
        assert time.monotonic() - began < 6  # without: 25 rounds of 1.3 s
        assert sum(isinstance(outcome.error, ServerUnavailableError) for outcome in outcomes.values()) >= 180
        await router.aclose()


async def test_cancelled_probe_lets_the_next_caller_try(call):
    with EmbeddedServer() as server:
        async with RedisDatabase(**server.settings, breaker=FAST) as database:
            breaker = database.server.breaker
            server.kill()
            with pytest.raises(redis.ConnectionError):
                await ping(database, call)
            eventually(lambda: breaker.status.state == "half-open")
            with silent_on(server.port):
                task = asyncio.create_task(database.aconnection.ping())
                await asyncio.sleep(0.05)
                assert breaker.status.state == "half-open"
                with pytest.raises(ServerUnavailableError):
                    await ping(database, call)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            server.start()
            assert await until_back(database, call)


@contextlib.contextmanager
def silent_on(port):
    with socket.create_server(("127.0.0.1", port), backlog=64):
        yield


async def test_wrong_password_is_no_failure_of_the_server(call):
    with EmbeddedServer(password="right") as server:
        async with RedisDatabase(host="127.0.0.1", port=server.port, password="wrong") as database:
            with pytest.raises(redis.AuthenticationError):
                await ping(database, call)
            assert not database.server.breaker.has_failures


async def test_subscriber_without_messages_is_no_failure(call, server):
    async with RedisDatabase(**server.settings, breaker={"failures": 1}) as database:
        async with call.enter(call.client(database).pubsub()) as listening:
            await call.result(listening.subscribe("quiet"))
            assert await call.result(listening.get_message(timeout=1))
            assert await call.result(listening.get_message(timeout=0.05)) is None
        assert not database.server.breaker.has_failures


async def test_disabled_breaker_refuses_no_command(call):
    retry = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    async with RedisDatabase(host="127.0.0.1", port=free_port(), retry=retry, breaker=None) as database:
        for _ in range(5):
            with pytest.raises(redis.ConnectionError) as caught:
                await ping(database, call)
            assert not isinstance(caught.value, ServerUnavailableError)


async def test_timeout_of_a_blocking_command_is_no_failure(call, server):
    """A worker waits for jobs longer than its socket timeout and catches the error: the server is healthy."""
    settings = {
        **server.settings,
        "socket_timeout": 1.05,
        "breaker": {"failures": 1},
        "retry": redis.retry.Retry(redis.backoff.NoBackoff(), 0),
    }
    async with RedisDatabase(**settings) as database:
        with pytest.raises(redis.TimeoutError):
            await call.result(call.client(database).blpop("no-such-list", timeout=30))
        assert not database.server.breaker.has_failures


async def test_reply_timeout_is_a_failure(call):
    """The deadline of the caller ends the wait before the socket timeout does."""
    with EmbeddedServer() as server:
        router = DatabaseRouter(
            {"acme": RedisDatabase(**server.settings, breaker={"failures": 1, "seconds": 60, "max_open_seconds": 60})}
        )
        breaker = router.database_for("acme").server.breaker
        assert await ping(router.database_for("acme"), call)
        server.pause()
        outcomes = await call(router, "fan_out", lambda each: call.client(each).ping(), timeout=1.1, on_error="collect")
        assert not outcomes["acme"].ok
        assert breaker.may_refuse
        server.resume()
        await router.aclose()


async def test_accepted_connection_without_a_reply_is_no_success(call):
    """The kernel accepts for a stopped process. Without commands in the handshake, no reply has been received."""
    with silent() as port:
        settings = {"host": "127.0.0.1", "port": port, "protocol": 2, "driver_info": None}
        settings |= {
            "socket_timeout": 0.1,
            "breaker": {"failures": 1, "seconds": 0.05, "max_open_seconds": 0.05},
        }
        async with RedisDatabase(**settings) as database:
            breaker = database.server.breaker
            with pytest.raises(redis.TimeoutError):
                await ping(database, call)
            eventually(lambda: breaker.status.state == "half-open")
            opened_since = breaker.status.seconds
            with pytest.raises(redis.TimeoutError):
                await ping(database, call)
            assert breaker.status.failures > 1  # it was not considered recovered in between
            assert breaker.status.seconds > opened_since
