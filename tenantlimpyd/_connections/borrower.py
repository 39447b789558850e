"""Who borrows connections, who lends them, and who waits for one: what the counts of :mod:`tenantlimpyd._connections.limiter` know of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from redis.exceptions import MaxConnectionsError

__all__ = ["Borrower", "IdlePool", "NoPermitError", "Waiter"]


class Borrower(Protocol):
    """Who uses connections: a database, or a walk.

    Attributes:
        db: the database number it wants connections to be in.
        retired: whether it has let go of the server: connections that come back from it are closed.
    """

    db: int
    retired: bool


class IdlePool(Protocol):
    """What a lane knows of a pool.

    Attributes:
        idle: connections that nobody uses; the one that came back last is last.
    """

    idle: list[Any]

    def drop(self, connection: Any) -> None:
        """Close a connection that was idle and is no longer in the list. Called in any thread."""

    def reset_after_fork(self) -> None:
        """Forget all connections: they are a parent process's."""


class NoPermitError(MaxConnectionsError):
    """There is no place at the moment, for one who does not wait."""


class Waiter:
    """Somebody who waits for a connection.

    Attributes:
        granted: whether there is one: :attr:`connection`, or where that is None, leave to make one.
        wake: called once it is granted.
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
    """Wake nobody."""
