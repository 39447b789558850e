"""Deleting objects, and what is left of them."""

from __future__ import annotations

import pytest

from tenantlimpyd.exceptions import DoesNotExist, ImplementationError
from tests.support.models import assert_indexes_right, keyspace

VALUES = {"name": "Ann", "email": "a@x", "note": "n", "city": "Rome", "badge": "b", "age": 3}


@pytest.mark.parametrize("how", ["made", "looked up", "lazy", "read"])
async def test_nothing_is_left_of_a_deleted_object(mode, person, raw, how):
    p = await mode.make(person, **VALUES)
    await mode.make(person, name="Ann", city="Rome")
    if how != "made":
        p = person.lazy_connect(1) if how == "lazy" else await mode(person, "get", 1)
    if how == "read":
        await mode(p.name, "get")
    assert await mode(p, "delete") is None
    assert keyspace(raw) == {
        "spec:person:max_pk": "2",
        "spec:person:collection": {"2"},
        "spec:person:2:name": "Ann",
        "spec:person:2:hash": {"city": "Rome"},
        "spec:person:name:Ann": {"2"},
        "spec:person:city:Rome": {"2"},
    }


async def test_what_another_client_wrote_is_deleted_too(mode, person, raw):
    p = await mode.make(person, **VALUES)
    other = await mode(person, "get", 1)
    await mode(other.name, "set", "Bob")
    await mode(other.city, "hset", "Oslo")
    await mode(other.email, "delete")
    await mode(p, "delete")
    assert keyspace(raw) == {"spec:person:max_pk": "1"}


async def test_a_deleted_object_answers_that_it_was_deleted(mode, person, raw):
    p = await mode.make(person, **VALUES)
    await mode(p, "delete")
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
            await mode(target, command, *args, **kwargs)
    assert await mode(p.name, "exists") is False
    assert await mode(p.age, "hexists") is False
    assert await mode(p.pk, "exists") is False
    assert keyspace(raw) == {"spec:person:max_pk": "1"}


async def test_a_deleted_objects_own_pk_can_not_be_set_again(mode, database, raw):
    from tenantlimpyd import fields, model

    hosted_by = database

    class Country(model.RedisModel):
        database = hosted_by
        code = fields.PKField()

    c = await mode.make(Country, code="fr")
    await mode(c, "delete")
    with pytest.raises(DoesNotExist):
        await mode(c.pk, "set", "fr")
    assert keyspace(raw) == {}
    assert (await mode.make(Country, code="fr")).connected


async def test_what_was_never_stored_is_not_deleted(mode, person, raw):
    with pytest.raises(DoesNotExist):
        await mode(person(), "delete")
    with pytest.raises(DoesNotExist):
        await mode(person.lazy_connect(5), "delete")
    assert keyspace(raw) == {}


async def test_a_pk_alone_is_not_deleted(person):
    p = person(**VALUES)
    with pytest.raises(ImplementationError, match="delete the object"):
        p.pk.delete()
    with pytest.raises(ImplementationError, match="no key of its own"):
        _ = p.pk.key


async def test_a_freed_unique_value_can_be_taken(mode, person, raw):
    p = await mode.make(person, **VALUES)
    await mode(p.email, "delete")
    await mode(p.badge, "delete")
    await mode.make(person, email="a@x", badge="b")
    await mode(p, "delete")
    await mode(await mode(person, "get", 2), "delete")
    await mode.make(person, **VALUES)
    assert_indexes_right(raw, person)


async def test_the_class_of_a_pk_field_knows_all_pks(mode, person):
    for _ in range(3):
        await mode.make(person, age=1)
    await mode(await mode(person, "get", 2), "delete")
    pk = person.get_field("pk")
    assert await mode(pk, "collection") == {"1", "3"}
    assert await mode(pk, "exists", 1) is True
    assert await mode(pk, "exists", 2) is False
    assert pk.collection_key == "spec:person:collection"
    with pytest.raises(ValueError, match="needs a pk"):
        await mode(pk, "exists")
    with pytest.raises(ImplementationError, match="field of the class"):
        await mode(pk, "get")
    with pytest.raises(ImplementationError, match="field of the class"):
        await mode(person.get_field("name"), "get")
