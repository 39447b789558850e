"""Random commands in a pipeline have the results and effects of the same commands one by one."""

from __future__ import annotations

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantlimpyd import fields
from tenantlimpyd.database import RedisDatabase
from tests.support.models import define

pytestmark = pytest.mark.slow

VALUES = st.sampled_from(["1", "2", "x"])
COMMANDS = st.one_of(
    st.tuples(st.just("name"), st.sampled_from(["get", "delete", "incr"])),
    st.tuples(st.just("name"), st.sampled_from(["set", "append", "setnx", "getset"]), VALUES),
    st.tuples(st.just("email"), st.just("set"), VALUES),
    st.tuples(st.just("email"), st.sampled_from(["get", "delete"])),
    st.tuples(st.just("note"), st.sampled_from(["get", "delete", "incr"])),
    st.tuples(st.just("note"), st.sampled_from(["set", "append"]), VALUES),
    st.tuples(st.just("city"), st.just("hset"), VALUES),
    st.tuples(st.just("city"), st.sampled_from(["hget", "delete"])),
    st.tuples(st.just("tags"), st.sampled_from(["sadd", "srem", "sismember"]), VALUES),
    st.tuples(st.just("tags"), st.sampled_from(["scard", "delete"])),
    st.tuples(st.just("words"), st.sampled_from(["rpush", "lpush"]), VALUES),
    st.tuples(st.just("words"), st.sampled_from(["lpop", "rpop", "llen", "delete"])),
    st.tuples(st.just("words"), st.just("ltrim"), st.just(0), st.just(1)),
    st.tuples(st.just("words"), st.just("lrange"), st.just(0), st.just(-1)),
    st.tuples(st.just(""), st.just("delete")),
    st.tuples(st.just(""), st.just("hgetall")),
)
OBJECTS = st.integers(0, 5)
"""Two objects known, the same two lazily, one that is missing, one that its first write stores."""


def outcome(call):
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - compared by its type
        return error


def told(result):
    return type(result) if isinstance(result, Exception) else result


@pytest.fixture(scope="module")
def clients(server):
    made = [redis.Redis(**server.settings, db=db, decode_responses=True) for db in (10, 11)]
    yield made
    for client in made:
        client.close()


@pytest.fixture(scope="module")
def databases(server):
    made = [RedisDatabase(**server.settings, db=db) for db in (10, 11)]
    yield made
    for database in made:
        database.close()


@pytest.fixture(scope="module")
def models(databases):
    return [
        define(
            database,
            name=fields.StringField(indexable=True),
            email=fields.StringField(unique=True),
            note=fields.StringField(),
            city=fields.InstanceHashField(indexable=True),
            tags=fields.SetField(indexable=True),
            words=fields.ListField(indexable=True),
        )
        for database in databases
    ]


def objects(cls):
    known = [
        cls(name="1", email="0-1", note="1", tags=["1"], words=["1", "2", "x"]),
        cls(name="2", city="x", words=["x"]),
    ]
    return [*known, cls.lazy_connect(1), cls.lazy_connect(2), cls.lazy_connect(77), cls()]


def called(at, stored, command):
    name, method, *args = command
    if name == "email":  # which object gets a unique value depends on the round trips that each one needs
        args = [f"{at % 2 if at < 4 else at}-{value}" for value in args]
    return getattr(getattr(stored, name) if name else stored, method)(*args)


def everything(client):
    read = {
        "string": client.get,
        "hash": client.hgetall,
        "set": client.smembers,
        "list": lambda key: client.lrange(key, 0, -1),
    }
    return {key: read[client.type(key)](key) for key in client.scan_iter(count=1000)}


@pytest.mark.parametrize("transaction", [True, False])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(OBJECTS, COMMANDS), min_size=1, max_size=14))
def test_pipeline_has_the_effect_of_its_commands(transaction, steps, clients, databases, models):
    for client in clients:
        client.flushdb()
    direct, queued = (objects(cls) for cls in models)
    expected = [outcome(lambda at=at, command=command: called(at, direct[at], command)) for at, command in steps]
    with databases[1].pipeline(transaction) as pipe:
        results = []
        places = []
        for at, command in steps:
            given_back = outcome(lambda at=at, command=command: called(at, queued[at], command))
            results.append(given_back)
            if given_back is pipe:
                places.append(len(results) - 1)
        for place, result in zip(places, pipe.execute(raise_on_error=False), strict=True):
            results[place] = result
    assert list(map(told, results)) == list(map(told, expected))
    assert everything(clients[1]) == everything(clients[0])
