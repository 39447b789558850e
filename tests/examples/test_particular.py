"""What only some of the example applications do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from examples.notes import Note, router
from examples.starlette_app import app as starlette_app
from tests.examples.conftest import Ask, Client

pytestmark = pytest.mark.slow

# Websockets, spoken as ASGI has it


async def converse(tenant: str | None, *texts: str) -> list[dict]:
    incoming = [{"type": "websocket.connect"}, *({"type": "websocket.receive", "text": text} for text in texts)]
    incoming.append({"type": "websocket.disconnect", "code": 1000})
    sent = []

    async def receive():
        return incoming.pop(0)

    async def send(message):
        sent.append(message)

    headers = [] if tenant is None else [(b"x-tenant-id", tenant.encode())]
    scope = {"type": "websocket", "path": "/live", "root_path": "", "headers": headers, "query_string": b""}
    await starlette_app(scope, receive, send)
    return sent


async def test_starlette_websocket_keeps_its_tenant_to_the_last_message(tenants):
    try:
        talks = await asyncio.gather(*(converse(tenant, "one", "two") for tenant in tenants))
    finally:
        await router.aclose()
    for tenant, (accepted, *answers) in zip(tenants, talks, strict=True):
        assert accepted["type"] == "websocket.accept"
        seen = [json.loads(answer["text"]) for answer in answers]
        assert seen == [{"tenant": tenant, "notes": 1}, {"tenant": tenant, "notes": 2}]


@pytest.mark.parametrize("tenant", [None, "ac*me", "umbrella"])
async def test_starlette_websocket_without_tenant_is_closed(tenant):
    (closed,) = await converse(tenant, "one")
    assert (closed["type"], closed["code"]) == ("websocket.close", 1008)


# FastAPI


def test_fastapi_sync_and_async_dependencies_have_the_tenant(tenants):
    client = Client("fastapi")
    client.post("acme's", "acme")
    assert client.get("/notes/1", "acme").json()["text"] == "acme's"
    assert client.get("/notes/1", "globex").json() == {"detail": "There is no such note."}
    counts = client.send(*(Ask("GET", "/count", tenant) for tenant in [*tenants] * 5))
    assert [reply.json() for reply in counts] == [{"tenant": "acme", "notes": 1}, {"tenant": "globex", "notes": 0}] * 5


# Django


@pytest.mark.parametrize("name", ["django", "django-wsgi"])
def test_django_async_view_has_the_tenant_under_asgi_and_wsgi(name, tenants):
    client = Client(name)
    client.post("acme's", "acme")
    counts = client.send(*(Ask("GET", "/count", tenant) for tenant in tenants))
    assert [reply.json() for reply in counts] == [{"tenant": "acme", "notes": 1}, {"tenant": "globex", "notes": 0}]


# Served


@pytest.mark.parametrize("name", ["starlette", "flask"])
def test_application_is_served_by_the_documented_command(name):
    command = [sys.executable, "-m", "examples", name, "--port", "0"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as serving:
        try:
            url = next(match[0] for line in serving.stdout if (match := re.search(r"http://127\.0\.0\.1:\d+", line)))
            with httpx.Client(base_url=url, timeout=20, trust_env=False) as client:
                created = client.post("/notes", json={"text": "Buy milk"}, headers={"X-Tenant-ID": "acme"})
                assert created.status_code == 201
                assert [note["id"] for note in client.get("/notes", headers={"X-Tenant-ID": "acme"}).json()] == [1]
                assert client.get("/notes", headers={"X-Tenant-ID": "globex"}).json() == []
                assert client.get("/notes").status_code == 400
        finally:
            with contextlib.suppress(ProcessLookupError):
                serving.send_signal(signal.SIGINT)
            try:
                output, _ = serving.communicate(timeout=10)
            except subprocess.TimeoutExpired:  # a process started in the background may have to ignore SIGINT
                serving.kill()
                output, _ = serving.communicate()
    # Flask's server may still be at the end of a reply that its client has had, and tells that this was interrupted.
    assert [told for told in output.split("Traceback")[1:] if "KeyboardInterrupt" not in told] == [], output


def test_notes_without_a_tenant_are_refused():
    from tenantlimpyd.exceptions import NoTenantError

    with pytest.raises(NoTenantError):
        Note(text="whose?")
