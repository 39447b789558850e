"""Collections: lazy queries over the objects of a model."""

from __future__ import annotations

from typing import Final

from tenantlimpyd.collection.filters import ParsedFilter
from tenantlimpyd.collection.manager import CollectionManager
from tenantlimpyd.collection.results import CollectionResults

__all__ = ["NONE_SLICE", "CollectionManager", "CollectionResults", "ParsedFilter"]

NONE_SLICE: Final = slice(None, None, None)
"""The slice of everything."""
