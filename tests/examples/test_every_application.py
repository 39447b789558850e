"""What every example application does."""

from __future__ import annotations

import pytest
import redis

from examples.notes import Note, router
from tests.examples.conftest import Ask

pytestmark = pytest.mark.slow


def texts(response):
    assert response.status_code == 200
    return sorted(note["text"] for note in response.json())


def test_concurrent_notes_of_two_tenants_are_separate(client, tenants):
    asked = [Ask("POST", "/notes", tenant, {"text": f"{tenant} {n}"}) for n in range(10) for tenant in tenants]
    replies = client.send(*asked)
    assert {reply.status_code for reply in replies} == {201}
    for reply, ask in zip(replies, asked, strict=True):
        assert reply.json()["text"] == ask.json["text"]
    listings = client.send(*(Ask("GET", "/notes", tenant) for tenant in [*tenants] * 5))
    for tenant, listing in zip([*tenants] * 5, listings, strict=True):
        assert texts(listing) == sorted(f"{tenant} {n}" for n in range(10))
    for tenant in tenants:
        with router.use_tenant(tenant):
            assert {note.text.hget().split()[0] for note in Note.instances()} == {tenant}


def test_each_tenant_has_its_own_ids(client, tenants):
    assert [client.post("first", tenant).json()["id"] for tenant in tenants] == [1, 1]


def test_streamed_response_keeps_its_tenant_to_the_last_line(client, tenants):
    for tenant in tenants:
        for n in range(5):
            client.post(f"{tenant} {n}", tenant)
    exports = client.send(*(Ask("GET", "/export", tenant) for tenant in [*tenants] * 4))
    for tenant, export in zip([*tenants] * 4, exports, strict=True):
        lines = [line.split("\t") for line in export.text.splitlines()]
        assert sorted(lines) == [[tenant, f"{tenant} {n}"] for n in range(5)]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ([], 400, "no_tenant"),
        ([""], 400, "invalid_tenant"),
        (["ac*me"], 400, "invalid_tenant"),
        (["acme", "globex"], 400, "invalid_tenant"),
        (["umbrella"], 404, "unknown_tenant"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_requests_without_tenant_are_refused_and_write_nothing(client, flushed_server, method, headers, status, code):
    sent = tuple(("X-Tenant-ID", header) for header in headers)
    if len(sent) > 1 and not client.is_asgi:
        sent = (("X-Tenant-ID", ",".join(headers)),)  # as WSGI servers hand it on; httpx's stand-in keeps the last
    (reply,) = client.send(Ask(method, "/notes", json={"text": "whose?"}, headers=sent))
    assert (reply.status_code, reply.json()["error"]) == (status, code)
    with redis.Redis(**flushed_server.settings) as connection:
        assert connection.info("keyspace") == {}


def test_health_check_needs_no_tenant(client):
    reply = client.get("/healthz")
    assert (reply.status_code, reply.text.strip('"')) == (200, "ok")


@pytest.mark.parametrize("text", ["", None, 7, "x" * 10_001])
def test_invalid_note_is_refused(client, text):
    assert client.post(text, "acme").status_code == 422
    assert texts(client.get("/notes", "acme")) == []


def test_unknown_path_is_refused_by_the_application(client):
    reply = client.get("/nothing", "acme")
    assert reply.status_code == 404
    assert "unknown_tenant" not in reply.text


def test_background_work_keeps_the_tenant_of_its_request(with_tasks, tenants):
    with_tasks.send(*(Ask("POST", "/notes", tenant, {"text": "word " * n}) for n in (1, 2, 3) for tenant in tenants))
    for tenant in tenants:
        listing = with_tasks.get("/notes", tenant).json()
        assert sorted(note["words"] for note in listing) == ["1", "2", "3"]
