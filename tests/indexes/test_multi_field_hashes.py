"""Indexes over several fields of which some are hashes: an entry for each sub-key with its value."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantlimpyd import fields
from tenantlimpyd.contrib.indexes import EqualIndexWith, ScoredEqualIndex
from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.testing import count_commands
from tests.support.caller import Caller
from tests.support.models import define
from tests.support.multi_value_models import held

pytestmark = pytest.mark.slow


def make_song(database):
    return define(
        database,
        "Song",
        credits=fields.HashField(
            indexable=True,
            indexes=[
                EqualIndexWith.configure(other_fields=["place"]),
                ScoredEqualIndex.configure(score_field="plays"),
            ],
        ),
        place=fields.StringField(),
        plays=fields.InstanceHashField(),
        tags=fields.SetField(indexable=True, indexes=[EqualIndexWith.configure(other_fields=["links"], key="own")]),
        links=fields.HashField(),
    )


def wanted(raw):
    """Return the entries that the stored values require."""
    found = {}
    for pk in raw.smembers(":song:collection"):
        names, links = (raw.hgetall(f":song:{pk}:{name}").items() for name in ("credits", "links"))
        place, plays = raw.get(f":song:{pk}:place"), raw.hget(f":song:{pk}:hash", "plays")
        for key, value in names:
            if place is not None:
                found.setdefault(f":song:credits:equal-with:{key}:{value}:{place}", set()).add(pk)
            if plays is not None:
                found.setdefault(f":song:credits:{key}:equal-scored:{value}", {})[pk] = float(plays)
        for tag, (key, value) in itertools.product(raw.smembers(f":song:{pk}:tags"), links):
            found.setdefault(f":song:tags:own:{tag}:{key}:{value}", set()).add(pk)
    return found


def assert_right(raw):
    there = {key: held(raw, key) for key in (*raw.keys(":song:credits:*"), *raw.keys(":song:tags:*"))}
    assert there == wanted(raw)


words = st.sampled_from(["a", "b", "a:b", "b:a"])
mapping = st.dictionaries(words, words, min_size=1, max_size=3)
hashes = st.sampled_from(["credits", "links"])
steps = st.one_of(
    st.tuples(hashes, st.just("hset"), st.tuples(words, words)),
    st.tuples(hashes, st.just("hmset"), st.tuples(mapping)),
    st.tuples(hashes, st.just("hsetnx"), st.tuples(words, words)),
    st.tuples(hashes, st.sampled_from(["hdel", "hgetdel"]), st.lists(words, min_size=1, max_size=2).map(tuple)),
    st.tuples(hashes, st.just("delete"), st.just(())),
    st.tuples(st.just("place"), st.just("set"), st.tuples(words)),
    st.tuples(st.just("place"), st.just("delete"), st.just(())),
    st.tuples(st.just("plays"), st.just("hset"), st.tuples(st.integers(1, 3))),
    st.tuples(st.just("plays"), st.just("hdel"), st.just(())),
    st.tuples(st.just("tags"), st.sampled_from(["sadd", "srem"]), st.tuples(words)),
    st.tuples(st.just("object"), st.just("delete"), st.just(())),
)
given_values = st.fixed_dictionaries(
    {},
    optional={
        "credits": mapping,
        "links": mapping,
        "place": words,
        "plays": st.integers(1, 3),
        "tags": st.lists(words, min_size=1),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    program=st.lists(st.tuples(st.integers(0, 1), st.booleans(), steps), max_size=12),
    values=st.lists(given_values, min_size=2, max_size=2),
    is_async=st.booleans(),
)
async def test_random_writes_leave_entries_that_match_the_values(database, raw, program, values, is_async):
    raw.flushdb()
    song, call = make_song(database), Caller(is_async=is_async)
    songs = [await call.create(song, **{"plays": 1, **each}) for each in values]
    assert_right(raw)
    for number, forgetting, (target, command, args) in program:
        if not raw.sismember(":song:collection", number + 1):
            continue
        if forgetting:  # another object, which has read no value
            songs[number] = song.lazy_connect(number + 1)
        on = songs[number] if target == "object" else getattr(songs[number], target)
        await call(on, command, *args)
        assert_right(raw)
    for name in ("credits", "tags"):
        await call(song.get_field(name), "rebuild_indexes")
        assert_right(raw)
        await call(song.get_field(name), "rebuild_indexes", aggressive_clear=True)
        assert_right(raw)
        await call(song.get_field(name), "clear_indexes")
        assert not raw.keys(f":song:{name}:*")
        await call(song.get_field(name), "rebuild_indexes")
    assert_right(raw)


async def test_filters_by_sub_keys(call, database):
    song = make_song(database)
    for plays, place in ((3, "x"), (1, "x"), (2, "y")):
        await call.create(
            song, credits={"text": "ann", "music": "bob"}, place=place, plays=plays, tags=["t"], links={"u": "v"}
        )
    found = lambda **filters: call.list(song.collection(**filters))  # noqa: E731
    assert sorted(await found(credits__text="ann", place="x")) == ["1", "2"]
    assert sorted(await found(credits__music__in=["bob", "cid"], place__in=["y", "z"])) == ["3"]
    assert sorted(await found(credits__text="ann", credits__music="bob", place="y")) == ["3"]
    assert await found(credits__text="bob", place="x") == []
    assert sorted(await found(credits__text="ann")) == ["1", "2", "3"]
    assert sorted(await found(tags="t", links__u="v")) == ["1", "2", "3"]
    with pytest.raises(ImplementationError, match="together"):
        await found(links__u="v")


async def test_round_trips_of_writes_to_hashes(call, database):
    song = make_song(database)
    writes = [
        ("credits", "hset", ("a", "c")),
        ("place", "set", ("y",)),
        ("plays", "hset", (5,)),
        ("tags", "sadd", ("w",)),
        ("links", "hdel", ("u",)),
    ]
    other = await call.create(song, credits={"a": "b"}, links={"t": "v"}, place="x", plays=1, tags=["t"])
    for target, command, args in writes:  # the server loads the scripts
        await call(getattr(other, target), command, *args)
    with count_commands(database) as counted:
        one = await call.create(song, credits={"a": "b"}, links={"u": "v"}, place="x", plays=1, tags=["t"])
    assert counted.trips == 2
    for target, command, args in writes:
        with count_commands(database) as counted:
            await call(getattr(one, target), command, *args)
        assert counted.trips <= 2, (target, command)


def test_unsupported_uses_of_hashes_are_refused(database):
    for body in [
        {
            "h": fields.HashField(indexable=True, indexes=[EqualIndexWith.configure(other_fields="s", unique=True)]),
            "s": fields.StringField(),
        },
        {
            "s": fields.StringField(indexable=True, indexes=[EqualIndexWith.configure(other_fields="h", unique=True)]),
            "h": fields.HashField(),
        },
        {
            "s": fields.StringField(indexable=True, indexes=[ScoredEqualIndex.configure(score_field="h")]),
            "h": fields.HashField(),
        },
    ]:
        with pytest.raises(ImplementationError, match="HashField"):
            define(database, "Wrong", **body)
