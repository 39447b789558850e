"""redis-py's connection pools, with what sharing them between tenants needs.

They keep no connection in doubt (:mod:`tenantlimpyd.guards`), and can be *retired*: commands in flight finish, and each
connection is closed when it comes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis
import redis.asyncio
from redis.event import AfterConnectionReleasedEvent, AsyncAfterConnectionReleasedEvent
from redis.maint_notifications import MaintNotificationsConfig

from tenantlimpyd.guards import guarded

__all__ = ["AsyncPool", "Pool", "pool_arguments"]


class Pool(redis.ConnectionPool):
    """A blocking pool that can be retired and keeps no connection in doubt.

    Checking out and giving back are written anew: redis-py's do the same around counters of its own telemetry, which
    cost more than all that tenants add to a command.
    """

    retired = False

    def get_connection(self, command_name: Any = None, *keys: Any, **options: Any) -> Any:  # noqa: ARG002 - redis-py's
        """Return a connection that is connected, in its database, and owes nothing."""
        self._checkpid()
        with self._lock:
            connection = self._available_connections.pop() if self._available_connections else self.make_connection()
            self._in_use_connections.add(connection)
        try:
            if not self._ready(connection):  # closed by the server meanwhile, or with a reply that nobody read
                connection.disconnect()
                if not self._ready(connection):
                    raise redis.ConnectionError("a new connection holds data that nobody asked for")
        except BaseException:
            self.release(connection)
            raise
        return connection

    @staticmethod
    def _ready(connection: Any) -> bool:
        if not connection.is_connected:
            connection.connect()
        try:
            return not connection.can_read()
        except (redis.ConnectionError, redis.TimeoutError, OSError):
            return False

    def release(self, connection: Any) -> None:
        """Take a connection back; close it if it is in doubt or the pool is retired."""
        self._checkpid()
        with self._lock:
            if connection not in self._in_use_connections:  # of before a fork, or not of this pool
                return
            self._in_use_connections.remove(connection)
            if connection.doubtful or self.retired or connection.should_reconnect():
                connection.disconnect()
            self._available_connections.append(connection)
        if connection.credential_provider is not None and self._event_dispatcher is not None:
            # A new token may have come while it was in use.
            self._event_dispatcher.dispatch(AfterConnectionReleasedEvent(connection))

    def retire(self) -> None:
        """Close what is idle now, and what is in use when it comes back."""
        with self._lock:
            self.retired = True
            self.disconnect(inuse_connections=False)


class AsyncPool(redis.asyncio.ConnectionPool):
    """An asyncio pool that can be retired and keeps no connection in doubt. It needs no lock: it never waits in between."""

    retired = False

    async def get_connection(self, command_name: Any = None, *keys: Any, **options: Any) -> Any:  # noqa: ARG002
        """Return a connection that is connected, in its database, and owes nothing."""
        connection = self.get_available_connection()  # type: ignore[no-untyped-call]
        try:
            if not await self._ready(connection):  # closed by the server meanwhile, or with a reply that nobody read
                await connection.disconnect()
                if not await self._ready(connection):
                    raise redis.ConnectionError("a new connection holds data that nobody asked for")
        except BaseException:
            await self.release(connection)
            raise
        return connection

    @staticmethod
    async def _ready(connection: Any) -> bool:
        if not connection.is_connected:
            await connection.connect()
        try:
            return not await connection.can_read()
        except (redis.ConnectionError, redis.TimeoutError, OSError):
            return False

    async def release(self, connection: Any) -> None:
        """Take a connection back; close it if it is in doubt or the pool is retired."""
        if connection not in self._in_use_connections:  # not of this pool
            return
        self._in_use_connections.remove(connection)
        if connection.doubtful or self.retired or connection.should_reconnect():
            await connection.disconnect(nowait=True)
        self._available_connections.append(connection)
        if connection.credential_provider is not None and self._event_dispatcher is not None:
            await self._event_dispatcher.dispatch_async(AsyncAfterConnectionReleasedEvent(connection))

    async def retire(self) -> None:
        """Close what is idle now, and what is in use when it comes back."""
        self.retired = True
        await self.disconnect(inuse_connections=False)


def pool_arguments(client_class: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what redis-py makes of a client's settings, as arguments for a pool of ours.

    With its maintenance notifications on (the default for RESP3), a pool of redis-py does not look at checkout whether a
    connection still holds the reply of an earlier command: that reply would go to another caller. So they are off, unless
    they are asked for.
    """
    quiet = {"maint_notifications_config": MaintNotificationsConfig(enabled=False), **settings}
    template = client_class(**quiet).connection_pool
    arguments = dict(template.connection_kwargs)
    arguments.pop("himport_registry", None)
    return {
        "connection_class": guarded(template.connection_class),
        "max_connections": template.max_connections,
        **arguments,
        "maint_notifications_config": quiet["maint_notifications_config"],
    }
