"""scan_keys of one database."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantlimpyd._operations.scan_page import ScanOptions, scan_page
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.testing import count_commands


async def both(database, *args, **kwargs):
    """Return the result of the sync and the async form, which must be equal."""
    blocking = sorted(database.scan_keys(*args, **kwargs))
    assert sorted([key async for key in database.ascan_keys(*args, **kwargs)]) == blocking
    await database.aclose()
    return blocking


async def test_scan_keys_filters_by_match_and_type(opened):
    database = opened(db=1)
    database.connection.mset({f"s:{number}": 1 for number in range(30)})
    database.connection.hset("h:1", "a", "b")
    database.connection.sadd("x:1", "a")
    assert len(await both(database)) == 32
    assert await both(database, "h:*") == ["h:1"]
    assert await both(database, type="set") == ["x:1"]
    assert await both(database, match="s:1?", count=3, type="string") == [f"s:1{digit}" for digit in range(10)]
    assert await both(database, "nothing") == []


def test_count_is_sent_and_large_by_default(opened):
    database = opened(db=1)
    database.connection.mset({f"k{number}": 1 for number in range(500)})
    with count_commands(database) as sent:
        assert len(set(database.scan_keys())) == 500
    assert sent.trips == 1
    with count_commands(database) as sent:
        assert len(set(database.scan_keys(count=10))) == 500
    assert sent.trips > 10


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"match": b"x"}, TypeError, "match must be text"),
        ({"match": 5}, TypeError, "match must be text"),
        ({"type": b"set"}, TypeError, "type must be text"),
        ({"count": "10"}, TypeError, "count must be a whole number"),
        ({"count": True}, TypeError, "count must be a whole number"),
        ({"count": 0}, ValueError, "count must be from 1"),
        ({"count": -5}, ValueError, "count must be from 1"),
    ],
)
def test_wrong_arguments_are_errors_of_the_call(database, arguments, error, said):
    for method in (database.scan_keys, database.ascan_keys, database._pages, database._apages):
        with pytest.raises(error, match=said):
            method(**arguments)


async def test_keys_that_are_not_utf_8_have_surrogates(opened, raw):
    names = [b"plain", b"\xff\xfe", b"\xc3\x28:x", "é".encode()]
    for name in names:
        raw.set(name, 1)
    found = await both(opened(db=0))
    assert sorted(key.encode("utf-8", "surrogateescape") for key in found) == sorted(names)


async def test_prefix_with_glob_characters_is_taken_literally(opened):
    plain = opened(db=2)
    prefix = r"a*b?[c]\d-^:"
    prefixed = opened(db=2, key_prefix=prefix)
    for key in (prefix + "1", prefix + "two", prefix, "aXbYc\\d-^:1", "a*b?c\\d-^:1", "other"):
        plain.connection.set(key, 1)
    assert await both(prefixed) == ["", "1", "two"]
    assert await both(prefixed, "t*") == ["two"]
    assert await both(prefixed, "") == [""]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    prefix=st.text("a*?[]\\^-é:", min_size=1, max_size=5),
    keys=st.sets(st.text("a*?[]\\^-é:", max_size=7), max_size=8),
)
def test_prefix_finds_its_keys_and_no_others(opened, prefix, keys):
    plain = opened(db=2, client_name=None)
    plain.connection.flushdb()
    for key in keys:
        plain.connection.set(key, 1)
    prefixed = opened(db=2, client_name=None, key_prefix=prefix)
    expected = sorted(key[len(prefix) :] for key in keys if key.startswith(prefix))
    assert sorted(prefixed.scan_keys()) == expected
    prefixed.close()
    plain.close()


def test_every_key_is_checked_against_the_literal_prefix():
    operation = scan_page(ScanOptions.of("a:", None, None, None), 0)
    next(operation)
    with pytest.raises(StopIteration) as done:
        operation.send((0, [b"a:1", b"b:2", b"a", b"A:3"]))
    assert done.value.value == (None, ["1"])


async def test_database_is_resolved_when_the_scan_is_called(opened):
    database = opened(db=1)
    database.connection.set("here", 1)
    keys, akeys = database.scan_keys(), database.ascan_keys()
    opened(db=2).connection.set("there", 1)
    database.connect(**{**database.connection_settings, "db": 2})
    assert list(keys) == ["here"]
    assert [key async for key in akeys] == ["here"]
    assert await both(database) == ["there"]


async def test_scan_continues_on_its_first_server_when_the_database_moves(opened):
    database = opened(db=1)
    database.connection.mset({f"here:{number}": 1 for number in range(100)})
    keys, akeys = database.scan_keys(count=10), database.ascan_keys(count=10)
    found, afound = [next(keys)], [await anext(akeys)]
    await database.aconnect(**{**database.connection_settings, "db": 2})
    found.extend(keys)
    afound.extend([key async for key in akeys])
    assert len(set(found)) == len(set(afound)) == 100


def test_scan_of_an_empty_database_is_empty(database):
    assert list(database.scan_keys()) == []
    assert list(database._pages()) == [[]]


def test_scan_of_an_unreachable_server_raises_at_the_first_key():
    from redis import ConnectionError as Refused
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    keys = RedisDatabase(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0)).scan_keys()
    with pytest.raises(Refused):
        next(keys)
