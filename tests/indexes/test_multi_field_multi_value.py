"""Indexes over several fields of which some hold many values: an entry for each choice of a value of each."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantlimpyd import fields
from tenantlimpyd.contrib.indexes import EqualIndexWith, ScoredEqualIndex
from tenantlimpyd.exceptions import UniquenessError
from tenantlimpyd.testing import count_commands
from tests.support.caller import Caller
from tests.support.models import define
from tests.support.multi_value_models import held

pytestmark = pytest.mark.slow


def make_shelf(database, *, together=False, unique=False):
    """Return a model: each combination of a tag, a word and the place, and each tag with the score."""
    return define(
        database,
        "Shelf",
        tags=fields.SetField(
            indexable=True,
            unique=unique,
            indexes=[
                EqualIndexWith.configure(other_fields=["words", "place"], unique=together),
                ScoredEqualIndex.configure(score_field="score"),
            ],
        ),
        words=fields.ListField(),
        place=fields.StringField(),
        score=fields.InstanceHashField(),
        members=fields.SortedSetField(
            indexable=True, indexes=[EqualIndexWith.configure(other_fields=["tags"], key="own")]
        ),
    )


def wanted(raw):
    """Return the entries that the stored values require."""
    found = {}
    for pk in raw.smembers(":shelf:collection"):
        tags, words, members = (sorted(held(raw, f":shelf:{pk}:{name}") or ()) for name in ("tags", "words", "members"))
        place, score = raw.get(f":shelf:{pk}:place"), raw.hget(f":shelf:{pk}:hash", "score")
        for tag, word in itertools.product(tags, words if place is not None else ()):
            found.setdefault(f":shelf:tags:equal-with:{tag}:{word}:{place}", set()).add(pk)
        for member, tag in itertools.product(members, tags):
            found.setdefault(f":shelf:members:own:{member}:{tag}", set()).add(pk)
        for tag in tags if score is not None else ():
            found.setdefault(f":shelf:tags:equal-scored:{tag}", {})[pk] = float(score)
    return found


def there(raw):
    return {key: held(raw, key) for key in raw.keys(":shelf:[tm]*:*") if not key.endswith("__uniqueness__")}


def assert_right(raw):
    entries = {key: value for key, value in there(raw).items() if not key.startswith((":shelf:max", ":shelf:coll"))}
    assert entries == wanted(raw)


words = st.sampled_from(["a", "b", "a:b", "b:a"])
several = st.lists(words, min_size=1, max_size=3).map(tuple)
steps = st.one_of(
    st.tuples(st.just("tags"), st.sampled_from(["sadd", "srem"]), several),
    st.tuples(st.just("tags"), st.sampled_from(["spop", "delete"]), st.just(())),
    st.tuples(st.just("words"), st.sampled_from(["rpush", "lpush", "lpushx"]), several),
    st.tuples(st.just("words"), st.sampled_from(["lpop", "rpop", "delete"]), st.just(())),
    st.tuples(st.just("words"), st.just("lrem"), st.tuples(st.integers(-1, 1), words)),
    st.tuples(st.just("words"), st.just("ltrim"), st.tuples(st.integers(0, 1), st.integers(-2, 1))),
    st.tuples(st.just("place"), st.just("set"), st.tuples(words)),
    st.tuples(st.just("place"), st.just("delete"), st.just(())),
    st.tuples(st.just("score"), st.just("hset"), st.tuples(st.integers(1, 3))),
    st.tuples(st.just("score"), st.just("hdel"), st.just(())),
    st.tuples(st.just("members"), st.just("zadd"), st.tuples(st.dictionaries(words, st.just(1), min_size=1))),
    st.tuples(st.just("members"), st.sampled_from(["zpopmin", "delete"]), st.just(())),
    st.tuples(st.just("forget"), st.none(), st.none()),
    st.tuples(st.just("again"), st.none(), st.none()),
)
starts = st.fixed_dictionaries(
    {}, optional={"tags": several, "words": several, "place": words, "score": st.integers(1, 3)}
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    is_async=st.booleans(), start=starts, program=st.lists(st.tuples(st.integers(0, 1), steps), min_size=4, max_size=20)
)
async def test_entries_follow_all_fields(database, raw, is_async, start, program):
    raw.flushdb()
    shelf, call = make_shelf(database), Caller(is_async=is_async)
    handles = [await call.create(shelf, **start, members={"m": 1}), await call.create(shelf, place="a")]
    for number, (name, command, arguments) in program:
        p = handles[number]
        if name == "forget":
            handles[number] = shelf.lazy_connect(p._pk)
        elif name == "again":
            before = there(raw)
            for each in ("tags", "members"):
                await call(shelf.get_field(each), "clear_indexes")
            assert wanted(raw).keys() & there(raw).keys() == set()
            for each in ("tags", "members"):
                await call(shelf.get_field(each), "rebuild_indexes")
            assert there(raw) == before
        else:
            await call(getattr(p, name), command, *arguments)
        assert_right(raw)
    for tag, word in itertools.product(["a", "b:a"], ["b", "a:b"]):
        found = raw.smembers(f":shelf:tags:equal-with:{tag}:{word}:a")
        assert set(shelf.collection(tags=tag, words=word, place="a")) == found
    for p in handles:
        await call(p, "delete")
    assert set(raw.scan_iter()) == {":shelf:max_pk"}


async def test_every_combination_of_values_is_unique(call, database, raw):
    shelf = make_shelf(database, together=True)
    await call.create(shelf, tags=["a", "b"], words=["x"], place="p")
    q = await call.create(shelf, tags=["a"], words=["y"], place="p")
    before = {key: raw.dump(key) for key in raw.scan_iter()}
    with pytest.raises(UniquenessError):
        await call(q.words, "rpush", "z", "x")
    with pytest.raises(UniquenessError):
        await call.create(shelf, tags=["c", "b"], words=["w", "x"], place="p")
    assert {key: raw.dump(key) for key in raw.scan_iter() if key != ":shelf:max_pk"} == {
        key: value for key, value in before.items() if key != ":shelf:max_pk"
    }
    await call(q.place, "set", "elsewhere")
    await call(q.words, "rpush", "z", "x")
    with pytest.raises(UniquenessError):
        await call(q.place, "set", "p")
    assert await call(q.place, "get") == "elsewhere"
    assert_right(raw)


async def test_removed_value_of_a_scored_unique_field_can_be_used_again(call, database):
    shelf = make_shelf(database, unique=True)
    p = await call.create(shelf, tags=["a", "b"], score=1)
    with pytest.raises(UniquenessError):
        await call.create(shelf, tags=["b"])
    await call(p.tags, "srem", "b")
    q = await call.create(shelf, tags=["b"], score=3)
    assert list(shelf.collection(tags="b")) == [q._pk]
    with pytest.raises(ValueError, match="no number"):
        await call(p.score, "hset", "none")


async def test_change_by_another_client_is_noticed(call, database, raw):
    shelf = make_shelf(database)
    p = await call.create(shelf, tags=["a"], words=["x"], place="p")
    await call(shelf.lazy_connect(1).words, "rpush", "y")
    await call(p.tags, "sadd", "b")
    await call(shelf.lazy_connect(1).tags, "srem", "a")
    await call(p.place, "set", "q")
    assert_right(raw)


async def test_round_trips_of_writes_with_several_values(call, database):
    shelf = make_shelf(database)
    await call.create(shelf, tags=["a"])  # the script is loaded now
    with count_commands(database) as counted:
        p = await call.create(shelf, tags=["a", "b"], words=["x", "y"], place="p", score=1)
    assert counted.trips == 2
    for field, command, argument in ((p.tags, "sadd", "c"), (p.words, "rpush", "z"), (p.place, "set", "q")):
        with count_commands(database) as counted:
            await call(field, command, argument)
        assert counted.trips == 2  # the other fields' values have to be read
    with count_commands(database) as counted:
        await call(p, "delete")
    assert counted.trips == 2
