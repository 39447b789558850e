"""post_command and other methods that applications override."""

from __future__ import annotations

import pytest

from tenantlimpyd import fields, model
from tests.support.models import assert_indexes_right, keyspace


@pytest.fixture
def noted():
    return []


@pytest.fixture
def hooked(database, noted):
    hosted_by = database

    class Shouting(fields.StringField):
        def post_command(self, sender, name, result, args, kwargs):
            result = super().post_command(sender, name, result, args, kwargs)
            return result.upper() if isinstance(result, str) else result

    class Hooked(model.RedisModel):
        database = hosted_by
        name = fields.StringField(indexable=True)
        note = fields.StringField()
        loud = Shouting(indexable=True)
        city = fields.InstanceHashField(indexable=True)
        age = fields.InstanceHashField()

        def post_command(self, sender, name, result, args, kwargs):
            noted.append((getattr(sender, "name", "self") if sender is not self else "self", name, result, tuple(args)))
            return result

    return Hooked


async def test_post_command_gets_each_command_with_its_result(call, hooked, noted):
    p = await call.create(hooked, note="x")
    for target, command, args, kwargs, seen in [
        (p.name, "set", ("a",), {}, ("name", "set", True, ("a",))),
        (p.note, "set", ("a",), {}, ("note", "set", True, ("a",))),
        (p.name, "get", (), {}, ("name", "get", "a", ())),
        (p.name, "append", ("b",), {}, ("name", "append", 2, ("b",))),
        (p.note, "getrange", (0, 0), {}, ("note", "getrange", "a", (0, 0))),
        (p.name, "delete", (), {}, ("name", "delete", 1, ())),
        (p.note, "delete", (), {}, ("note", "delete", 1, ())),
        (p.name, "setnx", ("5",), {}, ("name", "setnx", True, ("5",))),
        (p.name, "incr", (2,), {}, ("name", "incrby", 7, (2,))),
        (p.note, "incr", (2,), {}, ("note", "incrby", 2, (2,))),
        (p.name, "incrbyfloat", (0.5,), {}, ("name", "incrbyfloat", 7.5, (0.5,))),
        (p.city, "hset", ("c",), {}, ("city", "hset", 1, ("city", "c"))),
        (p.age, "hset", (1,), {}, ("age", "hset", 1, ("age", 1))),
        (p.city, "hsetnx", ("c",), {}, ("city", "hsetnx", False, ("city", "c"))),
        (p.age, "hsetnx", (1,), {}, ("age", "hsetnx", False, ("age", 1))),
        (p.city, "hget", (), {}, ("city", "hget", "c", ("city",))),
        (p.city, "hdel", (), {}, ("city", "hdel", 1, ("city",))),
        (p.age, "hdel", (), {}, ("age", "hdel", 1, ("age",))),
        (p, "hmset", (), {"city": "d", "age": 2}, ("self", "hmset", True, ({"city": "d", "age": 2},))),
        (p, "hmset", (), {"age": 2}, ("self", "hmset", True, ({"age": 2},))),
        (p, "hmget", ("city",), {}, ("self", "hmget", ["d"], ("city",))),
        (p, "hdel", ("city", "age"), {}, ("self", "hdel", 2, ("city", "age"))),
    ]:
        noted.clear()
        await call(target, command, *args, **kwargs)
        assert noted == [seen]


async def test_post_command_is_not_called_for_existence_pks_and_deletion(call, hooked, noted):
    p = await call.create(hooked, note="x")
    await call(p.pk, "get")
    await call(p.note, "exists")
    await call(p.age, "hexists")
    await call(p, "delete")
    assert noted == []


async def test_post_command_replaces_the_result_but_not_the_known_value(call, hooked, raw):
    p = await call.create(hooked, loud="abc")
    assert await call(p.loud, "get") == "ABC"
    assert await call(p.loud, "getset", "def") == "ABC"
    assert await call(p.loud, "get") == "DEF"
    await call(p.loud, "append", "g")
    assert raw.get(":hooked:1:loud") == "defg"
    assert raw.smembers(":hooked:loud:defg") == {"1"}
    await call(p, "delete")
    assert keyspace(raw) == {":hooked:max_pk": "1"}


async def test_overridden_init_runs_for_found_objects_too(call, database):
    hosted_by = database

    class Own(model.RedisModel):
        database = hosted_by
        name = fields.StringField(indexable=True)

        def __init__(self, *args, **kwargs):
            self.extra = []
            super().__init__(*args, **kwargs)

    await call.create(Own, name="a")
    for found in (
        await call(Own, "get", 1),
        (await call(Own, "get_or_connect", name="a"))[0],
        Own.lazy_connect(1),
        *(await call.list(Own.instances(name="a"))),
    ):
        assert found.extra == []
        assert await call(found.name, "get") == "a"


async def test_post_command_may_return_any_type(call, database, raw):
    hosted_by = database

    class Parsed(model.RedisModel):
        database = hosted_by
        numbers = fields.StringField(indexable=True)
        city = fields.InstanceHashField(unique=True)

        def post_command(self, sender, name, result, args, kwargs):
            return {"parsed": result} if name in ("get", "hget") else result

    await call.create(Parsed, numbers="1,2", city="Rome")
    p = await call(Parsed, "get", 1)
    assert await call(p.numbers, "get") == {"parsed": "1,2"}
    assert await call(p.city, "hget") == {"parsed": "Rome"}
    await call(p.numbers, "append", ",3")
    await call(p.city, "hset", "Oslo")
    assert_indexes_right(raw, Parsed)
    await call(p.numbers, "get")
    await call(p.city, "hget")
    await call(p, "delete")
    assert keyspace(raw) == {":parsed:max_pk": "1"}
