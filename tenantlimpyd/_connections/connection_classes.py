"""redis-py's connections, with what sharing them between tenants needs.

- *In doubt, disconnect*: a connection knows whether it still owes a reply, whether its handshake (and so its SELECT) is
  finished, and whether a command altered it. Pools close one in doubt instead of keeping it.
- It knows the database it is in, and goes to that of its next user in the same write as the next command
  (:mod:`tenantlimpyd._connections.select_plan`). A command of the user's that would move it is refused.
- It keeps the limit on a thread's commands (:mod:`tenantlimpyd._connections.deadline`).
- In asyncio, many of them send together (:mod:`tenantlimpyd._connections.write_coalescer`).
- It tells its server's breaker (:mod:`tenantlimpyd._connections.breaker`) what became of connecting and of waiting for replies.
"""

from __future__ import annotations

import functools

import redis.asyncio.connection

from tenantlimpyd._connections.connection import SharedConnection
from tenantlimpyd._connections.connection_async import AsyncSharedConnection

__all__ = ["shared_connection_class"]


@functools.cache
def shared_connection_class(connection_class: type) -> type:
    """Return redis-py's connection class (plain, TLS, unix socket; either colour) with the guard mixed in."""
    is_async = issubclass(connection_class, redis.asyncio.connection.AbstractConnection)
    guard = AsyncSharedConnection if is_async else SharedConnection
    return type(f"{guard.__name__}{connection_class.__name__}", (guard, connection_class), {})
