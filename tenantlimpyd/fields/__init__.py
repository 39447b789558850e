"""Fields of models. Each command of a field is a method, and its asyncio twin has the same name with ``a`` in front."""

from __future__ import annotations

from tenantlimpyd.exceptions import DoesNotExist, ImplementationError, LimpydException, UniquenessError
from tenantlimpyd.fields.base import RedisField, SingleValueField
from tenantlimpyd.fields.instancehash import InstanceHashField
from tenantlimpyd.fields.pk import AutoPKField, PKField
from tenantlimpyd.fields.string import StringField
from tenantlimpyd.utils import make_key, normalize

__all__ = ["AutoPKField", "InstanceHashField", "PKField", "RedisField", "SingleValueField", "StringField"]
# Not ours, but importable from limpyd.fields, where applications may look for them.
__limpyd__ = (DoesNotExist, ImplementationError, LimpydException, UniquenessError, make_key, normalize)
