"""The cleanup of a streamed body after a disconnect runs under its own tenant if its generator function is decorated."""

from __future__ import annotations

import asyncio
import gc

import pytest
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

from tenantlimpyd import DatabaseRouter, RedisDatabase, current_tenant
from tenantlimpyd.middleware.asgi import TenantMiddleware, from_header

pytestmark = pytest.mark.slow


@pytest.fixture
async def router(server):
    async with DatabaseRouter(
        {"acme": RedisDatabase(**server.settings, db=1), "globex": RedisDatabase(**server.settings, db=2)}
    ) as router:
        yield router


async def disconnected(app, tenant, path):
    """Send a request, and disconnect after the third message of the reply."""
    gone, sent = asyncio.Event(), 0

    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(_message):
        nonlocal sent
        sent += 1
        if sent > 3:
            gone.set()
            raise OSError("the client has disconnected")

    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": path, "raw_path": path.encode(),
        "query_string": b"", "headers": [(b"x-tenant-id", tenant.encode())], "server": ("localhost", 80),
        "client": ("localhost", 1), "asgi": {"version": "3.0", "spec_version": "2.4"},
    }  # fmt: skip
    with pytest.raises(Exception):  # noqa: B017 - whatever the framework makes of it
        await app(scope, receive, send)


@pytest.mark.parametrize("path", ["/sync", "/async"])
async def test_cleanup_of_an_abandoned_stream_runs_in_its_own_tenant(router, path):
    ends = []

    def rows():
        try:
            for number in range(100):
                yield f"{number}"
        finally:
            ends.append((current_tenant(), router.connection.incr("ends")))

    async def arows():
        try:
            for number in range(100):
                yield f"{number}"
        finally:
            ends.append((current_tenant(), await router.aconnection.incr("ends")))

    async def stream(_request):
        return StreamingResponse(router.use_tenant(current_tenant())(rows)())

    async def astream(_request):
        return StreamingResponse(router.use_tenant(current_tenant())(arows)())

    router.database_for("acme").connection.delete("ends")
    inner = Starlette(routes=[Route("/sync", stream), Route("/async", astream)])
    app = TenantMiddleware(inner, router=router, identify=from_header("X-Tenant-ID"))
    await disconnected(app, "acme", path)
    with router.use_tenant("globex"):  # the tenant that is current when the garbage collector runs
        for _ in range(20):
            gc.collect()
            await asyncio.sleep(0.01)
            if ends:
                break
    assert ends == [("acme", 1)]
