"""The policy of the middleware: results of ``identify``, exempt requests, resolvers, and validated arguments."""

from __future__ import annotations

import asyncio

import pytest

from tenantlimpyd import DatabaseRouter, RedisDatabase, current_tenant
from tenantlimpyd.exceptions import ConfigurationError, InvalidTenantError, NoTenantError, UnknownTenantError
from tenantlimpyd.middleware import asgi, from_header, wsgi

pytestmark = pytest.mark.slow

HEADER = from_header("X-Tenant-ID")


def headers(values):
    return [(b"X-Tenant-ID", value) for value in values]


# The result of identify


@pytest.mark.parametrize(
    ("error", "status"),
    [(InvalidTenantError("not so"), 400), (UnknownTenantError("no such", "x"), 404)],
    ids=["400", "404"],
)
def test_identify_may_raise_tenant_errors(ask, error, status):
    def identify(request):
        raise error

    reply = ask(identify)
    assert (reply.status, reply.seen) == (status, [])


@pytest.mark.parametrize("error", [RuntimeError("broken"), NoTenantError("a routed model was used"), KeyError("user")])
def test_other_errors_of_identify_propagate_to_the_server(ask, error):
    def identify(request):
        raise error

    with pytest.raises(type(error)) as caught:
        ask(identify)
    assert caught.value is error


@pytest.mark.parametrize("answer", [b"acme", 7, ["acme"], True])
def test_identify_must_return_text_or_none(ask, answer):
    with pytest.raises(TypeError, match="identify must return a tenant id as text, or None"):
        ask(lambda _request: answer)


def test_empty_text_from_identify_is_malformed(ask):
    assert ask(lambda _request: "").error == "invalid_tenant"


def test_identify_runs_with_no_tenant(ask, router):
    current = []

    def identify(request):
        current.append(current_tenant())
        return "acme"

    with router.use_tenant("globex"):
        ask(identify)
    assert current == [None]


async def test_identify_may_be_a_coroutine_function(router):
    seen, sent = [], []

    async def identify(request):
        await asyncio.sleep(0)
        return request.header("X-Tenant-ID")

    async def app(scope, receive, send):
        seen.append(current_tenant())

    async def send(message):
        sent.append(message)

    middleware = asgi.TenantMiddleware(app, router=router, identify=identify)
    for values in [b"acme"], [b"umbrella"], []:
        await middleware({"type": "http", "path": "/", "headers": [(b"x-tenant-id", v) for v in values]}, None, send)
    assert seen == ["acme"]
    assert [message["status"] for message in sent if "status" in message] == [404, 400]


# Errors of the application


@pytest.mark.parametrize("error", [UnknownTenantError("of the application", "x"), InvalidTenantError("also")])
def test_tenant_error_of_the_application_propagates(ask, error):
    def handle():
        raise error

    with pytest.raises(type(error)) as caught:
        ask(HEADER, handle, headers=headers([b"acme"]))
    assert caught.value is error


def test_tenant_removed_inside_its_request_is_not_a_404(ask, router):
    def handle():
        router.remove("acme")
        return router.database

    with pytest.raises(UnknownTenantError):
        ask(HEADER, handle, headers=headers([b"acme"]))


# Exempt requests


def test_exempt_path_runs_with_no_tenant(ask):
    reply = ask(HEADER, path="/healthz", exempt=("/healthz",), headers=headers([b"acme"]))
    assert (reply.status, reply.seen[0]["value"]) == (200, None)


@pytest.mark.parametrize("path", ["/healthz/", "/healthz/x", "/Healthz", "/notes", "//healthz"])
def test_exempt_paths_are_exact(ask, path):
    assert ask(HEADER, path=path, exempt=("/healthz",)).status == 400


def test_exempt_paths_are_relative_to_the_mount_point(ask):
    assert ask(HEADER, path="/healthz", root="/api", exempt=("/healthz",)).status == 200


def test_exempt_may_be_a_predicate_of_the_request(ask):
    def exempt(request):
        return request.path.startswith("/static/")

    assert ask(HEADER, path="/static/x.css", exempt=exempt).status == 200
    assert ask(HEADER, path="/notes", exempt=exempt).status == 400


def test_router_has_no_database_in_an_exempt_request(ask, router):
    with pytest.raises(NoTenantError):
        ask(HEADER, lambda: router.database, path="/healthz", exempt=("/healthz",))


# Resolvers


def test_resolver_is_asked_for_ids_that_are_not_in_the_map(flushed_server, ask, router):
    found = RedisDatabase(**flushed_server.settings, db=3)
    router._resolving._resolver = {"initech": found}.get
    assert ask(HEADER, headers=headers([b"initech"])).seen[0]["value"] == "initech"
    assert ask(HEADER, headers=headers([b"umbrella"])).status == 404


async def test_asgi_awaits_the_resolver(flushed_server):
    seen, sent = [], []

    async def resolver(tenant):
        await asyncio.sleep(0)
        return RedisDatabase(**flushed_server.settings, db=3) if tenant == "initech" else None

    async def app(scope, receive, send):
        seen.append(current_tenant())

    async def send(message):
        sent.append(message)

    async with DatabaseRouter(resolver=resolver) as router:
        middleware = asgi.TenantMiddleware(app, router=router, identify=HEADER)
        for value in b"initech", b"umbrella":
            await middleware({"type": "http", "path": "/", "headers": [(b"x-tenant-id", value)]}, None, send)
    assert seen == ["initech"]
    assert sent[0]["status"] == 404


def test_wsgi_refuses_coroutine_functions():
    async def acoroutine(_given):
        return None

    class Asynchronous:
        async def __call__(self, _given):
            return None

    for identify in acoroutine, Asynchronous():
        with pytest.raises(ConfigurationError, match="identify is a coroutine function"):
            wsgi.TenantMiddleware(lambda *_: [], router=DatabaseRouter(), identify=identify)
    with pytest.raises(ConfigurationError, match="the resolver is a coroutine function"):
        wsgi.TenantMiddleware(lambda *_: [], router=DatabaseRouter(resolver=acoroutine), identify=HEADER)
    middleware = wsgi.TenantMiddleware(lambda *_: [], router=DatabaseRouter(), identify=lambda _given: acoroutine(None))
    with pytest.raises(TypeError, match="not a coroutine"):
        middleware({"PATH_INFO": "/"}, lambda *_: None)


# Arguments


def app(*_):
    raise AssertionError("never called")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"app": "notes"}, r"app must be an? (ASGI|WSGI) application"),
        ({"router": {"acme": None}}, "router must be a DatabaseRouter, not a dict"),
        ({"identify": "X-Tenant-ID"}, "identify must be a function"),
        ({"exempt": "/healthz"}, "exempt must be paths"),
        ({"exempt": None}, "exempt must be paths"),
        ({"exempt": ["healthz"]}, "begins with a slash"),
        ({"exempt": [b"/healthz"]}, "begins with a slash"),
    ],
)
def test_invalid_arguments_are_refused(middleware, wrong, message):
    given = {"app": app, "router": DatabaseRouter(), "identify": HEADER} | wrong
    with pytest.raises(ConfigurationError, match=message):
        middleware(given.pop("app"), **given)
