"""The content of a database, in a form that can be compared."""

from __future__ import annotations

from typing import Any

import redis

__all__ = ["LEFTOVER", "content_of"]

LEFTOVER = b":__collection__:final:"
"""In keys that limpyd leaves behind for 300 seconds where a collection of several filters is only counted (P45)."""

_READERS = {
    b"string": lambda client, key: client.get(key),
    b"hash": lambda client, key: client.hgetall(key),
    b"set": lambda client, key: client.smembers(key),
    b"list": lambda client, key: client.lrange(key, 0, -1),
    b"zset": lambda client, key: client.zrange(key, 0, -1, withscores=True),
}


def content_of(client: redis.Redis) -> dict[bytes, tuple[bytes, Any]]:
    """Return every key with its type, its content, and whether it expires.

    Args:
        client: a redis-py client that decodes nothing.
    """
    keys = client.keys()
    with client.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.type(key)
        types = pipeline.execute()
        for key, kind in zip(keys, types, strict=True):
            _READERS[kind](pipeline, key)
            pipeline.ttl(key)
        replies = iter(pipeline.execute())
    return {
        key: (kind, next(replies), next(replies) >= 0)  # type: ignore[misc]
        for key, kind in zip(keys, types, strict=True)
    }
