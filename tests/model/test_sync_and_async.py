"""Every operation that sends commands has an async form, and describing an object sends none."""

from __future__ import annotations

import inspect

import pytest

from tenantlimpyd import collection, fields, model
from tenantlimpyd.contrib import collection as more_collections
from tenantlimpyd.contrib import indexes as more_indexes
from tenantlimpyd.contrib.collection import ExtendedCollectionManager
from tenantlimpyd.testing import count_commands
from tests.support.models import define
from tests.support.multi_value_models import make_bag

CLASSES = [
    *(value for value in vars(fields).values() if inspect.isclass(value) and issubclass(value, fields.RedisField)),
    *(getattr(more_indexes, name) for name in more_indexes.__all__),
    model.RedisModel,
    collection.CollectionManager,
    more_collections.ExtendedCollectionManager,
]


def made_of(value):
    """Return the operation that a method, or class method, runs, and whether it blocks; None for any other attribute."""
    method = getattr(value, "__func__", value)
    body = getattr(method, "__wrapped__", None)
    if not inspect.isgeneratorfunction(body):
        return None
    return body, {"blocking": True, "awaiting": False}[method.__code__.co_name]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_operation_has_a_sync_and_an_async_form(cls):
    members = {name: made_of(inspect.getattr_static(cls, name)) for name in dir(cls)}
    pairs = 0
    for name, (body, blocking) in ((name, made) for name, made in members.items() if made):
        if blocking:  # those that start with _ are what len() and so on call
            twin = f"a{body.__name__.removeprefix('_')}" if name.startswith("_") else f"a{name}"
            assert members.get(twin) == (body, False), name
            pairs += 1
    assert pairs


@pytest.mark.parametrize(
    ("cls", "names"),
    [
        (model.RedisModel, "get exists get_or_connect from_pks scan_keys scan_model_keys delete connect hmset"),
        (fields.PKField, "get set exists collection"),
        (fields.SetField, "sscan"),
        (fields.HashField, "hscan"),
        (fields.SortedSetField, "zscan"),
        (collection.CollectionManager, "count list item slice contains"),
    ],
)
def test_methods_without_a_common_operation_have_an_async_form(cls, names):
    assert [name for name in names.split() if not callable(getattr(cls, f"a{name}", None))] == []


async def test_describing_objects_sends_no_command(database, raw):
    thing = define(
        database,
        namespace="p",
        collection_manager=ExtendedCollectionManager,
        f=fields.StringField(indexable=True),
        g=fields.InstanceHashField(unique=True),
        **{name: field() for name, field in vars(fields).items() if name in ("HashField", "SetField", "ListField")},
    )
    bag = make_bag(database)
    stored, other = thing(f="x", g="y"), bag(set_indexed=["a"])
    fresh, lazy = thing(), thing.lazy_connect(9)
    gone = thing(f="gone")
    gone.delete()
    every = [stored, other, fresh, lazy, gone, thing, database]
    every += [field for each in (stored, other, fresh, lazy, gone) for field in each.fields]
    every += [*thing.get_fields(), *bag.get_fields()]
    every += [index for field in bag.get_fields() for index in field.indexes]
    found = thing.collection(f="x")
    every += [found, found.instances(), found.values("f"), found.sort(by="f"), found.intersect(other.set_indexed)]
    with count_commands(database) as counted:
        for each in every:
            assert isinstance(repr(each), str)
            assert isinstance(str(each), str)
            assert format(each)
        assert stored == thing.lazy_connect(stored._pk)
        assert stored != other
        assert fresh != thing()
        assert len({stored, lazy, other}) == 3
    assert counted.commands == 0
    assert raw.scard("p:thing:collection") == 1


async def test_length_item_and_membership_of_a_collection_have_async_forms(database):
    thing = define(database, namespace="p", f=fields.StringField(indexable=True))
    first, second = await thing.acreate(f="x"), await thing.acreate(f="x")
    found = thing.collection(f="x")
    assert await found.acount() == len(found) == 2
    assert await found.acontains("1") is ("1" in found) is True
    assert await found.acontains("9") is ("9" in found) is False
    assert await found.instances().acontains(second)
    assert await found.instances().sort().alist() == [first, second]
    assert await found.sort().aitem(-1) == found.sort()[-1] == "2"
    assert list(await found.sort().aslice(0, 1)) == list(found.sort()[0:1]) == ["1"]
    assert {pk async for pk in found} == {"1", "2"}
