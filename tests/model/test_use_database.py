"""Moving models to another database: all that belong together move, or none."""

from __future__ import annotations

import pytest

from tenantlimpyd import fields, model
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import ImplementationError, NoTenantError
from tenantlimpyd.router import DatabaseRouter
from tests.support.models import keyspace


def define(name, /, *bases, **body):
    return model.MetaRedisModel(name, bases or (model.RedisModel,), body)


@pytest.fixture
def family():
    """A base with a database, a child, a grandchild, and a child in another database with a child in the first."""
    here, elsewhere = RedisDatabase(), RedisDatabase()
    base = define("Base", database=here, abstract=True)
    child = define("Child", base)
    grandchild = define("Grandchild", child, name=fields.StringField())
    stranger = define("Stranger", base, database=elsewhere)
    returned = define("Returned", stranger, database=here)
    return here, elsewhere, base, child, grandchild, stranger, returned


@pytest.mark.parametrize("kind", [RedisDatabase, DatabaseRouter])
def test_base_moves_with_the_submodels_of_its_database(family, kind):
    here, elsewhere, base, child, grandchild, stranger, returned = family
    target = kind()
    assert base.use_database(target) == [base, child, grandchild]
    assert target._models == {":child": child, ":grandchild": grandchild}
    assert here._models == {":returned": returned}
    assert elsewhere._models == {":stranger": stranger}
    assert [each.database for each in (base, child, grandchild, stranger, returned)] == [
        target, target, target, elsewhere, here,
    ]  # fmt: skip
    assert base.use_database(target) == []
    later = define("Later", base)
    assert target._models[":later"] is later


def test_child_moves_without_its_base(family):
    here, _, base, child, grandchild, _, _ = family
    target = RedisDatabase()
    assert child.use_database(target) == [child, grandchild]
    assert base.database is here


def test_model_name_used_in_the_new_database_moves_no_model(family):
    here, _, base, child, grandchild, _, _ = family
    target = RedisDatabase()
    taken = define("GrandChild", database=target)
    before = dict(here._models)
    with pytest.raises(ImplementationError, match=r"not moved.*':grandchild'"):
        base.use_database(target)
    assert here._models == before
    assert target._models == {":grandchild": taken}
    assert {each.database for each in (base, child, grandchild)} == {here}


def test_diamond_of_base_classes_moves_once():
    here, target = RedisDatabase(), RedisDatabase()
    root = define("Root", database=here)
    left, right = define("Left", root), define("Right", root)
    diamond = define("Diamond", left, right)
    moved = root.use_database(target)
    assert sorted(each.__name__ for each in moved) == ["Diamond", "Left", "Right", "Root"]
    assert here._models == {}
    assert set(target._models.values()) == {root, left, right, diamond}


def test_abstract_base_without_a_database_gives_its_children_one():
    target = RedisDatabase()
    base = define("Base", abstract=True)
    assert base.use_database(target) == [base]
    assert define("Child", base).database is target


def test_model_whose_database_was_assigned_can_still_be_moved():
    here, assigned, target = RedisDatabase(), RedisDatabase(), RedisDatabase()
    thing = define("Thing", database=here)
    thing.database = assigned
    assert thing.use_database(target) == [thing]
    assert target._models == {":thing": thing}


@pytest.mark.parametrize("wrong", [None, "redis://", object()])
def test_only_databases_and_routers_are_accepted(wrong):
    thing = define("Thing", database=RedisDatabase())
    with pytest.raises(TypeError, match="RedisDatabase or a DatabaseRouter"):
        thing.use_database(wrong)


async def test_new_objects_use_the_new_database_and_existing_ones_the_old(call, person, database, raw, flushed_server):
    p = await call.create(person, name="Ann")
    found = person.collection(name="Ann")
    with RedisDatabase(**flushed_server.settings, db=1) as target:
        before = keyspace(raw)
        person.use_database(target)
        assert keyspace(raw) == before
        assert keyspace(target.connection) == {}
        assert await call.list(found) == ["1"]
        assert await call.list(person.collection(name="Ann")) == []
        q = await call.create(person, name="Bob")
        await call(p.name, "set", "Cid")
        assert raw.get("spec:person:1:name") == "Cid"
        assert target.connection.get("spec:person:1:name") == "Bob"
        assert p != q
        assert p.name.database is database
        assert q.name.database is target
        await target.aclose()


async def test_model_moved_to_a_router_needs_a_tenant(call, person, flushed_server):
    with RedisDatabase(**flushed_server.settings, db=1) as tenant_database:
        router = DatabaseRouter({"acme": tenant_database})
        person.use_database(router)
        with pytest.raises(NoTenantError):
            await call.create(person, name="Ann")
        with router.use_tenant("acme"):
            p = await call.create(person, name="Ann")
        assert tenant_database.connection.get("spec:person:1:name") == "Ann"
        assert p.name.database is tenant_database
        await router.aclose()
