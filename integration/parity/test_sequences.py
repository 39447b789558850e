"""Random sequences of operations have the replies and keys of limpyd after each step.

Left out is what the table of differences lists: hincrby and the like on indexed fields (P6), creating with a unique value
that is taken (P2), changing a unique value in place, bytes of an indexed value that are
no UTF-8 afterwards, writes through handles of deleted objects (P33).
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integration.parity.recording import Side, Sides

pytestmark = [
    pytest.mark.filterwarnings("ignore:Call to deprecated hmset:DeprecationWarning"),
    pytest.mark.timeout(120),
]

EXPLORE = bool(os.environ.get("TENANTLIMPYD_TEST_EXPLORE"))
"""Whether to try other sequences than the same ones each time."""

VALUES = st.sampled_from(["a", "b", "1", "2", "1.5", "", "é", "a:b", "*", 1, 3, 2.5, b"a", b"\xc3\xa9"])
NAMES = st.sampled_from(["note", "name", "age", "city"])
UNIQUE = st.sampled_from(["email", "badge"])
STRINGS = st.sampled_from(["note", "name", "email"])
CHANGED = st.sampled_from(["note", "name"])  # in place, which makes limpyd keep a unique value that is taken
WHO = st.integers(0, 5)

STEPS = st.one_of(
    st.tuples(st.just("create"), st.dictionaries(NAMES, VALUES, min_size=1)),
    st.tuples(st.just("create by pk"), st.sampled_from(["it", "fr", "1"]), VALUES),
    st.tuples(st.just("set"), WHO, st.one_of(NAMES, UNIQUE), VALUES),
    st.tuples(st.just("delete field"), WHO, st.one_of(NAMES, UNIQUE)),
    st.tuples(st.just("hmset"), WHO, st.dictionaries(st.sampled_from(["age", "city", "badge"]), VALUES, min_size=1)),
    st.tuples(st.just("hdel"), WHO, st.lists(st.sampled_from(["age", "city", "badge"]), min_size=1, unique=True)),
    st.tuples(st.just("append"), WHO, CHANGED, st.sampled_from(["x", "é", ""])),
    st.tuples(st.just("setrange"), WHO, st.just("note"), st.integers(0, 4), st.sampled_from(["x", "yz"])),
    st.tuples(st.just("getset"), WHO, STRINGS, VALUES),
    st.tuples(st.just("setnx"), WHO, STRINGS, VALUES),
    st.tuples(st.just("incr"), WHO, CHANGED, st.integers(-3, 3)),
    st.tuples(st.just("incrbyfloat"), WHO, st.just("note"), st.sampled_from([0.5, 1.25, -0.25])),
    st.tuples(st.just("text"), WHO, VALUES, VALUES),
    st.tuples(st.just("find"), st.sampled_from(["name", "city", "email", "badge"]), VALUES),
    st.tuples(st.just("get_or_connect"), VALUES),
    st.tuples(st.just("delete"), WHO),
)


def person(side: Side, who: int) -> Any:
    """Return one of the living, by position; None where nobody lives."""
    pks = sorted(side.m.Person.collection(), key=int)
    return side.m.Person(pks[who % len(pks)]) if pks else None


def take(side: Side, step: tuple[Any, ...]) -> None:
    what, *rest = step
    if what == "create":
        side(side.m.Person, **rest[0])
    elif what == "create by pk":
        side(side.m.Country, code=rest[0], name=rest[1])
    elif what == "find":
        value = rest[1].decode() if isinstance(rest[1], bytes) else rest[1]
        side(side.m.Person.collection, **{rest[0]: value})
        side(lambda: len(side.m.Person.collection(**{rest[0]: value})))
        side(lambda: list(side.m.Person.collection(**{rest[0]: value})[0:3]))
    elif what == "get_or_connect":
        side(side.m.Ticket.get_or_connect, title=rest[0])
    elif what == "text":
        texts = sorted(side.m.Text.collection(), key=int)
        if len(texts) > rest[0]:
            text = side.m.Text(texts[rest[0]])
            side(text.body.set, rest[1])
            side(text.tag.hset, rest[2])
        else:
            side(side.m.Text, body=rest[1], tag=rest[2])
    elif (someone := person(side, rest[0])) is not None:
        change(side, someone, what, rest[1:])


def change(side: Side, someone: Any, what: str, rest: list[Any]) -> None:
    if what == "set":
        side(someone.get_instance_field(rest[0]).proxy_set, rest[1])
    elif what == "delete field":
        side(someone.get_instance_field(rest[0]).delete)
    elif what == "hmset":
        side(someone.hmset, **rest[0])
    elif what == "hdel":
        side(someone.hdel, *rest[0])
    elif what == "delete":
        side(lambda: someone.delete() and None)
    else:
        side(getattr(someone.get_instance_field(rest[0]), what), *rest[1:])


@given(st.lists(STEPS, min_size=3, max_size=40))
@settings(max_examples=60, deadline=None, derandomize=not EXPLORE, suppress_health_check=list(HealthCheck))
def test_random_sequences_have_the_replies_and_keys_of_limpyd(sides: Sides, steps: list[tuple[Any, ...]]) -> None:
    sides.clear()
    for step in steps:
        for side in sides:
            take(side, step)
        sides.compare()
