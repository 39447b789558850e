"""Limiters: they count connections against a budget and keep the queue of waiters. Sync and async pools share them.

A :class:`ConnectionLimiter` counts the shared or the dedicated connections of one endpoint. The :class:`BudgetLimiter` of a
budget holds them all. Its lock guards all counts and the pools' lists of idle connections. It is held for a few steps at a time
and never during I/O. The counts follow from the connections that exist (:mod:`tenantlimpyd._connections.live_connections`).
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from redis.exceptions import MaxConnectionsError

from tenantlimpyd import logs
from tenantlimpyd._connections import fork
from tenantlimpyd._connections.borrower import Borrower, IdlePool, NoPermitError, Waiter
from tenantlimpyd._connections.budget import Budget, PoolStats
from tenantlimpyd._connections.live_connections import LiveConnections, Permit
from tenantlimpyd._connections.redis_internals import is_owned

__all__ = ["BudgetLimiter", "ConnectionLimiter"]

NEAREST_CANDIDATES = 4
"""Idle connections that are searched for one that is in the wanted database."""

SWEEP_SECONDS = 1.0
"""Seconds between two searches for connections that have been idle for too long."""


class BudgetLimiter:
    """The limiters that share a budget.

    Attributes:
        budget: the budget.
        next_sweep: when to search for expired idle connections again, by the monotonic clock.
        limiters: the limiters.
        queues: the limiters that may have waiters.
        deferred: cleanups that run when the lock is free, for databases and endpoints that were garbage-collected.
        lock: guards all of these and the pools' lists.
        creation_lock: held while pools are made.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.next_sweep = 0.0
        self._live: set[weakref.ref[Any]] = set()
        self.queues: set[ConnectionLimiter] = set()
        self.limiters: weakref.WeakSet[ConnectionLimiter] = weakref.WeakSet()
        self.deferred: deque[Callable[[], object]] = deque()
        self.lock = threading.RLock()  # never entered twice: only is_locked_by_this_thread() needs an RLock
        self.creation_lock = threading.Lock()
        fork.watch(self)

    @property
    def open(self) -> int:
        """The number of open connections of all limiters, including those that are being made."""
        return len(self._live)

    def live_connections(self) -> LiveConnections:
        """Return what counts the connections of a new pool."""
        return LiveConnections(self._live, self._connection_lost)

    def remove_lost(self) -> None:
        """Remove lost connections from the counts. The caller holds the lock."""
        for _, pool in self._pools():
            pool.live.remove_lost()

    def _connection_lost(self) -> None:
        """Grant the permit of a lost connection to a waiter. The garbage collector may call this at any point."""
        if self.queues:
            self.defer_cleanup(self.grant_waiters)

    def reset_after_fork(self) -> None:
        """Reset the counts and locks of the parent process."""
        self.lock, self.creation_lock = threading.RLock(), threading.Lock()
        self._live.clear()
        self.queues.clear()
        for limiter in list(self.limiters):
            limiter.reset_after_fork()

    def defer_cleanup(self, cleanup: Callable[[], object]) -> None:
        """Run a cleanup for an object that was garbage-collected: now, or soon if the lock is held.

        The garbage collector may call this at any point, even while this thread holds the lock.
        """
        self.deferred.append(cleanup)
        if not self.is_locked_by_this_thread() and self.lock.acquire(blocking=False):
            try:
                self.run_deferred()
            finally:
                self.lock.release()

    def is_locked_by_this_thread(self) -> bool:
        """Return whether this thread holds the lock, because the garbage collector or a signal handler interrupted it."""
        return is_owned(self.lock)

    def run_deferred(self) -> None:
        """Run the deferred cleanups. The caller holds the lock."""
        while self.deferred:
            self.deferred.popleft()()

    def evict_oldest(self) -> bool:
        """Close the connection that has been idle for longest, and return whether there was one. The caller holds the lock."""
        idle = [
            (pool.idle[0].since, at, limiter, pool) for at, (limiter, pool) in enumerate(self._pools()) if pool.idle
        ]
        if not idle:
            return False
        _, _, limiter, pool = min(idle, key=lambda each: each[:2])
        limiter.close_oldest(pool)
        return True

    def _pools(self) -> list[tuple[ConnectionLimiter, IdlePool]]:
        return [(limiter, pool) for limiter in list(self.limiters) for pool in limiter.pools]

    def trim(self, seconds: float | None = None) -> int:
        """Close idle connections and return how many.

        Args:
            seconds: the idle time from which connections are closed; None for the budget's ``idle``.
        """
        with self.lock:
            return self.close_expired(seconds)

    def close_expired(self, seconds: float | None = None) -> int:
        """Close idle connections like :meth:`trim`. The caller holds the lock."""
        now = time.monotonic()
        self.next_sweep = now + SWEEP_SECONDS
        seconds = self.budget.idle if seconds is None else seconds
        if seconds is None:
            return 0
        closed = 0
        for limiter, pool in self._pools():
            while pool.idle and pool.idle[0].since <= now - seconds:
                limiter.close_oldest(pool)
                closed += 1
        if closed:
            self.grant_waiters()
        return closed

    def grant_waiters(self) -> None:
        """Grant free permits to waiters of all limiters. The caller holds the lock."""
        for limiter in list(self.queues):
            limiter.grant_waiters()
            if not limiter.waiting:
                self.queues.discard(limiter)


_WAIT = object()


def _pop_nearest(idle: list[Any], db: int) -> Any:
    """Remove and return a recently used connection, preferably one that is in the wanted database."""
    for at in range(-1, -min(len(idle), NEAREST_CANDIDATES) - 1, -1):
        if idle[at].selected == db:
            return idle.pop(at)
    return idle.pop()


class ConnectionLimiter:
    """Counts the shared or the dedicated connections of one endpoint.

    Attributes:
        budget_limiter: the limiter of the budget.
        server: the name of the server.
        limit: the largest number of connections.
        share: the largest number that one borrower may use at a time.
        waiting: the waiters in order of arrival.
        pools: the pools of the connections.
    """

    def __init__(self, budget_limiter: BudgetLimiter, server: str, limit: int) -> None:
        self.budget_limiter = budget_limiter
        self.server = server
        self.limit = limit
        self.share = budget_limiter.budget.share(limit)
        self.waiting: deque[Waiter] = deque()
        self.pools: list[IdlePool] = []
        with budget_limiter.lock:
            budget_limiter.limiters.add(self)

    def reset_after_fork(self) -> None:
        """Reset the counts and locks of the parent process."""
        self.waiting.clear()
        for pool in self.pools:
            pool.reset_after_fork()

    @property
    def open(self) -> int:
        """The number of connections, including those that are being made."""
        return sum(len(pool.live) for pool in self.pools)

    def _used(self, user: Borrower) -> int:
        """Return how many connections a borrower uses. The caller holds the lock."""
        return sum(each.user is user for pool in self.pools for each in pool.live)

    def _has_share(self, user: Borrower) -> bool:
        """Return whether a borrower may use a further connection. The caller holds the lock."""
        in_use = sum(len(pool.live) - len(pool.idle) for pool in self.pools)
        return in_use < self.share or self._used(user) < self.share

    def acquire(self, pool: IdlePool, user: Borrower, *, may_wait: bool = True) -> Any:
        """Acquire a permit. Return an idle connection, a :class:`Permit` to make one, or a :class:`Waiter`.

        Args:
            pool: the pool that the connection belongs to.
            user: the borrower.
            may_wait: whether to wait if the budget allows it.

        Raises:
            NoPermitError: If no permit is available and ``may_wait`` is False.
            redis.exceptions.MaxConnectionsError: If no permit is available and the budget's ``on_full`` is ``raise``.
        """
        with self.budget_limiter.lock:
            if self.budget_limiter.deferred:
                self.budget_limiter.run_deferred()
            granted = self._grant(pool, user)
            if granted is not _WAIT:
                return granted
            if self.budget_limiter.deferred:  # deferred in the meantime
                self.budget_limiter.run_deferred()
            self.budget_limiter.remove_lost()
            granted = self._grant(pool, user)
            if granted is not _WAIT:
                return granted
            if not may_wait:
                raise NoPermitError("no permit is available for a further connection")
            if self.budget_limiter.budget.on_full == "wait":
                waiter = Waiter(pool, user)
                self.budget_limiter.queues.add(self)
                self.waiting.append(waiter)
                return waiter
        raise self._exhausted_error(user, None)

    def has_permit(self, user: Borrower) -> bool:
        """Return whether a permit is available to a borrower now."""
        with self.budget_limiter.lock:
            if not self._has_share(user):
                return False
            if any(pool.idle for pool in self.pools):
                return True
            if self.open >= self.limit:
                return False
            return self.budget_limiter.open < self.budget_limiter.budget.total or any(
                pool.idle for _, pool in self.budget_limiter._pools()
            )

    def acquire_idle(self, pool: IdlePool, user: Borrower) -> Any:
        """Return an idle connection, or None if there is none."""
        with self.budget_limiter.lock:
            if not pool.idle:
                return None
            granted = self._grant(pool, user)
            return None if granted is _WAIT else granted

    def _grant(self, pool: IdlePool, user: Borrower) -> Any:
        if not self._has_share(user):
            return _WAIT
        if pool.idle:
            connection = _pop_nearest(pool.idle, user.db)
            connection.user = user
            return connection
        if self._has_room():
            permit = Permit(user)
            pool.live.add(permit)
            return permit
        return _WAIT

    def _has_room(self) -> bool:
        """Return whether a connection may be opened, after closing an idle one of another pool if necessary."""
        if self.open >= self.limit:
            pool = next((pool for pool in self.pools if pool.idle), None)
            if pool is None:
                return False
            self.close_oldest(pool)
        return self.budget_limiter.open < self.budget_limiter.budget.total or self.budget_limiter.evict_oldest()

    def close_oldest(self, pool: IdlePool) -> None:
        """Close the connection of a pool that has been idle for longest. The caller holds the lock."""
        connection = pool.idle.pop(0)
        pool.live.discard(connection)
        pool.drop(connection)

    def release(self, pool: IdlePool, connection: Any, *, keep: bool) -> None:
        """Return a connection, or a permit that was not used.

        Args:
            pool: the pool that it belongs to.
            connection: the connection or permit.
            keep: whether it becomes idle. Otherwise it is closed, and no longer counted.
        """
        budget_limiter = self.budget_limiter
        if (
            budget_limiter.is_locked_by_this_thread()
        ):  # called by the garbage collector, for example for a pipeline that watches keys
            budget_limiter.deferred.append(functools.partial(self._release, pool, connection, keep=keep))
            return
        with budget_limiter.lock:
            now = self._release(pool, connection, keep=keep)
            if budget_limiter.deferred:
                budget_limiter.run_deferred()
            if budget_limiter.queues:
                if self.waiting:
                    self.grant_waiters()
                budget_limiter.grant_waiters()
            if now >= budget_limiter.next_sweep:
                budget_limiter.close_expired()

    def _release(self, pool: IdlePool, connection: Any, *, keep: bool) -> float:
        """Return a connection; the result is the time by the monotonic clock. The caller holds the lock."""
        now = time.monotonic()
        connection.user = None
        if keep:
            connection.since = now
            pool.idle.append(connection)
        else:
            pool.live.discard(connection)
        return now

    def close_idle(self) -> None:
        """Close every idle connection. The caller holds the lock."""
        for pool in self.pools:
            while pool.idle:
                self.close_oldest(pool)
        self.budget_limiter.grant_waiters()

    def grant_waiters(self) -> None:
        """Grant free permits to waiters. The caller holds the lock."""
        for waiter in list(self.waiting):
            if self.open >= self.limit and not any(pool.idle for pool in self.pools):
                return
            granted = self._grant(waiter.pool, waiter.user)
            if granted is _WAIT:
                continue  # this borrower has its share; the next waiter's may not
            self.waiting.remove(waiter)
            waiter.connection, waiter.granted = granted, True
            waiter.wake()

    def finish_wait(self, waiter: Waiter) -> Any:
        """End the wait of a waiter, and return what it was granted.

        Raises:
            redis.exceptions.MaxConnectionsError: If nothing was granted.
        """
        with self.budget_limiter.lock:
            if not waiter.granted:
                self._remove_waiter(waiter)
        seconds = time.monotonic() - waiter.since
        if not waiter.granted:
            raise self._exhausted_error(waiter.user, seconds)
        logs.emit("connection_waited", server=self.server, seconds=round(seconds, 6))
        return waiter.connection

    def cancel_wait(self, waiter: Waiter) -> Any:
        """Remove a cancelled waiter from the queue, and return what it was granted in the meantime, or None."""
        with self.budget_limiter.lock:
            if waiter.granted:
                return waiter.connection
            self._remove_waiter(waiter)
        return None

    def _remove_waiter(self, waiter: Waiter) -> None:
        with contextlib.suppress(ValueError):  # the queue was reset after a fork
            self.waiting.remove(waiter)

    def _exhausted_error(self, user: Borrower, seconds: float | None) -> MaxConnectionsError:
        used = self._used(user)
        if used >= self.share and self.share < self.limit:
            what = f"this database uses its {self.share} connections to {self.server} already (per_tenant)"
        elif self.open >= self.limit:
            what = f"all {self.limit} connections to {self.server} are in use"
        else:
            what = f"all {self.budget_limiter.budget.total} connections of the budget are in use"
        logs.emit("connections_exhausted", server=self.server, open=self.open, waiting=len(self.waiting))
        came = "" if seconds is None else f", and none was returned within {seconds:.3g} s"
        return MaxConnectionsError(
            f"{what}{came}. Return connections sooner (scans, watched pipelines and pub/sub hold one), or allow more: "
            "Budget(per_server=..., per_tenant=..., total=...)."
        )

    def pool_stats(self) -> PoolStats:
        """Return the current counts."""
        with self.budget_limiter.lock:
            for pool in self.pools:
                pool.live.remove_lost()
            idle = sum(len(pool.idle) for pool in self.pools)
            return PoolStats(self.open, idle, self.open - idle, len(self.waiting), 0)
