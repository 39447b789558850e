"""Random arguments for each command of each field class.

Which commands there are is not said here: the suite takes their names from the classes of limpyd, and fails for one that
is missing in this table.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

__all__ = ["UNSTABLE", "arguments", "creations"]

UNSTABLE = {"srandmember", "spop"}
"""Commands whose reply is a matter of chance."""

PLACES = st.integers(-3, 3)
COUNTS = st.integers(0, 3)
SCORES = st.sampled_from([1, 2, 2.5, -1])
SUBKEYS = st.sampled_from(["k", "l", "m"])
BOUNDS = st.sampled_from(["-inf", "(1", 1, 2, "+inf"])
LEX = st.sampled_from(["-", "[a", "(b", "+"])
NONE = st.just(())


def _some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(values, min_size=1, max_size=3).map(tuple)


def _either(*choices: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(*choices)


def _scored(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[Any, Any]]:
    return st.dictionaries(values.map(str), SCORES, min_size=1, max_size=3)


def _expiring() -> dict[str, Any]:
    return {
        "expire": st.tuples(st.just(100)),
        "pexpire": st.tuples(st.just(100_000)),
        "expireat": st.tuples(st.just(4_000_000_000)),
        "pexpireat": st.tuples(st.just(4_000_000_000_000)),
        "ttl": NONE,
        "pttl": NONE,
        "persist": NONE,
    }


def _string(v: st.SearchStrategy[Any]) -> dict[str, Any]:
    return _expiring() | {
        "get": NONE,
        "getbit": st.tuples(COUNTS),
        "getrange": st.tuples(PLACES, PLACES),
        "strlen": NONE,
        "bitcount": _either(NONE, st.just((0, 0))),
        "bitpos": st.tuples(st.integers(0, 1)),
        "set": st.tuples(v),
        "getset": st.tuples(v),
        "append": st.tuples(v),
        "setrange": st.tuples(COUNTS, st.sampled_from(["x", "7"])),
        "setbit": st.just((7, 1)),
        "incr": _either(NONE, st.tuples(PLACES)),
        "incrby": st.tuples(PLACES),
        "decr": _either(NONE, st.tuples(PLACES)),
        "decrby": st.tuples(PLACES),
        "incrbyfloat": st.tuples(st.sampled_from([0.25, -1.5])),
        "setnx": st.tuples(v),
        "setex": st.tuples(st.just(100), v),
        "psetex": st.tuples(st.just(100_000), v),
        "delete": NONE,
        "exists": NONE,
    }


def _instance_hash(v: st.SearchStrategy[Any]) -> dict[str, Any]:
    return {
        "hget": NONE,
        "hset": st.tuples(v),
        "hdel": NONE,
        "delete": NONE,
        "hsetnx": st.tuples(v),
        "hincrby": st.tuples(PLACES),
        "hincrbyfloat": st.tuples(st.sampled_from([0.25, -1.5])),
        "exists": NONE,
        "hexists": NONE,
    }


def _hash(v: st.SearchStrategy[Any]) -> dict[str, Any]:
    scan = _either(NONE, st.tuples(st.sampled_from(["k*", "*"])))
    return _expiring() | {
        "hget": st.tuples(SUBKEYS),
        "hgetall": NONE,
        "hmget": _some(SUBKEYS),
        "hkeys": NONE,
        "hvals": NONE,
        "hlen": NONE,
        "hstrlen": st.tuples(SUBKEYS),
        "hscan": scan,
        "hscan_iter": scan,
        "hexists": st.tuples(SUBKEYS),
        "exists": st.tuples(SUBKEYS),
        "hmset": st.dictionaries(SUBKEYS, v, min_size=1),  # by keyword
        "hset": st.tuples(SUBKEYS, v),
        "hsetnx": st.tuples(SUBKEYS, v),
        "hincrby": st.tuples(SUBKEYS, PLACES),
        "hincrbyfloat": st.tuples(SUBKEYS, st.sampled_from([0.25, -1.5])),
        "hdel": _some(SUBKEYS),
        "delete": NONE,
    }


def _set(v: st.SearchStrategy[Any]) -> dict[str, Any]:
    scan = _either(NONE, st.tuples(st.sampled_from(["a*", "*"])))
    return _expiring() | {
        "scard": NONE,
        "sismember": st.tuples(v),
        "smembers": NONE,
        "srandmember": _either(NONE, st.tuples(COUNTS)),
        "sscan": scan,
        "sscan_iter": scan,
        "sort": st.just({"alpha": True}),
        "sadd": _some(v),
        "srem": _some(v),
        "spop": _either(NONE, st.tuples(COUNTS)),
        "delete": NONE,
        "exists": NONE,
    }


def _list(v: st.SearchStrategy[Any]) -> dict[str, Any]:
    return _expiring() | {
        "lindex": st.tuples(PLACES),
        "llen": NONE,
        "lrange": st.tuples(PLACES, PLACES),
        "lmembers": NONE,
        "lrank": st.tuples(v),
        "lcontains": st.tuples(v),
        "lcount": st.tuples(v),
        "sort": st.just({"alpha": True}),
        "lpush": _some(v),
        "rpush": _some(v),
        "lpushx": _some(v),
        "rpushx": _some(v),
        "lpop": _either(NONE, NONE, st.tuples(COUNTS)),
        "rpop": _either(NONE, NONE, st.tuples(COUNTS)),
        "lrem": st.tuples(st.integers(-2, 2), v),
        "lset": st.tuples(PLACES, v),
        "linsert": st.tuples(st.sampled_from(["before", "after"]), v, v),
        "ltrim": st.tuples(PLACES, PLACES),
        "delete": NONE,
        "exists": NONE,
    }


def _sorted_set(v: st.SearchStrategy[Any]) -> dict[str, Any]:
    scan = _either(NONE, st.tuples(st.sampled_from(["a*", "*"])))
    return _expiring() | {
        "zcard": NONE,
        "zcount": st.tuples(BOUNDS, BOUNDS),
        "zrange": st.tuples(PLACES, PLACES),
        "zrangebyscore": st.tuples(BOUNDS, BOUNDS),
        "zrangebylex": st.tuples(LEX, LEX),
        "zrank": st.tuples(v),
        "zrevrange": st.tuples(PLACES, PLACES),
        "zrevrangebyscore": st.tuples(BOUNDS, BOUNDS),
        "zrevrangebylex": st.tuples(LEX, LEX),
        "zrevrank": st.tuples(v),
        "zscore": st.tuples(v),
        "zlexcount": st.tuples(LEX, LEX),
        "zscan": scan,
        "zscan_iter": scan,
        "sort": st.just({"alpha": True}),
        "zmembers": NONE,
        "zadd": _either(st.tuples(_scored(v)), st.tuples(_scored(v), st.just(True))),
        "zincrby": st.tuples(SCORES, v),
        "zrem": _some(v),
        "zremrangebyrank": st.tuples(PLACES, PLACES),
        "zremrangebyscore": st.tuples(BOUNDS, BOUNDS),
        "zremrangebylex": st.tuples(LEX, LEX),
        "zpopmin": _either(NONE, st.tuples(COUNTS)),
        "zpopmax": _either(NONE, st.tuples(COUNTS)),
        "delete": NONE,
        "exists": NONE,
    }


def _pk(_: st.SearchStrategy[Any]) -> dict[str, Any]:
    return {
        "get": NONE,
        "set": st.tuples(st.sampled_from(["1", "x"])),
        "exists": NONE,
        "collection": NONE,
        "delete": NONE,
    }


_TABLE = {
    "StringField": _string,
    "InstanceHashField": _instance_hash,
    "HashField": _hash,
    "SetField": _set,
    "ListField": _list,
    "SortedSetField": _sorted_set,
    "PKField": _pk,
    "AutoPKField": _pk,
}


def arguments(kind: str, values: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    """Return for each command of a field class its arguments: a tuple, or a dictionary of keywords."""
    return _TABLE[kind](values) | {"proxy_get": NONE, "proxy_set": st.tuples(creations(kind, values))}


def creations(kind: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return what a field of a new object can be given."""
    if kind == "HashField":
        return st.dictionaries(SUBKEYS, values, min_size=1)
    if kind == "SortedSetField":
        return _scored(values)
    if kind in ("SetField", "ListField"):
        return st.lists(values, min_size=1, max_size=3)
    return values
