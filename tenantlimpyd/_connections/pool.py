"""redis-py's connection pools, with what sharing them between tenants needs.

A pool is that of a server: its connections go to the database of whoever checks one out. They keep no connection in doubt
(:mod:`tenantlimpyd._connections.connection_classes`), and ask the budget (:mod:`tenantlimpyd._connections.limiter`) before they make one.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import redis
import redis.asyncio
from redis.event import AfterConnectionReleasedEvent, AsyncAfterConnectionReleasedEvent
from redis.maint_notifications import MaintNotificationsConfig

from tenantlimpyd._connections import fork
from tenantlimpyd._connections.borrower import Borrower, Waiter
from tenantlimpyd._connections.breaker import PATIENCE
from tenantlimpyd._connections.connection_classes import shared_connection_class
from tenantlimpyd._connections.deadline import current_deadline
from tenantlimpyd._connections.redis_internals import ahears
from tenantlimpyd._connections.write_coalescer import WriteCoalescer

if TYPE_CHECKING:
    from tenantlimpyd._connections.endpoint import EndpointState
    from tenantlimpyd._connections.limiter import ConnectionLimiter

__all__ = ["AsyncPool", "Pool", "pool_arguments"]

_UNASKED = "a new connection holds data that nobody asked for"
_LOOK = 0.002
"""Seconds between two looks at what became of another's attempt."""
_FAILURES = (redis.ConnectionError, redis.TimeoutError, OSError)


def _made(pool: Pool | AsyncPool, user: Borrower) -> Any:
    """Make a connection, for which there is leave already."""
    try:
        connection: Any = pool.connection_class(**pool.connection_kwargs)
    except BaseException:
        pool.limiter.put(pool, user, None, keep=False)
        raise
    connection.capabilities = pool.endpoint_state.capabilities
    connection.breaker = pool.endpoint_state.breaker
    connection.waits = pool.limiter is pool.endpoint_state.dedicated
    return connection


def _keeps(pool: Pool | AsyncPool, connection: Any, user: Borrower) -> bool:
    """Return whether a connection that comes back from a user may be idle; let others try a server that is away."""
    breaker, master = pool.endpoint_state.breaker, pool.master
    if breaker is not None and breaker.refusing:
        breaker.leave(connection)
    return connection.is_connected and not (
        user.retired
        or connection.doubtful
        or connection.should_reconnect()
        or (master is not None and master.left(connection))
    )


class Pool(redis.ConnectionPool):
    """A blocking pool of a server.

    Checking out and giving back are written anew: redis-py's do the same around counters of its own telemetry, which
    cost more than all that tenants add to a command.
    """

    def __init__(self, endpoint_state: EndpointState, limiter: ConnectionLimiter, arguments: Mapping[str, Any]) -> None:
        super().__init__(**arguments)
        self.endpoint_state = endpoint_state
        self.limiter = limiter
        self.master = arguments.get("connection_pool")  # finds the server, where sentinels say which one it is
        self.idle: list[Any] = self._available_connections
        limiter.pools.append(self)

    def reset_after_fork(self) -> None:
        """Forget all connections: they are a parent process's."""
        self.reset()
        self.idle = self._available_connections

    def lend(self, user: Borrower, *, may_wait: bool = True) -> Any:
        """Return a connection that is connected, is or will be in the user's database, and owes nothing.

        Args:
            user: for whom.
            may_wait: whether to wait for a place, where the budget allows it.

        Raises:
            redis.exceptions.MaxConnectionsError: the budget is spent.
        """
        endpoint_state = self.endpoint_state
        breaker = endpoint_state.breaker
        if breaker is not None and breaker.refusing:
            ends = time.monotonic() + PATIENCE
            while breaker.probing and time.monotonic() < ends:
                time.sleep(_LOOK)
            breaker.check()
        connection = self.limiter.take(self, user, may_wait=may_wait)
        if connection.__class__ is Waiter:
            connection = self._wait(connection)
        if connection is None:
            connection = _made(self, user)
        connection.user = user
        connection.db = user.db
        self._in_use_connections.add(connection)
        try:
            if breaker is not None and breaker.refusing:
                breaker.admit(connection)
            if self.master is not None and self.master.left(connection):
                connection.disconnect()
            if not self._ready(connection):  # closed by the server meanwhile, or with a reply that nobody read
                connection.disconnect()
                if not self._ready(connection):
                    raise redis.ConnectionError(_UNASKED)
        except BaseException:
            self.release(connection)
            raise
        return connection

    def lend_idle(self, user: Borrower) -> Any:
        """Return a connection as :meth:`lend`; None: none is idle, or it is not as it should be. Never waits."""
        if self.endpoint_state.breaker is not None and self.endpoint_state.breaker.refusing:
            return None
        connection = self.limiter.take_idle(self, user)
        if connection is None:
            return None
        connection.user = user
        connection.db = user.db
        self._in_use_connections.add(connection)
        ready = False
        try:
            left = self.master is not None and self.master.left(connection)
            with contextlib.suppress(*_FAILURES):
                ready = connection.is_connected and not left and not connection.hears()
        finally:
            if not ready:
                connection.disconnect()
                self.release(connection)
        return connection if ready else None

    def _wait(self, waiter: Waiter) -> Any:
        come = threading.Event()
        waiter.wake = come.set
        limit = current_deadline()
        seconds = self.limiter.scope.budget.timeout
        if waiter.granted:  # before it could be woken
            come.set()
        try:
            if limit is None:
                come.wait(seconds)
            else:
                with limit.waking(come.set):
                    come.wait(limit.shorter(seconds))
        except BaseException:
            self._unwanted(waiter)
            raise
        try:
            return self.limiter.waited(waiter)
        except redis.exceptions.MaxConnectionsError as error:
            if limit is not None and limit.over:
                raise limit.error() from error
            raise

    def _unwanted(self, waiter: Waiter) -> None:
        granted = self.limiter.abandon(waiter)
        if granted is not False:
            self.limiter.put(self, waiter.user, granted, keep=granted is not None)

    @staticmethod
    def _ready(connection: Any) -> bool:
        if not connection.is_connected:
            connection.connect()
        try:
            return not connection.hears()
        except _FAILURES:
            return False

    def release(self, connection: Any) -> None:
        """Take a connection back; close it if it is in doubt, or if no database uses the server any more."""
        try:
            self._in_use_connections.remove(connection)
        except KeyError:  # of before a fork, or not of this pool
            return
        endpoint_state, user = self.endpoint_state, connection.user
        connection.user = None
        keep = False
        try:
            keep = _keeps(self, connection, user)
        finally:  # an interrupt must not cost the budget a place
            try:
                if not keep:
                    connection.disconnect()
            finally:
                self.limiter.put(self, user, connection, keep=keep)
        if keep and not endpoint_state.users:  # the last one left in between
            endpoint_state.close_unused()
        if connection.credential_provider is not None and self._event_dispatcher is not None:
            # A new token may have come while it was in use.
            self._event_dispatcher.dispatch(AfterConnectionReleasedEvent(connection))

    @staticmethod
    def drop(connection: Any) -> None:
        """Close a connection that was idle."""
        connection.disconnect()


class AsyncPool(redis.asyncio.ConnectionPool):
    """An asyncio pool of a server, for one event loop."""

    def __init__(
        self,
        endpoint_state: EndpointState,
        limiter: ConnectionLimiter,
        loop: weakref.ref[asyncio.AbstractEventLoop],
        arguments: Mapping[str, Any],
    ) -> None:
        super().__init__(**arguments)
        self.endpoint_state = endpoint_state
        self.limiter = limiter
        self.loop = loop
        self.master = arguments.get("connection_pool")
        self.idle: list[Any] = self._available_connections
        told = arguments.get("maint_notifications_config")
        # Where something may come unasked, that must not look as if a reply did.
        self._together = limiter is endpoint_state.shared and told is not None and not told.enabled
        self._outbox = WriteCoalescer(self._in_use_connections)
        limiter.pools.append(self)

    def reset_after_fork(self) -> None:
        """Forget all connections: they are a parent process's, and so is the event loop."""
        fork.kept.append((self.idle, self._in_use_connections))
        self._available_connections = self.idle = []
        self._in_use_connections = set()
        self._outbox = WriteCoalescer(self._in_use_connections)

    async def lend(self, user: Borrower, *, may_wait: bool = True) -> Any:
        """Return a connection that is connected, is or will be in the user's database, and owes nothing.

        Args:
            user: for whom.
            may_wait: whether to wait for a place, where the budget allows it.

        Raises:
            redis.exceptions.MaxConnectionsError: the budget is spent.
        """
        endpoint_state = self.endpoint_state
        breaker = endpoint_state.breaker
        if breaker is not None and breaker.refusing:
            ends = time.monotonic() + PATIENCE
            while breaker.probing and time.monotonic() < ends:  # noqa: ASYNC110 - who ends it may be a thread
                await asyncio.sleep(_LOOK)
            breaker.check()
        connection = self.limiter.take(self, user, may_wait=may_wait)
        if connection.__class__ is Waiter:
            connection = await self._wait(connection)
        if connection is None:
            connection = _made(self, user)
            connection.outbox = self._outbox if self._together else None
        connection.user = user
        connection.db = user.db
        self._in_use_connections.add(connection)
        try:
            if breaker is not None and breaker.refusing:
                breaker.admit(connection)
            if self.master is not None and self.master.left(connection):
                await connection.disconnect()
            if not await self._ready(connection):  # closed by the server meanwhile, or with a reply that nobody read
                await connection.disconnect()
                if not await self._ready(connection):
                    raise redis.ConnectionError(_UNASKED)
        except BaseException:
            await self.release(connection)
            raise
        return connection

    async def _wait(self, waiter: Waiter) -> Any:
        loop = asyncio.get_running_loop()
        come: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop closed in between: its waiter is no more
                loop.call_soon_threadsafe(_resolve, come)

        waiter.wake = wake
        try:
            if not waiter.granted:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.limiter.scope.budget.timeout):
                        await come
        except BaseException:
            granted = self.limiter.abandon(waiter)
            if granted is not False:
                self.limiter.put(self, waiter.user, granted, keep=granted is not None)
            raise
        return self.limiter.waited(waiter)

    @staticmethod
    async def _ready(connection: Any) -> bool:
        if not connection.is_connected:
            await connection.connect()
        try:
            return not await ahears(connection)
        except _FAILURES:
            return False

    async def release(self, connection: Any) -> None:
        """Take a connection back; close it if it is in doubt, or if no database uses the server any more."""
        try:
            self._in_use_connections.remove(connection)
        except KeyError:  # not of this pool
            return
        endpoint_state, user = self.endpoint_state, connection.user
        connection.user = None
        keep = False
        try:
            keep = _keeps(self, connection, user)
        finally:
            try:
                if not keep:
                    await connection.disconnect(nowait=True)
            finally:
                self.limiter.put(self, user, connection, keep=keep)
        if keep and not endpoint_state.users:
            endpoint_state.close_unused()
        if connection.credential_provider is not None and self._event_dispatcher is not None:
            await self._event_dispatcher.dispatch_async(AsyncAfterConnectionReleasedEvent(connection))

    def drop(self, connection: Any) -> None:
        """Close a connection that was idle, in the turn of its own event loop. Called in any thread."""
        loop = self.loop()
        if loop is not None and loop.is_running():
            with contextlib.suppress(RuntimeError):  # it closed in between
                loop.call_soon_threadsafe(connection._close)
                return
        with contextlib.suppress(RuntimeError):  # a loop that has ended closes nothing any more
            connection._close()

    async def close_idle(self) -> None:
        """Close the idle connections, and wait until they are."""
        with self.limiter.scope.lock:
            idle = self.idle[:]
            del self.idle[:]
            self.limiter.open -= len(idle)
            self.limiter.scope.open -= len(idle)
        for connection in idle:
            await connection.disconnect()


def _resolve(come: asyncio.Future[None]) -> None:
    if not come.done():
        come.set_result(None)


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
        "connection_class": shared_connection_class(template.connection_class),
        "max_connections": template.max_connections,
        **arguments,
        "maint_notifications_config": quiet["maint_notifications_config"],
    }
