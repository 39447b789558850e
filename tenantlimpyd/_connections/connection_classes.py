"""The classes of shared connections: redis-py's classes with a mixin.

- *In doubt, disconnect*: a connection tracks pending replies, an unfinished handshake (and its SELECT), and commands that alter
  it. Pools close a connection whose state is not certain.
- It tracks the selected database, and selects that of the next borrower in the same write as the next command
  (:mod:`tenantlimpyd._connections.select_plan`). A caller's command that would select a database is refused.
- It observes the deadline of a thread (:mod:`tenantlimpyd._connections.deadline`).
- In asyncio, several connections write at once (:mod:`tenantlimpyd._connections.write_coalescer`).
- It reports connection attempts and replies to the circuit breaker (:mod:`tenantlimpyd._connections.breaker`).
"""

from __future__ import annotations

import functools

import redis.asyncio.connection

from tenantlimpyd._connections.connection import SharedConnection
from tenantlimpyd._connections.connection_async import AsyncSharedConnection

__all__ = ["shared_connection_class"]


@functools.cache
def shared_connection_class(connection_class: type) -> type:
    """Return a shared connection class for a class of redis-py: plain, TLS or unix socket, sync or async."""
    is_async = issubclass(connection_class, redis.asyncio.connection.AbstractConnection)
    guard = AsyncSharedConnection if is_async else SharedConnection
    return type(f"{guard.__name__}{connection_class.__name__}", (guard, connection_class), {})
