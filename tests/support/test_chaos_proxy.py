"""The faults of the chaos proxy, on the embedded server."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from tenantlimpyd.embedded import EmbeddedServer
from tests.support.chaos_proxy import ChaosProxy, Faults
from tests.support.tls import Authority

pytestmark = pytest.mark.slow


@pytest.fixture
def proxy(flushed_server: EmbeddedServer) -> Iterator[ChaosProxy]:
    with ChaosProxy("127.0.0.1", flushed_server.port) as proxy:
        yield proxy


def through(proxy: ChaosProxy, **settings: object) -> redis.Redis:
    return redis.Redis(
        **{"port": proxy.port, "socket_timeout": 0.3, "retry": Retry(NoBackoff(), 0), **settings}  # type: ignore[arg-type]
    )


def raw(proxy: ChaosProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def test_proxy_without_faults_forwards_everything(proxy: ChaosProxy) -> None:
    big = b"x" * 5_000_000
    with through(proxy, socket_timeout=10) as client:
        client.set("big", big)
        assert client.get("big") == big
        assert proxy.connections == 1
    assert proxy.accepted == 1
    assert proxy.faults == Faults()


def test_latency_is_added_in_both_directions(proxy: ChaosProxy) -> None:
    with through(proxy, socket_timeout=10) as client:
        client.ping()
        proxy.disturb(latency=0.1)
        began = time.monotonic()
        client.ping()
        assert time.monotonic() - began >= 0.2


def test_lost_request_is_not_executed_and_request_of_a_lost_reply_is(proxy: ChaosProxy, server: EmbeddedServer) -> None:
    with through(proxy) as client, redis.Redis(**server.settings) as straight:
        client.ping()
        proxy.disturb(lose_requests=True)
        with pytest.raises(redis.TimeoutError):
            client.incr("n")
        assert straight.get("n") is None
        proxy.heal()
        client.ping()
        proxy.disturb(lose_replies=True)
        with pytest.raises(redis.TimeoutError):
            client.incr("n")
        assert straight.get("n") == b"1"
        proxy.heal()
        assert client.incr("n") == 2


def test_swallowing_proxy_accepts_and_is_silent(proxy: ChaosProxy) -> None:
    proxy.swallow()
    with raw(proxy) as client:
        client.sendall(b"PING\r\n")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_reply_is_cut_by_closing(proxy: ChaosProxy) -> None:
    with raw(proxy) as client:
        client.sendall(b"PING\r\n")
        assert client.recv(64) == b"+PONG\r\n"
        proxy.disturb(cut_reply_after=10)
        client.sendall(b"PING\r\n")
        assert client.recv(64) == b"+PONG\r\n"
        client.sendall(b"PING\r\n")
        assert client.recv(64) == b"+PO"
        assert client.recv(64) == b""
    with through(proxy) as client:
        assert client.ping()


def test_reply_is_cut_by_a_reset(proxy: ChaosProxy) -> None:
    with raw(proxy) as client:
        proxy.disturb(cut_reply_after=3, cut_by_reset=True)
        client.sendall(b"PING\r\n")
        with pytest.raises(ConnectionResetError):
            for _ in range(2):  # earlier data may have been lost
                client.recv(64)
    assert proxy.faults == Faults(cut_by_reset=True)


def test_reset_sends_rst_and_hang_up_sends_fin(proxy: ChaosProxy) -> None:
    with raw(proxy) as client:
        client.sendall(b"PING\r\n")
        client.recv(64)
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            client.recv(64)
    with raw(proxy) as client:
        client.sendall(b"PING\r\n")
        client.recv(64)
        proxy.hang_up()
        assert client.recv(64) == b""


def test_closed_port_refuses_until_it_is_opened_again(proxy: ChaosProxy) -> None:
    port = proxy.port
    with through(proxy) as client:
        client.ping()
        proxy.refuse()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        with pytest.raises(ConnectionRefusedError):
            raw(proxy)
        proxy.accept()
        proxy.accept()
        assert proxy.port == port
        assert client.ping()


def test_proxy_of_a_stopped_server_closes_connections() -> None:
    with EmbeddedServer() as own, ChaosProxy("127.0.0.1", own.port) as proxy, through(proxy) as client:
        client.ping()
        own.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        own.start()
        assert client.ping()


async def test_tls_works_for_sync_and_async_clients(server: EmbeddedServer, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with ChaosProxy("127.0.0.1", server.port, authority.server_context()) as proxy:
        with through(proxy, socket_timeout=5, **authority.client_settings) as client:
            assert client.ping()
        async with redis.asyncio.Redis(port=proxy.port, host="127.0.0.1", **authority.client_settings) as aclient:
            assert await asyncio.gather(*(aclient.ping() for _ in range(20)))
        with (
            through(proxy, socket_timeout=5, ssl=True) as client,
            pytest.raises(redis.ConnectionError, match=r"[Cc]ert"),
        ):
            client.ping()
        with through(proxy) as client, pytest.raises(redis.RedisError):
            client.ping()


def test_stop_closes_open_connections_and_may_be_repeated(server: EmbeddedServer) -> None:
    proxy = ChaosProxy("127.0.0.1", server.port)
    with raw(proxy) as client:
        client.sendall(b"PING\r\n")
        client.recv(64)
        proxy.stop()
        proxy.stop()
        with pytest.raises(ConnectionResetError):
            client.recv(64)
    with pytest.raises(ConnectionRefusedError):
        raw(proxy)
