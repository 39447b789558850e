"""Differences from limpyd: collections and databases."""

from __future__ import annotations

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tenantlimpyd import fields
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.indexes import TextRangeIndex


@pytest.mark.pitfall(10)
async def test_text_ranges_compare_whole_values(call, made):
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


@pytest.mark.pitfall(35)
async def test_collection_of_one_pk_or_sorted_by_score_can_be_stored(call, made, raw):
    thing = made(note=fields.StringField(), ranks=fields.SortedSetField())
    one, two = await call.create(thing, note="a", ranks={"1": 5, "2": 3}), await call.create(thing, note="b")
    stored = await call(thing.collection(pk=two._pk), "store")
    assert await call.list(stored) == ["2"]
    stored = await call(thing.collection().sort(by_score=one.ranks), "store")
    assert await call.list(stored) == ["2", "1"]
    assert all(0 < raw.ttl(key) <= 60 for key in raw.keys("*__collection__*"))


@pytest.mark.pitfall(37)
async def test_intersection_with_an_empty_iterable_is_empty(call, made):
    thing = made(note=fields.StringField())
    await call.create(thing, note="a")
    for nothing in ([], (), set()):
        assert await call.list(thing.collection().intersect(nothing)) == []
        assert await call.count(thing.collection().intersect(nothing)) == 0


@pytest.mark.pitfall(45)
async def test_count_leaves_no_temporary_key_and_a_call_evaluates_again(call, person, raw):
    await call.create(person, name="x", city="y")
    found = person.collection(name="x", city="y")
    assert await call.count(found) == 1
    assert not [key for key in raw.keys("*") if "__collection__" in key or ":tmp" in key]
    assert list(found) == ["1"]
    await call.create(person, name="x", city="y")
    assert list(found) == ["1"]  # kept, as limpyd does
    assert sorted(found()) == ["1", "2"]


@pytest.mark.pitfall(27)
async def test_connect_moves_the_database(database, flushed_server):
    client = database.connect(**flushed_server.settings, db=3)
    assert database.connection is client
    assert client.connection_pool.connection_kwargs["db"] == 3


@pytest.mark.pitfall(28)
def test_failed_connection_is_not_kept(unused_tcp_port):
    with RedisDatabase(host="127.0.0.1", port=unused_tcp_port, retry=Retry(NoBackoff(), 0)) as nowhere:
        for _ in range(2):
            with pytest.raises(redis.ConnectionError):
                nowhere.connection.ping()


@pytest.mark.pitfall(29)
def test_databases_with_different_settings_have_different_clients(flushed_server):
    settings = flushed_server.settings
    with (
        RedisDatabase(**settings, socket_connect_timeout=9) as connecting,
        RedisDatabase(**settings, socket_timeout=9, password="secret-9") as answering,
    ):
        assert connecting.connection is not answering.connection
        assert "secret-9" not in repr(answering) + repr(vars(answering))


@pytest.mark.pitfall(19)
@pytest.mark.pitfall(22)
def test_collections_are_refused_in_a_pipeline(person, database):
    person(name="x")
    with database.pipeline() as pipe:
        with pytest.raises(ImplementationError):
            list(person.collection())
        assert pipe.execute() == []
