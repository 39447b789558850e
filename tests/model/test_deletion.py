"""Deletion of objects."""

from __future__ import annotations

import pytest

from tenantlimpyd.exceptions import DoesNotExist, ImplementationError
from tests.support.models import assert_indexes_right, keyspace

VALUES = {"name": "Ann", "email": "a@x", "note": "n", "city": "Rome", "badge": "b", "age": 3}


@pytest.mark.parametrize("how", ["made", "looked up", "lazy", "read"])
async def test_deletion_removes_every_key_and_index_entry(call, person, raw, how):
    p = await call.create(person, **VALUES)
    await call.create(person, name="Ann", city="Rome")
    if how != "made":
        p = person.lazy_connect(1) if how == "lazy" else await call(person, "get", 1)
    if how == "read":
        await call(p.name, "get")
    assert await call(p, "delete") is None
    assert keyspace(raw) == {
        "spec:person:max_pk": "2",
        "spec:person:collection": {"2"},
        "spec:person:2:name": "Ann",
        "spec:person:2:hash": {"city": "Rome"},
        "spec:person:name:Ann": {"2"},
        "spec:person:city:Rome": {"2"},
    }


async def test_values_written_by_another_client_are_deleted_too(call, person, raw):
    p = await call.create(person, **VALUES)
    other = await call(person, "get", 1)
    await call(other.name, "set", "Bob")
    await call(other.city, "hset", "Oslo")
    await call(other.email, "delete")
    await call(p, "delete")
    assert keyspace(raw) == {"spec:person:max_pk": "1"}


async def test_use_of_a_deleted_object_says_that_it_was_deleted(call, person, raw):
    p = await call.create(person, **VALUES)
    await call(p, "delete")
    assert not p.connected
    assert "deleted" in repr(p)
    for target, command, args in [
        (p, "delete", ()),
        (p, "connect", ()),
        (p, "hgetall", ()),
        (p, "hmset", ()),
        (p.name, "get", ()),
        (p.name, "set", ("x",)),
        (p.note, "set", ("x",)),
        (p.note, "ttl", ()),
        (p.age, "hset", ("x",)),
        (p.city, "hset", ("x",)),
        (p.pk, "get", ()),
        (p.pk, "set", (None,)),
    ]:
        kwargs = {"age": 1} if command == "hmset" else {}
        with pytest.raises(DoesNotExist, match="was deleted"):
            await call(target, command, *args, **kwargs)
    assert await call(p.name, "exists") is False
    assert await call(p.age, "hexists") is False
    assert await call(p.pk, "exists") is False
    assert keyspace(raw) == {"spec:person:max_pk": "1"}


async def test_pk_of_a_deleted_object_can_not_be_set_again(call, database, raw):
    from tenantlimpyd import fields, model

    hosted_by = database

    class Country(model.RedisModel):
        database = hosted_by
        code = fields.PKField()

    c = await call.create(Country, code="fr")
    await call(c, "delete")
    with pytest.raises(DoesNotExist):
        await call(c.pk, "set", "fr")
    assert keyspace(raw) == {}
    assert (await call.create(Country, code="fr")).connected


async def test_deleting_an_object_that_was_never_stored_is_refused(call, person, raw):
    with pytest.raises(DoesNotExist):
        await call(person(), "delete")
    with pytest.raises(DoesNotExist):
        await call(person.lazy_connect(5), "delete")
    assert keyspace(raw) == {}


async def test_pk_field_can_not_be_deleted(person):
    p = person(**VALUES)
    with pytest.raises(ImplementationError, match="delete the object"):
        p.pk.delete()
    with pytest.raises(ImplementationError, match="no key of its own"):
        _ = p.pk.key


async def test_unique_value_of_a_deleted_object_can_be_used_again(call, person, raw):
    p = await call.create(person, **VALUES)
    await call(p.email, "delete")
    await call(p.badge, "delete")
    await call.create(person, email="a@x", badge="b")
    await call(p, "delete")
    await call(await call(person, "get", 2), "delete")
    await call.create(person, **VALUES)
    assert_indexes_right(raw, person)


async def test_pk_field_of_the_class_has_all_pks(call, person):
    for _ in range(3):
        await call.create(person, age=1)
    await call(await call(person, "get", 2), "delete")
    pk = person.get_field("pk")
    assert await call(pk, "collection") == {"1", "3"}
    assert await call(pk, "exists", 1) is True
    assert await call(pk, "exists", 2) is False
    assert pk.collection_key == "spec:person:collection"
    with pytest.raises(ValueError, match="needs a pk"):
        await call(pk, "exists")
    with pytest.raises(ImplementationError, match="field of the class"):
        await call(pk, "get")
    with pytest.raises(ImplementationError, match="field of the class"):
        await call(person.get_field("name"), "get")
