"""Models: ``RedisModel`` and what limpyd's module of this name exports."""

from __future__ import annotations

from tenantlimpyd.collection import CollectionManager
from tenantlimpyd.exceptions import DoesNotExist, ImplementationError, LimpydException, UniquenessError
from tenantlimpyd.fields import (
    AutoPKField,
    InstanceHashField,
    PKField,
    RedisField,
    StringField,
)
from tenantlimpyd.model.base import RedisModel
from tenantlimpyd.model.meta import MetaRedisModel
from tenantlimpyd.utils import make_key

__all__ = [
    "AutoPKField",
    "CollectionManager",
    "DoesNotExist",
    "ImplementationError",
    "InstanceHashField",
    "LimpydException",
    "MetaRedisModel",
    "PKField",
    "RedisField",
    "RedisModel",
    "StringField",
    "UniquenessError",
    "make_key",
]
