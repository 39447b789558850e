"""Indexes: their configuration, their transforms, and the filters they answer."""

from __future__ import annotations

import functools

import pytest

from tenantlimpyd import fields, model
from tenantlimpyd.exceptions import ImplementationError, UniquenessError
from tenantlimpyd.indexes import BaseIndex, EqualIndex
from tests.support.models import keyspace


def define(hosted_by, *index_classes, **options):
    class Ix(model.RedisModel):
        database = hosted_by
        pk = fields.PKField()
        f = fields.StringField(indexable=True, indexes=index_classes, **options)

    return Ix


def upper(value):
    return value.upper()


def tagged(self, value):
    return f"{self.field.name}={value}"


def with_tail(value, tail="!"):
    return value + tail


class Callable:
    def __call__(self, index, value):
        return f"{index.field.name}-{value}"


@pytest.mark.parametrize(
    ("transform", "indexed"),
    [
        (upper, "ABC"),
        (tagged, "f=Abc"),
        (with_tail, "Abc!"),
        (str.lower, "abc"),
        (len, "3"),
        (lambda *args: args[-1][::-1], "cbA"),
        (functools.partial(with_tail, tail="?"), "Abc?"),
        (Callable(), "f-Abc"),
    ],
    ids=["value", "self and value", "an option", "a builtin", "to a number", "any", "partial", "an object"],
)
@pytest.mark.parametrize("how", ["configured", "in a body"])
async def test_transform_changes_what_is_indexed(call, database, raw, transform, indexed, how):
    index = EqualIndex.configure(transform=transform)
    if how == "in a body":
        index = type("Own", (EqualIndex,), {"transform": transform})
    cls = define(database, index)
    p = await call.create(cls, pk="1", f="Abc")
    assert raw.smembers(f":ix:f:{indexed}") == {"1"}
    assert await call.list(cls.collection(f=indexed)) == ["1"]  # filters give the transformed value
    assert await call(p.f, "get") == "Abc"
    await call(p.f, "delete")
    assert keyspace(raw) == {":ix:collection": {"1"}}


async def test_error_in_a_transform_is_not_swallowed(call, database, raw):
    def fails(self, value):
        raise TypeError("oops")

    cls = define(database, EqualIndex.configure(transform=fails))
    with pytest.raises(TypeError, match="oops"):
        await call.create(cls, pk="1", f="x")
    assert keyspace(raw) == {}


async def test_indexes_of_a_field_are_distinguished_by_prefix_and_key(call, database, raw):
    cls = define(
        database,
        EqualIndex,
        EqualIndex.configure(prefix="first", transform=lambda v: v[0]),
        EqualIndex.configure(prefix="last", key="k", transform=lambda v: v[-1]),
    )
    p = await call.create(cls, pk="1", f="abc")
    await call.create(cls, pk="2", f="axy")
    for filters, found in [
        ({"f": "abc"}, {"1"}),
        ({"f__eq": "abc"}, {"1"}),
        ({"f__first": "a"}, {"1", "2"}),
        ({"f__first__eq": "a"}, {"1", "2"}),
        ({"f__last": "c"}, {"1"}),
        ({"f__first": "a", "f__last": "y"}, {"2"}),
        ({"f__first": "abc"}, set()),
        ({"f__last__in": ["y", "z"]}, {"2"}),
        ({"f__last__in": ["y", "c"], "f__first__in": ["a"]}, {"1", "2"}),
        ({"f__first__in": [], "f__last": "y"}, set()),
        ({"pk": 1, "f__first": "a"}, {"1"}),
        ({"pk": 1, "f__last": "y"}, set()),
    ]:
        assert set(await call.list(cls.collection(**filters))) == found, filters
    for filters in ({"f__second": "a"}, {"f__first__gt": "a"}, {"f__eq__eq": "a"}):
        with pytest.raises(ImplementationError):
            cls.collection(**filters)
    await call(p.f, "set", "zbc")
    assert raw.smembers(":ix:f:last:k:c") == {"1"}
    assert raw.smembers(":ix:f:first:a") == {"2"}
    await call(p.f, "delete")
    assert {key for key, held in keyspace(raw).items() if held == {"1"}} == set()


async def test_first_capable_index_handles_uniqueness(call, database, raw):
    free = EqualIndex.configure(prefix="free", handle_uniqueness=False)
    cls = define(database, free, EqualIndex.configure(transform=str.lower), unique=True)
    await call.create(cls, pk="1", f="Abc")
    before = keyspace(raw)
    with pytest.raises(UniquenessError):
        await call.create(cls, pk="2", f="aBC")
    assert keyspace(raw) == before
    p = await call(cls, "get", pk="1")
    await call(p.f, "set", "ABC")
    assert raw.smembers(":ix:f:abc") == {"1"}
    assert raw.smembers(":ix:f:free:ABC") == {"1"}
    assert not raw.exists(":ix:f:free:Abc")


def test_configure_returns_a_class_and_refuses_unknown_options():
    made = EqualIndex.configure(key="k", name="Named")
    assert (made.__name__, made.key, EqualIndex.key) == ("Named", "k", None)
    assert EqualIndex.configure(key="k").__name__ == "EqualIndex"
    with pytest.raises(TypeError, match="has no separator, suffix; it takes handle_uniqueness, key"):
        EqualIndex.configure(suffix="x", separator="y")


def test_unique_field_needs_an_index_that_handles_uniqueness(database):
    with pytest.raises(ImplementationError, match="can keep it unique"):
        define(database, EqualIndex.configure(handle_uniqueness=False), unique=True)


def test_index_objects_are_shared_by_all_objects(database):
    cls = define(database, EqualIndex)
    one, two = cls(pk="1", f="a"), cls(pk="2", f="b")
    assert one.f.indexes is two.f.indexes is cls.get_field("f").indexes
    assert isinstance(one.f.unique_index(), BaseIndex)
    assert one.f.indexes[0].field is cls.get_field("f")
