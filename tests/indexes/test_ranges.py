"""Range indexes: comparisons by the bytes of texts and by numbers, their keys, and uniqueness."""

from __future__ import annotations

import operator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tenantlimpyd import fields
from tenantlimpyd.exceptions import UniquenessError
from tenantlimpyd.indexes import BaseRangeIndex, EqualIndex, NumberRangeIndex, TextRangeIndex
from tests.support.caller import Caller
from tests.support.models import define

pytestmark = pytest.mark.slow

COMPARISONS = {"": operator.eq, "__eq": operator.eq, "__gt": operator.gt, "__gte": operator.ge} | {
    "__lt": operator.lt,
    "__lte": operator.le,
}
SEPARATOR = ":TEXT-RANGE-SEPARATOR:"

texts = st.one_of(
    st.text(st.sampled_from("a: /9;zé\U0010ffff"), max_size=4),
    st.sampled_from(
        ["foo", "foo1", "foo ", "foo-", "foo:", "foo:T", "foo:TEXT", "foo;", "fop", "fo", "\ud7ff", "\ue000"]
    ),
)


def ranged(database, *indexes, kind=fields.StringField, **options):
    return define(database, "Ranged", pk=fields.PKField(), f=kind(indexable=True, indexes=list(indexes), **options))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(is_async=st.booleans(), values=st.lists(texts, min_size=1, max_size=8), wanted=texts)
@example(is_async=False, values=["foo", "foo1"], wanted="foo")
@example(is_async=True, values=["foo", "foo1"], wanted="foo1")
async def test_texts_compare_by_their_bytes(database, raw, is_async, values, wanted):
    raw.flushdb()
    call = Caller(is_async=is_async)
    cls = ranged(database, TextRangeIndex)
    for number, value in enumerate(values):
        await call.create(cls, pk=str(number), f=value)

    async def found(suffix):
        return set(await call.list(cls.collection(**{f"f{suffix}": wanted})))

    for suffix, compares in COMPARISONS.items():
        matching = {str(n) for n, value in enumerate(values) if compares(value.encode(), wanted.encode())}
        assert await found(suffix) == matching, suffix
    assert await found("__startswith") == {str(n) for n, value in enumerate(values) if value.startswith(wanted)}
    several = {str(n) for n, value in enumerate(values) if value in (wanted, values[0])}
    assert set(await call.list(cls.collection(f__in=[wanted, values[0]]))) == several


numbers = st.one_of(
    st.floats(-10, 10), st.integers(-3, 3), st.sampled_from([float("inf"), float("-inf"), 1e300, "2", " 3"])
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(is_async=st.booleans(), values=st.lists(numbers, min_size=1, max_size=8), wanted=numbers)
async def test_numbers_compare_by_value(database, raw, is_async, values, wanted):
    raw.flushdb()
    call = Caller(is_async=is_async)
    cls = ranged(database, NumberRangeIndex)
    for number, value in enumerate(values):
        await call.create(cls, pk=str(number), f=value)
    for suffix, compares in COMPARISONS.items():
        matching = {str(n) for n, value in enumerate(values) if compares(float(value), float(wanted))}
        assert set(await call.list(cls.collection(**{f"f{suffix}": wanted}))) == matching, suffix
    assert await call.list(cls.collection(f__in=[])) == []


async def test_keys_of_range_indexes_equal_those_of_limpyd(call, database, raw):
    cls = ranged(
        database,
        TextRangeIndex,
        TextRangeIndex.configure(prefix="p", key="kk", transform=str.upper),
        NumberRangeIndex.configure(prefix="n"),
    )
    thing = await call.create(cls, pk="x", f="12.5a")
    assert raw.zrange(":ranged:f:text-range", 0, -1, withscores=True) == [(f"12.5a{SEPARATOR}x", 0)]
    assert raw.zrange(":ranged:f:p:kk", 0, -1, withscores=True) == [(f"12.5A{SEPARATOR}x", 0)]
    assert raw.zrange(":ranged:f:n:number-range", 0, -1, withscores=True) == [("x", 0)]  # no number counts as 0
    await call(thing.f, "set", "7")
    assert raw.zrange(":ranged:f:text-range", 0, -1) == [f"7{SEPARATOR}x"]
    assert raw.zrange(":ranged:f:n:number-range", 0, -1, withscores=True) == [("x", 7)]
    assert await call.list(cls.collection(f__n__gt=6.5, f__p__startswith="7")) == ["x"]
    assert await call.list(cls.collection(f__n__in=[5])) == []  # P9
    await call(thing, "delete")
    assert raw.keys("*") == []


async def test_hash_has_a_range_for_each_subkey(call, database, raw):
    cls = ranged(database, NumberRangeIndex, kind=fields.HashField)
    thing = await call.create(cls, pk="1", f={"a": 1, "b": 5})
    assert raw.zrange(":ranged:f:a:number-range", 0, -1, withscores=True) == [("1", 1)]
    assert await call.list(cls.collection(f__b__gte=5)) == ["1"]
    assert await call.list(cls.collection(f__a__gte=5)) == []
    await call(thing.f, "hincrby", "a", 5)
    assert await call.list(cls.collection(f__a__gte=6)) == ["1"]


async def test_multi_value_field_is_found_by_each_of_its_numbers(call, database, raw):
    """P47."""
    cls = ranged(database, NumberRangeIndex, kind=fields.SetField)
    thing = await call.create(cls, pk="1:x", f=[3, 5])
    index = cls.get_field("f").indexes[0]

    async def pks(suffix, value):
        [(key, kind, temporary)] = await call(index, "get_filtered_keys", suffix, value)
        assert (kind, temporary) == ("set", True)
        assert 0 < raw.ttl(key) <= 300 or not raw.exists(key)
        return raw.smembers(key)

    assert await pks(None, 3) == await pks("eq", 5) == await pks("gt", 4) == {"1:x"}
    await call(thing.f, "srem", 5)
    assert await pks("gt", 4) == set()
    assert await pks("lte", 3) == {"1:x"}
    await call(thing, "delete")
    assert [key for key in raw.keys("*") if ":tmp:" not in key] == []


@pytest.mark.parametrize(
    ("index", "mine", "same", "other"),
    [(TextRangeIndex, "a", "a", "a1"), (NumberRangeIndex, "1", "1.0", "2"), (TextRangeIndex, "", "", ":")],
)
@pytest.mark.parametrize("kind", [fields.StringField, fields.SetField])
async def test_range_indexes_keep_values_unique(call, database, raw, index, mine, same, other, kind):
    cls = ranged(database, index, kind=kind, unique=True)
    first = await call.create(cls, pk="1", f=mine)
    before = raw.dbsize()
    with pytest.raises(UniquenessError, match="belongs to pk '1'"):
        await call.create(cls, pk="2", f=same)
    assert raw.dbsize() == before
    second = await call.create(cls, pk="2", f=other)
    await call(first, "delete")
    await call(second.f, "set" if kind is fields.StringField else "sadd", same)


async def test_values_that_an_index_cannot_tell_apart_are_refused(call, database, raw):
    strict = NumberRangeIndex.configure(raise_if_not_float=True)
    for indexes, options, value in [
        ([strict], {}, "x"),
        ([NumberRangeIndex], {}, "nan"),
        ([NumberRangeIndex], {"unique": True}, "x"),
        ([TextRangeIndex], {}, f"a{SEPARATOR}1"),
        ([TextRangeIndex], {}, f"a{SEPARATOR[:-1]}"),
        ([EqualIndex, TextRangeIndex], {}, SEPARATOR),
    ]:
        raw.flushdb()
        cls = define(
            database,
            f"R{id(indexes)}",
            pk=fields.PKField(),
            f=fields.StringField(indexable=True, indexes=indexes, **options),
        )
        with pytest.raises(ValueError, match=r"for the (unique )?field 'f'"):
            await call.create(cls, pk="1", f=value)
        assert raw.keys("*") == []
    with pytest.raises(ValueError, match=r"no order|no number"):
        await call.list(ranged(database, strict).collection(f__gt="nan"))


def test_range_indexes_share_a_base():
    assert issubclass(TextRangeIndex, BaseRangeIndex)
    assert issubclass(NumberRangeIndex, BaseRangeIndex)
    assert TextRangeIndex.handled_suffixes - NumberRangeIndex.handled_suffixes == {"startswith"}
    assert NumberRangeIndex.configure(raise_if_not_float=True).raise_if_not_float
    with pytest.raises(TypeError, match="raise_if_not_float"):
        TextRangeIndex.configure(raise_if_not_float=True)
