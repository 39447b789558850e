"""Models: ``RedisModel`` and what limpyd's module of this name exports."""

from __future__ import annotations

from tenantlimpyd.collection import CollectionManager
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import DoesNotExist, ImplementationError, LimpydException, UniquenessError
from tenantlimpyd.fields import (
    AutoPKField,
    HashField,
    InstanceHashField,
    ListField,
    PKField,
    RedisField,
    SetField,
    SortedSetField,
    StringField,
)
from tenantlimpyd.model.base import RedisModel
from tenantlimpyd.model.metaclass import MetaRedisModel
from tenantlimpyd.utils import make_key

__all__ = [
    "AutoPKField",
    "CollectionManager",
    "DoesNotExist",
    "HashField",
    "ImplementationError",
    "InstanceHashField",
    "LimpydException",
    "ListField",
    "MetaRedisModel",
    "PKField",
    "RedisDatabase",
    "RedisField",
    "RedisModel",
    "SetField",
    "SortedSetField",
    "StringField",
    "UniquenessError",
    "make_key",
]
