"""Connection pools that tenants share, based on redis-py's.

A pool belongs to an endpoint. Its connections switch to the database of the borrower that checks them out. A pool closes every
connection whose state is not certain (:mod:`tenantlimpyd._connections.connection_classes`), and acquires a permit
before it makes one (:mod:`tenantlimpyd._connections.limiter`).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import weakref
from collections.abc import Mapping
from typing import Any

import redis
import redis.asyncio
from redis.event import AfterConnectionReleasedEvent, AsyncAfterConnectionReleasedEvent
from redis.maint_notifications import MaintNotificationsConfig

from tenantlimpyd._connections import fork
from tenantlimpyd._connections.borrower import Borrower, Waiter
from tenantlimpyd._connections.breaker import PROBE_WAIT_SECONDS
from tenantlimpyd._connections.deadline import current_deadline
from tenantlimpyd._connections.endpoint_state import EndpointState
from tenantlimpyd._connections.limiter import ConnectionLimiter
from tenantlimpyd._connections.live_connections import LiveConnections, Permit
from tenantlimpyd._connections.redis_internals import async_has_unexpected_data
from tenantlimpyd._connections.topology.base import Locator
from tenantlimpyd._connections.write_coalescer import WriteCoalescer

__all__ = ["AsyncPool", "Pool", "pool_arguments"]

_UNASKED = "a new connection has received data that was not requested"
_LOOK = 0.002
"""Seconds between two checks of another caller's probe of an unavailable server."""
_FAILURES = (redis.ConnectionError, redis.TimeoutError, OSError)


def _make_connection(pool: Pool | AsyncPool, permit: Permit) -> Any:
    """Make a connection, which is counted instead of the permit for it."""
    try:
        connection: Any = pool.connection_class(**pool.connection_kwargs)
    except BaseException:
        pool.limiter.release(pool, permit, keep=False)
        raise
    connection.user = permit.user
    with pool.limiter.budget_limiter.lock:  # nobody must see both counted, and wait for a permit that is free
        pool.live.add(connection)
        pool.live.discard(permit)
    connection.capabilities = pool.endpoint_state.capabilities
    connection.breaker = pool.endpoint_state.breaker
    connection.waits = pool.limiter is pool.endpoint_state.dedicated
    return connection


class _CountedConnections:
    """Names of redis-py's pool for what is counted by :class:`LiveConnections`."""

    live: LiveConnections

    @property
    def _in_use_connections(self) -> set[Any]:
        return {each for each in self.live if each.__class__ is not Permit and each.user is not None}

    @_in_use_connections.setter
    def _in_use_connections(self, _: Any) -> None:
        """Do nothing: redis-py's pool begins with none."""


def _is_reusable(pool: Pool | AsyncPool, connection: Any, user: Borrower) -> bool:
    """Return whether a returned connection may be used again, and end its probe of an unavailable server."""
    breaker, locator = pool.endpoint_state.breaker, pool.locator
    if breaker is not None and breaker.may_refuse:
        breaker.abandon(connection)
    return connection.is_connected and not (
        user.retired
        or connection.doubtful
        or connection.should_reconnect()
        or (locator is not None and not locator.is_current(connection))
    )


class Pool(_CountedConnections, redis.ConnectionPool):
    """A sync pool of an endpoint.

    Checkout and release replace redis-py's methods, whose telemetry costs more than all that tenants add to a command.
    """

    def __init__(self, endpoint_state: EndpointState, limiter: ConnectionLimiter, arguments: Mapping[str, Any]) -> None:
        super().__init__(**arguments)
        self.endpoint_state = endpoint_state
        self.limiter = limiter
        self.locator: Locator | None = arguments.get("connection_pool")
        self.idle: list[Any] = self._available_connections
        self.live = limiter.budget_limiter.live_connections()
        limiter.pools.append(self)

    def reset_after_fork(self) -> None:
        """Forget all connections, which belong to the parent process."""
        self.live.clear()
        self.reset()
        self.idle = self._available_connections

    def checkout(self, user: Borrower, *, may_wait: bool = True) -> Any:
        """Check out a connected connection that has no pending reply and will be in the borrower's database.

        Args:
            user: the borrower.
            may_wait: whether to wait for a permit if the budget allows it.

        Raises:
            redis.exceptions.MaxConnectionsError: If no permit is available within the budget's ``timeout``.
            ServerUnavailableError: If the circuit breaker is open.
        """
        endpoint_state = self.endpoint_state
        breaker = endpoint_state.breaker
        if breaker is not None and breaker.may_refuse:
            ends = time.monotonic() + PROBE_WAIT_SECONDS
            while breaker.probing and time.monotonic() < ends:
                time.sleep(_LOOK)
            breaker.check()
        connection = self.limiter.acquire(self, user, may_wait=may_wait)
        if connection.__class__ is Waiter:
            connection = self._wait(connection)
        if connection.__class__ is Permit:
            connection = _make_connection(self, connection)
        connection.lend_to(user)
        connection.db = user.db
        try:
            if breaker is not None and breaker.may_refuse:
                breaker.admit(connection)
            if self.locator is not None and not self.locator.is_current(connection):
                connection.disconnect()
            if not self._ready(connection):  # the server has closed it, or it has received unexpected data
                connection.disconnect()
                if not self._ready(connection):
                    raise redis.ConnectionError(_UNASKED)
        except BaseException:
            self.release(connection)
            raise
        return connection

    def checkout_idle(self, user: Borrower) -> Any:
        """Check out an idle connection, or return None if no usable one is idle. Never waits."""
        if self.endpoint_state.breaker is not None and self.endpoint_state.breaker.may_refuse:
            return None
        connection = self.limiter.acquire_idle(self, user)
        if connection is None:
            return None
        connection.lend_to(user)
        connection.db = user.db
        ready = False
        try:
            current = self.locator is None or self.locator.is_current(connection)
            with contextlib.suppress(*_FAILURES):
                ready = connection.is_connected and current and not connection.has_unexpected_data()
        finally:
            if not ready:
                connection.disconnect()
                self.release(connection)
        return connection if ready else None

    def _wait(self, waiter: Waiter) -> Any:
        come = threading.Event()
        waiter.wake = come.set
        limit = current_deadline()
        seconds = self.limiter.budget_limiter.budget.timeout
        if waiter.granted:  # granted before `wake` was set
            come.set()
        try:
            if limit is None:
                come.wait(seconds)
            else:
                with limit.waking(come.set):
                    come.wait(limit.shorter(seconds))
        except BaseException:
            self._cancel_wait(waiter)
            raise
        try:
            return self.limiter.finish_wait(waiter)
        except redis.exceptions.MaxConnectionsError as error:
            if limit is not None and limit.over:
                raise limit.error() from error
            raise

    def _cancel_wait(self, waiter: Waiter) -> None:
        granted = self.limiter.cancel_wait(waiter)
        if granted is not None:
            self.limiter.release(self, granted, keep=granted.__class__ is not Permit)

    @staticmethod
    def _ready(connection: Any) -> bool:
        if not connection.is_connected:
            connection.connect()
        try:
            return not connection.has_unexpected_data()
        except _FAILURES:
            return False

    def release(self, connection: Any) -> None:
        """Return a connection. It is closed if its state is not certain or no database uses the endpoint any more."""
        user = connection.user
        if user is None or connection not in self.live:  # checked out before a fork, or from another pool
            return
        endpoint_state, keep = self.endpoint_state, False
        connection.user = None
        try:
            keep = _is_reusable(self, connection, user)
        finally:  # an interrupt must not lose the permit
            try:
                if not keep:
                    connection.disconnect()
            finally:
                self.limiter.release(self, connection, keep=keep)
        if keep and not endpoint_state.users:  # the last database was closed in the meantime
            endpoint_state.close_unused()
        if connection.credential_provider is not None and self._event_dispatcher is not None:
            # A new token may have arrived while the connection was in use.
            self._event_dispatcher.dispatch(AfterConnectionReleasedEvent(connection))

    @staticmethod
    def drop(connection: Any) -> None:
        """Close an idle connection."""
        connection.disconnect()


class AsyncPool(_CountedConnections, redis.asyncio.ConnectionPool):
    """An async pool of an endpoint, for one event loop."""

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
        self.locator: Locator | None = arguments.get("connection_pool")
        self.idle: list[Any] = self._available_connections
        told = arguments.get("maint_notifications_config")
        # Push notifications must not be taken for replies to writes that were deferred.
        self._together = limiter is endpoint_state.shared and told is not None and not told.enabled
        self.live = limiter.budget_limiter.live_connections()
        self._write_coalescer = WriteCoalescer(self.live, self.idle)
        limiter.pools.append(self)

    def reset_after_fork(self) -> None:
        """Forget all connections, which belong to the parent process together with the event loop."""
        fork.kept.append(list(self.live))
        self.live.clear()
        self._available_connections = self.idle = []
        self._write_coalescer = WriteCoalescer(self.live, self.idle)

    async def checkout(self, user: Borrower, *, may_wait: bool = True) -> Any:
        """Check out a connected connection that has no pending reply and will be in the borrower's database.

        Args:
            user: the borrower.
            may_wait: whether to wait for a permit if the budget allows it.

        Raises:
            redis.exceptions.MaxConnectionsError: If no permit is available within the budget's ``timeout``.
            ServerUnavailableError: If the circuit breaker is open.
        """
        endpoint_state = self.endpoint_state
        breaker = endpoint_state.breaker
        if breaker is not None and breaker.may_refuse:
            ends = time.monotonic() + PROBE_WAIT_SECONDS
            while breaker.probing and time.monotonic() < ends:  # noqa: ASYNC110 - a thread may end the probe
                await asyncio.sleep(_LOOK)
            breaker.check()
        connection = self.limiter.acquire(self, user, may_wait=may_wait)
        if connection.__class__ is Waiter:
            connection = await self._wait(connection)
        if connection.__class__ is Permit:
            connection = _make_connection(self, connection)
            connection.write_coalescer = self._write_coalescer if self._together else None
        connection.lend_to(user)
        connection.db = user.db
        try:
            if breaker is not None and breaker.may_refuse:
                breaker.admit(connection)
            if self.locator is not None and not self.locator.is_current(connection):
                await connection.disconnect()
            if not await self._ready(connection):  # the server has closed it, or it has received unexpected data
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
            with contextlib.suppress(RuntimeError):  # the loop was closed together with the waiter
                loop.call_soon_threadsafe(_resolve, come)

        waiter.wake = wake
        try:
            if not waiter.granted:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.limiter.budget_limiter.budget.timeout):
                        await come
        except BaseException:
            granted = self.limiter.cancel_wait(waiter)
            if granted is not None:
                self.limiter.release(self, granted, keep=granted.__class__ is not Permit)
            raise
        return self.limiter.finish_wait(waiter)

    @staticmethod
    async def _ready(connection: Any) -> bool:
        if not connection.is_connected:
            await connection.connect()
        try:
            return not await async_has_unexpected_data(connection)
        except _FAILURES:
            return False

    async def release(self, connection: Any) -> None:
        """Return a connection. It is closed if its state is not certain or no database uses the endpoint any more."""
        user = connection.user
        if user is None or connection not in self.live:  # checked out from another pool
            return
        endpoint_state, keep = self.endpoint_state, False
        connection.user = None
        try:
            keep = _is_reusable(self, connection, user)
        finally:
            try:
                if not keep:
                    await connection.disconnect(nowait=True)
            finally:
                self.limiter.release(self, connection, keep=keep)
        if keep and not endpoint_state.users:
            endpoint_state.close_unused()
        if connection.credential_provider is not None and self._event_dispatcher is not None:
            await self._event_dispatcher.dispatch_async(AsyncAfterConnectionReleasedEvent(connection))

    def abandon_in_use(self) -> None:
        """Free the permits of connections that are still in use when their event loop has ended."""
        for connection in self.live:
            if connection.__class__ is not Permit and connection.user is not None:
                connection.user = None
                with contextlib.suppress(RuntimeError):  # the loop is closed, and with it the socket
                    connection._close()
            self.limiter.release(self, connection, keep=False)

    def drop(self, connection: Any) -> None:
        """Close an idle connection in its own event loop. Any thread may call this."""
        loop = self.loop()
        if loop is not None and loop.is_running():
            with contextlib.suppress(RuntimeError):  # the loop was closed in the meantime
                loop.call_soon_threadsafe(connection._close)
                return
        with contextlib.suppress(RuntimeError):  # the loop has ended
            connection._close()

    async def close_idle(self) -> None:
        """Close the idle connections and wait for it."""
        with self.limiter.budget_limiter.lock:
            idle = self.idle[:]
            del self.idle[:]
            for connection in idle:
                self.live.discard(connection)
        for connection in idle:
            await connection.disconnect()


def _resolve(come: asyncio.Future[None]) -> None:
    if not come.done():
        come.set_result(None)


def pool_arguments(client_class: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a pool for a client's settings.

    With maintenance notifications (redis-py's default for RESP3), redis-py does not check at checkout whether a
    connection still holds the reply of an earlier command, which would reach another caller. They are off unless they
    are requested.
    """
    quiet = {"maint_notifications_config": MaintNotificationsConfig(enabled=False), **settings}
    template = client_class(**quiet).connection_pool
    arguments = dict(template.connection_kwargs)
    arguments.pop("himport_registry", None)
    return {
        "connection_class": template.connection_class,
        "max_connections": template.max_connections,
        **arguments,
        "maint_notifications_config": quiet["maint_notifications_config"],
    }
