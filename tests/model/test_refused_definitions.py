"""Invariant 14: an override that would be ignored is refused when the class is defined."""

from __future__ import annotations

import pytest
import redis

from tenantlimpyd import fields
from tenantlimpyd.contrib.indexes import DateIndex, EqualIndexWith
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import ImplementationError, LimpydException
from tenantlimpyd.indexes import NumberRangeIndex
from tests.support.models import define


@pytest.mark.parametrize(
    ("base", "name"),
    [
        (fields.StringField, "set"),
        (fields.InstanceHashField, "hset"),
        (fields.SetField, "sadd"),
        (fields.SortedSetField, "zadd"),
        (fields.ListField, "rpush"),
        (fields.HashField, "hmset"),
        (fields.StringField, "proxy_set"),
        (fields.StringField, "aset"),
    ],
)
def test_field_that_overrides_a_setter_is_refused(database, base, name):
    changed = type("Changed", (base,), {name: lambda self, *args, **kwargs: None, "__module__": "application"})
    with pytest.raises(ImplementationError, match=rf"overrides {name}, .*Override stored\(value\)"):
        define(database, "Letter", s=changed())


async def test_overridden_stored_is_called_by_every_write(call, database, raw):
    class Sealed(fields.StringField):
        def stored(self, value):
            return f"sealed:{value}"

    letter = define(database, "Letter", s=Sealed(), d=Sealed(default="x"))
    one = await call.create(letter, s="secret")
    assert await call(one.s, "get") == "sealed:secret"
    assert await call(one.d, "get") == "sealed:x"
    await call(one.s, "set", "other")
    assert raw.get(one.s.key) == "sealed:other"


@pytest.mark.parametrize("name", ["connection", "aconnection"])
def test_database_class_that_overrides_its_client_is_refused(name):
    with pytest.raises(ImplementationError, match=f"overrides {name}"):
        type("Chosen", (RedisDatabase,), {name: property(lambda self: redis.Redis())})


def test_indexes_that_name_each_other_are_refused(database):
    with pytest.raises(ImplementationError, match=r"'a' and 'b' .* name each other"):
        define(
            database,
            "Mutual",
            a=fields.InstanceHashField(indexable=True, indexes=[EqualIndexWith.configure(other_fields=["b"])]),
            b=fields.InstanceHashField(indexable=True, indexes=[EqualIndexWith.configure(other_fields=["a"])]),
        )


@pytest.mark.parametrize("value", [2**53 + 1, -(2**53) - 1, str(2**60 + 1), 10**400, "9" * 500])
async def test_number_index_refuses_whole_numbers_that_it_would_round(call, database, value):
    tweet = define(database, "Tweet", n=fields.InstanceHashField(indexable=True, indexes=[NumberRangeIndex]))
    with pytest.raises(ValueError, match="not stored exactly"):
        await call.create(tweet, n=value)
    with pytest.raises(ValueError, match="not stored exactly"):
        await call.list(tweet.collection(n__gt=value))
    one = await call.create(tweet, n=2**53)
    with pytest.raises(ValueError, match="not stored exactly"):
        await call(one.n, "hset", value)
    assert await call.list(tweet.collection(n=2**53)) == [await call(one.pk, "get")]


async def test_sort_by_an_unknown_field_is_refused_with_the_field_names(call, database):
    thing = define(database, "Thing", created=fields.InstanceHashField(), tags=fields.SetField())
    for by in ("createdd", "-nothing"):
        with pytest.raises(ImplementationError, match="it can be sorted by pk, created"):
            await call.list(thing.collection().sort(by=by))
    with pytest.raises(ImplementationError, match="'tags', a SetField, which has many values"):
        await call.list(thing.collection().sort(by="tags"))


@pytest.mark.parametrize("desc", [False, True])
async def test_ties_of_a_text_sort_are_in_the_order_of_their_pks(call, database, desc):
    city = define(database, "City", city=fields.InstanceHashField(), n=fields.InstanceHashField())
    for number in range(12):
        await call.create(city, n=number, **({} if number % 4 == 3 else {"city": ("Oslo", "Rome")[number % 2]}))
    found = city.collection().sort(by="city", alpha=True, desc=desc)
    whole = await call.list(found)
    missing, oslo, rome = ["12", "4", "8"], ["1", "11", "3", "5", "7", "9"], ["10", "2", "6"]
    assert whole == (missing + oslo + rome)[:: -1 if desc else 1]
    assert [await call.item(found, number) for number in range(12)] == whole
    assert await call.slice(found, slice(3, 9)) == whole[3:9]


async def test_zadd_refuses_two_mappings(call, database):
    scores = define(database, "Scores", z=fields.SortedSetField())
    one = await call.create(scores, z={"x": 1})
    with pytest.raises(LimpydException, match="one mapping"):
        await call(one.z, "zadd", {"a": 1}, mapping={"b": 2})


async def test_object_equals_itself_for_any_type_of_normalized_pk(call, database):
    class Whole(fields.AutoPKField):
        def normalize(self, value):
            return int(value)

    numbered = define(database, "Numbered", pk=Whole(), n=fields.StringField(indexable=True))
    made = await call.create(numbered, n="a")
    found = [
        await call(numbered, "get", n="a"),
        await call(numbered, "get", 1),
        *numbered.collection(n="a").instances(),
    ]
    assert all(each == made and hash(each) == hash(made) for each in found)


async def test_number_beyond_floats_and_date_that_is_not_text_are_refused(call, database):
    model = define(
        database,
        size=fields.StringField(indexable=True, indexes=[NumberRangeIndex]),
        day=fields.StringField(indexable=True, indexes=[DateIndex]),
    )
    with pytest.raises(ValueError, match="not stored exactly"):
        await call.create(model, size="1e400")
    with pytest.raises(ValueError, match="is no text"):
        await call.create(model, day=20151216)
    assert not list(model.collection())
    await call.create(model, size="inf", day="2015-12-16")


async def test_error_of_a_numeric_sort_by_text_says_what_to_write(call, database):
    model = define(database, name=fields.StringField())
    for name in ("b", "a"):
        await call.create(model, name=name)
    with pytest.raises(redis.ResponseError) as caught:
        list(model.collection().sort(by="name"))
    assert any("alpha=True" in note for note in caught.value.__notes__)
