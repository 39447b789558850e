"""Glob patterns match on the client as on the server, byte by byte."""

from __future__ import annotations

import re
import time

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantlimpyd._scan.glob import matcher
from tenantlimpyd.keys import escape_glob

pytestmark = pytest.mark.slow

ALPHABET = "ab-]^[\\*?zé\n"
patterns = st.text(ALPHABET, max_size=8)
keys = st.text(ALPHABET, max_size=6)
ODD = [
    "",
    "*",
    "**",
    "a*",
    "*a",
    "a*b*",
    "?",
    "[",
    "[^",
    "[a",
    "[a-",
    "[a-]",
    "[^a]",
    "[]",
    "[^]",
    "[z-a]",
    "\\",
    "\\*",
    "[\\]]",
]
ODD += ["[\\", "a\\", "[a-z]*", "*[^-]?", "[a\\-z]", "[--a]", "***a**b", "[^^]", "[]a]", "[!a]", "a]", "-", "[a-\\]]"]


def as_the_server_does(client, pattern, texts):
    """Return which of the texts match, by SCAN under a prefix, as one tenant of a shared database sees them."""
    client.flushdb()
    client.mset({f"p*:{text}": 1 for text in texts})
    _, found = client.scan(match=escape_glob("p*:") + pattern, count=1000)
    return {key.removeprefix("p*:") for key in found}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pattern=patterns, texts=st.sets(keys, min_size=1, max_size=30))
def test_patterns_match_as_on_the_server(flushed_server, pattern, texts):
    matches = matcher(pattern)
    if matches is None:
        assert re.search("é", pattern)
        return
    with redis.Redis(**flushed_server.settings, decode_responses=True) as client:
        assert {text for text in texts if matches(text.encode())} == as_the_server_does(client, pattern, texts)


@pytest.mark.parametrize("pattern", ODD, ids=ascii)
def test_unusual_patterns_match_as_on_the_server(flushed_server, pattern):
    texts = {
        "",
        "a",
        "b",
        "ab",
        "aab",
        "*",
        "[",
        "]",
        "\\",
        "-",
        "^",
        "z",
        "a]",
        "a\\",
        "ba",
        "[a",
        "!",
        "é",
        "a-",
        "b]",
    }
    with redis.Redis(**flushed_server.settings, decode_responses=True) as client:
        expected = as_the_server_does(client, pattern, texts)
    assert {text for text in texts if matcher(pattern)(text.encode())} == expected


def test_ranges_over_bytes_above_127_are_left_to_the_server():
    assert matcher("[a-é]") is None
    assert matcher("[é]*")("é".encode()) is True
    assert matcher("[^é]")(b"\xc3") is False


def test_many_stars_take_no_exponential_time():
    started = time.monotonic()
    assert matcher("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b")(b"a" * 5000) is False
    assert time.monotonic() - started < 2
