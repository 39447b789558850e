"""Small helper functions, under limpyd's names."""

from __future__ import annotations

import uuid
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tenantlimpyd.keys import make_key

if TYPE_CHECKING:
    import redis

__all__ = ["NotProvided", "cached_property", "make_key", "normalize", "unique_key"]


class _NotProvided:
    """The type of :data:`NotProvided`."""

    def __repr__(self) -> str:
        return "NotProvided"

    def __bool__(self) -> bool:
        return False


NotProvided = _NotProvided()
"""The default of an argument for which None is a value."""


def normalize(value: Any) -> str:
    """Return ``value`` as the text redis-py would send: bytes decoded as UTF-8, anything else by ``str``."""
    return value.decode() if isinstance(value, bytes) else str(value)


def unique_key(connection: redis.Redis, prefix: str | None = None) -> str:
    """Return the name of a key that does not exist in the database of a client.

    Args:
        connection: the redis-py client, which sends EXISTS.
        prefix: the first part of the name, joined with ``:``.
    """
    while True:
        name = uuid.uuid4().hex
        key = name if prefix is None else make_key(prefix, name)
        if not connection.exists(key):
            return key
