"""Collections: lazy queries over the objects of a model."""

from __future__ import annotations

from tenantlimpyd.collection.filters import ParsedFilter
from tenantlimpyd.collection.manager import CollectionManager
from tenantlimpyd.collection.results import CollectionResults

__all__ = ["CollectionManager", "CollectionResults", "ParsedFilter"]
