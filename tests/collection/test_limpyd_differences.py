"""limpyd's pitfalls, by their numbers: collections, and databases."""

from __future__ import annotations

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tenantlimpyd import fields
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.indexes import TextRangeIndex


async def test_p10_texts_are_compared_whatever_follows(call, made):
    thing = made(t=fields.StringField(indexable=True, indexes=[TextRangeIndex]))
    values = ["foo", "foo1", "foo ", "foo-x", "foo.", "foo/", "foo:", "fo", "fop"]
    for value in values:
        await call.create(thing, t=value)
    for bound in values:
        for suffix, fits in (
            ("lt", bound.__gt__),
            ("lte", bound.__ge__),
            ("gt", bound.__lt__),
            ("gte", bound.__le__),
            ("startswith", lambda value, bound=bound: value.startswith(bound)),
        ):
            found = {values[int(pk) - 1] for pk in thing.collection(**{f"t__{suffix}": bound})}
            assert found == {value for value in values if fits(value)}, (suffix, bound)


async def test_p35_anything_can_be_stored(call, made, raw):
    thing = made(note=fields.StringField(), ranks=fields.SortedSetField())
    one, two = await call.create(thing, note="a", ranks={"1": 5, "2": 3}), await call.create(thing, note="b")
    stored = await call(thing.collection(pk=two._pk), "store")
    assert await call.list(stored) == ["2"]
    stored = await call(thing.collection().sort(by_score=one.ranks), "store")
    assert await call.list(stored) == ["2", "1"]
    assert all(0 < raw.ttl(key) <= 60 for key in raw.keys("*__collection__*"))


async def test_p37_nothing_intersected_is_nothing(call, made):
    thing = made(note=fields.StringField())
    await call.create(thing, note="a")
    for nothing in ([], (), set()):
        assert await call.list(thing.collection().intersect(nothing)) == []
        assert await call.count(thing.collection().intersect(nothing)) == 0


async def test_p45_counting_leaves_nothing_and_a_call_is_fresh(call, person, raw):
    await call.create(person, name="x", city="y")
    found = person.collection(name="x", city="y")
    assert await call.count(found) == 1
    assert not [key for key in raw.keys("*") if "__collection__" in key or ":tmp" in key]
    assert list(found) == ["1"]
    await call.create(person, name="x", city="y")
    assert list(found) == ["1"]  # kept, as limpyd does
    assert sorted(found()) == ["1", "2"]


async def test_p27_connect_points_the_database_elsewhere(database, flushed_server):
    client = database.connect(**flushed_server.settings, db=3)
    assert database.connection is client
    assert client.connection_pool.connection_kwargs["db"] == 3


def test_p28_nothing_is_kept_of_a_connection_that_failed(unused_tcp_port):
    with RedisDatabase(host="127.0.0.1", port=unused_tcp_port, retry=Retry(NoBackoff(), 0)) as nowhere:
        for _ in range(2):
            with pytest.raises(redis.ConnectionError):
                nowhere.connection.ping()


def test_p29_clients_are_told_apart_by_names_and_types_of_settings(flushed_server):
    settings = flushed_server.settings
    with (
        RedisDatabase(**settings, socket_connect_timeout=9) as connecting,
        RedisDatabase(**settings, socket_timeout=9, password="secret-9") as answering,
    ):
        assert connecting.connection is not answering.connection
        assert "secret-9" not in repr(answering) + repr(vars(answering))


def test_p19_p22_collections_do_not_hang_in_a_pipeline(person, database):
    person(name="x")
    with database.pipeline() as pipe:
        with pytest.raises(ImplementationError):
            list(person.collection())
        assert pipe.execute() == []
