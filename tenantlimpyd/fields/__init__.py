"""Fields of models. Each command of a field is a method, and its asyncio twin has the same name with ``a`` in front."""

from __future__ import annotations

from tenantlimpyd.database import Lock
from tenantlimpyd.database.locks import FieldLock
from tenantlimpyd.exceptions import DoesNotExist, ImplementationError, LimpydException, UniquenessError
from tenantlimpyd.fields.base import RedisField, SingleValueField
from tenantlimpyd.fields.hash import HashField
from tenantlimpyd.fields.instance_hash import InstanceHashField
from tenantlimpyd.fields.list import ListField
from tenantlimpyd.fields.multi_value import MultiValuesField
from tenantlimpyd.fields.pk import AutoPKField, PKField
from tenantlimpyd.fields.set import SetField
from tenantlimpyd.fields.sorted_set import SortedSetField
from tenantlimpyd.fields.string import StringField
from tenantlimpyd.utils import make_key, normalize

__all__ = [
    "AutoPKField",
    "HashField",
    "InstanceHashField",
    "ListField",
    "MultiValuesField",
    "PKField",
    "RedisField",
    "SetField",
    "SingleValueField",
    "SortedSetField",
    "StringField",
]
# Not ours, but importable from limpyd.fields, where applications may look for them.
__limpyd__ = (DoesNotExist, FieldLock, ImplementationError, LimpydException, Lock, UniquenessError, make_key, normalize)
