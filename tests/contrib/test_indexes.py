"""Composed indexes, and those for dates and times."""

from __future__ import annotations

import pytest

from tenantlimpyd import fields
from tenantlimpyd.contrib import indexes as contrib
from tenantlimpyd.contrib.indexes import DateIndex, DateIndexParts, DateTimeIndex, MultiIndexes, TimeIndex
from tenantlimpyd.exceptions import ImplementationError, UniquenessError
from tenantlimpyd.indexes import EqualIndex, NumberRangeIndex, TextRangeIndex
from tests.support.models import define

pytestmark = pytest.mark.slow

SEPARATOR = ":TEXT-RANGE-SEPARATOR:"


def dated(database, index, kind=fields.StringField, **options):
    return define(database, "D", pk=fields.PKField(), dt=kind(indexable=True, indexes=[index], **options))


def entries(raw):
    return {
        key.removeprefix(":d:dt:"): raw.zrange(key, 0, -1, withscores=True)[0]
        for key in raw.keys(":d:dt:*")
        if raw.type(key) == "zset"
    }


DATE = {"year:number-range": ("1", 2015), "month:number-range": ("1", 12), "day:number-range": ("1", 16)}
TIME = {"hour:number-range": ("1", 15), "minute:number-range": ("1", 16), "second:number-range": ("1", 17)}
WHOLE = {
    "full": (f"2015-12-16 15:16:17{SEPARATOR}1", 0),
    "date:date": (f"2015-12-16{SEPARATOR}1", 0),
    "time:time": (f"15:16:17{SEPARATOR}1", 0),
}


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("DateRangeIndex", "2015-12-16 or so", {"date": (f"2015-12-16{SEPARATOR}1", 0)}),
        ("DateIndexParts", "2015-12-16", DATE),
        ("DateIndex", "2015-12-16", {"date": (f"2015-12-16{SEPARATOR}1", 0)} | DATE),
        ("TimeRangeIndex", "15:16:17.123", {"time": (f"15:16:17{SEPARATOR}1", 0)}),
        ("TimeIndexParts", "15:16:17", TIME),
        ("TimeIndex", "15:16:17", {"time": (f"15:16:17{SEPARATOR}1", 0)} | TIME),
        ("SimpleDateTimeIndex", "2015-12-16 15:16:17.123456", WHOLE),
        ("DateSimpleTimeIndex", "2015-12-16 15:16:17.123456", WHOLE | DATE),
        ("DateTimeIndex", "2015-12-16 15:16:17.123456", WHOLE | DATE | TIME),
    ],
)
async def test_entries_of_dates_and_times(call, database, raw, name, value, kept):
    cls = dated(database, getattr(contrib, name))
    thing = await call.create(cls, pk="1", dt=value)
    assert entries(raw) == kept
    await call(thing.dt, "delete")
    assert entries(raw) == {}
    await call(thing.dt, "set", value)
    await call(thing, "delete")
    assert raw.keys("*") == []


async def test_filters_on_dates_and_times(call, database, raw):
    cls = dated(database, DateTimeIndex)
    for pk, value in [("1", "2015-12-16 15:16:17"), ("2", "2016-01-16 09:16:18"), ("3", "2016-03-01 15:00:00.5")]:
        await call.create(cls, pk=pk, dt=value)
    for filters, found in [
        ({"dt": "2016-03-01 15:00:00"}, {"3"}),
        ({"dt__gte": "2016"}, {"2", "3"}),
        ({"dt__startswith": "2015-"}, {"1"}),
        ({"dt__date": "2016-01-16"}, {"2"}),
        ({"dt__date__in": ["2016-01-16", "2015-12-16"]}, {"1", "2"}),
        ({"dt__time__gt": "15:00:00"}, {"1"}),
        ({"dt__year": 2016}, {"2", "3"}),
        ({"dt__year__in": [2015]}, {"1"}),
        ({"dt__year__in": []}, set()),
        ({"dt__month__lt": 12, "dt__hour": 15}, {"3"}),
        ({"dt__day__gte": 2, "dt__minute": 16, "dt__second__lte": 17}, {"1"}),
    ]:
        assert set(await call.list(cls.collection(**filters))) == found, filters
    for wrong in ("dt__week", "dt__year__startswith", "dt__date__year"):
        with pytest.raises(ImplementationError):
            cls.collection(**{wrong: 1})


@pytest.mark.parametrize(
    ("index", "mine", "other"), [(DateIndex, "2015-12-16", "2015-12-17"), (TimeIndex, "01:02:03", "01:02:04")]
)
async def test_unique_date_index_allows_equal_parts(call, database, raw, index, mine, other):
    cls = dated(database, index, unique=True)
    await call.create(cls, pk="1", dt=mine)
    await call.create(cls, pk="2", dt=other)
    with pytest.raises(UniquenessError):
        await call.create(cls, pk="3", dt=mine + "!")
    with pytest.raises(ImplementationError, match="unique"):
        define(database, "Parts", dt=fields.StringField(unique=True, indexes=[DateIndexParts]))


async def test_keys_and_transforms_of_composed_indexes(call, database, raw):
    inner = MultiIndexes.compose([EqualIndex.configure(prefix="fl", transform=lambda v: v[0])], key="in", name="Inner")
    index = MultiIndexes.compose([EqualIndex, TextRangeIndex, inner], key="mk", transform=str.lower)
    cls = dated(database, index)
    thing = await call.create(cls, pk="1", dt="FooBar")
    assert raw.smembers(":d:dt:mk:foobar") == raw.smembers(":d:dt:mk:in:fl:f") == {"1"}
    assert raw.zrange(":d:dt:mk:text-range", 0, -1) == [f"foobar{SEPARATOR}1"]
    for filters in ({"dt": "foobar"}, {"dt__gt": "fo"}, {"dt__fl": "f"}, {"dt__fl__in": ["f"]}):
        assert await call.list(cls.collection(**filters)) == ["1"]
    await call(thing, "delete")
    assert raw.keys("*") == []


async def test_composed_indexes_of_a_hash_have_the_subkey_first(call, database, raw):
    cls = dated(database, MultiIndexes.compose([EqualIndex, NumberRangeIndex], key="mk"), kind=fields.HashField)
    thing = await call.create(cls, pk="1", dt={"k": "5"})
    assert raw.smembers(":d:dt:k:mk:5") == {"1"}
    assert raw.zscore(":d:dt:k:mk:number-range", "1") == 5
    assert await call.list(cls.collection(dt__k__gt=4)) == ["1"]
    await call(thing.dt, "hdel", "k")
    assert raw.keys(":d:dt:*") == []


async def test_first_capable_part_of_a_composed_index_handles_uniqueness(call, database, raw):
    both = MultiIndexes.compose(
        [
            DateIndexParts,
            MultiIndexes.compose([EqualIndex.configure(transform=str.upper)]),
            EqualIndex.configure(transform=len, prefix="n"),
            NumberRangeIndex.configure(prefix="number"),
        ]
    )
    cls = dated(database, both, unique=True)
    await call.create(cls, pk="1", dt="ab")
    with pytest.raises(UniquenessError):
        await call.create(cls, pk="2", dt="AB")
    await call.create(cls, pk="2", dt="xy")
    assert raw.smembers(":d:dt:n:2") == {"1", "2"}


def test_composed_index_that_handles_uniqueness_needs_a_part_that_does(database):
    class Boastful(MultiIndexes):
        index_classes = (DateIndexParts,)
        handle_uniqueness = True

    cls = dated(database, Boastful, unique=True)
    with pytest.raises(ImplementationError, match="can keep it unique"):
        cls(pk="1", dt="2024-01-01")
    assert not cls.exists(pk="1")
