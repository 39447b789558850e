"""The responses to requests that the middleware refuses."""

from __future__ import annotations

import json

import pytest
import structlog.testing

from tenantlimpyd.middleware import asgi, from_header

pytestmark = pytest.mark.slow

HEADER = from_header("X-Tenant-ID")
REFUSED = [
    pytest.param((), 400, "no_tenant", id="missing"),
    pytest.param((b"ac me",), 400, "invalid_tenant", id="malformed"),
    pytest.param((b"umbrella",), 404, "unknown_tenant", id="unknown"),
]


def headers(values):
    return [(b"X-Tenant-ID", value) for value in values]


@pytest.mark.parametrize(("values", "status", "code"), REFUSED)
def test_refusal_is_json_without_the_id(ask, values, status, code):
    reply = ask(HEADER, headers=headers(values))
    assert (reply.status, reply.seen) == (status, [])
    body = json.loads(reply.body)
    assert body.keys() == {"error", "detail"}
    assert body["error"] == code
    assert not any(value in reply.body for value in values)
    assert reply.headers == {
        "content-type": "application/json",
        "content-length": str(len(reply.body)),
        "cache-control": "no-store",
    }


@pytest.mark.parametrize(("values", "status", "code"), REFUSED)
def test_refusal_of_head_has_headers_and_no_body(ask, values, status, code):
    reply = ask(HEADER, headers=headers(values), method="HEAD")
    whole = ask(HEADER, headers=headers(values))
    assert (reply.status, reply.headers, reply.body) == (status, whole.headers, b"")


@pytest.mark.parametrize(("values", "status", "code"), REFUSED)
def test_refusal_is_logged_without_the_id(ask, values, status, code):
    structlog.configure()
    try:
        with structlog.testing.capture_logs() as events:
            ask(HEADER, headers=headers(values))
    finally:
        structlog.reset_defaults()
    refused = [event for event in events if event["event"] == "request_refused"]
    assert refused == [{"event": "request_refused", "log_level": "info", "status": status, "reason": code}]


@pytest.mark.parametrize(("values", "status", "code"), REFUSED)
async def test_refused_websocket_is_closed_before_it_is_accepted(router, values, status, code):
    sent, reached = [], []

    async def app(scope, receive, send):
        reached.append(scope)

    async def send(message):
        sent.append(message)

    scope = {"type": "websocket", "path": "/live", "headers": [(b"x-tenant-id", value) for value in values]}
    await asgi.TenantMiddleware(app, router=router, identify=HEADER)(scope, None, send)
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": code}]
    assert reached == []
