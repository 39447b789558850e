"""Lazy collections: filters, evaluation and the kept result."""

from __future__ import annotations

import pytest

from tenantlimpyd import fields, model
from tenantlimpyd.collection import CollectionManager
from tenantlimpyd.contrib.collection import ExtendedCollectionManager
from tenantlimpyd.testing import count_commands
from tests.support.models import keyspace

pytestmark = pytest.mark.slow


@pytest.fixture
def people(person):
    """1 Ann in Rome, 2 Ann in Oslo, 3 Bob in Rome, 4 nobody nowhere."""
    person(name="Ann", city="Rome")
    person(name="Ann", city="Oslo")
    person(name="Bob", city="Rome")
    person(age=1)
    return person


FILTERS = [
    ({}, ["1", "2", "3", "4"]),
    ({"name": "Ann"}, ["1", "2"]),
    ({"name__eq": "Ann"}, ["1", "2"]),
    ({"name": b"Ann"}, ["1", "2"]),
    ({"name": "Ann", "city": "Rome"}, ["1"]),
    ({"name": "Ann", "name__eq": "Bob"}, []),
    ({"name": "ann"}, []),
    ({"city": "Rome"}, ["1", "3"]),
    ({"pk": 3}, ["3"]),
    ({"pk": "3", "pk__eq": 3}, ["3"]),
    ({"pk": 3, "pk__eq": 4}, []),
    ({"pk": 9}, []),
    ({"pk": 3, "name": "Bob"}, ["3"]),
    ({"pk": 3, "name": "Ann"}, []),
    ({"pk": 1, "name": "Ann", "city": "Oslo"}, []),
]


async def test_objects_match_all_filters(call, people, raw):
    before = keyspace(raw)
    for filters, pks in FILTERS:
        found = people.collection(**filters)
        assert sorted(await call.list(found)) == pks, filters
        assert await call.count(people.collection(**filters)) == len(pks)
        assert await call.slice(people.collection(**filters), slice(None)) == pks
        made = await call.list(people.instances(**filters))
        assert sorted(each._pk for each in made) == pks
        assert all(each.connected for each in made)
        assert [each._pk for each in await call.slice(people.instances(**filters), slice(0, 9))] == pks
        assert await call.count(people.instances(**filters)) == len(pks)
        for position in (0, -1):
            if pks:
                assert await call.item(found, position) == pks[position]
        for position in (len(pks), -len(pks) - 1, 10**30):
            with pytest.raises(IndexError):
                await call.item(found, position)
    assert keyspace(raw) == before  # no temporary key is left


async def test_filters_are_added_by_calling(call, people):
    every = people.collection()
    anns = every(name="Ann")
    one = anns(city="Oslo")
    assert (await call.count(every), await call.count(anns), await call.list(one)) == (4, 2, ["2"])
    assert await call.list(anns(pk=1)) == ["1"]
    assert await call.list(people.collection(pk=1)(pk=2)) == []


async def test_building_a_collection_sends_no_command(people):
    with count_commands() as sent:
        found = people.collection(name="Ann", pk=1)(city="Rome").instances().primary_keys().instances(lazy=True)
        people.instances(name="Ann")
        assert "Person by name, city, pk" in repr(found)
    assert sent.trips == 0


async def test_collection_filtered_by_pk_has_one_item(call, people):
    found = people.collection(pk=1)
    assert await call.item(found, -1) == "1"
    for wanted, pks in [(slice(1, None), []), (slice(0, 1), ["1"]), (slice(None, None, -1), ["1"]), (slice(0, -1), [])]:
        assert await call.slice(found, wanted) == pks


async def test_index_entries_of_deleted_objects_are_left_out(call, people, raw):
    raw.sadd("spec:person:name:Ann", *range(1000, 4000))
    made = await call.list(people.instances(name="Ann"))
    assert sorted(each._pk for each in made) == ["1", "2"]
    assert await call.count(people.instances(name="Ann")) == 2
    assert [each._pk for each in await call.slice(people.instances(name="Ann"), slice(0, 5))] == ["1", "2"]
    lazy = await call.list(people.instances(name="Ann", lazy=True))
    assert len(lazy) == 3002
    assert not any(each.connected for each in lazy)
    assert await call.count(people.collection(name="Ann")) == 3002
    assert await call.list(people.collection(name="Ann", pk=1000)) == []


async def test_pks_that_are_not_numbers_are_sorted_as_text(call, database):
    hosted_by = database

    class Country(model.RedisModel):
        database = hosted_by
        code = fields.PKField()
        name = fields.StringField(indexable=True)
        kind = fields.StringField(indexable=True)

    for code in ("fr", "10", "9", "de", "nan"):
        await call.create(Country, code=code, name="n", kind="k")
    for filters in ({}, {"name": "n"}, {"name": "n", "kind": "k"}):
        found = Country.collection(**filters)
        assert await call.slice(found, slice(None)) == ["10", "9", "de", "fr", "nan"]
        assert await call.slice(found, slice(1, 3)) == ["9", "de"]
        assert (await call.item(found, 0), await call.item(found, -1)) == ("10", "nan")
        assert await call.slice(found, slice(-2, None)) == ["fr", "nan"]
    for code in ("fr", "de", "nan"):
        await call(await call(Country, "get", code), "delete")
    assert await call.slice(Country.collection(name="n"), slice(None)) == ["9", "10"]


def test_collection_behaves_as_a_sequence(people):
    found = people.collection(name="Ann")
    assert bool(found)
    assert not people.collection(name="Zoe")
    assert "1" in found
    assert 1 not in found
    assert found == ["2", "1"] == found
    assert found == {"1", "2"}
    assert found == people.collection(name="Ann")
    assert found != people.collection(name="Bob")
    assert found != ("1", "2")
    assert people.instances(pk=1) == [people(1)]
    with pytest.raises(TypeError):
        hash(found)
    for wrong in ("a", 1.5, None, (1, 2)):
        with pytest.raises(TypeError, match="whole numbers and slices"):
            found[wrong]
    with pytest.raises(ValueError, match="zero"):
        found[::0]
    with pytest.raises(TypeError):
        found["a":]


def test_results_are_a_sequence_and_send_no_command(people):
    results = people.collection()[0:3]
    with count_commands() as sent:
        assert (len(results), bool(results), results[0], results[-1], results[1:]) == (3, True, "1", "3", ["2", "3"])
        assert list(results) == list(results) == ["1", "2", "3"]
        assert next(results) == "1"
        assert next(results) == "2"
        assert "3" in results
        assert results == ["1", "2", "3"]
        assert results == {"1", "2", "3"}
        assert results != ("1", "2", "3")
        assert repr(results) == "<CollectionResults ['1', '2', '3']>"
    assert sent.trips == 0
    for _ in range(30):
        people(age=1)
    assert repr(people.collection()[0:30]).endswith("'20', ...]>")


async def test_reading_an_item_keeps_the_order_of_the_collection(call, people):
    found = people.collection()
    for _ in range(2):
        assert await call.item(found, -1) == "4"
        assert await call.slice(found, slice(-3, -1)) == ["2", "3"]
        assert await call.slice(found, slice(None)) == ["1", "2", "3", "4"]


async def test_custom_collection_manager_is_used(call, people):
    class Romans(CollectionManager):
        def __init__(self, model):
            super().__init__(model)
            self._add_filters(city="Rome")

    assert sorted(await call.list(people.collection(manager=Romans))) == ["1", "3"]
    assert await call.list(people.collection(manager=Romans, name="Ann")) == ["1"]
    assert [p._pk for p in await call.list(people.collection(manager=Romans)(name="Bob").instances())] == ["3"]
    people.collection_manager = Romans
    assert await call.count(people.collection()) == 2
    assert await call(people, "exists", name="Ann") is True


async def test_collection_manager_may_be_a_parametrized_class(call, person):
    someone = await call.create(person, name="x")
    found = person.collection(ExtendedCollectionManager[person, str], name="x")
    assert isinstance(found, ExtendedCollectionManager)
    assert await call.list(found.values("name")) == [{"name": "x"}]
    assert await call.list(person.instances(name="x")) == [someone]
