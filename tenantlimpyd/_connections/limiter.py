"""Who may have a connection: the counts behind a budget, shared by pools of both colours, and the queue of those who wait.

A *lane* is one kind of connections to one server; the lanes of one budget are in a *scope*, whose lock guards all that is
here and the pools' lists of idle connections. It is held for a few steps at a time, never while something is sent.
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

__all__ = ["BudgetLimiter", "ConnectionLimiter"]

NEAR = 4
"""Idle connections that are looked at for one that needs no move."""

SWEEP = 1.0
"""Seconds between two looks for connections that have been idle for too long."""


class BudgetLimiter:
    """The lanes that share a budget.

    Attributes:
        budget: its bounds.
        open: connections of all lanes, those that are being made included.
        waiting: who waits, in all lanes.
        next_sweep: when to look for idle connections again, by the monotonic clock.
        limiters: the lanes.
        deferred: what is to be done, with the lock held, for databases and servers that nothing refers to any more.
        lock: guards all these, and the pools' lists.
        making: held while pools are made.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.open = 0
        self.waiting = 0
        self.next_sweep = 0.0
        self.limiters: weakref.WeakSet[ConnectionLimiter] = weakref.WeakSet()
        self.deferred: deque[Callable[[], object]] = deque()
        self.lock = threading.RLock()  # held once at a time: `held_here` is all that is used of its being one
        self.making = threading.Lock()
        fork.watch(self)

    def reset_after_fork(self) -> None:
        """Forget what is a parent process's."""
        self.lock, self.making = threading.RLock(), threading.Lock()
        self.open = self.waiting = 0
        for limiter in list(self.limiters):
            limiter.reset_after_fork()

    def defer_cleanup(self, cleanup: Callable[[], object]) -> None:
        """Do something for what is being dropped: now, or where the lock is held, soon.

        The garbage collector calls this, in the middle of anything, perhaps of what holds the lock in this thread.
        """
        self.deferred.append(cleanup)
        if not self.held_here() and self.lock.acquire(blocking=False):
            try:
                self.run_deferred()
            finally:
                self.lock.release()

    def held_here(self) -> bool:
        """Return whether this thread holds the lock: then the garbage collector, or a signal, came in between."""
        return self.lock._is_owned()  # type: ignore[attr-defined, no-any-return]  # as threading.Condition asks it

    def run_deferred(self) -> None:
        """Do what is to be done for what was dropped. Lock held."""
        while self.deferred:
            self.deferred.popleft()()

    def evict(self) -> bool:
        """Close the connection of all lanes that has been idle for longest; return whether there was one. Lock held."""
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
        """Close connections that have been idle for so many seconds, None: as long as the budget says; return how many."""
        with self.lock:
            return self.sweep(seconds)

    def sweep(self, seconds: float | None = None) -> int:
        """Do as :meth:`trim`. Lock held."""
        now = time.monotonic()
        self.next_sweep = now + SWEEP
        seconds = self.budget.idle if seconds is None else seconds
        if seconds is None:
            return 0
        closed = 0
        for limiter, pool in self._pools():
            while pool.idle and pool.idle[0].since <= now - seconds:
                limiter.close_oldest(pool)
                closed += 1
        if closed and self.waiting:
            self.serve()
        return closed

    def serve(self) -> None:
        """Give what is free to those who wait, of whatever lane. Lock held."""
        for limiter in list(self.limiters):
            if limiter.waiting:
                limiter.serve()


_WAIT = object()


def _nearest(idle: list[Any], db: int) -> Any:
    """Take one of the connections that came back last, if possible one that is in the database already."""
    for at in range(-1, -min(len(idle), NEAR) - 1, -1):
        if idle[at].selected == db:
            return idle.pop(at)
    return idle.pop()


class ConnectionLimiter:
    """One kind of connections to one server.

    Attributes:
        open: how many there are, those that are being made included.
        limit: how many there may be.
        share: how many of them one user may have at once.
        used: how many each user has.
        waiting: who waits, first come first.
        pools: the pools they are in.
    """

    def __init__(self, scope: BudgetLimiter, server: str, limit: int) -> None:
        self.scope = scope
        self.server = server
        self.limit = limit
        self.share = scope.budget.share(limit)
        self.open = 0
        self.used: dict[Borrower, int] = {}
        self.waiting: deque[Waiter] = deque()
        self.pools: list[IdlePool] = []
        with scope.lock:
            scope.limiters.add(self)

    def reset_after_fork(self) -> None:
        """Forget what is a parent process's."""
        self.open = 0
        self.used.clear()
        self.waiting.clear()
        for pool in self.pools:
            pool.reset_after_fork()

    def take(self, pool: IdlePool, user: Borrower, *, may_wait: bool = True) -> Any:
        """Return an idle connection, None where one is to be made, or a :class:`Waiter`.

        Args:
            pool: where it is to be idle again.
            user: for whom.
            may_wait: whether to wait, where the budget allows it.

        Raises:
            CrowdedError: none is free, and nobody is to wait.
            redis.exceptions.MaxConnectionsError: none is free, and the budget says not to wait.
        """
        with self.scope.lock:
            if self.scope.deferred:
                self.scope.run_deferred()
            granted = self._grant(pool, user)
            if granted is not _WAIT:
                return granted
            if self.scope.deferred:  # come in the meantime
                self.scope.run_deferred()
                granted = self._grant(pool, user)
                if granted is not _WAIT:
                    return granted
            if not may_wait:
                raise NoPermitError("there is no place for a further connection")
            if self.scope.budget.on_full == "wait":
                waiter = Waiter(pool, user)
                self.waiting.append(waiter)
                self.scope.waiting += 1
                return waiter
        raise self._full(user, None)

    def has_permit(self, user: Borrower) -> bool:
        """Return whether there is a place for a connection of a user's now."""
        with self.scope.lock:
            if self.used.get(user, 0) >= self.share:
                return False
            if any(pool.idle for pool in self.pools):
                return True
            if self.open >= self.limit:
                return False
            return self.scope.open < self.scope.budget.total or any(pool.idle for _, pool in self.scope._pools())

    def take_idle(self, pool: IdlePool, user: Borrower) -> Any:
        """Return an idle connection; None: there is none."""
        with self.scope.lock:
            if not pool.idle:
                return None
            granted = self._grant(pool, user)
            return None if granted is _WAIT else granted

    def _grant(self, pool: IdlePool, user: Borrower) -> Any:
        used = self.used.get(user, 0)
        if used >= self.share:
            return _WAIT
        if pool.idle:
            connection = _nearest(pool.idle, user.db)
        elif self._has_room():
            connection = None
            self.open += 1
            self.scope.open += 1
        else:
            return _WAIT
        self.used[user] = used + 1
        return connection

    def _has_room(self) -> bool:
        """Return whether one more may be opened; something idle in another pool may be closed for that."""
        if self.open >= self.limit:
            pool = next((pool for pool in self.pools if pool.idle), None)
            if pool is None:
                return False
            self.close_oldest(pool)
        return self.scope.open < self.scope.budget.total or self.scope.evict()

    def close_oldest(self, pool: IdlePool) -> None:
        """Close the connection of a pool that has been idle for longest. Lock held."""
        self.open -= 1
        self.scope.open -= 1
        pool.drop(pool.idle.pop(0))

    def put(self, pool: IdlePool, user: Borrower, connection: Any, *, keep: bool) -> None:
        """Take a connection back: to be idle, or where it isn't kept, to be no more."""
        scope = self.scope
        if scope.held_here():  # the garbage collector found what has a connection: a pipeline that watches, say
            scope.deferred.append(functools.partial(self._put, pool, user, connection, keep=keep))
            return
        with scope.lock:
            now = self._put(pool, user, connection, keep=keep)
            if scope.deferred:
                scope.run_deferred()
            if scope.waiting:
                if self.waiting:
                    self.serve()
                scope.serve()
            if now >= scope.next_sweep:
                scope.sweep()

    def _put(self, pool: IdlePool, user: Borrower, connection: Any, *, keep: bool) -> float:
        """Take a connection back; return when, by the monotonic clock. Lock held."""
        used = self.used.pop(user, 0)
        if used > 1:
            self.used[user] = used - 1
        now = time.monotonic()
        if keep:
            connection.since = now
            pool.idle.append(connection)
        else:
            self.open -= 1
            self.scope.open -= 1
        return now

    def close_idle(self) -> None:
        """Close every idle connection. Lock held."""
        for pool in self.pools:
            while pool.idle:
                self.close_oldest(pool)
        if self.scope.waiting:
            self.scope.serve()

    def serve(self) -> None:
        """Give what is free to those who wait. Lock held."""
        for waiter in list(self.waiting):
            granted = self._grant(waiter.pool, waiter.user)
            if granted is _WAIT:
                continue  # its tenant has its share: the next one's may not
            self.waiting.remove(waiter)
            self.scope.waiting -= 1
            waiter.connection, waiter.granted = granted, True
            waiter.wake()

    def waited(self, waiter: Waiter) -> Any:
        """Return what a waiter was granted, or take it out of the queue because it waits no longer.

        Raises:
            redis.exceptions.MaxConnectionsError: nothing was.
        """
        with self.scope.lock:
            if not waiter.granted:
                self._leave(waiter)
        seconds = time.monotonic() - waiter.since
        if not waiter.granted:
            raise self._full(waiter.user, seconds)
        logs.emit("connection_waited", server=self.server, seconds=round(seconds, 6))
        return waiter.connection

    def abandon(self, waiter: Waiter) -> Any:
        """Take a waiter out of the queue that was cancelled; return what it was granted nevertheless, or False."""
        with self.scope.lock:
            if waiter.granted:
                return waiter.connection
            self._leave(waiter)
        return False

    def _leave(self, waiter: Waiter) -> None:
        with contextlib.suppress(ValueError):  # after a fork, the queue is another one
            self.waiting.remove(waiter)
            self.scope.waiting -= 1

    def _full(self, user: Borrower, seconds: float | None) -> MaxConnectionsError:
        used = self.used.get(user, 0)
        if used >= self.share and self.share < self.limit:
            what = f"this database uses its {self.share} connections to {self.server} already (per_tenant)"
        elif self.open >= self.limit:
            what = f"all {self.limit} connections to {self.server} are in use"
        else:
            what = f"all {self.scope.budget.total} connections of the budget are in use"
        logs.emit("connections_exhausted", server=self.server, open=self.open, waiting=len(self.waiting))
        came = "" if seconds is None else f", and none came back within {seconds:.3g} s"
        return MaxConnectionsError(
            f"{what}{came}. Give connections back sooner (scans, watched pipelines and pub/sub hold one), or allow more: "
            "Budget(per_server=..., per_tenant=..., total=...)."
        )

    def pool_stats(self) -> PoolStats:
        """Return the counts of now."""
        with self.scope.lock:
            idle = sum(len(pool.idle) for pool in self.pools)
            return PoolStats(self.open, idle, self.open - idle, len(self.waiting), 0)
