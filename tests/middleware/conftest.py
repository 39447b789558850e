"""A router with two tenants, and one function that sends a request to an ASGI or a WSGI application."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import pytest

from tenantlimpyd import DatabaseRouter, RedisDatabase, current_tenant
from tenantlimpyd.middleware import asgi, wsgi


@pytest.fixture
def router(flushed_server) -> Iterator[DatabaseRouter]:
    databases = {
        tenant: RedisDatabase(**flushed_server.settings, db=number)
        for number, tenant in enumerate(("acme", "globex"), 1)
    }
    with DatabaseRouter(databases) as router:
        yield router


@attrs.frozen
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes
    seen: list[dict[str, Any]] = attrs.field(eq=False)
    """The value, root and path of each call of the application."""

    @property
    def error(self) -> str:
        return json.loads(self.body)["error"]


@attrs.frozen
class Question:
    """A request, independent of the interface."""

    headers: Sequence[tuple[bytes, bytes]] = ()
    path: str = "/"
    root: str = ""
    method: str = "GET"


def ask_asgi(router, question: Question, handle: Callable[[], object] = current_tenant, **options: Any) -> Reply:
    seen: list[dict[str, Any]] = []
    sent: list[dict[str, Any]] = []

    async def app(scope, receive, send):
        path = scope["path"].removeprefix(scope["root_path"])
        seen.append({"value": handle(), "root": scope["root_path"], "path": path})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"served"})

    async def receive():
        return {"type": "http.request"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": question.method,
        "path": question.root + question.path,
        "root_path": question.root,
        "headers": [(name.lower(), value) for name, value in question.headers],
    }
    before = dict(scope)
    asyncio.run(asgi.TenantMiddleware(app, router=router, **options)(scope, receive, send))
    assert scope == before, "the middleware must not change the server's scope"
    start, body = sent
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return Reply(start["status"], headers, body["body"], seen)


def ask_wsgi(router, question: Question, handle: Callable[[], object] = current_tenant, **options: Any) -> Reply:
    seen: list[dict[str, Any]] = []
    started: list[Any] = []

    def app(environ, start_response):
        root, path = (environ[name].encode("latin-1").decode() for name in ("SCRIPT_NAME", "PATH_INFO"))
        seen.append({"value": handle(), "root": root, "path": path})
        start_response("200 OK", [])
        return [b"served"]

    environ: dict[str, Any] = {
        "REQUEST_METHOD": question.method,
        "SCRIPT_NAME": question.root,
        "PATH_INFO": question.path.encode("utf-8", "surrogateescape").decode("latin-1"),
    }
    for name, value in question.headers:  # WSGI servers join the values of a repeated header
        key = "HTTP_" + name.decode().upper().replace("-", "_")
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    middleware = wsgi.TenantMiddleware(app, router=router, **options)
    body = b"".join(middleware(environ, lambda status, headers: started.append((status, headers))))
    status, headers = started[0]
    return Reply(int(status.split()[0]), dict(headers), body, seen)


@pytest.fixture(params=[ask_asgi, ask_wsgi], ids=["asgi", "wsgi"])
def ask(request, router) -> Callable[..., Reply]:
    """Send one request to an application inside the middleware; ``handle`` runs in the application."""

    def asking(identify, handle=current_tenant, *, exempt=(), allow_switch=False, **question: Any) -> Reply:
        options = {"identify": identify, "exempt": exempt, "allow_switch": allow_switch}
        return request.param(router, Question(**question), handle, **options)

    return asking


@pytest.fixture(params=[asgi.TenantMiddleware, wsgi.TenantMiddleware], ids=["asgi", "wsgi"])
def middleware(request) -> type[Any]:
    """Return each of the two classes."""
    return request.param
