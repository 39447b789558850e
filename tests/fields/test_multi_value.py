"""Every command of hash, list, set and sorted set fields returns what redis-py does, and updates the index."""

from __future__ import annotations

import datetime

import pytest

from tenantlimpyd.database import RedisDatabase
from tests.support.multi_value_models import assert_entries_right, held, make_bag

pytestmark = pytest.mark.slow

LISTS = [
    ("lrange", (0, -1), {}),
    ("llen", (), {}),
    ("rpushx", ("a",), {}),
    ("lpushx", ("a",), {}),
    ("linsert", ("before", "a", "z"), {}),
    ("lpop", (), {}),
    ("rpop", (2,), {}),
    ("lrem", (0, "a"), {}),
    ("rpush", ("a", "b", "a", 1, b"c", 2.5), {}),
    ("lpush", ("x", "y"), {}),
    ("rpushx", ("b", "q"), {}),
    ("lpushx", ("r",), {}),
    ("lindex", (1,), {}),
    ("lindex", (99,), {}),
    ("lrange", (1, -2), {}),
    ("lpos", ("a",), {}),
    ("lpos", ("nope",), {}),
    ("lpos", ("a",), {"rank": -1, "maxlen": 100}),
    ("lpos", ("a",), {"count": 0}),
    ("linsert", ("BEFORE", "b", "new"), {}),
    ("linsert", ("after", "b", "a"), {}),
    ("linsert", ("after", "nope", "never"), {}),
    ("lset", (0, "first"), {}),
    ("lset", (-1, "a"), {}),
    ("lset", (-1, "a"), {}),
    ("lrem", (1, "a"), {}),
    ("lrem", (-1, "b"), {}),
    ("lrem", (2, "nope"), {}),
    ("lpop", (), {}),
    ("rpop", (), {}),
    ("lpop", (2,), {}),
    ("rpop", (2,), {}),
    ("sort", (), {"alpha": True}),
    ("sort", (), {"alpha": True, "desc": True, "start": 0, "num": 2}),
    ("rpush", ("k", "l", "m", "k", "l"), {}),
    ("ltrim", (1, -2), {}),
    ("lrem", (0, "k"), {}),
    ("ltrim", (5, 9), {}),
    ("rpush", ("k", "k"), {}),
    ("lpop", (0,), {}),
    ("rpop", (99,), {}),
]
SETS = [
    ("smembers", (), {}),
    ("scard", (), {}),
    ("spop", (), {}),
    ("spop", (2,), {}),
    ("srandmember", (), {}),
    ("srem", ("a",), {}),
    ("sadd", ("a", "b", "a", 1, b"c", 2.5), {}),
    ("sadd", ("a", "z"), {}),
    ("scard", (), {}),
    ("sismember", ("a",), {}),
    ("sismember", ("nope",), {}),
    ("smismember", ("a", "nope", 1), {}),
    ("srem", ("a", "nope", 1), {}),
    ("smembers", (), {}),
    ("sort", (), {"alpha": True}),
    ("spop", (0,), {}),
]
SORTED_SETS = [
    ("zrange", (0, -1), {}),
    ("zpopmin", (), {}),
    ("zpopmax", (2,), {}),
    ("zrem", ("a",), {}),
    ("zadd", ({"a": 1, "b": 2.5, "c": "3", 4: 4, b"e": -1e20},), {}),
    ("zadd", ({"a": 7, "b": 2.5, "new": 1},), {"ch": True}),
    ("zadd", ({"a": 7, "other": "+inf"},), {}),
    ("zcard", (), {}),
    ("zcount", (1, "(7"), {}),
    ("zcount", ("-inf", "+inf"), {}),
    ("zscore", ("b",), {}),
    ("zscore", ("nope",), {}),
    ("zmscore", (["a", "nope"],), {}),
    ("zrank", ("a",), {}),
    ("zrank", ("nope",), {}),
    ("zrevrank", ("a",), {}),
    ("zrank", ("a",), {"withscore": True}),
    ("zrevrank", ("a",), {"withscore": True, "score_cast_func": str}),
    ("zrange", (0, -1), {"withscores": True}),
    ("zrange", (0, 1), {"desc": True}),
    ("zrange", (0, 1), {"desc": True, "withscores": True, "score_cast_func": str}),
    ("zrange", ("(1", "+inf"), {"byscore": True}),
    ("zrange", ("+inf", 1), {"byscore": True, "desc": True, "offset": 1, "num": 2}),
    ("zrevrange", (0, -1), {}),
    ("zrevrange", (0, 0), {"withscores": True}),
    ("zrangebyscore", (1, 4), {}),
    ("zrangebyscore", (1, 4), {"start": 1, "num": 1, "withscores": True}),
    ("zrevrangebyscore", (4, 1), {}),
    ("zrevrangebyscore", (4, 1), {"start": 0, "num": 1, "withscores": True}),
    ("zincrby", (2, "a"), {}),
    ("zincrby", (0.1, "fresh"), {}),
    ("zpopmin", (), {}),
    ("zpopmax", (), {}),
    ("zpopmin", (2,), {}),
    ("zpopmax", (0,), {}),
    ("zrem", ("a", "nope"), {}),
    ("zremrangebyscore", ("(2.5", 4), {}),
    ("zadd", ({"k": 0, "l": 0, "m": 0, "n": 0, "o": 0},), {}),
    ("zremrangebyscore", (1, "+inf"), {}),
    ("zlexcount", ("[l", "(n"), {}),
    ("zrangebylex", ("[l", "+"), {}),
    ("zrangebylex", ("-", "+"), {"start": 1, "num": 2}),
    ("zrevrangebylex", ("+", "(l"), {}),
    ("zrevrangebylex", ("+", "-"), {"start": 1, "num": 2}),
    ("zrange", ("-", "(n"), {"bylex": True}),
    ("sort", (), {"alpha": True}),
    ("zremrangebylex", ("[l", "[m"), {}),
    ("zremrangebyrank", (0, 0), {}),
    ("zremrangebyrank", (5, 9), {}),
    ("zpopmax", (99,), {}),
]
HASHES = [
    ("hgetall", (), {}),
    ("hdel", ("a",), {}),
    ("hset", ("a", "1"), {}),
    ("hset", ("a", "1"), {}),
    ("hset", ("a", 2), {}),
    ("hset", (b"b", b"x"), {}),
    ("hset", (5, 1.5), {}),
    ("hsetnx", ("a", "9"), {}),
    ("hsetnx", ("c", "9"), {}),
    ("hget", ("a",), {}),
    ("hget", ("nope",), {}),
    ("hmget", ("a", "nope", 5), {}),
    ("hkeys", (), {}),
    ("hvals", (), {}),
    ("hlen", (), {}),
    ("hstrlen", ("b",), {}),
    ("hexists", ("b",), {}),
    ("hexists", ("nope",), {}),
    ("hincrby", ("a",), {}),
    ("hincrby", ("a", -5), {}),
    ("hincrby", ("n", 3), {}),
    ("hincrbyfloat", ("a", 0.5), {}),
    ("hincrbyfloat", ("f",), {}),
    ("hincrbyfloat", ("f", 1e20), {}),
    ("hdel", ("a", "nope", "b", "a"), {}),
    ("hgetall", (), {}),
]
PROGRAMS = {"list": LISTS, "set": SETS, "zset": SORTED_SETS, "hash": HASHES}
FIELDS = [
    f"{kind}_{how}" for kind in PROGRAMS for how in ("plain", "indexed", "unique") if (kind, how) != ("hash", "unique")
]
POPPED = {"spop", "zpopmin", "zpopmax"}  # where the two protocols have a form each: ours is one, of tuples and lists


@pytest.fixture(params=[{}, {"protocol": 2}, {"protocol": 3}], ids=["default", "resp2", "resp3"])
async def bag(request, flushed_server):
    database = RedisDatabase(**flushed_server.settings, db=0, **request.param)
    yield make_bag(database)
    await database.aclose()
    database.close()


def plain(kind, command, reply):
    if command in ("zpopmin", "zpopmax") and reply and not isinstance(reply[0], (list, tuple)):
        reply = [reply]
    if command in POPPED and isinstance(reply, (list, set)):
        return sorted(tuple(each) if isinstance(each, list) else each for each in reply)
    return reply


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("forgetful", [False, True], ids=["one handle", "a handle each"])
async def test_each_command_answers_as_redis_py_and_the_index_follows(call, bag, raw, field, forgetful):
    kind = field.partition("_")[0]
    p = await call.create(bag, note="n")
    key, client = f"spec:bag:1:{field}", bag.database.connection
    for command, args, options in PROGRAMS[kind]:
        handle = bag.lazy_connect(1) if forgetful else p
        reply = await call(getattr(handle, field), command, *args, **options)
        assert plain(kind, command, reply) == plain(
            kind, command, getattr(client, command)("twin", *args, **options)
        ), (
            command,
            args,
        )
        if kind == "set" and command == "spop":
            raw.delete("twin")
            raw.copy(key, "twin")
        assert held(raw, key) == held(raw, "twin"), (command, args)
        content = held(raw, "twin")
        raw.delete("twin")
        assert_entries_right(raw, bag)
        if content:
            raw.copy(key, "twin")


@pytest.mark.parametrize("field", [name for name in FIELDS if name.startswith("set")])
async def test_spop_takes_values_that_were_there(call, bag, raw, field):
    p = await call.create(bag, **{field: {"a", "b", "c", "d", "e"}})
    left = {"a", "b", "c", "d", "e"}
    for count in (None, 2, 0, 9, None, 3):
        popped = await call(getattr(p, field), "spop", *(() if count is None else (count,)))
        if count is None:
            popped = [] if popped is None else [popped]
        assert isinstance(popped, list)
        assert len(popped) == min(1 if count is None else count, len(left))
        assert set(popped) <= left
        left -= set(popped)
        assert raw.smembers(f"spec:bag:1:{field}") == left
        assert_entries_right(raw, bag)


@pytest.mark.parametrize("field", FIELDS)
async def test_random_member_commands_change_nothing(call, bag, raw, field):
    kind = field.partition("_")[0]
    given = {"a": 1, "b": 2, "c": 3}
    p = await call.create(bag, **{field: given if kind in ("zset", "hash") else list(given)})
    value = getattr(p, field)
    if kind == "set":
        assert await call(value, "srandmember") in given
        assert set(await call(value, "srandmember", 9)) == set(given)
        assert len(await call(value, "srandmember", -9)) == 9
    if kind == "zset":
        assert await call(value, "zrandmember") in given
        assert set(await call(value, "zrandmember", 9)) == set(given)
        assert sorted(await call(value, "zrandmember", 9, withscores=True)) == [("a", 1.0), ("b", 2.0), ("c", 3.0)]
    if kind == "hash":
        assert await call(value, "hrandfield") in given
        assert set(await call(value, "hrandfield", 9)) == set(given)
        assert sorted(await call(value, "hrandfield", 9, withvalues=True)) == [("a", "1"), ("b", "2"), ("c", "3")]
    if kind == "list":
        assert await call(value, "lmove") == "a"
        assert await call(value, "lmembers") == ["b", "c", "a"]
        assert await call(value, "lmove", "RIGHT", "LEFT") == "a"
        assert await call(value, "lmove", src="LEFT", dest="LEFT") == "a"
        assert await call(value, "lmembers") == ["a", "b", "c"]
    assert_entries_right(raw, bag)


@pytest.mark.parametrize("how", ["plain", "indexed", "unique"])
async def test_additional_commands_of_limpyd(call, bag, raw, how):
    p = await call.create(bag, **{f"list_{how}": ["a", "b", "a", "5"], f"zset_{how}": {"x": 2, "y": 1}})
    values = getattr(p, f"list_{how}")
    assert [await call(values, "lrank", value) for value in ("a", "b", 5, "no")] == [0, 1, 3, None]
    assert [await call(values, "lcontains", value) for value in ("a", 5, "no")] == [True, True, False]
    assert [await call(values, "lcount", value) for value in ("a", 5, "no")] == [2, 1, 0]
    assert await call(values, "lmembers") == ["a", "b", "a", "5"]
    assert await call(getattr(p, f"zset_{how}"), "zmembers") == ["y", "x"]
    assert await call(values, "exists") is True
    assert await call(values, "delete") == 1
    assert await call(values, "delete") == 0
    assert await call(values, "exists") is False
    assert_entries_right(raw, bag)


@pytest.mark.parametrize("how", ["plain", "indexed"])
async def test_hmset_takes_a_mapping_and_any_keyword(call, bag, raw, how):
    p = await call.create(bag, note="n")
    headers = getattr(p, f"hash_{how}")
    assert await call(headers, "hmset", {"a": 1, 1: "x", "1": "y", b"b": b"z"}, c=2) is True
    assert await call(headers, "hmset", name="n", command="c", self="s", mapping="m", key="k") is True
    assert await call(headers, "hgetall") == {
        "a": "1",
        "1": "y",
        "b": "z",
        "c": "2",
        "name": "n",
        "command": "c",
        "self": "s",
        "mapping": "m",
        "key": "k",
    }
    assert_entries_right(raw, bag)
    assert await call(headers, "exists", "self") is True
    assert await call(headers, "delete") == 1
    assert await call(headers, "delete") == 0
    assert await call(headers, "exists", "self") is False
    assert_entries_right(raw, bag)


@pytest.mark.parametrize("how", ["plain", "indexed", "unique"])
async def test_zadd_accepts_every_form_of_limpyd(call, bag, raw, how):
    exams = getattr(await call.create(bag, note="n"), f"zset_{how}")
    assert await call(exams, "zadd", {"a": 1}) == 1
    assert await call(exams, "zadd", {"a": 2}, True) == 1
    assert await call(exams, "zadd", {"a": 3}, ch=True) == 1
    assert await call(exams, "zadd", mapping={"a": 4}, ch=False) == 0
    assert await call(exams, "zadd", mapping={"a": 5}) == 0
    assert await call(exams, "zadd", a=6, name=7, command=8, self=9, ch=True) == 4
    assert raw.zrange(f"spec:bag:1:zset_{how}", 0, -1) == ["a", "name", "command", "self"]
    assert_entries_right(raw, bag)


@pytest.mark.parametrize("field", FIELDS)
async def test_proxies_store_and_read(call, bag, raw, field):
    kind = field.partition("_")[0]
    p = await call.create(bag, note="n")
    value = getattr(p, field)
    for given in {
        "list": (["a", "b"], ("c",), "word"),
        "set": ({"a", "b"}, frozenset("c"), "word"),
        "zset": ({"a": 1, "b": 2},),
        "hash": ({"a": 1, "self": 2},),
    }[kind]:
        await call(value, "proxy_set", given)
        assert_entries_right(raw, bag)
    expected = {
        "list": ["a", "b", "c", "word"],
        "set": {"a", "b", "c", "word"},
        "zset": ["a", "b"],
        "hash": {"a": "1", "self": "2"},
    }
    assert await call(value, "proxy_get") == expected[kind]
    if kind in ("zset", "hash"):
        with pytest.raises(TypeError, match="takes a mapping"):
            await call(value, "proxy_set", "a")


async def test_plain_content_expires_and_indexed_never(call, bag, raw):
    from tenantlimpyd.exceptions import ImplementationError

    content = {"list": ["a"], "set": {"a"}, "zset": {"a": 1}, "hash": {"a": 1}}
    p = await call.create(bag, **{field: content[field.partition("_")[0]] for field in FIELDS if "unique" not in field})
    in_an_hour = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    for field in FIELDS:
        value = getattr(p, field)
        for command, args in [
            ("expire", (3600,)),
            ("pexpire", (datetime.timedelta(hours=1),)),
            ("expireat", (in_an_hour,)),
            ("pexpireat", (in_an_hour,)),
        ]:
            if not field.endswith("plain"):
                with pytest.raises(ImplementationError, match="index entries"):
                    await call(value, command, *args)
                assert raw.ttl(f"spec:bag:1:{field}") < 0
                continue
            assert await call(value, command, *args, xx=True) is False
            assert await call(value, command, *args, nx=True) is True
            assert await call(value, command, *args, nx=True) is False
            assert 3500_000 < await call(value, "pttl") <= 3600_000
            assert 3500 <= await call(value, "ttl") <= 3600
            assert await call(value, "persist") is True
            assert await call(value, "persist") is False
    assert_entries_right(raw, bag)


async def test_subkeys_of_a_plain_hash_expire_and_indexed_never(call, bag, raw):
    from tenantlimpyd.exceptions import ImplementationError

    p = await call.create(bag, hash_plain={"a": 1, "b": 2}, hash_indexed={"a": 1})
    in_an_hour = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    for command, when in [
        ("hexpire", 3600),
        ("hexpire", datetime.timedelta(hours=1)),
        ("hpexpire", datetime.timedelta(hours=1)),
        ("hexpireat", in_an_hour),
        ("hpexpireat", in_an_hour),
    ]:
        assert await call(p.hash_plain, command, when, "a", "nope") == [1, -2]
        assert await call(p.hash_plain, command, when, "a", nx=True) == [0]
        (seconds,) = await call(p.hash_plain, "httl", "a")
        (milliseconds,) = await call(p.hash_plain, "hpttl", "a")
        assert 3500 <= seconds <= 3600
        assert 3500_000 < milliseconds <= 3600_000
        assert await call(p.hash_plain, "httl", "b", "nope") == [-1, -2]
        (at,) = await call(p.hash_plain, "hexpiretime", "a")
        assert abs(at - in_an_hour.timestamp()) < 100
        (at,) = await call(p.hash_plain, "hpexpiretime", "a")
        assert abs(at / 1000 - in_an_hour.timestamp()) < 100
        assert await call(p.hash_plain, "hexpiretime", "b", "nope") == [-1, -2]
        assert await call(p.hash_plain, "hpersist", "a", "b", "nope") == [1, -1, -2]
        with pytest.raises(ImplementationError, match="index entries"):
            await call(p.hash_indexed, command, when, "a")
    assert await call(p.hash_indexed, "httl", "a") == [-1]
    assert await call(p.hash_indexed, "hpersist", "a") == [-1]
    assert_entries_right(raw, bag)
