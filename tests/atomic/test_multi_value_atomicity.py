"""Multi-value fields and their index entries change atomically: races, refused commands, faults, sizes, round trips."""

from __future__ import annotations

import asyncio

import pytest
import redis
from redis.exceptions import DataError, RedisError, ResponseError

from tenantlimpyd import fields, model
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import DoesNotExist, LimpydException, UniquenessError, WrongTenantError
from tenantlimpyd.operations import Script
from tenantlimpyd.router import DatabaseRouter
from tenantlimpyd.testing import count_commands
from tests.support.multi_value_models import assert_entries_right, everything, held, make_bag, make_folded

pytestmark = pytest.mark.slow

FULL = {
    "list_plain": ["a", "b", "a"],
    "list_indexed": ["a", "b", "a"],
    "list_unique": ["a", "b", "a"],
    "set_plain": {"a", "b"},
    "set_indexed": {"a", "b"},
    "set_unique": {"a", "b"},
    "zset_plain": {"a": 1, "b": 2},
    "zset_indexed": {"a": 1, "b": 2},
    "zset_unique": {"a": 1, "b": 2},
    "hash_plain": {"a": 1, "b": 2},
    "hash_indexed": {"a": 1, "b": 2},
}


@pytest.fixture
def bag(database):
    return make_bag(database)


async def test_creating_and_deleting_objects_with_every_kind_of_field(call, bag, raw):
    p = await call.create(bag, **FULL)
    for field, value in FULL.items():
        stored = {key: str(each) for key, each in value.items()} if field.startswith("hash") else value
        assert held(raw, f"spec:bag:1:{field}") == stored
    assert_entries_right(raw, bag)
    await call(bag.lazy_connect(1) if call.is_async else p, "delete")
    assert everything(raw) == {"spec:bag:max_pk": "1"}


async def test_string_is_one_value_and_none_stores_no_value(call, bag, raw):
    p = await call.create(
        bag, list_unique="abc", set_unique="abc", list_indexed=[], set_indexed=(), zset_indexed={}, hash_indexed={}
    )
    assert await call(p.list_unique, "lmembers") == ["abc"]
    assert await call(p.set_unique, "smembers") == {"abc"}
    assert len(raw.keys("spec:bag:1:*")) == 2
    await call.create(bag, list_unique="cba", set_unique="bac")
    assert_entries_right(raw, bag)


async def test_defaults_of_multi_value_fields_are_stored(call, database, raw):
    hosted_by = database

    class Born(model.RedisModel):
        database = hosted_by
        namespace = "spec"
        tags = fields.SetField(indexable=True, default=["new", "here"])
        log = fields.ListField(indexable=True, default="born")
        marks = fields.SortedSetField(indexable=True, default={"a": 1})
        info = fields.HashField(indexable=True, default={"name": "n"})

    await call.create(Born, log=["x"])
    assert raw.smembers("spec:born:1:tags") == {"new", "here"}
    assert raw.lrange("spec:born:1:log", 0, -1) == ["x"]
    assert raw.hgetall("spec:born:1:info") == {"name": "n"}
    assert_entries_right(raw, Born)


@pytest.mark.parametrize(
    ("field", "bad", "error"),
    [
        ("list_indexed", ["a", None], DataError),
        ("set_plain", [True], DataError),
        ("set_indexed", {"a": 1}, DataError),
        ("hash_indexed", {"a": None}, DataError),
        ("hash_plain", {None: "a"}, DataError),
        ("hash_indexed", "word", TypeError),
        ("zset_indexed", {"a": None}, DataError),
        ("zset_plain", {"a": "x"}, ResponseError),
        ("zset_indexed", {"a": 1, "b": "nan"}, ResponseError),
        ("zset_indexed", {"a": "1e999"}, ResponseError),
        ("zset_indexed", ["a"], TypeError),
        ("list_indexed", [b"\xff"], UnicodeDecodeError),
        ("list_unique", ["free", "taken"], UniquenessError),
        ("zset_unique", {"free": 1, "taken": 2}, UniquenessError),
    ],
)
async def test_object_with_a_wrong_value_is_not_created(call, bag, raw, field, bad, error):
    await call.create(bag, list_unique=["taken"], zset_unique={"taken": 1})
    before = everything(raw) | {"spec:bag:max_pk": None}
    with pytest.raises(error):
        await call.create(bag, **{"note": "n", "list_plain": ["x"], "hash_indexed": {"x": "y"}, field: bad})
    assert everything(raw) | {"spec:bag:max_pk": None} == before


async def test_creation_refused_halfway_stores_no_object(call, bag, raw):
    raw.set("spec:bag:zset_indexed:b", "in the way")
    raw.set("spec:bag:2:zset_plain", "in the way")
    for values in (FULL, {"list_plain": ["a"], "set_indexed": ["a"], "zset_plain": {"a": 1}}):
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await call.create(bag, **values)
    assert everything(raw).keys() == {"spec:bag:max_pk", "spec:bag:zset_indexed:b", "spec:bag:2:zset_plain"}


CALLS = [
    ("list", "rpush", (["bad"],)),
    ("list", "lpush", (["bad"],)),
    ("list", "rpushx", (["bad"],)),
    ("list", "lpushx", (["bad"],)),
    ("list", "lset", (0, ["bad"])),
    ("list", "linsert", ("before", "a", ["bad"])),
    ("list", "lrem", (0, ["bad"])),
    ("set", "sadd", (["bad"],)),
    ("set", "srem", (["bad"],)),
    ("zset", "zrem", (["bad"],)),
    ("zset", "zincrby", (1, ["bad"])),
    ("hash", "hset", ("new", ["bad"])),
    ("hash", "hset", (["bad"], "new")),
    ("hash", "hsetnx", ("new", ["bad"])),
    ("hash", "hdel", (["bad"],)),
    ("hash", "hincrby", (["bad"], 1)),
    ("hash", "hincrbyfloat", (["bad"], 1.0)),
]


@pytest.mark.parametrize("how", ["plain", "indexed", "unique"])
@pytest.mark.parametrize("odd", [None, True, object(), [1], 1j], ids=["None", "True", "object", "list", "complex"])
async def test_values_that_redis_can_not_store_are_refused(call, bag, raw, how, odd):
    p = await call.create(bag, **{name: value for name, value in FULL.items() if name.endswith(how)})
    fresh = bag()
    before = everything(raw)
    with count_commands() as sent:
        for kind, command, args in CALLS:
            if (kind, how) == ("hash", "unique"):
                continue
            given = [odd if arg == ["bad"] else arg for arg in args]
            for target in (p, fresh):
                with pytest.raises(DataError):
                    await call(getattr(target, f"{kind}_{how}"), command, *given)
        if not isinstance(odd, list):  # which no mapping can have as a key
            for target in (p, fresh):
                with pytest.raises(DataError):
                    await call(getattr(target, f"zset_{how}"), "zadd", {odd: 1})
    assert sent.trips == 0
    assert everything(raw) == before


@pytest.mark.parametrize("how", ["plain", "indexed", "unique"])
async def test_commands_without_values_are_refused(call, bag, raw, how):
    fresh = bag()
    with count_commands() as sent:
        for kind, command in [
            *(("list", name) for name in ("rpush", "lpush", "rpushx", "lpushx")),
            *(("set", name) for name in ("sadd", "srem")),
            *(("zset", name) for name in ("zrem", "zadd")),
            *(("hash", name) for name in ("hdel", "hmset") if how != "unique"),
        ]:
            with pytest.raises(RedisError):
                await call(getattr(fresh, f"{kind}_{how}"), command)
        for refused in ({"nx": True}, {"xx": False}, {"incr": True}):
            with pytest.raises(LimpydException):
                await call(getattr(fresh, f"zset_{how}"), "zadd", a=1, **refused)
        with pytest.raises(LimpydException):
            await call(getattr(fresh, f"zset_{how}"), "zadd", {"a": 1}, gt=True)
    assert sent.trips == 0
    assert everything(raw) == {}


@pytest.mark.parametrize(
    ("field", "command", "args"),
    [
        ("list_indexed", "lset", (99, "x")),
        ("list_indexed", "linsert", ("nowhere", "a", "x")),
        ("list_indexed", "lpop", (-1,)),
        ("set_indexed", "spop", (-1,)),
        ("zset_indexed", "zadd", ({"x": "y"},)),
        ("zset_indexed", "zincrby", ("nan", "x")),
        ("zset_indexed", "zpopmin", (-1,)),
        ("zset_indexed", "zremrangebyscore", ("x", "y")),
        ("hash_indexed", "hincrby", ("a", 2**63 - 1)),
        ("hash_indexed", "hincrbyfloat", ("w", 1.0)),
    ],
)
async def test_refused_command_changes_nothing(call, bag, raw, field, command, args):
    p = await call.create(bag, **{**FULL, "hash_indexed": {"a": 1, "w": "word"}})
    before = everything(raw)
    for target in (p, bag.lazy_connect(1)):
        with pytest.raises(ResponseError):
            await call(getattr(target, field), command, *args)
        assert everything(raw) == before


WRITES = [
    ("list", "rpush", ("x",)),
    ("list", "lpop", ()),
    ("list", "lset", (0, "x")),
    ("list", "lrem", (0, "a")),
    ("list", "ltrim", (0, 0)),
    ("set", "sadd", ("x",)),
    ("set", "srem", ("a",)),
    ("set", "spop", ()),
    ("zset", "zadd", ({"x": 1},)),
    ("zset", "zrem", ("a",)),
    ("zset", "zpopmin", ()),
    ("zset", "zincrby", (1, "x")),
    ("hash", "hset", ("a", "x")),
    ("hash", "hdel", ("a",)),
    ("hash", "hmset", ({"a": "x"},)),
]


@pytest.mark.parametrize(
    ("kind", "command", "args"), [*WRITES, *((kind, "delete", ()) for kind in ("list", "set", "zset", "hash"))]
)
async def test_key_of_another_type_is_not_changed(call, bag, raw, kind, command, args):
    p = await call.create(bag, note="n")
    raw.set(f"spec:bag:1:{kind}_indexed", "in the way")
    before = everything(raw)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await call(getattr(p, f"{kind}_indexed"), command, *args)
    assert everything(raw) == before


@pytest.mark.parametrize(("kind", "command", "args"), WRITES)
async def test_deleted_object_is_not_written(call, bag, raw, kind, command, args):
    await call.create(bag, **FULL)
    lazy, gone = bag.lazy_connect(1), await call(bag, "get", 1)
    await call(bag.lazy_connect(1), "delete")
    for target in (lazy, gone):
        with pytest.raises(DoesNotExist):
            await call(getattr(target, f"{kind}_indexed"), command, *args)
    assert everything(raw) == {"spec:bag:max_pk": "1"}


@pytest.mark.parametrize(
    ("field", "command", "args"),
    [
        ("list_unique", "rpush", ("mine", "taken")),
        ("list_unique", "lpush", ("taken",)),
        ("list_unique", "rpushx", ("taken",)),
        ("list_unique", "lset", (0, "taken")),
        ("list_unique", "linsert", ("after", "z", "taken")),
        ("set_unique", "sadd", ("new", "taken")),
        ("zset_unique", "zadd", ({"new": 1, "taken": 1},)),
        ("zset_unique", "zincrby", (1, "taken")),
    ],
)
async def test_used_unique_value_is_refused_and_nothing_is_written(call, bag, raw, field, command, args):
    await call.create(bag, list_unique=["taken"], set_unique=["taken"], zset_unique={"taken": 1})
    p = await call.create(bag, list_unique=["z", "y"], set_unique=["z"], zset_unique={"z": 1})
    before = everything(raw)
    with pytest.raises(UniquenessError, match=rf"'taken' .* '{field}' .* pk '1'"):
        await call(getattr(p, field), command, *args)
    assert everything(raw) == before


async def test_unique_values_of_the_object_itself_are_accepted(call, bag, raw):
    p = await call.create(bag, list_unique=["z"], set_unique=["z"], zset_unique={"z": 1})
    assert await call(p.list_unique, "rpush", "z", "z") == 3
    assert await call(p.set_unique, "sadd", "z") == 0
    assert await call(p.zset_unique, "zadd", {"z": 5}) == 0
    await call(p.list_unique, "rpop")
    assert_entries_right(raw, bag)


@pytest.mark.parametrize("kind", ["list", "set", "zset", "hash"])
async def test_more_values_than_one_lua_call_accepts(call, bag, raw, kind):
    many = [f"v{number}" for number in range(9001)]
    pairs = dict.fromkeys(many, 1)
    p = await call.create(bag, **{f"{kind}_indexed": pairs if kind in ("zset", "hash") else many})
    assert len(held(raw, f"spec:bag:1:{kind}_indexed")) == 9001
    assert len(raw.keys(f"spec:bag:{kind}_indexed:*")) == 9001
    value = getattr(p, f"{kind}_indexed")
    others = [f"w{number}" for number in range(9001)]
    if kind == "list":
        assert await call(value, "rpush", *others) == 18002
        assert await call(value, "ltrim", 0, 0) is True
        assert raw.keys(f"spec:bag:{kind}_indexed:*") == ["spec:bag:list_indexed:v0"]
    if kind == "set":
        assert await call(value, "sadd", *others) == 9001
        assert await call(value, "srem", *many) == 9001
        assert len(await call(value, "spop", 8500)) == 8500
    if kind == "zset":
        with pytest.raises(ResponseError):
            await call(value, "zadd", {**dict.fromkeys(others, 2), "last": "no number"})
        assert await call(value, "zcard") == 9001
        assert await call(value, "zadd", dict.fromkeys(others, 2)) == 9001
        assert await call(value, "zrem", *many) == 9001
        assert len(await call(value, "zpopmin", 8500)) == 8500
    if kind == "hash":
        assert await call(value, "hmset", dict.fromkeys(others, 2)) is True
        assert await call(value, "hdel", *many) == 9001
        assert await call(value, "hlen") == 9001
    assert_entries_right(raw, bag)
    await call(p, "delete")
    assert everything(raw) == {"spec:bag:max_pk": "1"}


@pytest.mark.parametrize("kind", ["list", "set", "zset", "hash"])
async def test_bytes_that_are_not_text_are_refused_and_kept(call, bag, raw, flushed_server, kind):
    p = await call.create(bag, note="n")
    key, value = f"spec:bag:1:{kind}_indexed", getattr(p, f"{kind}_indexed")
    match kind:
        case "list":
            raw.rpush(key, b"\xff")
            failing = [("lpop", ()), ("ltrim", (1, 0)), ("lset", (0, "a")), ("rpush", (b"\xff",)), ("delete", ())]
        case "set":
            raw.sadd(key, b"\xff")
            failing = [("spop", ()), ("spop", (2,)), ("sadd", (b"\xff",)), ("srem", (b"\xff",)), ("delete", ())]
        case "zset":
            raw.zadd(key, {b"\xff": 1})
            failing = [("zpopmin", ()), ("zremrangebyrank", (0, 0)), ("zadd", ({b"\xff": 2},)), ("delete", ())]
        case _:
            raw.hset(key, "a", b"\xff")
            failing = [
                ("hset", ("a", "b")),
                ("hdel", ("a",)),
                ("hset", (b"\xff", "b")),
                ("hset", ("c", b"\xff")),
                ("delete", ()),
            ]
    with redis.Redis(**flushed_server.settings) as undecoded:
        before = {name: undecoded.dump(name) for name in undecoded.scan_iter()}
        for command, args in failing:
            with pytest.raises(UnicodeDecodeError):
                await call(value, command, *args)
            assert {name: undecoded.dump(name) for name in undecoded.scan_iter()} == before
    assert await call(value, "exists", *(["a"] if kind == "hash" else [])) is True


def racing(database, change):
    """Let another client write once, right before the next script is sent."""
    run, waiting = database.run, [change]

    def spied(operation):
        def steps():
            reply, error = None, None
            while True:
                try:
                    step = operation.throw(error) if error else operation.send(reply)
                except StopIteration as done:
                    return done.value
                if isinstance(step, Script) and waiting:
                    waiting.pop()()
                error = None
                try:
                    reply = yield step
                except RedisError as raised:
                    error = raised

        return steps()

    database.run = lambda operation, *rest: run(spied(operation), *rest)
    arun = database.arun
    database.arun = lambda operation, *rest: arun(spied(operation), *rest)
    return waiting


@pytest.mark.parametrize(
    ("field", "command", "args", "other", "other_args"),
    [
        ("list_indexed", "lpop", (), "lpush", ("new",)),
        ("list_indexed", "lset", (0, "x"), "lpush", ("new",)),
        ("list_indexed", "ltrim", (0, 0), "lpush", ("new", "newer")),
        ("list_indexed", "delete", (), "rpush", ("new",)),
        ("set_indexed", "spop", (2,), "srem", ("a",)),
        ("set_indexed", "delete", (), "sadd", ("new",)),
        ("set_indexed", "srem", ("a", "new"), "sadd", ("new",)),
        ("zset_indexed", "zpopmin", (), "zadd", ({"new": -1},)),
        ("zset_indexed", "zremrangebyscore", (0, 9), "zadd", ({"new": 1},)),
        ("hash_indexed", "hset", ("a", "x"), "hset", ("a", "new")),
        ("hash_indexed", "hincrby", ("a", 1), "hset", ("a", "41")),
        ("hash_indexed", "delete", (), "hmset", ({"a": "new", "c": "d"},)),
        ("hash_indexed", "hdel", ("a", "c"), "hset", ("c", "d")),
    ],
)
@pytest.mark.parametrize("warm", [True, False])
async def test_write_of_another_client_in_between_keeps_the_index_right(
    call, bag, database, raw, field, command, args, other, other_args, warm
):
    p = await call.create(bag, **FULL)
    if warm and field == "hash_indexed":
        await call(p.hash_indexed, "hget", "a")
    async with RedisDatabase(**database.connection_settings) as elsewhere:
        same = make_bag(elsewhere).lazy_connect(1)
        waiting = racing(database, lambda: getattr(getattr(same, field), other)(*other_args))
        await call(getattr(p, field), command, *args)
        assert not waiting
        elsewhere.close()
    assert_entries_right(raw, bag)
    if command == "hincrby":
        assert raw.hget("spec:bag:1:hash_indexed", "a") == "42"


async def test_concurrent_writes_keep_content_and_index_consistent(bag, raw):
    await bag.acreate(**FULL)

    async def work(number):
        p = bag.lazy_connect(1)
        for turn in range(6):
            value = f"{(number + turn) % 5}"
            await p.list_indexed.arpush(value, "a")
            await p.list_indexed.alpop(2)
            await p.list_indexed.altrim(0, 5)
            await p.set_indexed.asadd(value, "q")
            await p.set_indexed.aspop()
            await p.zset_indexed.azadd({value: number})
            await p.zset_indexed.azpopmax()
            await p.hash_indexed.ahincrby("a")
            await p.hash_indexed.ahset(value, number)
            await p.hash_indexed.ahdel(str(number))

    await asyncio.gather(*(work(number) for number in range(6)))
    assert_entries_right(raw, bag)
    assert raw.hget("spec:bag:1:hash_indexed", "a") == "37"


async def test_similar_subkeys_and_values_have_separate_entries(call, bag, raw):
    p = await call.create(bag, hash_indexed={"a:b": "c", "a": "b:c"})
    assert_entries_right(raw, bag)
    for target, command, args in [
        (p, "hdel", ("a",)),
        (p, "hset", ("a", "b:c")),
        (bag.lazy_connect(1), "hset", ("a:b", "d")),
        (bag.lazy_connect(1), "hmset", ({"a:b": "c", "a": "x"},)),
        (bag.lazy_connect(1), "hdel", ("a:b",)),
    ]:
        await call(target.hash_indexed, command, *args)
        assert_entries_right(raw, bag)


async def test_round_trips_of_multi_value_commands(call, bag, database):
    p = await call.create(bag, **FULL)
    await call(p.list_indexed, "rpush", "warm")
    await call(p.hash_plain, "hset", "warm", 1)

    async def round_trips(expected, target, command, *args):
        with count_commands() as sent:
            await call(target, command, *args)
        assert sent.trips == expected, (command, sent)

    for how in ("indexed", "unique"):
        await round_trips(1, getattr(p, f"list_{how}"), "rpush", "x", "y")
        await round_trips(1, getattr(p, f"list_{how}"), "lrem", 0, "x")
        await round_trips(2, getattr(p, f"list_{how}"), "lpop")
        await round_trips(2, getattr(p, f"list_{how}"), "ltrim", 0, 1)
        await round_trips(1, getattr(p, f"set_{how}"), "sadd", "x", "y")
        await round_trips(1, getattr(p, f"set_{how}"), "srem", "x")
        await round_trips(2, getattr(p, f"set_{how}"), "spop")
        await round_trips(1, getattr(p, f"zset_{how}"), "zadd", {"x": 1})
        await round_trips(2, getattr(p, f"zset_{how}"), "zpopmin")
    await round_trips(2, p.hash_indexed, "hset", "a", "x")
    await round_trips(1, p.hash_indexed, "hset", "a", "y")
    await round_trips(1, p.hash_indexed, "hset", "new", "y")
    await round_trips(1, p.hash_indexed, "hincrby", "n", 2)
    await round_trips(1, p.hash_plain, "hmset", {"a": 1})
    await round_trips(1, p.list_plain, "lpop")
    await round_trips(2, p, "delete")
    q = await call.create(bag, **FULL)
    await round_trips(2, bag.lazy_connect(q._pk), "delete")


async def test_post_command_gets_each_command(call, database):
    hosted_by, noted = database, []

    class Hooked(model.RedisModel):
        database = hosted_by
        note = fields.StringField()
        lp = fields.ListField()
        li = fields.ListField(indexable=True)
        sp = fields.SetField()
        si = fields.SetField(indexable=True)
        zp = fields.SortedSetField()
        zi = fields.SortedSetField(indexable=True)
        hp = fields.HashField()
        hi = fields.HashField(indexable=True)

        def post_command(self, sender, name, result, args, kwargs):
            noted.append((name, result, args))
            return result if name == "set" else ("hooked", result)

    p = await call.create(Hooked, note="n")
    for kind, command, args, seen in [
        ("l", "rpush", ("a", "b", "a"), ("rpush", 3, ("a", "b", "a"))),
        ("l", "lmembers", (), ("lrange", ["a", "b", "a"], (0, -1))),
        ("l", "lrank", ("b",), ("lrank", 1, ("b",))),
        ("l", "lcontains", ("b",), ("lcontains", True, ("b",))),
        ("l", "lcount", ("a",), ("lcount", 2, ("a",))),
        ("l", "lset", (0, "c"), ("lset", True, (0, "c"))),
        ("l", "lrem", (1, "c"), ("lrem", 1, (1, "c"))),
        ("l", "lmove", ("LEFT", "RIGHT"), ("lmove", "b", ("LEFT", "RIGHT"))),
        ("l", "rpop", (), ("rpop", "b", ())),
        ("l", "ltrim", (0, 3), ("ltrim", True, (0, 3))),
        ("l", "delete", (), ("delete", 1, ())),
        ("s", "sadd", ("a",), ("sadd", 1, ("a",))),
        ("s", "sismember", ("a",), ("sismember", True, ("a",))),
        ("s", "smembers", (), ("smembers", {"a"}, ())),
        ("s", "spop", (1,), ("spop", ["a"], (1,))),
        ("s", "delete", (), ("delete", 0, ())),
        ("z", "zadd", ({"a": 1, "b": 2},), ("zadd", 2, ({"a": 1, "b": 2},))),
        ("z", "zmembers", (), ("zrange", ["a", "b"], (0, -1))),
        ("z", "zpopmin", (), ("zpopmin", [("a", 1.0)], ())),
        ("z", "zincrby", (1, "b"), ("zincrby", 3.0, (1, "b"))),
        ("h", "hmset", ({"a": 1},), ("hmset", True, ({"a": 1},))),
        ("h", "hget", ("a",), ("hget", "1", ("a",))),
        ("h", "hset", ("a", 2), ("hset", 0, ("a", 2))),
        ("h", "hincrby", ("a",), ("hincrby", 3, ("a", 1))),
        ("h", "hsetnx", ("a", 2), ("hsetnx", False, ("a", 2))),
        ("h", "hdel", ("a",), ("hdel", 1, ("a",))),
        ("h", "delete", (), ("delete", 0, ())),
    ]:
        for how in ("p", "i"):
            noted.clear()
            assert await call(getattr(p, kind + how), command, *args) == ("hooked", seen[1])
            assert noted == [seen], how


@pytest.mark.parametrize("kind", ["set", "zset", "hash"])
async def test_value_scan_reads_page_by_page(call, bag, raw, kind):
    given = {f"v{number}": number for number in range(700)}
    p = await call.create(bag, **{f"{kind}_indexed": list(given) if kind == "set" else given})
    value, scan = getattr(p, f"{kind}_indexed"), {"set": "sscan", "zset": "zscan", "hash": "hscan"}[kind]
    scanning = getattr(value, f"a{scan}" if call.is_async else scan)
    wanted = {
        "set": set(given),
        "zset": {(key, float(score)) for key, score in given.items()},
        "hash": {(key, str(each)) for key, each in given.items()},
    }[kind]
    assert set(await call.list(scanning())) == wanted
    with count_commands() as sent:
        assert set(await call.list(scanning(count=10))) == wanted
    assert sent.trips > 5
    matching = await call.list(scanning("v1?", 100))
    assert len(set(matching)) == 10
    with pytest.raises(DoesNotExist):
        getattr(getattr(bag(), f"{kind}_indexed"), scan)()


@pytest.mark.parametrize("kind", ["set", "zset", "hash"])
async def test_value_scan_keeps_its_tenant(call, flushed_server, kind):
    router = DatabaseRouter(
        {name: RedisDatabase(**flushed_server.settings, db=n) for name, n in (("acme", 1), ("globex", 2))}
    )
    routed = make_bag(router)
    given = {f"v{number}": number for number in range(3000)}
    scan = {"set": "sscan", "zset": "zscan", "hash": "hscan"}[kind]
    with router.use_tenant("acme"):
        p = await call.create(routed, **{f"{kind}_plain": list(given) if kind == "set" else given})
        start = getattr(getattr(p, f"{kind}_plain"), f"a{scan}" if call.is_async else scan)
        begun, another = start(count=10), start(count=10)
        await anext(begun) if call.is_async else next(begun)
    assert len(set(await call.list(another))) == 3000
    with router.use_tenant("globex"):
        with pytest.raises(WrongTenantError):
            start()
        with pytest.raises(WrongTenantError):
            await call.list(begun)
    await router.aclose()
    router.close()


async def test_getdel_and_getex_of_strings(call, person, raw):
    p = await call.create(person, name="a", note="b", email="e")
    assert await call(p.note, "getex", ex=3600) == "b"
    assert 3500 < raw.ttl("spec:person:1:note") <= 3600
    assert await call(p.note, "getex", persist=True) == "b"
    assert raw.ttl("spec:person:1:note") == -1
    assert await call(p.name, "getex") == "a"
    for options in ({"ex": 1}, {"px": 1}, {"exat": 1}, {"pxat": 1}):
        with pytest.raises(LimpydException, match="index entries"):
            await call(p.name, "getex", **options)
    with pytest.raises(DataError):
        await call(p.note, "getex", ex=1, px=1)
    for field, value in (("note", "b"), ("name", "a"), ("email", "e")):
        target = getattr(p if call.is_async else person.lazy_connect(1), field)
        assert await call(target, "getdel") == value
        assert await call(target, "getdel") is None
    assert everything(raw) == {"spec:person:max_pk": "1", "spec:person:collection": {"1"}}


async def test_remaining_values_of_an_old_object_do_not_prevent_creation(call, database, raw):
    folded = make_folded(database)
    raw.rpush("spec:folded:1:list_indexed", "left")
    p = await call.create(folded, list_indexed=["New"])
    assert await call(p.list_indexed, "delete") == 1
    assert_entries_right(raw, folded, folded=True)


async def test_pop_of_values_that_share_an_index_entry(call, database, raw):
    folded = make_folded(database)
    p = await call.create(folded, set_indexed=["a", "A", "b", "B"])
    popped = [await call(p.set_indexed, "spop"), *(await call(p.set_indexed, "spop", 2))]
    assert {*popped} | raw.smembers("spec:folded:1:set_indexed") == {"a", "A", "b", "B"}
    assert len({*popped}) == 3
    assert_entries_right(raw, folded, folded=True)
    assert len(await call(p.set_indexed, "spop", 9)) == 1
    assert await call(p.set_indexed, "spop") is None
    assert_entries_right(raw, folded, folded=True)
