"""Differences from limpyd: models, and creating, finding and deleting their objects."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis.exceptions import DataError

from tenantlimpyd import fields, model
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import DoesNotExist, ImplementationError, UniquenessError
from tenantlimpyd.testing import count_commands
from tests.support.models import define, keyspace


@pytest.mark.pitfall(1)
async def test_object_is_created_with_a_given_pk_and_a_unique_value(call, made):
    coded = made(code=fields.PKField(), badge=fields.StringField(unique=True))
    assert await call((await call.create(coded, badge="b", code="a")).badge, "get") == "b"
    with pytest.raises(UniquenessError):
        await call.create(coded, badge="b", code="c")
    assert list(coded.collection()) == ["a"]


@pytest.mark.pitfall(2)
async def test_refused_creation_stores_nothing(call, made, raw):
    thing = made(badge=fields.StringField(unique=True), rank=fields.StringField(default="low"))
    await call.create(thing, badge="taken")
    before = keyspace(raw)
    with pytest.raises(UniquenessError):
        await call.create(thing, rank="high", badge="taken")
    after = keyspace(raw)
    assert {**after, "p:thing:max_pk": None} == {**before, "p:thing:max_pk": None}


@pytest.mark.pitfall(3)
async def test_reading_a_new_object_stores_nothing(call, person, raw):
    fresh = person()
    assert repr(fresh) == "<Person not stored>"
    assert fresh == fresh  # noqa: PLR0124 - what is asked is whether it stores
    assert fresh != person()
    assert await call(fresh.name, "exists") is False
    for look in (lambda: fresh.key, lambda: fresh.name.key):
        with pytest.raises(DoesNotExist):
            look()
    with pytest.raises(DoesNotExist):
        await call(fresh.name, "get")
    with pytest.raises(TypeError):
        hash(fresh)
    assert not keyspace(raw)


@pytest.mark.pitfall(16)
def test_only_one_of_two_clients_creates_a_pk(made):
    thing = made(code=fields.PKField(), note=fields.StringField())

    def create(number):
        try:
            return thing(code="k", note=str(number)).note.get()
        except UniquenessError:
            return None

    with ThreadPoolExecutor(8) as threads:
        made_by = [note for note in threads.map(create, range(8)) if note is not None]
    assert len(made_by) == 1
    assert thing("k").note.get() == made_by[0]


@pytest.mark.pitfall(30)
async def test_class_statement_that_runs_again_returns_the_first_class_only_if_fields_are_equal(database):
    def make(**body):
        class Made(model.RedisModel):
            namespace = "p"
            locals().update(body, database=database)

        return Made

    first = make(a=fields.StringField())
    assert make(a=fields.StringField()) is first
    with pytest.raises(ImplementationError):
        make(b=fields.StringField())
    assert first.has_field("a")
    assert not first.has_field("b")


@pytest.mark.pitfall(32)
async def test_writing_to_a_missing_lazy_object_is_refused(call, person, raw):
    nobody = person.lazy_connect("999")
    for write in (lambda: call(nobody.name, "set", "x"), lambda: call(nobody, "hmset", city="Rome")):
        with pytest.raises(DoesNotExist):
            await write()
    assert await call(nobody.name, "get") is None
    assert not keyspace(raw)


@pytest.mark.pitfall(33)
async def test_deleted_object_can_not_be_written(call, person, raw):
    mine, other = await call.create(person, name="x"), person.lazy_connect("1")
    await call(other, "connect")
    await call(mine, "delete")
    for handle in (mine, other):
        with pytest.raises(DoesNotExist):
            await call(handle.name, "set", "ghost")
        with pytest.raises(DoesNotExist):
            await call(handle.note, "set", "ghost")
    assert not raw.keys("spec:person:1:*")
    assert not person.exists(pk=1)


@pytest.mark.pitfall(39)
async def test_every_field_name_of_hash_commands_is_checked(call, person):
    someone = await call.create(person, name="x", age=1)
    for command, arguments in (("hmget", ("age", "note")), ("hdel", ("age", "note")), ("hmget", ())):
        with pytest.raises(ValueError, match="instance hash field"):
            await call(someone, command, *arguments)
    with pytest.raises(ValueError, match="instance hash field"):
        await call(someone, "hmset", age=2, note="x")
    with pytest.raises(AttributeError):
        await call(someone, "hmget", "age", "height")
    assert await call(someone, "hgetall") == {"age": "1"}


@pytest.mark.pitfall(41)
def test_inherited_fields_are_neither_lost_nor_duplicated(database):
    class Mixin:
        mixed = fields.StringField()

    class Left(model.RedisModel):
        abstract = True
        a = fields.StringField()

    class Right(model.RedisModel):
        abstract = True
        b = fields.StringField()

    both = define(database, "Both", (Mixin, Left, Right), a=fields.StringField(indexable=True))
    assert sorted(both._fields) == ["a", "b", "mixed", "pk"]
    assert both(a="x", b="y", mixed="z").get_field("mixed").get() == "z"


@pytest.mark.pitfall(44)
def test_several_positional_arguments_are_refused(person, raw):
    with pytest.raises(ValueError, match="one pk"):
        person(1, 2)
    assert not keyspace(raw)


@pytest.mark.slow
@pytest.mark.pitfall(48)
def test_import_needs_only_declared_dependencies():
    blocked = "import sys; sys.modules.update(pkg_resources=None, setuptools=None, future=None, six=None)"
    program = f"{blocked}; import tenantlimpyd.contrib.database, tenantlimpyd.contrib.indexes, tenantlimpyd.model"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("default", [None, lambda: "x"])
@pytest.mark.pitfall(49)
async def test_invalid_default_stores_nothing(call, made, raw, default):
    thing = made(a=fields.StringField(default="first"), b=fields.StringField(default=default), c=fields.StringField())
    with pytest.raises(DataError):
        await call.create(thing, c="1")
    assert keyspace(raw).keys() <= {"p:thing:max_pk"}


@pytest.mark.pitfall(51)
async def test_index_entry_of_a_deleted_object_is_ignored(call, person, raw):
    raw.sadd("spec:person:name:ghost", "77")
    assert await call(person, "exists", name="ghost") is False
    found, created = await call(person, "get_or_connect", name="ghost")
    assert created
    assert (await call(person, "get_or_connect", name="ghost")) == (found, False)


@pytest.mark.pitfall(52)
async def test_pk_and_filters_must_match_the_same_object(call, person):
    await call.create(person, name="x")
    with pytest.raises(ValueError, match=r"get takes|pk"):
        await call(person, "get", 1, name="another")
    with pytest.raises(DoesNotExist):
        await call(person, "get", pk=1, name="another")


@pytest.mark.pitfall(53)
async def test_list_is_refused_as_a_single_value(call, person, raw):
    for field in ("note", "name", "age"):
        with pytest.raises(DataError):
            await call.create(person, **{field: ["a", 10]})
    assert not keyspace(raw)


@pytest.mark.pitfall(55)
def test_diamond_of_base_classes_moves_once(flushed_server, database):
    class Top(model.RedisModel):
        namespace = "p"
        abstract = True
        locals().update(database=database)

    class Left(Top):
        pass

    class Right(Top):
        pass

    class Bottom(Left, Right):
        pass

    with RedisDatabase(**flushed_server.settings, db=1) as elsewhere:
        moved = Top.use_database(elsewhere)
        assert sorted(each.__name__ for each in moved) == ["Bottom", "Left", "Right", "Top"]
        assert all(each.database is elsewhere for each in moved)


@pytest.mark.pitfall(58)
async def test_thousands_of_deleted_objects_are_left_out_in_one_step(call, person, raw):
    raw.sadd("spec:person:name:ghost", *range(1000, 4000))
    alive = await call.create(person, name="ghost")
    with count_commands(person.database) as counted:
        assert await call.list(person.collection(name="ghost").instances()) == [alive]
    assert counted.trips == 1
