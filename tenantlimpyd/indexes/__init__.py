"""Indexes: how a value's entries are named, added, removed and looked up. Arithmetic on keys, no I/O."""

from __future__ import annotations

from tenantlimpyd.indexes.base import BaseIndex
from tenantlimpyd.indexes.entries import Claim, Entry, stored_text
from tenantlimpyd.indexes.equal import EqualIndex
from tenantlimpyd.indexes.ranges import BaseRangeIndex, NumberRangeIndex, TextRangeIndex

__all__ = [
    "BaseIndex",
    "BaseRangeIndex",
    "Claim",
    "Entry",
    "EqualIndex",
    "NumberRangeIndex",
    "TextRangeIndex",
    "stored_text",
]
