"""Indexes: how a value's entries are named, added, removed and looked up. Arithmetic on keys, no I/O."""

from __future__ import annotations

from tenantlimpyd.indexes.base import BaseIndex, Entry, stored_text
from tenantlimpyd.indexes.equal import EqualIndex

__all__ = ["BaseIndex", "Entry", "EqualIndex", "stored_text"]
