"""Every command of InstanceHashField, and of objects on the hash that such fields share."""

from __future__ import annotations

import pytest

from tenantlimpyd.exceptions import DoesNotExist, UniquenessError
from tests.support.models import assert_indexes_right, keyspace

HASH = "spec:person:1:hash"

STEPS = [
    # command, arguments, reply, value afterwards
    ("hget", (), None, None),
    ("hexists", (), False, None),
    ("hsetnx", ("a",), True, "a"),
    ("hsetnx", ("b",), False, "a"),
    ("hset", ("b",), 0, "b"),
    ("proxy_set", ("c",), 0, "c"),
    ("proxy_get", (), "c", "c"),
    ("hexists", (), True, "c"),
    ("exists", (), True, "c"),
    ("hdel", (), 1, None),
    ("hdel", (), 0, None),
    ("delete", (), 0, None),
    ("hset", (5,), 1, "5"),
    ("hset", (5,), 0, "5"),
    ("hincrby", (2,), 7, "7"),
    ("hincrby", (), 8, "8"),
    ("hincrby", (-10,), -2, "-2"),
    ("hincrbyfloat", (0.5,), -1.5, "-1.5"),
    ("hincrbyfloat", (), -0.5, "-0.5"),
    ("hincrbyfloat", (3e20,), 3e20, "300000000000000000000"),
    ("delete", (), 1, None),
    ("hincrby", (3,), 3, "3"),
    ("hset", ("",), 0, ""),
]


@pytest.mark.parametrize("field", ["age", "city", "badge"])
@pytest.mark.parametrize("forgetful", [False, True], ids=["one handle", "a new handle each time"])
async def test_each_command_does_what_redis_does_and_the_index_follows(call, person, raw, field, forgetful):
    p = await call.create(person, note="x")
    for command, args, reply, value in STEPS:
        if forgetful:
            p = await call(person, "get", 1)
        assert await call(getattr(p, field), command, *args) == reply, command
        assert raw.hget(HASH, field) == value, command
        assert_indexes_right(raw, person)


async def test_amount_must_be_a_whole_number(call, person):
    p = await call.create(person, age=1, city=1)
    for field in (p.age, p.city):
        for amount in (1.5, "1", True):
            with pytest.raises(TypeError, match="whole number"):
                await call(field, "hincrby", amount)
        assert await call(field, "hget") == "1"


async def test_instance_hash_fields_have_no_expiring_commands(person):
    with pytest.raises(AttributeError):
        _ = person(age=1).age.expire


@pytest.mark.parametrize("command", ["hset", "hsetnx"])
async def test_used_unique_value_is_refused(call, person, raw, command):
    await call.create(person, badge="taken")
    p = await call.create(person, age=1)
    with pytest.raises(UniquenessError):
        await call(p.badge, command, "taken")
    assert raw.hgetall("spec:person:2:hash") == {"age": "1"}
    assert_indexes_right(raw, person)


async def test_hash_is_read_with_all_its_fields(call, person):
    p = await call.create(person, city="Rome", age=30)
    assert await call(p, "hmget", "age", "badge", "city") == ["30", None, "Rome"]
    assert await call(p, "hgetall") == {"city": "Rome", "age": "30"}
    assert sorted(await call(p, "hkeys")) == ["age", "city"]
    assert sorted(await call(p, "hvals")) == ["30", "Rome"]
    assert await call(p, "hlen") == 2


@pytest.mark.parametrize("how", ["known", "looked up", "lazy"])
async def test_several_fields_are_written_at_once_with_their_indexes(call, person, raw, how):
    p = await call.create(person, city="Rome", badge="b1", age=1)
    if how == "looked up":
        p = await call(person, "get", 1)
    if how == "lazy":
        p = person.lazy_connect(1)
    assert await call(p, "hmset", city="Oslo", badge="b2", age=2) is True
    assert raw.hgetall(HASH) == {"city": "Oslo", "badge": "b2", "age": "2"}
    assert_indexes_right(raw, person)
    assert await call(p, "hmset", age=3) is True
    assert await call(p, "hdel", "city", "badge", "age") == 3
    assert await call(p, "hdel", "city") == 0
    assert await call(p, "hdel", "age") == 0
    assert raw.hgetall(HASH) == {}
    assert_indexes_right(raw, person)


async def test_write_of_several_values_with_a_used_one_writes_none(call, person, raw):
    await call.create(person, badge="taken")
    p = await call.create(person, city="Rome", age=1)
    before = keyspace(raw)
    with pytest.raises(UniquenessError):
        await call(p, "hmset", city="Oslo", badge="taken", age=2)
    assert keyspace(raw) == before


@pytest.mark.parametrize("command", ["hmget", "hmset", "hdel"])
async def test_only_instance_hash_fields_are_accepted(call, person, raw, command):
    p = await call.create(person, city="Rome", note="n")
    before = keyspace(raw)

    def arguments(*names):
        return ((), dict.fromkeys(names, "x")) if command == "hmset" else (names, {})

    for error, names in [
        (ValueError, ()),
        (ValueError, ("note",)),
        (ValueError, ("city", "note")),
        (ValueError, ("pk",)),
        (AttributeError, ("city", "nothing")),
    ]:
        args, kwargs = arguments(*names)
        with pytest.raises(error):
            await call(p, command, *args, **kwargs)
    assert keyspace(raw) == before


async def test_missing_lazy_object_is_not_written(call, person, raw):
    z = person.lazy_connect(999)
    for command, args, kwargs in [
        ("hmset", (), {"age": 1}),
        ("hmset", (), {"city": "x"}),
        ("hdel", ("age",), {}),
        ("hdel", ("city",), {}),
    ]:
        with pytest.raises(DoesNotExist):
            await call(z, command, *args, **kwargs)
    assert await call(z, "hgetall") == {}
    assert await call(z.age, "hget") is None
    assert keyspace(raw) == {}


@pytest.mark.parametrize("values", [{"age": 1}, {"city": "x"}])
async def test_hmset_stores_an_object_that_is_not_stored_yet(call, person, raw, values):
    p = person()
    await call(p, "hmset", **values)
    assert p.connected
    assert raw.smembers("spec:person:collection") == {"1"}
    assert raw.hgetall(HASH) == {name: str(value) for name, value in values.items()}
    assert_indexes_right(raw, person)
