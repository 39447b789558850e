"""Servers: what databases share that differ in their number alone, and who shares it.

Databases with the same settings, database number aside, and the same budget have one :class:`Endpoint`: one blocking pool, and
one for each event loop, closed with its loop. It lives as long as one of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import AsyncGenerator
from typing import Any

import attrs
import redis
import redis.asyncio

from tenantlimpyd._connections import fork
from tenantlimpyd._connections.breaker import Breaker
from tenantlimpyd._connections.budget import Budget, PoolStats
from tenantlimpyd._connections.client import AsyncClient, AsyncPoolView, Client, PoolView
from tenantlimpyd._connections.deadline import AsyncBoundedRetry, BoundedRetry
from tenantlimpyd._connections.limiter import BudgetLimiter, ConnectionLimiter
from tenantlimpyd._connections.pool import AsyncPool, Pool, pool_arguments
from tenantlimpyd._connections.select_replies import EndpointCapabilities
from tenantlimpyd._connections.settings import Settings
from tenantlimpyd._connections.topology.sentinel import AsyncMaster, Master, following

__all__ = ["Endpoint", "EndpointState", "budget_limiter_for", "endpoint_for"]


@attrs.define(eq=False)
class LoopPools:
    """What there is for one event loop: pools, clients to copy, and the generator whose end closes them."""

    pool: AsyncPool
    dedicated: AsyncPool
    client: redis.asyncio.Redis
    keeper: AsyncGenerator[None, None]


class EndpointState:
    """What the pools of a server share. They hold on to it, and not to the server, so that they go when that does.

    Attributes:
        name: ``host:port``, the path of a unix socket, or a master and its sentinels.
        users: how many databases use the server now.
        capabilities: what its connections have found out.
        breaker: decides whether the server is asked; None: always.
        sentinels: those who know where the server is, if any do.
        shared: the connections that go from database to database.
        dedicated: those for commands that block, pub/sub and MONITOR.
    """

    def __init__(self, name: str, scope: BudgetLimiter, most: int | None, breaker: Breaker | None) -> None:
        budget = scope.budget
        self.name = name
        self.scope = scope
        self.users = 0
        self.capabilities = EndpointCapabilities()
        self.breaker = breaker
        self.sentinels: tuple[EndpointState, ...] = ()
        self.shared = ConnectionLimiter(scope, name, min(budget.per_server, most or budget.per_server))
        self.dedicated = ConnectionLimiter(scope, name, min(budget.dedicated, most or budget.dedicated))

    def leave(self) -> bool:
        """Take down that a database uses the server no more; where it was the last, close what is idle. Lock held."""
        self.users -= 1
        if not self.users:
            self.close_idle()
            for sentinel in self.sentinels:
                sentinel.scope.defer_cleanup(sentinel.close_idle)
        return not self.users

    def close_unused(self) -> None:
        """Close what is idle if no database uses the server."""
        with self.scope.lock:
            if not self.users:
                self.close_idle()

    def clear(self) -> None:
        """Close what is idle, whoever uses the server."""
        with self.scope.lock:
            self.close_idle()

    def close_idle(self) -> None:
        """Close every connection that nobody uses. Lock held."""
        self.shared.close_idle()
        self.dedicated.close_idle()


class Endpoint:
    """The connections to one server with one set of settings, for databases of any number."""

    def __init__(self, settings: Settings, scope: BudgetLimiter) -> None:
        self.settings = settings
        self.scope = scope
        self.endpoint_state = EndpointState(settings.server, scope, settings.most_connections, _breaker_for(settings))
        self._sentinels: list[Endpoint] = []
        if settings.sentinel is not None:
            # Counted apart: who has a connection's place, and asks where to go with it, must not wait for another one.
            asking = BudgetLimiter(Budget())
            self._sentinels = [
                Endpoint(settings.of_sentinel(host, port), asking) for host, port in settings.sentinel.hosts
            ]
            self.endpoint_state.sentinels = tuple(each.endpoint_state for each in self._sentinels)
        self._pools: tuple[Pool, Pool] | None = None
        self._client: redis.Redis | None = None
        self._of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopPools] = weakref.WeakKeyDictionary()
        # Databases that are dropped unclosed are garbage in a cycle, where sockets may go before their owners and warn.
        # The hub outlives them for this call.
        weakref.finalize(self, scope.defer_cleanup, self.endpoint_state.close_idle).atexit = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.endpoint_state.name}>"

    @property
    def name(self) -> str:
        """``host:port``, or the path of the unix socket."""
        return self.endpoint_state.name

    @property
    def breaker(self) -> Breaker | None:
        """Decides whether the server is asked; None: always."""
        return self.endpoint_state.breaker

    def pool_stats(self) -> PoolStats:
        """Return what connections there are now."""
        shared, dedicated = self.endpoint_state.shared.pool_stats(), self.endpoint_state.dedicated.pool_stats()
        return attrs.evolve(shared + dedicated, dedicated=dedicated.open)

    def trim(self, seconds: float | None = None) -> int:
        """Close connections that have been idle for so many seconds; None: as long as the budget says.

        Returns:
            How many, of all servers under the same budget.
        """
        return self.scope.trim(seconds)

    # Who uses it

    def attach(self, db: int) -> None:
        """Take down that a database uses it."""
        with self.scope.lock:
            self.endpoint_state.users += 1
            self.endpoint_state.capabilities.uses(db)

    def detach(self) -> bool:
        """Take down that a database uses it no more; where it was the last, close what is idle, and return True."""
        with self.scope.lock:
            return self.endpoint_state.leave()

    # Blocking

    def pools(self) -> tuple[Pool, Pool]:
        """Return the blocking pools: the shared one, and that for what keeps a connection to itself."""
        pools = self._pools
        return self._make_pools() if pools is None else pools

    def _make_pools(self) -> tuple[Pool, Pool]:
        with self.scope.making:
            if self._pools is None:
                arguments = self._arguments(redis.Redis, self.settings.for_blocking(), BoundedRetry)
                if self._sentinels:
                    asked = [
                        Client.copied(each.client, PoolView(*each.pools(), _SentinelBorrower()))
                        for each in self._sentinels
                    ]
                    arguments["connection_pool"] = Master(asked, *self._mastered())
                shared = Pool(self.endpoint_state, self.endpoint_state.shared, arguments)
                self._client = redis.Redis(connection_pool=shared)
                self._pools = shared, Pool(self.endpoint_state, self.endpoint_state.dedicated, arguments)
            return self._pools

    def _arguments(self, client_class: Any, settings: dict[str, Any], bounded: Any) -> dict[str, Any]:
        arguments = pool_arguments(client_class, settings)
        del arguments["db"]
        retry = arguments["retry"]
        arguments["retry"] = bounded(retry._backoff, retry.get_retries(), retry._supported_errors, self.breaker)
        if self._sentinels:
            arguments["connection_class"] = following(arguments["connection_class"])
        return arguments

    def _mastered(self) -> tuple[Any, ...]:
        """Return what a master has to know of its server, beside the sentinels."""
        assert self.settings.sentinel is not None  # noqa: S101 - there are sentinels
        return self.settings.sentinel.master, self.name, self.breaker, self.endpoint_state.clear

    @property
    def client(self) -> redis.Redis:
        """A client of the shared pool, for databases to copy."""
        self.pools()
        assert self._client is not None  # noqa: S101 - made with the pools
        return self._client

    # asyncio

    def of_loop(self) -> LoopPools:
        """Return what there is for the running event loop.

        Raises:
            RuntimeError: no event loop is running in this thread.
        """
        loop = asyncio.get_running_loop()
        of_loop = self._of_loops.get(loop)
        return self._make_of_loop(loop) if of_loop is None else of_loop

    def _make_of_loop(self, loop: asyncio.AbstractEventLoop) -> LoopPools:
        arguments = self._arguments(redis.asyncio.Redis, self.settings.for_asyncio(), AsyncBoundedRetry)
        if self._sentinels:
            loops = [each.of_loop() for each in self._sentinels]
            views = [AsyncPoolView(each.pool, each.dedicated, _SentinelBorrower()) for each in loops]
            asked = [AsyncClient.copied(each.client, view) for each, view in zip(loops, views, strict=True)]
            arguments["connection_pool"] = AsyncMaster(asked, *self._mastered())
        of = weakref.ref(loop)
        shared = AsyncPool(self.endpoint_state, self.endpoint_state.shared, of, arguments)
        dedicated = AsyncPool(self.endpoint_state, self.endpoint_state.dedicated, of, arguments)
        keeper = _keep((shared, dedicated), weakref.ref(self), of)
        # Started by hand, since this is no coroutine: up to its first yield it awaits nothing. From here on the loop
        # knows the generator, and ends it when it shuts down (asyncio.run and its like do): the pools close with it.
        with contextlib.suppress(StopIteration):
            keeper.asend(None).send(None)
        of_loop = LoopPools(shared, dedicated, redis.asyncio.Redis(connection_pool=shared), keeper)
        with self.scope.making:
            for other in [other for other in self._of_loops if other.is_closed()]:
                _remove(self._of_loops.pop(other))
            self._of_loops[loop] = of_loop
        return of_loop

    def forget(self, loop: asyncio.AbstractEventLoop) -> None:
        """Drop what there is for an event loop that ends: it would keep the loop, and all that hangs on it, alive."""
        with self.scope.making:
            of_loop = self._of_loops.pop(loop, None)
        if of_loop is not None:
            _remove(of_loop)

    async def aclose_idle(self) -> None:
        """Close the idle connections of the running event loop, and wait until they are."""
        of_loop = self._of_loops.get(asyncio.get_running_loop())
        if of_loop is not None:
            for pool in (of_loop.pool, of_loop.dedicated):
                await pool.close_idle()
        for sentinel in self._sentinels:
            await sentinel.aclose_idle()


@attrs.define(eq=False)
class _SentinelBorrower:
    """Who asks a sentinel; sentinels have no databases."""

    db: int = 0
    retired: bool = False


def _remove(of_loop: LoopPools) -> None:
    """Take the pools of an event loop that has ended out of the counts."""
    for pool in (of_loop.pool, of_loop.dedicated):
        limiter = pool.limiter
        with limiter.scope.lock:
            if pool in limiter.pools:
                limiter.pools.remove(pool)
                gone = len(pool.idle)
                limiter.open -= gone
                limiter.scope.open -= gone
                forgotten, pool.idle[:] = pool.idle[:], []
                del forgotten


async def _keep(
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


# Who shares


class _Making:
    """The lock under which scopes and servers are made."""

    def __init__(self) -> None:
        self.reset_after_fork()
        fork.watch(self)

    def reset_after_fork(self) -> None:
        self.lock = threading.Lock()


_making = _Making()
_breaking = _Making()
_breakers: weakref.WeakValueDictionary[Any, Breaker] = weakref.WeakValueDictionary()
_scopes: weakref.WeakValueDictionary[Budget, BudgetLimiter] = weakref.WeakValueDictionary()
_servers: weakref.WeakValueDictionary[tuple[Any, BudgetLimiter], Endpoint] = weakref.WeakValueDictionary()
DEFAULT_BUDGET = Budget()
"""That of databases which are given none."""


def _breaker_for(settings: Settings) -> Breaker | None:
    """Return the breaker of a server: one for all that reach it in the same way, whatever their budget."""
    policy = settings.breaker
    if policy is None:
        return None
    with _breaking.lock:
        breaker = _breakers.get(settings.shared)
        if breaker is None:
            breaker = _breakers[settings.shared] = Breaker(settings.server, policy)
        return breaker


def budget_limiter_for(budget: Budget | None) -> BudgetLimiter:
    """Return where connections under a budget are counted."""
    budget = DEFAULT_BUDGET if budget is None else budget
    with _making.lock:
        scope = _scopes.get(budget)
        if scope is None:
            scope = _scopes[budget] = BudgetLimiter(budget)
        return scope


def endpoint_for(settings: Settings, budget: Budget | None, *, shared: bool = True) -> Endpoint:
    """Return the server that databases of these settings share, whatever their number; or one that nobody shares."""
    scope = budget_limiter_for(budget)
    if not shared:
        return Endpoint(settings, scope)
    key = settings.shared, scope
    with _making.lock:
        server = _servers.get(key)
        if server is None:
            server = _servers[key] = Endpoint(settings, scope)
        return server
