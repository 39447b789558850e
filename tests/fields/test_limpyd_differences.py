"""Differences from limpyd: fields and their indexes."""

from __future__ import annotations

import pytest
from redis.exceptions import DataError, ResponseError

from tenantlimpyd import fields
from tenantlimpyd.contrib.indexes import EqualIndexWith, ScoredEqualIndex
from tenantlimpyd.exceptions import ImplementationError, UniquenessError
from tenantlimpyd.indexes import EqualIndex, NumberRangeIndex
from tenantlimpyd.testing import count_commands
from tests.support.models import keyspace


def everything(raw):
    return {key: raw.dump(key) for key in raw.scan_iter()}


@pytest.mark.pitfall(4)
async def test_list_keeps_its_index_entry_until_the_last_copy_is_removed(call, made):
    thing = made(values=fields.ListField(indexable=True))
    p = await call.create(thing, values=["x", "y", "x"])
    await call(p.values, "rpop")
    assert list(thing.collection(values="x")) == ["1"]
    await call(p.values, "lpop")
    assert list(thing.collection(values="x")) == []


@pytest.mark.pitfall(5)
async def test_failed_command_keeps_existing_entries(call, made, raw):
    thing = made(values=fields.ListField(unique=True))
    await call.create(thing, values=["taken"])
    p = await call.create(thing, values=["z"])
    before = everything(raw)
    with pytest.raises(UniquenessError):
        await call(p.values, "rpush", "z", "taken")
    assert everything(raw) == before
    assert list(thing.collection(values="z")) == ["2"]


@pytest.mark.parametrize(
    ("command", "argument", "before", "after"),
    [("hincrby", 2, "5", "7"), ("hincrbyfloat", 0.5, "5", "5.5"), ("hsetnx", "new", None, "new")],
)
@pytest.mark.pitfall(6)
async def test_index_follows_each_command(call, made, command, argument, before, after):
    thing = made(f=fields.InstanceHashField(unique=True), note=fields.StringField())
    p = await call.create(thing, note="n", **({} if before is None else {"f": before}))
    await call(p.f, command, argument)
    assert list(thing.collection(f=after)) == ["1"]
    assert before is None or list(thing.collection(f=before)) == []
    with pytest.raises(UniquenessError):
        await call.create(thing, f=after)


@pytest.mark.pitfall(7)
async def test_removed_value_of_a_scored_unique_field_can_be_used_again(call, made):
    index = ScoredEqualIndex.configure(score_field="score")
    thing = made(f=fields.InstanceHashField(unique=True, indexes=[index]), score=fields.InstanceHashField())
    p = await call.create(thing, f="U", score=1)
    with pytest.raises(UniquenessError):
        await call.create(thing, f="U", score=2)
    await call(p.f, "hdel")
    q = await call.create(thing, f="U", score=2)
    assert list(thing.collection(f="U")) == [q._pk]


@pytest.mark.pitfall(13)
async def test_text_is_one_value_of_a_multi_value_field(call, made):
    thing = made(values=fields.ListField(unique=True), more=fields.SetField(unique=True))
    await call.create(thing, values=["a"], more=["b"])
    p = await call.create(thing, values="abc", more="abc")
    assert (await call(p.values, "lmembers"), await call(p.more, "smembers")) == (["abc"], {"abc"})
    with pytest.raises(UniquenessError):
        await call.create(thing, values="a")


@pytest.mark.pitfall(20)
async def test_failing_command_keeps_manually_added_entries(call, made):
    thing = made(values=fields.SetField(indexable=True))
    p = await call.create(thing, values=["a"])
    await call(p.values, "index", ["by hand"])
    await call(thing.get_field("values"), "rebuild_indexes")
    with pytest.raises(DataError):
        await call(p.values, "sadd", None)
    assert list(thing.collection(values="by hand")) == list(thing.collection(values="a")) == ["1"]


@pytest.mark.pitfall(31)
def test_unknown_field_options_are_refused():
    with pytest.raises(TypeError):
        fields.StringField(indexeable=True)
    with pytest.raises(TypeError):
        fields.StringField(True)


@pytest.mark.pitfall(34)
async def test_key_layout_equals_limpyd_without_losing_data(call, made, raw):
    thing = made(h=fields.HashField(indexable=True))
    p = await call.create(thing, h={"a:b": "c", "a": "b:c"})
    assert list(thing.collection(h__a="b:c")) == ["1"]
    await call(p.h, "hdel", "a:b")
    assert list(thing.collection(h__a="b:c")) == ["1"]
    coded = made("Coded", code=fields.PKField(), name=fields.StringField(indexable=True))
    await call.create(coded, code="a*", name="x")
    await call.create(coded, code="ab", name="x")
    assert await call.scan(coded("a*"), "scan_keys") == {"p:coded:a*:name"}
    clash = made("Clash", code=fields.PKField(), name=fields.StringField(indexable=True), color=fields.StringField())
    p = await call.create(clash, code="name", color="red")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await call(p.name, "set", "color")  # its index entry would have to go where a value is
    assert (await call(p.name, "get"), await call(p.color, "get")) == (None, "red")


@pytest.mark.pitfall(38)
async def test_any_name_may_be_a_subkey_or_member(call, made):
    names = ["name", "command", "self", "value", "key"]
    thing = made(h=fields.HashField(indexable=True), z=fields.SortedSetField(indexable=True))
    p = await call.create(thing, h=dict.fromkeys(names, "x"), z=dict.fromkeys(names, 1))
    await call(p.h, "hmset", **dict.fromkeys(names, "y"))
    await call(p.z, "zadd", **dict.fromkeys(names, 2))
    assert await call(p.h, "hgetall") == dict.fromkeys(names, "y")
    assert await call(p.z, "zrange", 0, -1, withscores=True) == [(name, 2.0) for name in sorted(names)]


@pytest.mark.pitfall(40)
def test_multi_field_indexes_are_inherited_and_reusable(made, database):
    scored = ScoredEqualIndex.configure(score_field="score")
    together = EqualIndexWith.configure(other_fields=["score"], unique=True)
    body = {"score": fields.InstanceHashField()}
    first = made("First", f=fields.StringField(indexable=True, indexes=[scored, together]), **body)
    second = made("Second", f=fields.StringField(indexable=True, indexes=[scored, together]), **body)
    child = type(first)("Child", (first,), {"namespace": "p"})
    for each in (first, second, child):
        assert each(f="x", score=3).f.get() == "x"
        assert list(each.collection(f="x")) == ["1"]
        with pytest.raises(UniquenessError):
            each(f="x", score=3)


@pytest.mark.pitfall(42)
async def test_writing_an_equal_number_does_not_change_the_index(call, made, raw):
    thing = made(f=fields.StringField(indexable=True))
    p = await call.create(thing, f=12)
    user = f"p42-{call.is_async}".lower()
    raw.acl_setuser(user, enabled=True, nopass=True, keys=["*"], commands=["+@all", "-srem"])
    try:
        thing.database.connect(**{**thing.database.connection_settings, "username": user, "password": "any"})
        with count_commands(thing.database) as counted:
            await call(p.f, "set", 12)
        assert counted.trips == 1
        assert await call(p.f, "get") == "12"
    finally:
        raw.acl_deluser(user)


@pytest.mark.pitfall(43)
async def test_popping_several_of_an_indexed_list(call, made):
    thing = made(values=fields.ListField(indexable=True))
    p = await call.create(thing, values=["a", "b", "c", "d"])
    assert await call(p.values, "lpop", 2) == ["a", "b"]
    assert await call(p.values, "rpop", 1) == ["d"]
    assert [list(thing.collection(values=value)) for value in "abcd"] == [[], [], ["1"], []]


@pytest.mark.pitfall(46)
async def test_error_in_a_transform_propagates(call, made, raw):
    def transform(_index, value):
        raise TypeError(f"not {value}: argument")

    thing = made(f=fields.StringField(indexable=True, indexes=[EqualIndex.configure(transform=transform)]))
    with pytest.raises(TypeError, match="not x"):
        await call.create(thing, f="x")
    assert keyspace(raw).keys() <= {"p:thing:max_pk"}


@pytest.mark.pitfall(47)
async def test_numbers_are_found_and_values_that_are_not_numbers_are_not_unique(call, made):
    thing = made(
        hours=fields.SetField(indexable=True, indexes=[NumberRangeIndex]),
        one=fields.StringField(unique=True, indexes=[NumberRangeIndex]),
    )
    p = await call.create(thing, hours=[3, 5])
    assert [list(thing.collection(hours=number)) for number in (3, 4, 5)] == [["1"], [], ["1"]]
    await call(p.hours, "srem", 3)
    assert [list(thing.collection(hours=number)) for number in (3, 5)] == [[], ["1"]]
    with pytest.raises(ValueError, match="number"):
        await call(p.one, "set", "none")


@pytest.mark.pitfall(50)
def test_index_of_the_exact_class_is_preferred(made):
    class Own(EqualIndex):
        key = "own"

    thing = made(f=fields.StringField(indexable=True, indexes=[Own, EqualIndex]))
    field = thing.get_field("f")
    assert type(field.get_index(index_class=EqualIndex)) is EqualIndex
    assert type(field.get_index(index_class=Own)) is Own
    with pytest.raises(ValueError, match="2 indexes"):
        field.get_index()


@pytest.mark.parametrize("value", [True, None, [], object()])
@pytest.mark.pitfall(54)
async def test_unsendable_value_sends_no_command(call, made, value):
    thing = made(f=fields.StringField(indexable=True), g=fields.InstanceHashField(), s=fields.SetField(indexable=True))
    p = await call.create(thing, f="x")
    with count_commands(thing.database) as counted:
        for field, command in ((p.f, "set"), (p.g, "hset"), (p.s, "sadd")):
            with pytest.raises(DataError):
                await call(field, command, value)
    assert counted.trips == 0
    assert list(thing.collection(f="x")) == ["1"]


@pytest.mark.pitfall(56)
async def test_aggressive_clear_deletes_no_value(call, numbered):
    p = await call.create(numbered, code="f", f="kept")
    await call(numbered.get_field("f"), "clear_indexes", aggressive=True)
    assert await call(p.f, "get") == "kept"
    assert list(numbered.collection(f="kept")) == []


@pytest.mark.pitfall(57)
def test_index_prefix_is_part_of_the_filter(made):
    index = EqualIndexWith.configure(prefix="pp", other_fields=["b"])
    thing = made(a=fields.StringField(indexable=True, indexes=[index]), b=fields.StringField())
    thing(a=1, b=2)
    assert list(thing.collection(a__pp=1, b=2)) == ["1"]
    with pytest.raises(ImplementationError):
        thing.collection(a=1, b=2)
