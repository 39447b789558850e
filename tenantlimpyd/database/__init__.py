"""``RedisDatabase``: connection settings, connections, and hosted models, for one keyspace."""

from __future__ import annotations

from tenantlimpyd._connections.endpoint import Endpoint
from tenantlimpyd._connections.settings import Keyspace, Settings
from tenantlimpyd.database.database import DEFAULT_CONNECTION_SETTINGS, Lock, RedisDatabase
from tenantlimpyd.exceptions import DoesNotExist, ImplementationError, LimpydException, UniquenessError
from tenantlimpyd.indexes import EqualIndex

__all__ = ["DEFAULT_CONNECTION_SETTINGS", "Endpoint", "Keyspace", "Lock", "RedisDatabase", "Settings"]
# Not ours, but importable from limpyd.database, where applications may look for them.
__limpyd__ = (DoesNotExist, EqualIndex, ImplementationError, LimpydException, UniquenessError)
