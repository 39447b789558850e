"""A lane: one connection's part in the work of a group.

It yields what is to be sent as data (:mod:`tenantlimpyd._fanout.multiplex.protocol`), and what came of it. New work is sent for many
databases in one write; what turns out to be large is laid aside and taken by any lane.

Nothing here talks to a server or knows a thread: all lanes of a run take their steps in one thread, that of its consumer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, Generic, TypeVar

from tenantlimpyd._connections.borrower import NoPermitError
from tenantlimpyd._fanout.multiplex.protocol import Connect, Progress, Step, TenantDone
from tenantlimpyd._fanout.multiplex.scheduler import WorkGroup, WorkItem
from tenantlimpyd._fanout.outcomes import timed_out

__all__ = ["ANSWER_SECONDS", "SLOW_TRIP", "Worker"]

ANSWER_SECONDS = 10.0
"""How long a server may take for one answer, where the tenants' own ``timeout`` is not shorter."""
SLOW_TRIP = 0.1
"""Seconds: where an answer takes longer, the next write holds half as many databases."""

W = TypeVar("W", bound=WorkItem)


class Worker(Generic[W]):
    """One connection's part in the work of a group. Run by :meth:`steps`.

    Attributes:
        batch: how many databases the next write is for at most.
        db: the number of the database that its connection is in; None: that is not certain.
        crowded: it ended since there was no place for its connection.
        clock: seconds that only grow, and stand still while the consumer has its turn.
    """

    clock: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(self, group: WorkGroup[W], batch: int) -> None:
        self.group = group
        self.batch = batch
        self.db: int | None = None
        self.connected = False
        self.crowded = False
        self._silent = 0.0
        self._answers = 0

    def check(self) -> None:
        """Nothing: tenants are looked at one by one, before each trip."""

    def steps(self) -> Generator[Step, Any, None]:
        """Yield what is to be done. A trip is sent its replies, or has the connection's error thrown in."""
        try:
            yield from self._steps()
        except Exception as error:  # noqa: BLE001 - its tenants must have an outcome, or the walk would wait for ever
            self.db = None  # part of what was sent may have moved the connection
            yield Progress(ends=self.give_up(error))

    def _steps(self) -> Generator[Step, Any, None]:
        raise NotImplementedError

    def hands(self) -> list[W]:
        """Return the work in this lane's hands."""
        raise NotImplementedError

    def take_fresh(self) -> list[W]:
        """Take work that was not begun yet, as much as one write should hold."""
        fresh, make = self.group.fresh, self.group.make
        return [make(fresh.popleft()) for _ in range(min(self.batch, len(fresh)))]

    def left(self, work: Sequence[W]) -> float:
        """Return the seconds that the next answer may take."""
        timeout = self.group.timeout
        if timeout is None:
            return ANSWER_SECONDS
        return min(ANSWER_SECONDS, max(0.0, timeout - max((each.seconds for each in work), default=0.0)))

    def give_up(self, error: Exception) -> list[TenantDone]:
        """Return the ends of the work in this lane's hands, where the lane itself has failed."""
        return self.ends(self.hands(), error)

    def ends(self, work: Sequence[W], error: Exception) -> list[TenantDone]:
        """Return the ends of tenants that have failed."""
        return [TenantDone(job, None, error, each.seconds, each.restarts) for each in work for job in each.jobs]

    def late(
        self, work: Sequence[W], error: Exception, allowed: float, took: float
    ) -> tuple[list[TenantDone], list[W]]:
        """Sort out a trip that ended with a time-out.

        Args:
            work: what it was for.
            error: the time-out.
            allowed: the seconds it had.
            took: the seconds it took.

        Returns:
            The ends of those whose time is up, and those that may go on.
        """
        if took < 0.9 * allowed:  # the settings' own socket_timeout
            return self.ends(work, error), []
        if allowed >= ANSWER_SECONDS:
            return self.ends(work, timed_out(ANSWER_SECONDS, error)), []
        timeout = self.group.timeout or 0.0
        up = [each for each in work if each.seconds >= 0.99 * timeout]
        return self.ends(up, timed_out(timeout, error)), [each for each in work if each not in up]

    def connect(self, seconds: float) -> Generator[Step, Any, None]:
        """See that there is a connection."""
        if not self.connected:
            self.db = yield Connect(seconds)
            self.connected = True

    def crowded_out(self, error: Exception) -> bool:
        """Return whether there is no place for this lane's connection, while others of its run have one."""
        self.crowded = isinstance(error, NoPermitError)
        return self.crowded

    def heard(self) -> None:
        """Note that the server has answered."""
        self.group.answers += 1

    def dead_for(self, took: float, held: Sequence[W] = (), *, hopeless: bool) -> list[W]:
        """Take all work that waits and would meet the same failure, so that a walk waits for a server once, not for each write.

        That is work which has no more time than the server was asked in vain since its last answer.

        Args:
            took: the seconds of the attempt that has failed.
            held: other work in this lane's hands.
            hopeless: where the server has never answered, it is not tried again.
        """
        group = self.group
        if group.answers != self._answers:
            self._answers, self._silent = group.answers, 0.0
        self._silent += took
        none = hopeless and not group.answers
        dead: list[W] = []
        if none or 0.9 * self.left([]) <= self._silent:
            dead += map(group.make, group.fresh)
            group.fresh.clear()
        dead += [each for each in held if none or 0.9 * self.left([each]) <= self._silent]
        late = [each for each in group.large if none or 0.9 * self.left([each]) <= self._silent]
        if late:
            dead += late
            gone = {id(each) for each in late}
            kept = [each for each in group.large if id(each) not in gone]
            group.large.clear()
            group.large.extend(kept)
        return dead
