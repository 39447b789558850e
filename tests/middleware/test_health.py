"""Liveness and readiness probes over HTTP, under ASGI and WSGI, outside of the tenants."""

from __future__ import annotations

import asyncio
import io
import json

import pytest

from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.embedded import free_port
from tenantlimpyd.exceptions import ConfigurationError
from tenantlimpyd.middleware import asgi, wsgi
from tenantlimpyd.router import DatabaseRouter

pytestmark = pytest.mark.slow

MODES = ["asgi", "wsgi"]
Readiness = asgi.Readiness


@pytest.fixture
def router(server):
    gone = RedisDatabase(host="127.0.0.1", port=free_port(), password="p-secret")
    with DatabaseRouter({"acme": RedisDatabase(**server.settings, db=1), "gone": gone}) as made:
        yield made


def wrapped(mode, router, **options):
    """Return an application that needs a tenant, inside both middlewares."""
    if mode == "asgi":

        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": router.current_tenant().encode()})

        inner = asgi.TenantMiddleware(app, router=router, identify=asgi.from_header("X-Tenant-ID"))
        return asgi.HealthMiddleware(inner, router=router, **options)

    def wsgi_app(environ, start_response):
        start_response("200 OK", [])
        return [router.current_tenant().encode()]

    inner = wsgi.TenantMiddleware(wsgi_app, router=router, identify=wsgi.from_header("X-Tenant-ID"))
    return wsgi.HealthMiddleware(inner, router=router, **options)


async def ask(app, path, tenant=None, method="GET", root=""):
    if isinstance(app, asgi.HealthMiddleware):
        sent = []
        headers = [] if tenant is None else [(b"x-tenant-id", tenant.encode())]
        scope = {"type": "http", "method": method, "path": root + path, "root_path": root, "headers": headers}

        async def send(message):
            sent.append(message)

        await app(scope, None, send)
        return sent[0]["status"], sent[-1]["body"]
    statuses = []
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "SCRIPT_NAME": root, "wsgi.input": io.BytesIO()}
    if tenant is not None:
        environ["HTTP_X_TENANT_ID"] = tenant
    body = b"".join(app(environ, lambda status, headers: statuses.append(status)))
    return int(statuses[0][:3]), body


@pytest.mark.parametrize("mode", MODES)
async def test_probes_need_no_tenant_and_other_requests_do(mode, router):
    app = wrapped(mode, router, ready=Readiness.quorum(0.5))
    status, body = await ask(app, "/livez")
    assert (status, json.loads(body)) == (200, {"status": "alive"})
    status, body = await ask(app, "/readyz")
    assert (status, json.loads(body)) == (200, {"status": "ready", "reason": "1 of 2 tenants can be served"})
    assert (await ask(app, "/readyz", root="/mounted"))[0] == 200
    assert await ask(app, "/readyz", method="HEAD") == (200, b"")
    assert await ask(app, "/other", "acme") == (200, b"acme")
    assert (await ask(app, "/other"))[0] == 400
    assert (await ask(app, "/readyz/more"))[0] == 400


@pytest.mark.parametrize("mode", MODES)
async def test_readiness_probe_is_503_if_the_policy_is_not_met(mode, router):
    app = wrapped(mode, router, ready=Readiness.all(), details=True)
    status, body = await ask(app, "/readyz")
    content = json.loads(body)
    assert (status, content["status"], content["tenants_ok"]) == (503, "not ready", 1)
    assert [each["error"] for each in content["servers"]] == [None, "ConnectionError"]
    assert b"secret" not in body
    assert (await ask(app, "/livez"))[0] == 200
    app = wrapped(mode, router, ready=Readiness.named("nobody"))
    status, body = await ask(app, "/readyz")
    assert (status, json.loads(body)["reason"]) == (503, "there is no tenant 'nobody'")
    assert (await ask(wrapped(mode, router, ready=Readiness.named("acme")), "/readyz"))[0] == 200
    assert (await ask(wrapped(mode, router, ready=Readiness.named("gone")), "/readyz"))[0] == 503


@pytest.mark.parametrize("mode", MODES)
async def test_frequent_probes_share_one_check_of_the_servers(mode, router, monkeypatch):
    asked = []
    health, ahealth = router.health, router.ahealth

    def counted(**options):
        asked.append(1)
        return health(**options)

    async def acounted(**options):
        asked.append(1)
        return await ahealth(**options)

    monkeypatch.setattr(router, "health", counted)
    monkeypatch.setattr(router, "ahealth", acounted)
    app = wrapped(mode, router, ready=Readiness.quorum(1), keep=60)
    await asyncio.gather(*(ask(app, "/readyz") for _ in range(20)))
    assert len(asked) == 1
    app = wrapped(mode, router, ready=Readiness.none())
    assert (await ask(app, "/readyz"))[0] == 200
    app = wrapped(mode, router, ready=Readiness.quorum(1), keep=0)
    for _ in range(3):
        await ask(app, "/readyz")
    assert len(asked) == 4


@pytest.mark.parametrize("mode", MODES)
async def test_health_app_answers_the_probes_alone(mode, router):
    module = asgi if mode == "asgi" else wsgi
    app = module.health_app(router, ready=Readiness.quorum(1), live_path="/up", ready_path="/go")
    assert [(await ask(app, path))[0] for path in ("/up", "/go", "/livez")] == [200, 200, 404]


async def test_health_app_handles_lifespan_and_closes_websockets(router):
    app = asgi.health_app(router, ready=Readiness.none())
    sent, events = [], iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive():
        return next(events)

    async def send(message):
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    await app({"type": "websocket", "path": "/readyz", "headers": []}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ready": "all"}, "ready must be a Readiness"),
        ({"live_path": "livez"}, "live_path begins with a slash"),
        ({"live_path": "/readyz"}, "two paths"),
        ({"timeout": -1}, "timeout must be a number of seconds"),
        ({"keep": "1"}, "keep must be a number of seconds"),
    ],
)
def test_invalid_arguments_are_refused(mode, router, given, message):
    with pytest.raises(ConfigurationError, match=message):
        wrapped(mode, router, **{"ready": Readiness.all(), **given})
    module = asgi if mode == "asgi" else wsgi
    with pytest.raises(ConfigurationError, match="app must be"):
        module.HealthMiddleware(None, router=router, ready=Readiness.all())
    with pytest.raises(ConfigurationError, match="router must be"):
        module.health_app(None, ready=Readiness.all())
