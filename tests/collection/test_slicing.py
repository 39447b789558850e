"""Slices and items of a collection are those of the sorted list of its pks."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tenantlimpyd import fields, model
from tenantlimpyd.database import RedisDatabase

COUNT = 7
EVERY = [str(number) for number in range(1, COUNT + 1)]
bounds = st.none() | st.integers(-COUNT - 3, COUNT + 3) | st.sampled_from([2**31, -(2**31), 2**63, -(2**64), 10**30])
slices = st.builds(slice, bounds, bounds, st.none() | st.integers(-4, 4).filter(bool))
filters = st.sampled_from([{}, {"a": "x"}, {"a": "x", "b": "y"}])
quick = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def item(server):
    with RedisDatabase(**server.settings, db=7) as hosted_by:
        hosted_by.connection.flushdb()

        class Item(model.RedisModel):
            database = hosted_by
            a = fields.StringField(indexable=True)
            b = fields.InstanceHashField(indexable=True)

        yield Item
        asyncio.run(hosted_by.aclose())


@pytest.fixture
def items(item):
    """Seven objects; fixtures of other tests may have emptied the server."""
    if len(item.collection()) != COUNT:
        item.database.connection.flushdb()
        for _ in range(COUNT):
            item(a="x", b="y")
    return item


@quick
@given(filters, slices)
@example({}, slice(2, -2, 2))
@example({}, slice(0, 0))
@pytest.mark.slow
async def test_slices_equal_slices_of_a_list(call, items, filters, wanted):
    assert await call.slice(items.collection(**filters), wanted) == EVERY[wanted]
    assert [each._pk for each in await call.slice(items.instances(**filters), wanted)] == EVERY[wanted]


@quick
@given(filters, st.integers(-COUNT - 3, COUNT + 3))
@pytest.mark.slow
async def test_items_equal_items_of_a_list(call, items, filters, index):
    try:
        expected = EVERY[index]
    except IndexError:
        with pytest.raises(IndexError):
            await call.item(items.collection(**filters), index)
    else:
        assert await call.item(items.collection(**filters), index) == expected
