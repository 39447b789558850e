"""Real HTTP servers that are started while a tenant is current: no request inherits that tenant (cpython#140947)."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
import uvicorn

from tenantlimpyd import current_tenant
from tenantlimpyd.middleware import asgi, from_header, from_path, wsgi

pytestmark = pytest.mark.slow


class Around:
    """Notes which tenant is current where the server calls the application."""

    def __init__(self, app: Callable[..., object], current: set[str | None]) -> None:
        self.app = app
        self.current = current

    def __call__(self, *args):
        self.current.add(current_tenant())
        return self.app(*args)


async def asgi_app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = json.dumps({"tenant": current_tenant(), "path": scope["path"], "root": scope["root_path"]}).encode()
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


def wsgi_app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    seen = {"tenant": current_tenant(), "path": environ["PATH_INFO"], "root": environ["SCRIPT_NAME"]}
    yield json.dumps(seen).encode()


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        """Print nothing."""


@contextlib.contextmanager
def uvicorn_inside(router, middleware) -> Iterator[int]:
    server = uvicorn.Server(uvicorn.Config(middleware, port=0, log_level="error", lifespan="on", interface="asgi3"))
    failed = []

    def serve():
        try:
            with router.use_tenant("globex"):
                server.run()
        except BaseException as error:  # noqa: BLE001 - said below
            failed.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive(), failed
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()


@contextlib.contextmanager
def wsgiref_inside(router, middleware) -> Iterator[int]:
    server = make_server("127.0.0.1", 0, middleware, handler_class=Quiet)

    def serve():
        with router.use_tenant("globex"):
            server.serve_forever(poll_interval=0.02)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join(20)
        server.server_close()


SERVERS = [
    pytest.param(asgi.TenantMiddleware, asgi_app, uvicorn_inside, id="uvicorn"),
    pytest.param(wsgi.TenantMiddleware, wsgi_app, wsgiref_inside, id="wsgiref"),
]


@contextlib.contextmanager
def connection(port):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as opened:
        yield opened


def get(opened, path="/", **headers):
    opened.request("GET", path, headers=headers)
    reply = opened.getresponse()
    return reply.status, json.loads(reply.read())


@pytest.mark.parametrize(("middleware", "app", "running"), SERVERS)
@pytest.mark.invariant(5)
def test_requests_do_not_inherit_the_tenant_in_which_the_server_was_started(router, middleware, app, running):
    around = set()
    wrapped = middleware(app, router=router, identify=from_header("X-Tenant-ID"), exempt=("/healthz",))
    with running(router, Around(wrapped, around)) as port, connection(port) as opened:
        for _ in range(2):  # one connection, where the server keeps it
            assert get(opened, "/healthz")[1]["tenant"] is None
            assert get(opened)[0] == 400
            assert get(opened, **{"X-Tenant-ID": "acme"})[1]["tenant"] == "acme"
            assert get(opened, **{"X-Tenant-ID": "umbrella"})[0] == 404
            assert get(opened, **{"X-Tenant-ID": "ac me"})[0] == 400
            assert get(opened)[0] == 400
    assert around == {"globex"}, "the server must have had a tenant of its own, or the test would prove nothing"


@pytest.mark.parametrize(("middleware", "app", "running"), SERVERS)
def test_real_server_mounts_the_application_below_the_tenant(router, middleware, app, running):
    wrapped = middleware(app, router=router, identify=from_path("/t"))
    with running(router, wrapped) as port, connection(port) as opened:
        status, seen = get(opened, "/t/acme/notes?x=1")
        assert (status, seen["tenant"], seen["root"]) == (200, "acme", "/t/acme")
        assert seen["path"].removeprefix("/t/acme") == "/notes"
        assert get(opened, "/t/%61cme/notes")[1]["tenant"] == "acme"
        assert get(opened, "/t/acm%00/notes")[0] == 400
        assert get(opened, "/t/%2A/notes")[0] == 400
        assert get(opened, "/t/%FF%FE/notes")[0] == 400
        assert get(opened, "/notes")[0] == 400


@pytest.mark.parametrize(("middleware", "app", "running"), SERVERS)
@pytest.mark.parametrize(
    "head",
    [
        b"X-Tenant-ID: acme\r\nX-Tenant-ID: globex",
        b"X-Tenant-ID: acme\r\nx-tenant-id: acme",
        b"X-Tenant-ID: acm\xe9",
        b"X-Tenant-ID: *",
        b"X-Tenant-ID: acme\x00",
        b"X-Tenant-ID:",
        b"X-Tenant-ID: " + b"a" * 5_000,
    ],
    ids=lambda head: ascii(head[13:50]),
)
def test_malformed_header_bytes_get_400_from_a_real_server(router, middleware, app, running, head):
    reached = set()

    def inside(*args):
        reached.add(current_tenant())
        return app(*args)

    wrapped = middleware(inside, router=router, identify=from_header("X-Tenant-ID"))
    with running(router, wrapped) as port, socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        reached.clear()  # of the lifespan
        raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + head + b"\r\n\r\n")
        reply = b"".join(iter(lambda: raw.recv(65_536), b""))
        assert reached == set()
    assert reply.split(b"\r\n", 1)[0].split(b" ")[1] == b"400"
