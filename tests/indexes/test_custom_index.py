"""A custom index class, which needs three methods."""

from __future__ import annotations

import pytest

from tenantlimpyd import fields
from tenantlimpyd.contrib.indexes import MultiIndexes
from tenantlimpyd.exceptions import UniquenessError
from tenantlimpyd.indexes import BaseIndex, Claim, Entry, EqualIndex
from tenantlimpyd.indexes.pk_sources import ScoreRange
from tests.support.models import define

pytestmark = pytest.mark.slow


class LengthIndex(BaseIndex):
    """Finds objects by the length of a value."""

    handled_suffixes = frozenset({"longer"})
    supported_key_types = frozenset({"zset"})
    ends_with_value = False
    injective = False
    key = "length"

    def storage_key(self, name, *args, transform_value=True):
        return self.base_key(name, *args[:-1])

    def entries(self, name, pk, *args):
        return {Entry(self.base_key(name, *args[:-1]), pk, len(self.normalize_value(args[-1])))}

    def source(self, name, suffix, value, *subkeys):
        return ScoreRange(self.base_key(name, *subkeys), f"({value}", "+inf")

    def claim(self, name, *args):
        length = len(self.normalize_value(args[-1]))
        return Claim(self.base_key(name, *args[:-1]), ("ZRANGEBYSCORE", length, length), args[-1])


@pytest.mark.parametrize(
    "index", [LengthIndex, MultiIndexes.compose([LengthIndex]), LengthIndex.configure(name="Mine")]
)
async def test_custom_index_class_needs_three_methods(call, database, raw, index):
    cls = define(database, "Own", pk=fields.PKField(), f=fields.StringField(unique=True, indexes=[index, EqualIndex]))
    one = await call.create(cls, pk="1", f="abc")
    two = await call.create(cls, pk="2", f="abcdef")
    assert raw.zrange(":own:f:length", 0, -1, withscores=True) == [("1", 3), ("2", 6)]
    assert await call.list(cls.collection(f__longer=4)) == ["2"]
    with pytest.raises(UniquenessError):
        await call(two.f, "set", "xyz")
    await call(one.f, "append", "d")
    assert set(await call.list(cls.collection(f__longer=3))) == {"1", "2"}
    assert await call(cls.get_field("f").indexes[0], "get_all_storage_keys") == {":own:f:length"}
    await call(cls.get_field("f"), "rebuild_indexes", aggressive_clear=True)
    assert raw.zrange(":own:f:length", 0, -1, withscores=True) == [("1", 4), ("2", 6)]
    await call(one, "delete")
    await call(two, "delete")
    assert raw.keys("*") == []
