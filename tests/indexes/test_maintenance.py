"""Adding, removing, clearing and building index entries on demand."""

from __future__ import annotations

import pytest

from tenantlimpyd import fields
from tenantlimpyd.contrib.indexes import DateIndex
from tenantlimpyd.exceptions import DoesNotExist, ImplementationError, UniquenessError, WrongTenantError
from tenantlimpyd.indexes import EqualIndex, NumberRangeIndex, TextRangeIndex
from tenantlimpyd.router import DatabaseRouter
from tenantlimpyd.testing import count_commands
from tests.support.models import define

pytestmark = pytest.mark.slow


def index_keys(raw, *names):
    found = {}
    for key in raw.keys(":m:*"):
        if key.split(":")[2] in names and not key.startswith((":m:a:", ":m:1:")):
            found[key] = (
                set(raw.smembers(key)) if raw.type(key) == "set" else dict(raw.zrange(key, 0, -1, withscores=True))
            )
    return found


def model_of(database, **body):
    return define(database, "M", pk=fields.PKField(), **body)


ALL = ["s", "i", "h", "l", "t", "z"]


def every_kind(database):
    return model_of(
        database,
        s=fields.StringField(indexable=True, indexes=[EqualIndex, TextRangeIndex, NumberRangeIndex]),
        i=fields.InstanceHashField(indexable=True, indexes=[DateIndex]),
        h=fields.HashField(indexable=True, indexes=[EqualIndex, NumberRangeIndex]),
        l=fields.ListField(indexable=True),
        t=fields.SetField(
            indexable=True, indexes=[EqualIndex.configure(prefix="p", transform=str.lower), NumberRangeIndex]
        ),
        z=fields.SortedSetField(indexable=True),
    )


async def two_of_every_kind(call, database):
    cls = every_kind(database)
    for pk in ("a", "1"):
        await call.create(
            cls, pk=pk, s="5", i="2020-01-02", h={"k": "1", "k:2": pk}, l=["x", "y", "x"], t=["A", "a", "7"], z={"m": 1}
        )
    return cls


@pytest.mark.parametrize("aggressive", [False, True])
@pytest.mark.parametrize("name", ALL)
async def test_indexes_are_cleared_and_rebuilt(call, database, raw, name, aggressive):
    cls = await two_of_every_kind(call, database)
    field = cls.get_field(name)
    before, others = index_keys(raw, name), index_keys(raw, *set(ALL) - {name})
    assert before
    await call(field, "clear_indexes", chunk_size=1, aggressive=aggressive)
    assert index_keys(raw, name) == {}
    assert index_keys(raw, *set(ALL) - {name}) == others
    assert raw.get(":m:a:s") == "5"
    await call(field, "rebuild_indexes", chunk_size=1, aggressive_clear=aggressive)
    assert index_keys(raw, name) == before
    await call(field, "rebuild_indexes")
    assert index_keys(raw, name) == before


async def test_single_index_is_cleared_and_rebuilt(call, database, raw):
    cls = await two_of_every_kind(call, database)
    before = index_keys(raw, *ALL)
    for field in cls.get_fields():
        for index in field.indexes if field.indexable else []:
            keys = await call(index, "get_all_storage_keys")
            assert keys <= before.keys()
            assert keys
            for aggressive in (False, True):
                await call(index, "clear", aggressive=aggressive)
                assert index_keys(raw, *ALL).keys() == before.keys() - keys
                await call(index, "rebuild", aggressive_clear=aggressive)
                assert index_keys(raw, *ALL) == before


async def test_aggressive_clear_removes_stale_entries(call, database, raw):
    cls = model_of(database, f=fields.StringField(indexable=True))
    await call.create(cls, pk="1", f="x")
    raw.sadd(":m:f:stale", "1")
    await call(cls.get_field("f"), "rebuild_indexes")
    assert raw.exists(":m:f:stale")
    await call(cls.get_field("f"), "rebuild_indexes", aggressive_clear=True)
    assert index_keys(raw, "f") == {":m:f:x": {"1"}}


async def test_aggressive_clear_keeps_values_and_keys_of_other_models(call, database, raw):
    """P56."""
    cls = model_of(database, f=fields.StringField(indexable=True), t=fields.SetField())
    other = define(database, "X", namespace=":m:f", pk=fields.PKField(), x=fields.StringField(indexable=True))
    await call.create(cls, pk="f", f="v", t=["kept"])
    await call.create(cls, pk="f:more", t=["kept"])
    await call.create(other, pk="1", x="y")
    await call(cls.get_field("f"), "clear_indexes", aggressive=True)
    assert not raw.exists(":m:f:v")
    assert raw.smembers(":m:f:t") == raw.smembers(":m:f:more:t") == {"kept"}
    assert raw.get(":m:f:f") == "v"
    assert raw.smembers(":m:f:x:x:y") == raw.smembers(":m:f:x:collection") == {"1"}


async def test_rebuild_takes_few_round_trips(call, database, raw):
    cls = model_of(database, f=fields.StringField(indexable=True), i=fields.InstanceHashField(indexable=True))
    pks = [f"p{number}" for number in range(250)]
    raw.sadd(":m:collection", *pks)
    for pk in pks:
        raw.set(f":m:{pk}:f", pk[-1])
    with count_commands(database) as counted:
        await call(cls.get_field("f"), "rebuild_indexes", chunk_size=100)
    assert counted.trips <= 3 + 2 * 5  # pages of SSCAN, and for each chunk what is stored, and the entries
    assert sum(len(pks) for pks in index_keys(raw, "f").values()) == 250
    with count_commands(database) as counted:
        await call(cls.get_field("f"), "clear_indexes")
    assert counted.trips <= 1 + 2
    assert index_keys(raw, "f") == {}


async def test_rebuild_reports_values_that_are_not_unique(call, database, raw):
    cls = model_of(database, f=fields.StringField(unique=True))
    raw.sadd(":m:collection", "1", "2")
    raw.mset({":m:1:f": "same", ":m:2:f": "same"})
    with pytest.raises(UniquenessError):
        await call(cls.get_field("f"), "rebuild_indexes")
    assert len(raw.smembers(":m:f:same")) == 1


@pytest.mark.parametrize("name", ALL)
async def test_entries_of_one_object_are_added_and_removed(call, database, raw, name):
    cls = await two_of_every_kind(call, database)
    before = index_keys(raw, name)
    field = getattr(cls.lazy_connect("a"), name)
    await call(field, "deindex")
    assert not any("a" in str(held) for held in index_keys(raw, name).values())
    await call(field, "index")
    assert index_keys(raw, name) == before
    given = {"s": "new", "i": "2000-01-01", "h": {"new": "1"}}.get(name, ["new"])
    await call(field, "index", given, only_index=field.indexes[0])
    added = index_keys(raw, name).keys() - before.keys()
    assert added or name in "si"
    await call(field, "deindex", given, only_index=field.indexes[0])
    assert index_keys(raw, name) == before or name == "i"


async def test_failing_command_keeps_manually_added_entries(call, database, raw):
    """P20."""
    cls = model_of(database, t=fields.SetField(indexable=True))
    thing = await call.create(cls, pk="1", t=["x"])
    await call(thing.t, "index", ["zz"])
    with pytest.raises(Exception, match="NoneType"):
        await call(thing.t, "sadd", None)
    assert index_keys(raw, "t") == {":m:t:x": {"1"}, ":m:t:zz": {"1"}}


async def test_index_objects_add_and_remove_entries(call, database, raw):
    cls = model_of(database, f=fields.StringField(unique=True))
    await call.create(cls, pk="1", f="x")
    await call.create(cls, pk="2")
    raw.sadd(":m:collection", "2")
    index = cls.get_field("f").indexes[0]
    assert index.get_storage_key("x") == ":m:f:x"
    assert index.model is cls
    await call(index, "check_uniqueness", "1", "x")
    with pytest.raises(UniquenessError):
        await call(index, "check_uniqueness", "2", "x")
    with pytest.raises(UniquenessError):
        await call(index, "add", "2", "x")
    await call(index, "add", "2", "x", check_uniqueness=False)
    assert raw.smembers(":m:f:x") == {"1", "2"}
    await call(index, "remove", "2", "x")
    assert raw.smembers(":m:f:x") == {"1"}
    with pytest.raises(DoesNotExist):
        await call(index, "add", "3", "x")
    assert await call(index, "get_filtered_keys", "eq", "x") == [(":m:f:x", "set", False)]
    [(key, kind, temporary)] = await call(index, "get_filtered_keys", "in", ["x", "y"])
    assert (raw.smembers(key), kind, temporary) == ({"1"}, "set", True)
    with pytest.raises(ImplementationError, match="not list"):
        await call(index, "get_filtered_keys", "eq", "x", accepted_key_types={"list"})
    field = cls.lazy_connect("2").f
    with pytest.raises(UniquenessError):
        await call(field, "check_uniqueness", "x")
    await call(field, "check_uniqueness", "free")
    await call(field, "check_uniqueness", None)


def test_get_index_finds_an_index_by_class_key_and_prefix(host):
    """P50."""

    class Own(EqualIndex):
        key = "own"

    body = [EqualIndex, Own, TextRangeIndex.configure(prefix="p")]
    cls = define(host, "M", f=fields.StringField(unique=True, indexes=body), g=fields.StringField())
    field = cls.get_field("f")
    assert type(field.get_index(index_class=EqualIndex)) is EqualIndex
    assert type(field.get_index(index_class=Own)) is Own
    assert field.get_index(prefix="p") is field.indexes[2] is field.get_index(index_class=TextRangeIndex)
    assert field.get_index(key="own") is field.indexes[1]
    assert field.get_index(key=None, prefix=None) is field.indexes[0] is field.get_unique_index()
    for wanted in ({"key": "none"}, {"prefix": None}, {}):
        with pytest.raises(ValueError, match="fit"):
            field.get_index(**wanted)
    with pytest.raises(ImplementationError, match="not unique"):
        cls.get_field("g").get_unique_index()


async def test_wrong_maintenance_calls_are_refused(call, database):
    cls = model_of(database, f=fields.StringField(indexable=True), g=fields.StringField())
    thing = await call.create(cls, pk="1", f="x", g="y")
    for target, name in [(thing.g, "index"), (thing.f, "clear_indexes"), (cls.get_field("g"), "rebuild_indexes")]:
        with pytest.raises(ImplementationError):
            await call(target, name)
    with pytest.raises(ValueError, match="chunk_size"):
        await call(cls.get_field("f"), "clear_indexes", chunk_size=0)


async def test_maintenance_keeps_its_tenant(call, database, raw):
    router = DatabaseRouter({"one": database, "two": type(database)(**{**database.connection_settings, "db": 1})})
    cls = define(router, "M", pk=fields.PKField(), f=fields.StringField(indexable=True))
    with router.use_tenant("one"):
        thing = await call.create(cls, pk="1", f="x")
        raw.delete(":m:f:x")
        await call(cls.get_field("f"), "rebuild_indexes")
    assert raw.smembers(":m:f:x") == {"1"}
    with router.use_tenant("two"):
        await call(cls.get_field("f"), "clear_indexes", aggressive=True)
        with pytest.raises(WrongTenantError):
            await call(thing.f, "deindex")
    assert raw.smembers(":m:f:x") == {"1"}
    await router.database_for("two").aclose()
    router.database_for("two").close()
