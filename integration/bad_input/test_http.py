"""Malformed tenant ids in real HTTP requests to a real server: a 4xx status, and no write."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integration.bad_input.malformed_ids import HOSTILE, everything_on
from tenantlimpyd import DatabaseRouter, RedisDatabase, current_tenant
from tenantlimpyd.middleware.asgi import TenantMiddleware, from_header, from_path, from_subdomain
from tests.support.servers import ServerHandle

pytestmark = pytest.mark.timeout(120)

TENANTS = ("acme", "globex")


class Service:
    """An application that counts its requests in its tenant's database, served by uvicorn on loopback."""

    def __init__(self, server: ServerHandle, identify: Any) -> None:
        databases = {tenant: RedisDatabase(**server.settings, db=db) for db, tenant in enumerate(TENANTS, 1)}
        self.router = DatabaseRouter(databases)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        app = TenantMiddleware(self._count, router=self.router, identify=identify)
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(app, log_level="critical", lifespan="off", ws="none", http="h11", access_log=False)
        )
        self._thread = threading.Thread(target=self._uvicorn.run, args=([self._socket],))
        self._thread.start()

    async def _count(self, scope: Any, receive: Any, send: Any) -> None:
        count = await self.router.database.aconnection.incr("requests")
        body = json.dumps({"tenant": current_tenant(), "count": count}).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def ask(self, request: bytes, *, and_hang_up: bool = False) -> bytes:
        """Send bytes on a new connection; return all that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            reply = b""
            with contextlib.suppress(ConnectionError):  # refused in the middle: what came before counts
                connection.sendall(request)
            with contextlib.suppress(OSError):
                if and_hang_up:  # else the server may wait for the rest of what is no request
                    connection.shutdown(socket.SHUT_WR)
                while data := connection.recv(65_536):
                    reply += data
        return reply

    def close(self) -> None:
        self._uvicorn.should_exit = True
        self._thread.join(10)
        self._socket.close()
        self.router.close()
        assert not self._thread.is_alive()


def serving(server: ServerHandle, identify: Any) -> Iterator[Service]:
    service = Service(server, identify)
    try:
        deadline = time.monotonic() + 10
        while not service._uvicorn.started and time.monotonic() < deadline:
            time.sleep(0.01)
        yield service
    finally:
        service.close()


@pytest.fixture
def by_header(server: ServerHandle) -> Iterator[Service]:
    yield from serving(server, from_header("X-Tenant-ID"))


@pytest.fixture
def by_path(server: ServerHandle) -> Iterator[Service]:
    yield from serving(server, from_path())


@pytest.fixture
def by_subdomain(server: ServerHandle) -> Iterator[Service]:
    yield from serving(server, from_subdomain("example.org"))


def request(*lines: bytes, path: bytes = b"/", host: bytes = b"example.org") -> bytes:
    return b"\r\n".join([b"GET " + path + b" HTTP/1.1", b"Host: " + host, *lines, b"Connection: close", b"", b""])


def status(reply: bytes) -> int:
    return int(reply.split(b" ", 2)[1]) if reply.startswith(b"HTTP/1.") else 0


def refused(reply: bytes, given: bytes) -> bool:
    """Return whether a reply is a refusal that says nothing of what was given.

    The reply to what is far too long may be lost: the server hangs up while it is still being sent.
    """
    body = reply.partition(b"\r\n\r\n")[2]
    lost = len(given) > 60_000 and not reply
    return (lost or 400 <= status(reply) < 500) and len(reply) < 2000 and (len(given) < 6 or given not in body)


def test_valid_requests_are_served(by_header: Service, by_path: Service, by_subdomain: Service) -> None:
    for tenant in (b"acme", b"globex"):
        for reply in (
            by_header.ask(request(b"X-Tenant-ID: " + tenant)),
            by_path.ask(request(path=b"/" + tenant + b"/invoices")),
            by_subdomain.ask(request(host=tenant + b".example.org")),
        ):
            assert status(reply) == 200
            assert json.loads(reply.partition(b"\r\n\r\n")[2])["tenant"] == tenant.decode()


WORDS = {name: value for name, value in HOSTILE.items() if isinstance(value, str | bytes) and name != "bytes"}


def as_bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")


def names_a_tenant(value: bytes) -> bool:
    """Return whether HTTP itself makes a good id of this: blanks around a header's value, a line after it."""
    return value.partition(b"\r\n")[0].partition(b"\n")[0].strip() in {tenant.encode() for tenant in TENANTS}


def test_malformed_headers_are_refused(by_header: Service, server: ServerHandle) -> None:
    for name, word in WORDS.items():
        value = as_bytes(word)
        before = everything_on(server)
        reply = by_header.ask(request(b"X-Tenant-ID: " + value))
        if names_a_tenant(value) and status(reply) == 200:
            assert b'"tenant": "acme"' in reply, name
        else:
            assert refused(reply, value), (name, reply[:500])
            assert everything_on(server) == before, name


def test_malformed_paths_are_refused(by_path: Service, server: ServerHandle) -> None:
    for name, word in WORDS.items():
        value = as_bytes(word)
        percent = b"".join(b"%%%02X" % byte for byte in value[:20_000])
        before = everything_on(server)
        reply = by_path.ask(request(path=b"/" + percent + b"/invoices"))
        if name == "slash":  # %2F is a slash to an ASGI server: that path is below acme's
            assert status(reply) == 200
            assert b'"tenant": "acme"' in reply
        else:
            assert refused(reply, value), (name, reply[:500])
            assert everything_on(server) == before, name


def test_malformed_hosts_are_refused(by_subdomain: Service, server: ServerHandle) -> None:
    for name, word in WORDS.items():
        value = as_bytes(word)
        before = everything_on(server)
        reply = by_subdomain.ask(request(host=value + b".example.org"))
        assert refused(reply, value), (name, reply[:500])
        assert everything_on(server) == before, name


def test_unknown_and_missing_tenants_are_refused(
    by_header: Service, by_path: Service, by_subdomain: Service, server: ServerHandle
) -> None:
    before = everything_on(server)
    assert status(by_header.ask(request(b"X-Tenant-ID: nobody"))) == 404
    assert status(by_header.ask(request())) == 400
    assert status(by_header.ask(request(b"X-Tenant-ID:"))) == 400
    assert status(by_header.ask(request(b"X-Tenant-ID: acme", b"X-Tenant-ID: globex"))) == 400
    assert status(by_path.ask(request(path=b"/nobody/"))) == 404
    assert status(by_path.ask(request(path=b"/"))) == 400
    assert status(by_subdomain.ask(request(host=b"nobody.example.org"))) == 404
    assert status(by_subdomain.ask(request(host=b"example.org"))) == 400
    assert status(by_subdomain.ask(request(host=b"acme.example.net"))) == 400
    assert everything_on(server) == before


@given(value=st.binary(max_size=150))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_fuzzed_headers_write_nothing(by_header: Service, server: ServerHandle, value: bytes) -> None:
    before = everything_on(server)
    reply = by_header.ask(request(b"X-Tenant-ID: " + value))
    if status(reply) == 200:
        assert names_a_tenant(value)
    else:
        assert status(reply) in (400, 404)
        assert everything_on(server) == before


@given(raw=st.binary(max_size=300))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_fuzzed_requests_write_nothing(by_header: Service, server: ServerHandle, raw: bytes) -> None:
    before = everything_on(server)
    assert status(by_header.ask(raw + b"\r\n\r\n", and_hang_up=True)) in (0, 400, 404, 431)
    assert everything_on(server) == before
    assert status(by_header.ask(request(b"X-Tenant-ID: acme"))) == 200
