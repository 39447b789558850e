"""The auditor finds each kind of fault, so its silence is evidence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from integration.atomicity.audit import audit
from integration.atomicity.schema import BASE, make_account
from integration.parity.libraries import OURS
from tests.support.servers import ServerHandle

FAULTS: dict[str, tuple[str, Callable[[redis.Redis], Any]]] = {
    "an entry of a value that is gone": ("stale", lambda raw: raw.delete(f"{BASE}:pk1:email")),
    "an entry of an object that is gone": ("stale", lambda raw: raw.sadd(f"{BASE}:city:Rome", "pk9")),
    "an entry of another value": ("stale", lambda raw: raw.hset(f"{BASE}:pk1:hash", "city", "Oslo")),
    "an entry of a text": ("stale", lambda raw: raw.set(f"{BASE}:pk1:title", "other")),
    "another number": ("stale", lambda raw: raw.zincrby(f"{BASE}:age:number-range", 1, "pk1")),
    "an entry of an element that is gone": ("stale", lambda raw: raw.srem(f"{BASE}:pk1:tags", "x")),
    "no entry of a string": ("missing", lambda raw: raw.srem(f"{BASE}:email:a@x", "pk1")),
    "no entry of a text": ("missing", lambda raw: raw.delete(f"{BASE}:title:text-range")),
    "no entry of an entry of the hash": ("missing", lambda raw: raw.srem(f"{BASE}:city:Rome", "pk1")),
    "no entry of an element of a list": ("missing", lambda raw: raw.srem(f"{BASE}:log:x", "pk1")),
    "no entry of a member": ("missing", lambda raw: raw.zadd(f"{BASE}:pk1:marks", {"new": 1})),
    "no entry of a sub-key": ("missing", lambda raw: raw.hset(f"{BASE}:pk1:info", "sub", "new")),
    "an entry of a link that is gone": ("stale", lambda raw: raw.srem(f"{BASE}:pk1:friends", "pk2")),
    "no entry of a link": ("missing", lambda raw: raw.srem(f"{BASE}:boss:pk2", "pk1")),
    "links of no object": ("orphans", lambda raw: raw.rpush(f"{BASE}:pk9:chain", "pk1")),
    "two owners": ("owners", lambda raw: raw.set(f"{BASE}:pk2:email", "a@x")),
    "two owners in the hash": ("owners", lambda raw: raw.hset(f"{BASE}:pk2:hash", "badge", "b1")),
    "a value of no object": ("orphans", lambda raw: raw.set(f"{BASE}:pk9:note", "n")),
    "an object that is not in the collection": ("orphans", lambda raw: raw.srem(f"{BASE}:collection", "pk1")),
}


@pytest.fixture
def raw(server: ServerHandle) -> Any:
    """A database with two objects that are as they should be."""
    database = OURS.connect(server.settings, 4)
    account = make_account(OURS, database)
    values = {"city": "Rome", "title": "t", "age": 5, "note": "n", "tags": ["x"], "log": ["x", "y", "x"]}
    values |= {"boss": "pk2", "buddy": "pk2", "friends": ["pk2"], "chain": ["pk2", "pk2"], "rated": {"pk2": 1}}
    account(code="pk1", email="a@x", badge="b1", handle="h1", marks={"m": 1}, info={"sub": "v"}, **values)
    account(code="pk2", email="b@x", badge="b2", handle="h2", **values)
    with server.client(db=4, decode_responses=True) as client:
        yield client
    OURS.disconnect(database)


def test_auditor_finds_no_fault_in_consistent_data(raw):
    found = audit(raw)
    assert (found.objects, found.wrong) == (2, 0), found
    assert found.entries == 30


@pytest.mark.parametrize("fault", FAULTS)
def test_auditor_finds_each_kind_of_fault(raw, fault):
    kind, do = FAULTS[fault]
    assert not getattr(audit(raw), kind)
    do(raw)
    assert getattr(audit(raw), kind)
