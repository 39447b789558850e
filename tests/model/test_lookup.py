"""Finding one object, and testing whether it exists."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from tenantlimpyd.exceptions import DoesNotExist, ImplementationError, UniquenessError
from tenantlimpyd.testing import count_commands
from tests.support.models import assert_indexes_right, keyspace


async def test_one_object_is_found_by_pk_or_by_indexed_values(call, person):
    await call.create(person, name="Ann", email="a@x", city="Rome")
    await call.create(person, name="Ann", email="b@x", city="Oslo")
    for args, filters in [
        ((2,), {}),
        (("2",), {}),
        ((b"2",), {}),
        ((), {"pk": 2}),
        ((), {"pk__eq": 2}),
        ((), {"email": "b@x"}),
        ((), {"name": "Ann", "city": "Oslo"}),
        ((), {"pk": 2, "name": "Ann"}),
        ((), {"name__eq": "Ann", "email__eq": "b@x"}),
    ]:
        found = await call(person, "get", *args, **filters)
        assert (found._pk, found.connected) == ("2", True), (args, filters)
        assert await call(found.email, "get") == "b@x"


async def test_get_of_no_object_or_several_is_an_error(call, person):
    await call.create(person, name="Ann", email="a@x")
    await call.create(person, name="Ann", email="b@x")
    for args, filters in [
        ((9,), {}),
        ((), {"pk": 9}),
        ((), {"name": "Bob"}),
        ((), {"email": "c@x"}),
        ((), {"pk": 1, "email": "b@x"}),
        ((), {"name": "Ann", "email": "c@x"}),
    ]:
        with pytest.raises(DoesNotExist):
            await call(person, "get", *args, **filters)
        assert person.DoesNotExist is DoesNotExist
    for args, filters, message in [
        ((), {"name": "Ann"}, "more than one"),
        ((), {}, "takes one pk"),
        ((1, 2), {}, "takes one pk"),
        ((1,), {"name": "Ann"}, "not both"),
        ((None,), {}, "None or empty"),
        (("",), {}, "None or empty"),
    ]:
        with pytest.raises(ValueError, match=message):
            await call(person, "get", *args, **filters)


async def test_pk_and_pk_field_of_a_filter_must_be_equal(call, database):
    from tenantlimpyd import fields, model

    hosted_by = database

    class Country(model.RedisModel):
        database = hosted_by
        code = fields.PKField()

    await call.create(Country, code="fr")
    await call.create(Country, code="de")
    assert (await call(Country, "get", pk="fr", code="fr"))._pk == "fr"
    with pytest.raises(DoesNotExist):
        await call(Country, "get", pk="fr", code="de")


async def test_wrong_filters_are_refused_before_any_command(call, person):
    with count_commands() as sent:
        for error, filters in [
            (AttributeError, {"nothing": 1}),
            (ImplementationError, {"note": "x"}),
            (ImplementationError, {"name__gt": "x"}),
            (ImplementationError, {"pk__in": ["x"]}),
            (ImplementationError, {"name": None}),
        ]:
            for method in ("get", "exists"):
                with pytest.raises(error):
                    await call(person, method, **filters)
            with pytest.raises(error):
                person.collection(**filters)
    assert sent.trips == 0


async def test_exists_tells_whether_an_object_matches(call, person):
    await call.create(person, name="Ann", email="a@x", city="Rome")
    for filters, there in [
        ({"pk": 1}, True),
        ({"pk": 2}, False),
        ({"email": "a@x"}, True),
        ({"email": "b@x"}, False),
        ({"name": "Ann", "city": "Rome"}, True),
        ({"name": "Ann", "city": "Oslo"}, False),
        ({"pk": 1, "name": "Bob"}, False),
    ]:
        assert await call(person, "exists", **filters) is there, filters
    with pytest.raises(ValueError, match="needs a pk or filters"):
        await call(person, "exists")


async def test_index_entries_of_deleted_objects_are_ignored(call, person, raw):
    raw.sadd("spec:person:name:Ann", "7", "8", "9")
    raw.sadd("spec:person:email:a@x", "7")
    for filters in ({"name": "Ann"}, {"email": "a@x"}):
        assert await call(person, "exists", **filters) is False
        with pytest.raises(DoesNotExist):
            await call(person, "get", **filters)
    await call.create(person, name="Ann")
    assert await call(person, "exists", name="Ann") is True
    assert (await call(person, "get", name="Ann"))._pk == "1"


async def test_get_or_connect_finds_an_object_or_creates_it(call, person, raw):
    first, created = await call(person, "get_or_connect", email="a@x", name="Ann")
    assert (first._pk, created, first.connected) == ("1", True, True)
    second, created = await call(person, "get_or_connect", email="a@x")
    assert (second, created) == (first, False)
    assert raw.smembers("spec:person:collection") == {"1"}
    with pytest.raises(UniquenessError):  # an object has that email, but is not Bob
        await call(person, "get_or_connect", email="a@x", name="Bob")
    with pytest.raises(ValueError, match="allocated"):
        await call(person, "get_or_connect", pk=12)
    with pytest.raises(ImplementationError):
        await call(person, "get_or_connect", note="x")
    assert raw.smembers("spec:person:collection") == {"1"}
    assert_indexes_right(raw, person)


async def test_lazy_object_is_looked_up_by_its_first_write(call, person, raw):
    await call.create(person, name="Ann", note="n")
    with count_commands() as sent:
        p = person.lazy_connect(1)
        assert not p.connected
    assert sent.trips == 0
    assert await call(p.note, "get") == "n"
    assert not p.connected
    await call(p.note, "set", "m")
    assert p.connected
    q = person.lazy_connect(1)
    await call(q.name, "set", "Bob")
    assert q.connected
    await call(q, "connect")
    assert_indexes_right(raw, person)


async def test_writing_to_a_missing_lazy_object_is_refused(call, person, raw):
    z = person.lazy_connect(999)
    for target, command, args in [
        (z.note, "set", ("x",)),
        (z.name, "set", ("x",)),
        (z.age, "hset", (1,)),
        (z.city, "hset", ("x",)),
        (z.note, "delete", ()),
        (z, "connect", ()),
        (z, "delete", ()),
    ]:
        with pytest.raises(DoesNotExist):
            await call(target, command, *args)
        assert z.known_pk == "999"
    assert await call(z.note, "get") is None
    assert await call(z.name, "get") is None
    assert await call(z.pk, "get") == "999"
    assert await call(z.pk, "exists") is False
    assert keyspace(raw) == {}


async def test_from_pks_keeps_the_order_and_leaves_out_missing_objects(call, person, raw):
    for _ in range(3):
        await call.create(person, age=1)
    found = await call.list(objects_of(call, person, [3, "9", 1, b"2"]))
    assert [p._pk for p in found] == ["3", "1", "2"]
    assert all(p.connected for p in found)
    with count_commands() as sent:
        found = await call.list(objects_of(call, person, [3, 9], lazy=True))
        assert await call.list(objects_of(call, person, [])) == []
    assert [p._pk for p in found] == ["3", "9"]
    assert not any(p.connected for p in found)
    assert sent.trips == 0
    raw.delete("spec:person:collection")
    raw.set("spec:person:collection", "no set")
    with pytest.raises(ResponseError):
        await call.list(objects_of(call, person, [1]))


def objects_of(call, person, pks, **options):
    return person.afrom_pks(pks, **options) if call.is_async else person.from_pks(pks, **options)


async def test_scan_of_the_keys_of_an_object_and_of_a_model(call, person, raw):
    await call.create(person, name="Ann", age=1)
    p = await call.create(person, name="Bob", note="n", city="Rome")
    assert await call.scan(p, "scan_keys") == {f"spec:person:2:{end}" for end in ("name", "note", "hash")}
    raw.set("spec:persona:1:name", "of another model")
    assert await call.scan(person, "scan_model_keys") == {key for key in raw.scan_iter() if "persona" not in key}


async def test_key_scan_of_a_pk_with_glob_characters_finds_only_its_own_keys(call, database):
    from tenantlimpyd import fields, model

    hosted_by = database

    class Globbed(model.RedisModel):
        database = hosted_by
        pk = fields.PKField()
        name = fields.StringField()

    for pk in ("a*", "ab", "a[b]", "a:b", "?"):
        await call.create(Globbed, pk=pk, name="x")
    for pk in ("a*", "ab", "a[b]", "?"):
        p = await call(Globbed, "get", pk)
        assert await call.scan(p, "scan_keys") == {f":globbed:{pk}:name"}
