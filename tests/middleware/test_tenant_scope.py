"""The scope of a request's tenant: entered and left by rule (invariant 5)."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Iterator

import pytest

from tenantlimpyd import DatabaseRouter, RedisDatabase, carry_tenant, current_tenant
from tenantlimpyd.exceptions import NoTenantError, TenantSwitchError
from tenantlimpyd.middleware import asgi, from_header, wsgi

pytestmark = pytest.mark.slow

HEADER = from_header("X-Tenant-ID")
ACME = {"type": "http", "path": "/", "headers": [(b"x-tenant-id", b"acme")]}
NOBODY = {"type": "http", "path": "/", "headers": []}


def environ(tenant="acme", path="/"):
    return {"REQUEST_METHOD": "GET", "PATH_INFO": path, "SCRIPT_NAME": "", "HTTP_X_TENANT_ID": tenant}


async def discard(message):
    """Receive what an application sends."""


def start_response(status, headers, exc_info=None):
    return discard


# The previous tenant is current again afterwards


@pytest.mark.invariant(5)
def test_previous_tenant_is_current_again_after_a_wsgi_request(router):
    middleware = wsgi.TenantMiddleware(lambda *_: [current_tenant()], router=router, identify=HEADER)
    with router.use_tenant("globex"):
        assert middleware(environ(), start_response) == ["acme"]
        assert current_tenant() == "globex"
    assert current_tenant() is None


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, asyncio.CancelledError])
@pytest.mark.invariant(5)
def test_previous_tenant_is_current_again_after_an_error_of_a_wsgi_application(router, error):
    def app(environ, start_response):
        raise error

    middleware = wsgi.TenantMiddleware(app, router=router, identify=HEADER)
    with router.use_tenant("globex"):
        with pytest.raises(error):
            middleware(environ(), start_response)
        assert current_tenant() == "globex"


@pytest.mark.invariant(5)
async def test_previous_tenant_is_current_again_after_an_asgi_request_a_refusal_and_an_error(router):
    async def app(scope, receive, send):
        assert current_tenant() == "acme"
        if receive:
            raise RuntimeError("broken")

    middleware = asgi.TenantMiddleware(app, router=router, identify=HEADER)
    async with router.use_tenant("globex"):
        await middleware(ACME, None, discard)
        assert current_tenant() == "globex"
        await middleware(NOBODY, None, discard)
        assert current_tenant() == "globex"
        with pytest.raises(RuntimeError):
            await middleware(ACME, discard, discard)
        assert current_tenant() == "globex"


@pytest.mark.invariant(5)
async def test_previous_tenant_is_current_again_after_a_cancelled_request(router):
    inside = asyncio.Event()
    after = []

    async def app(scope, receive, send):
        inside.set()
        await asyncio.Event().wait()

    middleware = asgi.TenantMiddleware(app, router=router, identify=HEADER)

    async def serve():
        async with router.use_tenant("globex"):
            try:
                await middleware(ACME, None, discard)
            finally:
                after.append(current_tenant())

    task = asyncio.create_task(serve())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert after == ["globex"]


# The context is set on every request, also to none


@pytest.mark.invariant(5)
async def test_requests_do_not_inherit_the_tenant_of_the_server(router):
    seen = []

    async def app(scope, receive, send):
        seen.append((scope["type"], current_tenant(), router.current_tenant()))
        with pytest.raises(NoTenantError):
            _ = router.database

    middleware = asgi.TenantMiddleware(app, router=router, identify=HEADER, exempt=("/healthz",))
    async with router.use_tenant("acme"):
        await middleware({"type": "lifespan"}, None, discard)
        await middleware({"type": "http", "path": "/healthz", "headers": []}, None, discard)
        await middleware({"type": "something.new"}, None, discard)
    assert seen == [("lifespan", None, None), ("http", None, None), ("something.new", None, None)]


@pytest.mark.invariant(5)
def test_requests_do_not_inherit_the_tenant_of_another_router(router, server):
    other = DatabaseRouter({"umbrella": RedisDatabase(**server.settings, db=9)})
    middleware = wsgi.TenantMiddleware(
        lambda *_: [current_tenant()], router=router, identify=HEADER, exempt=("/healthz",)
    )
    with other.use_tenant("umbrella"):
        assert middleware(environ(path="/healthz"), start_response) == [None]
        assert middleware(environ(), start_response) == ["acme"]


@pytest.mark.invariant(5)
async def test_server_started_inside_a_request_does_not_lock_the_requests_it_serves(router):
    seen = []

    async def app(scope, receive, send):
        seen.append(current_tenant())
        with router.use_tenant(current_tenant() or "acme"):
            seen.append(current_tenant())

    middleware = asgi.TenantMiddleware(app, router=router, identify=HEADER, exempt=("/healthz",))
    with router._request_scope("globex"):
        await middleware(ACME, None, discard)
        await middleware({**NOBODY, "path": "/healthz"}, None, discard)
    assert seen == ["acme", "acme", None, "acme"]


# Tasks inherit, threads don't


@pytest.mark.invariant(5)
async def test_tasks_of_a_request_keep_its_tenant_after_it_ended(router):
    tasks = []
    go = asyncio.Event()

    async def later():
        await go.wait()
        return current_tenant()

    async def app(scope, receive, send):
        tasks.append(asyncio.create_task(later()))

    await asgi.TenantMiddleware(app, router=router, identify=HEADER)(ACME, None, discard)
    go.set()
    assert await tasks[0] == "acme"


@pytest.mark.invariant(5)
def test_threads_of_a_request_have_its_tenant_only_if_it_is_carried(ask):
    def handle():
        seen = []
        for target in (lambda: seen.append(current_tenant())), carry_tenant(lambda: seen.append(current_tenant())):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
        return seen

    assert ask(HEADER, handle, headers=[(b"X-Tenant-ID", b"acme")]).seen[0]["value"] == [None, "acme"]


@pytest.mark.invariant(5)
async def test_concurrent_requests_have_their_own_tenants(router):
    arrived = asyncio.Barrier(20)
    seen = []

    async def app(scope, receive, send):
        for _ in range(3):
            await arrived.wait()
            seen.append((scope["headers"][0][1].decode(), current_tenant()))

    middleware = asgi.TenantMiddleware(app, router=router, identify=HEADER)
    tenants = [b"acme", b"globex"] * 10
    await asyncio.gather(*(middleware({**ACME, "headers": [(b"x-tenant-id", t)]}, None, discard) for t in tenants))
    assert sorted(set(seen)) == [("acme", "acme"), ("globex", "globex")]
    assert len(seen) == 60


# Another tenant inside a request


@pytest.mark.invariant(5)
def test_entering_another_tenant_inside_a_request_is_refused(ask, router):
    def handle():
        with router.use_tenant("acme"), pytest.raises(TenantSwitchError, match="allow_switch=True"):
            router.use_tenant("globex").__enter__()
        with pytest.raises(TenantSwitchError):
            router.fan_out(lambda database: database.connection.dbsize())
        with router.use_no_tenant():
            assert current_tenant() is None
        return current_tenant()

    assert ask(HEADER, handle, headers=[(b"X-Tenant-ID", b"acme")]).seen[0]["value"] == "acme"


@pytest.mark.invariant(5)
def test_allow_switch_permits_another_tenant_inside_a_request(ask, router):
    def handle():
        with router.use_tenant("globex"):
            return current_tenant()

    headers = [(b"X-Tenant-ID", b"acme")]
    assert ask(HEADER, handle, headers=headers, allow_switch=True).seen[0]["value"] == "globex"

    def handle_one():
        with router.use_tenant("globex", allow_switch=True):
            return current_tenant()

    assert ask(HEADER, handle_one, headers=headers).seen[0]["value"] == "globex"


# Streamed bodies


class Body:
    """An iterable body that records the current tenant in each of its methods."""

    def __init__(self, seen):
        self.seen = seen

    def __iter__(self) -> Iterator[bytes]:
        self.seen.append(("iter", current_tenant()))
        for number in range(2):
            self.seen.append((number, current_tenant()))
            yield b"."

    def close(self):
        self.seen.append(("close", current_tenant()))


@pytest.mark.invariant(5)
def test_streamed_body_and_server_each_keep_their_tenant(router):
    seen = []
    middleware = wsgi.TenantMiddleware(lambda *_: Body(seen), router=router, identify=HEADER)
    body = middleware(environ(), start_response)
    with router.use_tenant("globex"):
        seen.extend(("server", current_tenant()) for _ in body)
        body.close()
        assert current_tenant() == "globex"
    steps = [("iter", "acme"), (0, "acme"), ("server", "globex"), (1, "acme"), ("server", "globex"), ("close", "acme")]
    assert seen == steps


@pytest.mark.invariant(5)
def test_streamed_body_keeps_its_tenant_in_any_thread_or_context(router):
    seen = []
    middleware = wsgi.TenantMiddleware(lambda *_: Body(seen), router=router, identify=HEADER)
    body = contextvars.Context().run(middleware, environ(), start_response)
    contextvars.Context().run(next, body)
    thread = threading.Thread(target=next, args=(body,))
    thread.start()
    thread.join()
    contextvars.Context().run(body.close)
    assert seen == [("iter", "acme"), (0, "acme"), (1, "acme"), ("close", "acme")]


@pytest.mark.invariant(5)
def test_streamed_body_can_not_enter_another_tenant(router):
    def app(environ, start_response):
        with pytest.raises(TenantSwitchError):
            router.use_tenant("globex").__enter__()
        yield current_tenant()

    assert list(wsgi.TenantMiddleware(app, router=router, identify=HEADER)(environ(), start_response)) == ["acme"]


@pytest.mark.invariant(5)
def test_streamed_body_keeps_a_tenant_that_it_entered(router):
    def app(environ, start_response):
        with router.use_tenant("globex"):
            yield current_tenant()
            yield current_tenant()
        yield current_tenant()

    middleware = wsgi.TenantMiddleware(app, router=router, identify=HEADER, allow_switch=True)
    seen = [(step, current_tenant()) for step in middleware(environ(), start_response)]
    assert seen == [("globex", None), ("globex", None), ("acme", None)]


@pytest.mark.invariant(5)
def test_streamed_body_that_fails_or_is_closed_early_leaves_its_tenant(router):
    closed = []

    def app(environ, start_response):
        try:
            yield b"one"
            raise RuntimeError("broken")
        finally:
            closed.append(current_tenant())

    middleware = wsgi.TenantMiddleware(app, router=router, identify=HEADER)
    body = middleware(environ(), start_response)
    assert next(body) == b"one"
    with pytest.raises(RuntimeError):
        next(body)
    assert (closed, current_tenant()) == (["acme"], None)

    unfinished = middleware(environ(), start_response)
    with contextlib.closing(unfinished):
        next(unfinished)
    assert (closed, current_tenant()) == (["acme", "acme"], None)


@pytest.mark.parametrize("reply", [[b"whole"], (b"in ", b"parts"), []])
def test_complete_body_is_returned_unchanged(router, reply):
    middleware = wsgi.TenantMiddleware(lambda *_: reply, router=router, identify=HEADER)
    assert middleware(environ(), start_response) is reply


def test_streamed_body_without_close_can_be_closed(router):
    body = wsgi.TenantMiddleware(lambda *_: iter([b"x"]), router=router, identify=HEADER)(environ(), start_response)
    assert list(body) == [b"x"]
    body.close()


def test_two_middlewares_that_find_different_tenants_are_an_error(router):
    async def app(scope, receive, send):
        raise AssertionError("never reached")

    inner = asgi.TenantMiddleware(app, router=router, identify=from_header("X-Inner"))
    outer = asgi.TenantMiddleware(inner, router=router, identify=from_header("X-Outer"))
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "root_path": "",
        "headers": [(b"x-outer", b"acme"), (b"x-inner", b"globex")],
    }
    with pytest.raises(TenantSwitchError, match=r"'acme'.*'globex'"):
        asyncio.run(outer(scope, None, None))

    def wsgi_app(environ, start_response):
        raise AssertionError("never reached")

    inner = wsgi.TenantMiddleware(wsgi_app, router=router, identify=from_header("X-Inner"))
    outer = wsgi.TenantMiddleware(inner, router=router, identify=from_header("X-Outer"))
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_X_OUTER": "acme", "HTTP_X_INNER": "globex"}
    with pytest.raises(TenantSwitchError, match=r"'acme'.*'globex'"):
        outer(environ, None)
