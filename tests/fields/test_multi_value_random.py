"""Random commands on multi-value fields: content and index entries agree after each step."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.exceptions import ResponseError

from tenantlimpyd.exceptions import UniquenessError
from tests.support.caller import Caller
from tests.support.multi_value_models import assert_entries_right, held, make_bag, make_folded

pytestmark = pytest.mark.slow

words = st.sampled_from(["a", "A", "b", "B", "a:b", "5", "é", ""])
places = st.integers(-3, 3)
counts = st.one_of(st.just(()), st.tuples(st.integers(0, 4)))
scores = st.integers(-2, 2)
several = st.lists(words, min_size=1, max_size=4).map(tuple)


def calls(*pairs):
    return st.one_of(st.tuples(st.sampled_from(names), args) for names, args in pairs)


COMMANDS = {
    "list": calls(
        (["rpush", "lpush", "rpushx", "lpushx"], several),
        (["lpop", "rpop"], counts),
        (["lset"], st.tuples(places, words)),
        (["lrem"], st.tuples(st.integers(-2, 2), words)),
        (["ltrim"], st.tuples(places, places)),
        (["linsert"], st.tuples(st.sampled_from(["before", "after"]), words, words)),
        (["lmove"], st.tuples(st.sampled_from(["LEFT", "RIGHT"]), st.sampled_from(["LEFT", "RIGHT"]))),
        (["delete"], st.just(())),
    ),
    "set": calls((["sadd", "srem"], several), (["spop"], counts), (["delete"], st.just(()))),
    "zset": calls(
        (["zadd"], st.tuples(st.dictionaries(words, scores, min_size=1, max_size=3))),
        (["zincrby"], st.tuples(scores, words)),
        (["zrem"], several),
        (["zpopmin", "zpopmax"], counts),
        (["zremrangebyrank", "zremrangebyscore"], st.tuples(places, places)),
        (["zremrangebylex"], st.tuples(st.sampled_from(["-", "[a"]), st.sampled_from(["+", "(b"]))),
        (["delete"], st.just(())),
    ),
    "hash": calls(
        (["hset", "hsetnx"], st.tuples(words, words)),
        (["hmset"], st.tuples(st.dictionaries(words, words, min_size=1, max_size=3))),
        (["hdel"], several),
        (["hincrby"], st.tuples(words, scores)),
        (["hget"], st.tuples(words)),
        (["delete"], st.just(())),
    ),
}
steps = st.one_of(
    *(
        st.tuples(st.just(kind), st.integers(0, 2), st.sampled_from(["indexed", "unique"]), COMMANDS[kind])
        for kind in COMMANDS
    ),
    st.tuples(st.just("forget"), st.integers(0, 2)),
    st.tuples(st.just("delete object"), st.integers(0, 2)),
)


async def play(call, model, raw, program, *, folded):
    handles = [
        await call.create(model, note="n"),
        await call.create(model, note="n"),
        await call.create(model, note="n"),
    ]
    for step in program:
        number = step[1] % len(handles)
        p = handles[number]
        if step[0] == "forget":
            handles[number] = model.lazy_connect(p._pk)
        elif step[0] == "delete object":
            await call(p, "delete")
            handles[number] = await call.create(model, note="n")
        else:
            kind, _, how, (command, args) = step
            field = f"{kind}_{'indexed' if folded or kind == 'hash' else how}"
            key, twin = f"spec:{model.__name__.lower()}:{p._pk}:{field}", "twin"
            before = held(raw, key)
            if before:
                raw.copy(key, twin)
            await one_command(call, raw, getattr(p, field), key, before, command, args)
            raw.delete(twin)
        assert_entries_right(raw, model, folded=folded)
    for p in handles:
        await call(p, "delete")
    assert set(raw.scan_iter()) == {f"spec:{model.__name__.lower()}:max_pk"}


async def one_command(call, raw, field, key, before, command, args):
    try:
        reply = await call(field, command, *args)
    except UniquenessError:
        assert held(raw, key) == before
        return
    except ResponseError:
        assert held(raw, key) == before
        with pytest.raises(ResponseError):
            getattr(raw, command)("twin", *args)
        return
    if command == "spop":
        return
    if command == "lmove":
        args = ("twin", *args)
    if command == "hmset":
        raw.hset("twin", mapping=args[0])
    else:
        wanted = raw.delete("twin") if command == "delete" else getattr(raw, command)("twin", *args)
        assert reply == wanted
    assert held(raw, key) == held(raw, "twin")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(is_async=st.booleans(), program=st.lists(steps, min_size=4, max_size=25))
async def test_content_and_entries_agree(database, raw, is_async, program):
    raw.flushdb()
    await play(Caller(is_async=is_async), make_bag(database), raw, program, folded=False)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(is_async=st.booleans(), program=st.lists(steps, min_size=4, max_size=25))
async def test_entries_that_several_values_share_stay_until_the_last_is_gone(database, raw, is_async, program):
    raw.flushdb()
    await play(Caller(is_async=is_async), make_folded(database), raw, program, folded=True)
