"""Indexes over several fields: their entries are updated atomically with every field."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantlimpyd import fields, model
from tenantlimpyd.contrib.indexes import EqualIndexWith, MultiIndexes, ScoredEqualIndex
from tenantlimpyd.exceptions import ImplementationError, UniquenessError
from tenantlimpyd.indexes import EqualIndex
from tenantlimpyd.testing import count_commands
from tests.support.caller import Caller
from tests.support.models import define

pytestmark = pytest.mark.slow


def spanning_model(database, *, name="Spanned", unique=False, together=False, bases=(model.RedisModel,)):
    return define(
        database,
        name,
        bases,
        a=fields.StringField(
            indexable=True,
            unique=unique,
            indexes=[
                ScoredEqualIndex.configure(score_field="score"),
                EqualIndexWith.configure(other_fields=["b", "c"], unique=together),
            ],
        ),
        b=fields.InstanceHashField(),
        c=fields.StringField(indexable=True),
        score=fields.InstanceHashField(),
    )


def expected(rows, *, unique=False):
    keys = {}
    for pk, row in rows.items():
        if row.get("a") is not None:
            if row.get("score") is not None:
                keys.setdefault(f":spanned:a:equal-scored:{row['a']}", {})[pk] = float(row["score"])
            if row.get("b") is not None and row.get("c") is not None:
                keys.setdefault(f":spanned:a:equal-with:{row['a']}:{row['b']}:{row['c']}", set()).add(pk)
            if unique:
                keys.setdefault(f":spanned:a:equal-scored:{row['a']}:__uniqueness__", set()).add(pk)
        if row.get("c") is not None:
            keys.setdefault(f":spanned:c:{row['c']}", set()).add(pk)
    return keys


def stored(raw):
    keys = {}
    for key in raw.keys(":spanned:[ac]:*"):
        kind = raw.type(key)
        keys[key] = dict(raw.zrange(key, 0, -1, withscores=True)) if kind == "zset" else raw.smembers(key)
    return keys


values = st.sampled_from(["1", "2"])
steps = st.tuples(
    st.integers(0, 2),
    st.sampled_from(["a", "b", "c", "score", "hmset", "delete", "forget", "rebuild"]),
    st.one_of(st.none(), values),
    values,
)


@pytest.mark.parametrize("unique", [False, True])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(is_async=st.booleans(), program=st.lists(steps, min_size=4, max_size=16))
async def test_entries_follow_all_fields(database, raw, is_async, unique, program):
    raw.flushdb()
    call = Caller(is_async=is_async)
    cls = spanning_model(database, name="Spanned", unique=unique)
    rows, handles = {}, {}
    for who, what, value, second in program:
        if who not in handles:
            given = {"a": f"{value}-{who}" if unique else value, "score": second} if value else {"b": second}
            handles[who] = await call.create(cls, **given)
            rows[handles[who]._pk] = given
        else:
            await change(call, cls, handles, rows, who, what, value, second, unique)
        assert stored(raw) == expected(rows, unique=unique)


async def change(call, cls, handles, rows, who, what, value, second, unique):
    handle = handles[who]
    row = rows[handle._pk]
    if what == "delete":
        rows.pop(handle._pk)
        await call(handles.pop(who), "delete")
    elif what == "forget":
        handles[who] = cls.lazy_connect(handle._pk)
    elif what == "rebuild":
        await call(cls.get_field("a"), "clear_indexes", aggressive=second == "1")
        await call(cls.get_field("a"), "rebuild_indexes", chunk_size=1)
    elif what == "hmset":
        await call(handle, "hmset", b=second, score=value or "0")
        row |= {"b": second, "score": value or "0"}
    elif value is None:
        await call(getattr(handle, what), "delete")
        row.pop(what, None)
    else:
        value = f"{value}-{who}" if unique and what == "a" else value
        await call(getattr(handle, what), "set" if what in "ac" else "hset", value)
        row[what] = value


async def test_removed_unique_value_can_be_used_again(call, database, raw):
    """P7."""
    cls = spanning_model(database, unique=True)
    first = await call.create(cls, a="u", score=1)
    with pytest.raises(UniquenessError):
        await call.create(cls, a="u")
    await call(first.a, "delete")
    second = await call.create(cls, a="u")
    await call(second.score, "hset", 3)
    await call(second, "delete")
    await call.create(cls, a="u")


async def test_values_are_unique_together(call, database, raw):
    cls = spanning_model(database, together=True)
    await call.create(cls, a="x", b="y", c="z")
    other = await call.create(cls, a="x", b="y", c="w")
    before = stored(raw)
    with pytest.raises(UniquenessError, match="'x, y, z' for the unique field 'a, b, c'"):
        await call(other.c, "set", "z")
    with pytest.raises(UniquenessError):
        await call.create(cls, a="x", b="y", c="z")
    assert stored(raw) == before
    await call(other.b, "hset", "other")
    await call(other.c, "set", "z")


async def test_filters_on_all_fields_of_the_index(call, database, raw):
    cls = spanning_model(database)
    await call.create(cls, a="x", b="1", c="z", score=2)
    await call.create(cls, a="x", b="2", c="z", score=1)
    assert await call.list(cls.collection(a="x", b="1", c="z")) == ["1"]
    assert set(await call.list(cls.collection(a="x", b__in=["1", "2"], c="z"))) == {"1", "2"}
    assert set(await call.list(cls.collection(a="x"))) == {"1", "2"}
    assert await call.list(cls.collection(a__in=["y"])) == []
    with pytest.raises(ImplementationError, match="a, b, c"):
        await call.list(cls.collection(b="1"))
    with pytest.raises(ImplementationError):
        cls.collection(score="1")


async def test_round_trips_of_writes_to_indexed_fields(call, database, raw):
    cls = spanning_model(database)
    with count_commands(database) as counted:
        thing = await call.create(cls, a="x", b="y", c="z", score=1)
    assert counted.trips <= 4  # the pk, and the script, which the server may not know yet
    for field, command in [("score", "hset"), ("c", "set"), ("a", "set")]:
        with count_commands(database) as counted:
            await call(getattr(thing, field), command, "5")
        assert counted.trips == 1
    lazy = cls.lazy_connect(thing._pk)
    for round_trips in (2, 1):
        with count_commands(database) as counted:
            await call(lazy.score, "hset", str(round_trips))
        assert counted.trips == round_trips


async def test_write_of_another_client_is_noticed(call, database, raw):
    cls = spanning_model(database)
    thing = await call.create(cls, a="x", b="y", c="z", score=1)
    await call(cls.lazy_connect(thing._pk).a, "set", "new")
    await call(thing.score, "hset", 2)
    assert stored(raw) == expected({"1": {"a": "new", "b": "y", "c": "z", "score": 2}})


async def test_score_must_be_a_number(call, database, raw):
    cls = spanning_model(database)
    thing = await call.create(cls, a="x")
    with pytest.raises(ValueError, match="score of 'a'"):
        await call(thing.score, "hset", "many")
    assert await call(thing.score, "hget") is None


async def test_index_class_serves_several_models_and_their_submodels(call, database, raw):
    """P40."""
    scored = ScoredEqualIndex.configure(score_field="score")
    body = {"a": fields.StringField(indexable=True, indexes=[scored]), "score": fields.StringField()}
    base = define(database, "Base", abstract=True, **body)
    one, two = define(database, "One", (base,)), define(database, "Two", (base,))
    sub = define(database, "Sub", (one,), more=fields.StringField())
    for cls in (one, two, sub):
        await call.create(cls, a="x", score=1)
        assert raw.zscore(f"{cls._name}:a:equal-scored:x", "1") == 1
    assert len(sub.get_field("score").indexes) == 1
    plain = define(database, "Plain", (one,), a=fields.StringField())
    assert not plain.get_field("score").indexable


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (ScoredEqualIndex, "names no other field"),
        (ScoredEqualIndex.configure(score_field="gone"), "needs the field 'gone'"),
        (ScoredEqualIndex.configure(score_field="a"), "other fields than its own"),
        (ScoredEqualIndex.configure(score_field="many"), "'many' is a SetField"),
        (ScoredEqualIndex.configure(score_field="pk"), "'pk' is a"),
        (EqualIndexWith, "names no other field"),
        (EqualIndexWith.configure(other_fields=["b", "b"]), "each once"),
        (EqualIndexWith.configure(other_fields="hashed", unique=True), "'hashed' is a HashField"),
        (MultiIndexes.compose([EqualIndex, EqualIndexWith.configure(other_fields="gone")]), "needs the field 'gone'"),
    ],
)
def test_model_must_have_the_fields_of_the_index(host, index, message):
    body = {"b": fields.StringField(), "many": fields.SetField(), "hashed": fields.HashField()}
    with pytest.raises(ImplementationError, match=message):
        define(host, "Wrong", a=fields.StringField(indexable=True, indexes=[index]), **body)


def test_index_without_its_options_is_refused():
    with pytest.raises(TypeError, match="score_field"):
        ScoredEqualIndex.configure(key="k")
    with pytest.raises(TypeError, match="other_fields"):
        EqualIndexWith.configure(key="k")
    with pytest.raises(TypeError, match="has no handle_uniqueness"):
        EqualIndexWith.configure(other_fields="b", handle_uniqueness=True)
