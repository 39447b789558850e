"""Requests with malformed tenant ids of every kind are refused, and write nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
import redis
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tenantlimpyd import fields, model
from tenantlimpyd.middleware import from_header, from_path, from_subdomain
from tests.middleware.conftest import Question, ask_asgi, ask_wsgi

pytestmark = pytest.mark.slow

GRAMMAR = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
NASTY = [
    b"",
    b"a" * 129,
    b"a" * 50_000,
    b"acme\r\nX-Tenant-ID: globex",
    b"acme\nglobex",
    b"acme\x00",
    b"\x00",
    b"*",
    b"acme*",
    b"a?me",
    b"[a]cme",
    b"{acme}",
    b"../acme",
    b"umbrella/../globex",
    b"acm%65",
    b"acme,globex",
    b"<script>alert(1)</script>",
    b'"}{"',
    "аcme".encode(),  # noqa: RUF001 - a Cyrillic letter
    "ａｃｍｅ".encode(),  # noqa: RUF001 - full width
    "acme\u200b".encode(),
    "acme\u202e".encode(),
    "e\u0301".encode(),
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"ac\x1b[31mme",
    b"-acme",
    b".acme",
    b"umbrella",
]
WAYS = {"header": from_header("X-Tenant-ID"), "host": from_subdomain("example.com"), "path": from_path("/t")}
ids = st.one_of(
    st.sampled_from(NASTY),
    st.binary(max_size=200),
    st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.from_regex(r"\A[ -~]{0,140}\Z").map(str.encode),
)


def question(way: str, value: bytes) -> Question:
    if way == "header":
        return Question(headers=[(b"X-Tenant-ID", value)])
    if way == "host":
        return Question(headers=[(b"Host", value + b".example.com")])
    return Question(path="/t/" + value.decode("utf-8", "surrogateescape") + "/notes")


def examples(function):
    for value in NASTY:
        for way in WAYS:
            function = example(way, value)(function)
    return function


@pytest.fixture
def write(router) -> Callable[[], object]:
    """What the application does with a request: it writes."""

    class Note(model.RedisModel):
        database = router
        text = fields.InstanceHashField()

    return lambda: Note(text="written")


def keyspace(server) -> dict[str, object]:
    with redis.Redis(**server.settings) as client:
        return client.info("keyspace")


def test_malformed_ids_are_refused_in_header_host_and_path_and_write_nothing(router, write, flushed_server):
    @examples
    @settings(max_examples=100, deadline=None)
    @given(way=st.sampled_from(sorted(WAYS)), value=ids)
    def refused(way, value):
        asked = value.lower() if way == "host" else value.partition(b"/")[0] if way == "path" else value
        assume(asked not in {b"acme", b"globex"})
        for ask in ask_asgi, ask_wsgi:
            reply = ask(router, question(way, value), write, identify=WAYS[way])
            assert reply.seen == []
            assert reply.status == 400 or (reply.status == 404 and GRAMMAR.fullmatch(asked))
            assert json.loads(reply.body).keys() == {"error", "detail"}
            assert len(reply.body) < 200
            assert max(len(text) for text in reply.headers.values()) < 50

    refused()
    assert keyspace(flushed_server) == {}


@pytest.mark.parametrize("ask", [ask_asgi, ask_wsgi])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("unit", [b"a", b".", "é".encode()], ids=ascii)
def test_id_of_ten_megabytes_is_refused(router, write, flushed_server, ask, way, unit):
    reply = ask(router, question(way, unit * (10_000_000 // len(unit))), write, identify=WAYS[way])
    assert (reply.status, reply.error, reply.seen) == (400, "invalid_tenant", [])
    assert keyspace(flushed_server) == {}


def test_well_formed_id_reaches_the_application_that_writes(router, write, flushed_server):
    assert ask_wsgi(router, question("header", b"acme"), write, identify=WAYS["header"]).status == 200
    assert keyspace(flushed_server).keys() == {"db1"}
