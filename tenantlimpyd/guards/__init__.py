"""redis-py's connections, with what sharing them between tenants needs.

- *In doubt, disconnect*: a connection knows whether it still owes a reply, whether its handshake (and so its SELECT) is
  finished, and whether a command altered it. Pools close one in doubt instead of keeping it.
- It knows the database it is in, and goes to that of its next user in the same write as the next command
  (:mod:`tenantlimpyd.switching`). A command of the user's that would move it is refused.
- It keeps the limit on a thread's commands (:mod:`tenantlimpyd.limits`).
- In asyncio, many of them send together (:mod:`tenantlimpyd.guards.outbox`).
- It tells its server's breaker (:mod:`tenantlimpyd.breaker`) what became of connecting and of waiting for replies.
"""

from __future__ import annotations

import functools

import redis.asyncio.connection

from tenantlimpyd.guards.awaiting import AsyncGuarded
from tenantlimpyd.guards.blocking import Guarded
from tenantlimpyd.guards.outbox import Outbox

__all__ = ["Outbox", "guarded"]


@functools.cache
def guarded(connection_class: type) -> type:
    """Return redis-py's connection class (plain, TLS, unix socket; either colour) with the guard mixed in."""
    is_async = issubclass(connection_class, redis.asyncio.connection.AbstractConnection)
    guard = AsyncGuarded if is_async else Guarded
    return type(f"{guard.__name__}{connection_class.__name__}", (guard, connection_class), {})
