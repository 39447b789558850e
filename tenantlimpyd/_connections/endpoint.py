"""Endpoints: the pools that databases share.

Databases with the same settings except the database number, and with the same budget, share one :class:`Endpoint`. It
has one sync pool, and an async pool for each event loop, which is closed together with the loop. It lives as long as
one of its databases.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import weakref
from collections.abc import AsyncGenerator
from typing import Any

import attrs
import redis
import redis.asyncio

from tenantlimpyd._connections import fork
from tenantlimpyd._connections.breaker import CircuitBreaker
from tenantlimpyd._connections.budget import Budget, PoolStats
from tenantlimpyd._connections.client import AsyncClient, AsyncPoolView, Client, PoolView
from tenantlimpyd._connections.deadline import AsyncBoundedRetry, BoundedRetry
from tenantlimpyd._connections.endpoint_state import EndpointState
from tenantlimpyd._connections.limiter import BudgetLimiter
from tenantlimpyd._connections.pool import AsyncPool, Pool, pool_arguments
from tenantlimpyd._connections.redis_internals import backoff_of, supported_errors_of
from tenantlimpyd._connections.settings import Settings, server_identity
from tenantlimpyd._connections.topology import topology_for

__all__ = ["Endpoint", "EndpointState", "budget_limiter_for", "endpoint_for"]


@attrs.define(eq=False)
class LoopPools:
    """The pools of one event loop, a template client, and the generator whose end closes the pools."""

    pool: AsyncPool
    dedicated: AsyncPool
    client: redis.asyncio.Redis
    closer: AsyncGenerator[None, None]


class Endpoint:
    """The connections to one server with one set of settings, for databases of any number.

    Attributes:
        settings: the settings.
        identity: the same text for all endpoints whose names are equal as far as the names tell.
        budget_limiter: the limiter of the budget.
        endpoint_state: the state that its pools share.
    """

    def __init__(self, settings: Settings, budget_limiter: BudgetLimiter) -> None:
        self.settings = settings
        self.identity = server_identity(settings.server)
        self.budget_limiter = budget_limiter
        self.endpoint_state = EndpointState(
            settings.server, budget_limiter, settings.most_connections, _breaker_for(settings)
        )
        # A separate budget: a holder of a permit that asks where the server is must not wait for another permit.
        asking = functools.cache(lambda: BudgetLimiter(Budget()))
        self._topology = topology_for(
            settings,
            breaker=self.endpoint_state.breaker,
            moved=self.endpoint_state.clear,
            make_endpoint=lambda settings: Endpoint(settings, asking()),
        )
        self.endpoint_state.asked = self._topology.asked
        self._pools: tuple[Pool, Pool] | None = None
        self._client: redis.Redis | None = None
        self._loop_pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopPools] = weakref.WeakKeyDictionary()
        # Unclosed databases may be garbage in a cycle, in which sockets could be freed first and warn.
        # The shared state outlives them for this call.
        weakref.finalize(self, budget_limiter.defer_cleanup, self.endpoint_state.close_idle).atexit = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.endpoint_state.name}>"

    @property
    def name(self) -> str:
        """The name of the server: ``host:port``, the path of a unix socket, or a master and its sentinels."""
        return self.endpoint_state.name

    @property
    def breaker(self) -> CircuitBreaker | None:
        """The circuit breaker; None if there is none."""
        return self.endpoint_state.breaker

    def pool_stats(self) -> PoolStats:
        """Return the current counts of connections."""
        shared, dedicated = self.endpoint_state.shared.pool_stats(), self.endpoint_state.dedicated.pool_stats()
        return attrs.evolve(shared + dedicated, dedicated=dedicated.open)

    def trim(self, seconds: float | None = None) -> int:
        """Close idle connections of all servers under the same budget.

        Args:
            seconds: the idle time from which connections are closed; None for the budget's ``idle``.

        Returns:
            The number of closed connections.
        """
        return self.budget_limiter.trim(seconds)

    # Databases

    def attach(self, db: int) -> None:
        """Register a database."""
        with self.budget_limiter.lock:
            self.endpoint_state.users += 1
            self.endpoint_state.capabilities.uses(db)

    def detach(self) -> bool:
        """Unregister a database, and return whether it was the last one, whose idle connections are closed."""
        with self.budget_limiter.lock:
            return self.endpoint_state.leave()

    # Sync

    def pools(self) -> tuple[Pool, Pool]:
        """Return the sync pools of shared and of dedicated connections."""
        pools = self._pools
        return self._make_pools() if pools is None else pools

    def _make_pools(self) -> tuple[Pool, Pool]:
        with self.budget_limiter.creation_lock:
            if self._pools is None:
                arguments = self._arguments(redis.Redis, self.settings.for_blocking(), BoundedRetry)
                if (locator := self._topology.locate()) is not None:
                    arguments["connection_pool"] = locator
                shared = Pool(self.endpoint_state, self.endpoint_state.shared, arguments)
                self._client = redis.Redis(connection_pool=shared)
                self._pools = shared, Pool(self.endpoint_state, self.endpoint_state.dedicated, arguments)
            return self._pools

    def _arguments(self, client_class: Any, settings: dict[str, Any], bounded: Any) -> dict[str, Any]:
        arguments = pool_arguments(client_class, settings)
        del arguments["db"]
        retry = arguments["retry"]
        arguments["retry"] = bounded(backoff_of(retry), retry.get_retries(), supported_errors_of(retry), self.breaker)
        arguments["connection_class"] = self._topology.connection_class(arguments["connection_class"])
        return arguments

    @property
    def client(self) -> redis.Redis:
        """A client of the shared pool, the template for databases' clients."""
        self.pools()
        assert self._client is not None  # noqa: S101 - made with the pools
        return self._client

    def asking_client(self) -> Client:
        """Return a sync client for questions to the server itself, such as to a sentinel."""
        return Client.from_template(self.client, PoolView(*self.pools(), _ServerBorrower()))

    def asking_aclient(self) -> AsyncClient:
        """Return an async client of the running event loop for questions to the server itself."""
        pools = self.loop_pools()
        return AsyncClient.from_template(pools.client, AsyncPoolView(pools.pool, pools.dedicated, _ServerBorrower()))

    def transaction_refusal(self) -> str | None:
        """Ask the server whether commands may share a write with their SELECT; return why not, or None if they may.

        Raises:
            redis.ConnectionError: If the server can't be reached.
        """
        pool = self.pools()[1]
        connection = pool.checkout(_ServerBorrower())
        try:
            return connection.transaction_refusal()  # type: ignore[no-any-return]
        finally:
            pool.release(connection)

    # Async

    async def atransaction_refusal(self) -> str | None:
        """Ask like :meth:`transaction_refusal`, awaiting."""
        pool = self.loop_pools().dedicated
        connection = await pool.checkout(_ServerBorrower())
        try:
            return await connection.transaction_refusal()  # type: ignore[no-any-return]
        finally:
            await pool.release(connection)

    def loop_pools(self) -> LoopPools:
        """Return the pools of the running event loop.

        Raises:
            RuntimeError: If no event loop is running in this thread.
        """
        loop = asyncio.get_running_loop()
        loop_pools = self._loop_pools.get(loop)
        return self._make_loop_pools(loop) if loop_pools is None else loop_pools

    def _make_loop_pools(self, loop: asyncio.AbstractEventLoop) -> LoopPools:
        arguments = self._arguments(redis.asyncio.Redis, self.settings.for_asyncio(), AsyncBoundedRetry)
        if (locator := self._topology.alocate()) is not None:
            arguments["connection_pool"] = locator
        of = weakref.ref(loop)
        shared = AsyncPool(self.endpoint_state, self.endpoint_state.shared, of, arguments)
        dedicated = AsyncPool(self.endpoint_state, self.endpoint_state.dedicated, of, arguments)
        closer = _close_with_loop((shared, dedicated), weakref.ref(self), of)
        # Start the generator by hand: it awaits nothing before its first yield. From here on the loop
        # tracks it, and ends it at shutdown (as asyncio.run does), which closes the pools.
        with contextlib.suppress(StopIteration):
            closer.asend(None).send(None)
        loop_pools = LoopPools(shared, dedicated, redis.asyncio.Redis(connection_pool=shared), closer)
        with self.budget_limiter.creation_lock:
            for other in [other for other in self._loop_pools if other.is_closed()]:
                _remove_pools(self._loop_pools.pop(other))
            self._loop_pools[loop] = loop_pools
        return loop_pools

    def forget(self, loop: asyncio.AbstractEventLoop) -> None:
        """Drop the pools of an event loop that ends. They would keep the loop alive."""
        with self.budget_limiter.creation_lock:
            loop_pools = self._loop_pools.pop(loop, None)
        if loop_pools is not None:
            _remove_pools(loop_pools)

    async def aclose_idle(self) -> None:
        """Close the idle connections of the running event loop and wait for it."""
        loop_pools = self._loop_pools.get(asyncio.get_running_loop())
        if loop_pools is not None:
            for pool in (loop_pools.pool, loop_pools.dedicated):
                await pool.close_idle()
        await self._topology.aclose_idle()


@attrs.define(eq=False)
class _ServerBorrower:
    """The borrower of connections for which the database does not matter, such as those to sentinels."""

    db: int = 0
    retired: bool = False


def _remove_pools(loop_pools: LoopPools) -> None:
    """Remove the pools of an ended event loop from the counts."""
    for pool in (loop_pools.pool, loop_pools.dedicated):
        limiter = pool.limiter
        with limiter.budget_limiter.lock:
            if pool in limiter.pools:
                limiter.pools.remove(pool)
                for connection in pool.idle:
                    pool.live.discard(connection)
                pool.idle.clear()
        pool.abandon_in_use()  # pub/sub, watched pipelines, scans that were left open


async def _close_with_loop(
    pools: tuple[AsyncPool, AsyncPool], server: weakref.ref[Endpoint], loop: weakref.ref[asyncio.AbstractEventLoop]
) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        for pool in pools:
            await pool.close_idle()
        owner, ended = server(), loop()
        if owner is not None and ended is not None:
            owner.forget(ended)


# Registry of endpoints


class _Making:
    """A lock for making limiters, endpoints and circuit breakers."""

    def __init__(self) -> None:
        self.reset_after_fork()
        fork.watch(self)

    def reset_after_fork(self) -> None:
        self.lock = threading.Lock()


_making = _Making()
_breaking = _Making()
_breakers: weakref.WeakValueDictionary[Any, CircuitBreaker] = weakref.WeakValueDictionary()
_scopes: weakref.WeakValueDictionary[Budget, BudgetLimiter] = weakref.WeakValueDictionary()
_servers: weakref.WeakValueDictionary[tuple[Any, BudgetLimiter], Endpoint] = weakref.WeakValueDictionary()
DEFAULT_BUDGET = Budget()
"""The budget of databases without one of their own."""


def _breaker_for(settings: Settings) -> CircuitBreaker | None:
    """Return the circuit breaker of a server, which all its endpoints with the same settings share."""
    policy = settings.breaker
    if policy is None:
        return None
    with _breaking.lock:
        breaker = _breakers.get(settings.shared)
        if breaker is None:
            breaker = _breakers[settings.shared] = CircuitBreaker(settings.server, policy)
        return breaker


def budget_limiter_for(budget: Budget | None) -> BudgetLimiter:
    """Return the limiter of a budget."""
    budget = DEFAULT_BUDGET if budget is None else budget
    with _making.lock:
        budget_limiter = _scopes.get(budget)
        if budget_limiter is None:
            budget_limiter = _scopes[budget] = BudgetLimiter(budget)
        return budget_limiter


def endpoint_for(settings: Settings, budget: Budget | None, *, shared: bool = True) -> Endpoint:
    """Return the endpoint that databases with these settings share, or a new one if ``shared`` is False."""
    budget_limiter = budget_limiter_for(budget)
    if not shared:
        return Endpoint(settings, budget_limiter)
    key = settings.shared, budget_limiter
    with _making.lock:
        server = _servers.get(key)
        if server is None:
            server = _servers[key] = Endpoint(settings, budget_limiter)
        return server
