"""Creation of objects."""

from __future__ import annotations

import pytest
from redis.exceptions import DataError

from tenantlimpyd import fields, model
from tenantlimpyd.exceptions import DoesNotExist, ImplementationError, UniquenessError
from tests.support.models import assert_indexes_right, keyspace


@pytest.fixture
def country(database):
    hosted_by = database

    class Country(model.RedisModel):
        database = hosted_by
        namespace = "geo"
        code = fields.PKField()
        name = fields.StringField(unique=True)
        continent = fields.InstanceHashField(indexable=True, default="none")
        visits = fields.StringField(default=0)

    return Country


async def test_values_and_defaults_are_stored_together(call, country, raw):
    c = await call.create(country, name="France", code="fr")
    assert (c.connected, await call(c.pk, "get")) == (True, "fr")
    assert keyspace(raw) == {
        "geo:country:collection": {"fr"},
        "geo:country:fr:name": "France",
        "geo:country:fr:hash": {"continent": "none"},
        "geo:country:fr:visits": "0",
        "geo:country:name:France": {"fr"},
        "geo:country:continent:none": {"fr"},
    }


async def test_value_given_replaces_the_default(call, country, raw):
    await call.create(country, code="fr", continent="Europe", visits=7)
    assert raw.hgetall("geo:country:fr:hash") == {"continent": "Europe"}
    assert raw.get("geo:country:fr:visits") == "7"
    assert_indexes_right(raw, country)


async def test_pks_are_allocated_one_after_another(call, person, raw):
    made = [await call.create(person, age=age) for age in range(3)]
    assert [p._pk for p in made] == ["1", "2", "3"]
    assert raw.get("spec:person:max_pk") == "3"


def test_fields_are_written_in_the_order_of_their_declaration(database):
    hosted_by = database
    written = []

    class Noted(fields.StringField):
        def creation(self, change, value):
            written.append(self.name)
            super().creation(change, value)

    class Thing(model.RedisModel):
        database = hosted_by
        zebra = Noted()
        apple = Noted(default="x")
        mango = Noted(unique=True)

    assert Thing._fields == ["pk", "zebra", "apple", "mango"]
    Thing(mango="1", zebra="2")
    assert written == ["zebra", "apple", "mango"]


async def test_nothing_is_stored_before_the_first_write(call, person, raw):
    p = await call.create(person)
    assert not p.connected
    assert keyspace(raw) == {}
    assert await call(p.name, "set", "Ann") is True
    assert p.connected
    assert raw.smembers("spec:person:collection") == {"1"}
    assert_indexes_right(raw, person)


async def test_reading_the_pk_of_a_new_object_stores_it(call, country, person, raw):
    p = person()
    assert await call(p.pk, "get") == "1"
    assert await call(p.pk, "proxy_get") == "1"
    assert await call(p.pk, "exists") is True
    assert raw.smembers("spec:person:collection") == {"1"}
    with pytest.raises(ValueError, match="no pk yet"):
        await call(country().pk, "get")


async def test_getters_of_a_new_object_store_nothing(call, person, country, raw):
    p, c = person(), country()
    for target, command in [(p.name, "get"), (p.note, "strlen"), (p.age, "hget"), (p, "hgetall"), (p, "connect")]:
        with pytest.raises(DoesNotExist, match="not stored yet"):
            await call(target, command)
    with pytest.raises(DoesNotExist):
        _ = p.key
    with pytest.raises(ValueError, match="no pk yet"):
        await call(c.visits, "get")
    assert await call(p.name, "exists") is False
    assert await call(p.age, "hexists") is False
    assert await call(p.pk, "exists") is False
    assert keyspace(raw) == {}


async def test_pk_can_be_set_on_an_object_without_one(call, country, raw):
    c = country()
    with pytest.raises(ValueError, match="no pk yet"):
        await call(c.visits, "set", 1)
    assert keyspace(raw) == {}
    assert await call(c.pk, "set", "fr") is True
    assert raw.get("geo:country:fr:visits") == "0"
    with pytest.raises(ValueError, match="set already"):
        await call(c.code, "set", "de")
    with pytest.raises(ImplementationError, match="can't be changed"):
        await call((await call(country, "get", "fr")).pk, "set", "de")
    with pytest.raises(UniquenessError):
        await call(country().pk, "set", "fr")
    assert raw.smembers("geo:country:collection") == {"fr"}


async def test_pk_of_an_auto_pk_field_can_not_be_given(call, person, raw):
    for values in ({"pk": 5}, {"pk": 5, "name": "x"}):
        with pytest.raises(ValueError, match="allocated"):
            await call.create(person, **values)
    with pytest.raises(ValueError, match="allocated"):
        await call(person().pk, "set", 5)
    assert keyspace(raw) == {}
    assert (await call.create(person, pk=None))._pk == "1"
    p = person()
    await call(p.pk, "set", None)
    assert p._pk == "2"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"code": "fr", "pk": "fr"}, "twice"),
        ({"code": "fr", "nothing": 1}, "no field 'nothing'"),
        ({"nothing": 1}, "no field 'nothing'"),
        ({"name": "x"}, "can't be None or empty"),
        ({"pk": None}, "can't be None or empty"),
        ({"pk": ""}, "can't be None or empty"),
        ({"code": b""}, "can't be None or empty"),
    ],
)
async def test_invalid_creation_stores_nothing(call, country, raw, values, message):
    with pytest.raises(ValueError, match=message):
        await call.create(country, **values)
    assert keyspace(raw) == {}


async def test_only_a_pk_may_be_positional(country, raw):
    country(code="fr")
    before = keyspace(raw)
    for args, kwargs in [(("fr", "de"), {}), (("fr",), {"visits": 1})]:
        with pytest.raises(ValueError, match="Country"):
            country(*args, **kwargs)
    assert country("fr").connected
    with pytest.raises(DoesNotExist):
        country("de")
    assert keyspace(raw) == before


async def test_creation_with_a_used_pk_or_unique_value_stores_nothing(call, country, raw):
    await call.create(country, code="fr", name="France")
    before = keyspace(raw)
    for values in ({"code": "fr"}, {"code": "fr", "name": "Other"}, {"code": "de", "name": "France"}):
        with pytest.raises(UniquenessError):
            await call.create(country, **values)
        assert keyspace(raw) == before
    assert (await call.create(country, code="de", name="Germany"))._pk == "de"


def test_failed_creation_leaves_the_object_as_it_was(person, raw):
    person(email="taken")
    p = person()
    with pytest.raises(UniquenessError):
        person.__init__(p, email="taken", name="x")
    assert not p.connected
    assert not p.has_pk
    assert raw.smembers("spec:person:collection") == {"1"}
    assert_indexes_right(raw, person)


@pytest.mark.parametrize("value", [None, True, object(), ["a"], {"a": 1}])
async def test_value_redis_py_refuses_stores_nothing(call, country, raw, value):
    with pytest.raises(DataError):
        await call.create(country, code="fr", visits=value)
    with pytest.raises(DataError):
        await call.create(country, code="fr", continent=value)
    assert keyspace(raw) == {}


async def test_default_redis_py_refuses_stores_nothing(call, database, raw):
    hosted_by = database

    class Wrong(model.RedisModel):
        database = hosted_by
        code = fields.PKField()
        first = fields.StringField(default="x")
        second = fields.StringField(default=None)

    with pytest.raises(DataError):
        await call.create(Wrong, code=1)
    assert keyspace(raw) == {}
