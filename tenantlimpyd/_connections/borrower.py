"""Borrowers, pools and waiters, as :mod:`tenantlimpyd._connections.limiter` sees them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from redis.exceptions import MaxConnectionsError

from tenantlimpyd._connections.live_connections import LiveConnections

__all__ = ["Borrower", "IdlePool", "NoPermitError", "Waiter"]


class Borrower(Protocol):
    """A user of connections: a database or a scan.

    Attributes:
        db: the number of the database that its connections are to be in.
        retired: whether it has released the endpoint, so that the connections it returns are closed.
    """

    db: int
    retired: bool


class IdlePool(Protocol):
    """A pool with a list of idle connections.

    Attributes:
        idle: the idle connections; the one returned last is last.
        live: all its connections, and permits to make further ones.
    """

    idle: list[Any]
    live: LiveConnections

    def drop(self, connection: Any) -> None:
        """Close a connection that was removed from the list of idle ones. Any thread may call this."""

    def reset_after_fork(self) -> None:
        """Forget all connections, which belong to the parent process."""


class NoPermitError(MaxConnectionsError):
    """Raised to a caller that does not wait if no permit is available."""


class Waiter:
    """A thread or task that waits for a permit.

    Attributes:
        pool: the pool that the connection belongs to.
        user: the borrower.
        granted: whether a permit was granted.
        connection: the idle connection that was granted, or the permit to make one.
        since: the start of the wait, by the monotonic clock.
        wake: called when the permit is granted.
    """

    __slots__ = ("connection", "granted", "pool", "since", "user", "wake")

    def __init__(self, pool: IdlePool, user: Borrower) -> None:
        self.pool = pool
        self.user = user
        self.granted = False
        self.connection: Any = None
        self.wake: Callable[[], None] = _nobody
        self.since = time.monotonic()


def _nobody() -> None:
    """Do nothing."""
