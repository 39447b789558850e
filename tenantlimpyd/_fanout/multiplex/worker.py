"""Workers and their work: a group is the work for one server, and a worker does a part of it over one connection.

A worker is a generator that yields steps as data (:mod:`tenantlimpyd._fanout.multiplex.protocol`) and receives their
results. It sends new work for many databases in one write. A database that needs more than one request goes into the
group's queue of started work, from which every worker of the group takes.

A worker does no I/O and starts no thread. All workers of a run advance in the consumer's thread.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from tenantlimpyd._connections.borrower import NoPermitError
from tenantlimpyd._connections.database_clients import DatabaseClients
from tenantlimpyd._fanout.multiplex.protocol import Connect, Progress, Step, TenantDone
from tenantlimpyd._fanout.outcomes import Job, timed_out

__all__ = ["ANSWER_SECONDS", "SLOW_ANSWER_SECONDS", "WorkGroup", "WorkItem", "Worker"]

ANSWER_SECONDS = 10.0
"""Seconds that a server may take for one reply, unless the tenants' ``timeout`` is shorter."""
SLOW_ANSWER_SECONDS = 0.1
"""Seconds of a slow reply: after one, the next write holds half as many databases."""
DATABASES_PER_WORKER = 1024
"""Databases of new work for each worker: a further worker is worth its connection only beyond that."""


class WorkItem(Protocol):
    """A unit of work: one physical database."""

    jobs: list[Job]
    db: int
    clients: DatabaseClients
    seconds: float
    restarts: int


W = TypeVar("W", bound=WorkItem)


class WorkGroup(Generic[W]):
    """Work that shares connections: one server with one set of credentials.

    Args:
        server: the server's name.
        clients: the clients whose connections are used.
        planned: the new work, in a compact form.
        make: makes a work item of it.
        timeout: seconds that each tenant has in total; None if only single replies are limited.

    Attributes:
        pending: new work.
        started: work that has been started and that any worker may continue.
        workers: the number of running workers.
        answers: the number of replies that the server has sent.
        out_of_permits: whether a worker got no permit while the run held others.
    """

    def __init__(
        self,
        server: str,
        clients: DatabaseClients,
        planned: Iterable[Any],
        make: Callable[[Any], W],
        timeout: float | None,
    ) -> None:
        self.server = server
        self.clients = clients
        self.timeout = timeout
        self.pending: deque[Any] = deque(planned)
        self.make = make
        self.started: deque[W] = deque()
        self.workers = 0
        self.answers = 0
        self.out_of_permits = False

    @property
    def wants_worker(self) -> bool:
        """Whether another worker would finish the group's work sooner."""
        if self.workers >= self.clients.server.endpoint_state.shared.limit:
            return False
        return bool(self.started) or (bool(self.pending) and len(self.pending) >= self.workers * DATABASES_PER_WORKER)


class Worker(Generic[W]):
    """Does a part of a group's work over one connection.

    Attributes:
        batch: the largest number of databases in the next write.
        db: the number of the database that the connection is in; None if that is not certain.
        out_of_permits: whether the worker ended because there was no permit for its connection.
        clock: returns seconds. It stands still while the consumer works.
    """

    clock: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(self, group: WorkGroup[W], batch: int) -> None:
        self.group = group
        self.batch = batch
        self.db: int | None = None
        self.connected = False
        self.out_of_permits = False
        self._unanswered_seconds = 0.0
        self._answers = 0

    def check(self) -> None:
        """Do nothing: a worker checks its tenants one by one, before each request."""

    def steps(self) -> Generator[Step, Any, None]:
        """Yield the steps of the worker; see :mod:`tenantlimpyd._fanout.multiplex.protocol`."""
        try:
            yield from self._steps()
        except Exception as error:  # noqa: BLE001 - each tenant needs an outcome, or the run never ends
            self.db = None  # the connection may be in any of the databases
            yield Progress(finished=self.fail_held_work(error))

    def _steps(self) -> Generator[Step, Any, None]:
        raise NotImplementedError

    def held_work(self) -> list[W]:
        """Return the work that this worker has taken and not finished."""
        raise NotImplementedError

    def take_new_work(self) -> list[W]:
        """Take as much new work as one write should hold."""
        fresh, make = self.group.pending, self.group.make
        return [make(fresh.popleft()) for _ in range(min(self.batch, len(fresh)))]

    def seconds_left(self, work: Sequence[W]) -> float:
        """Return the seconds that the next reply may take."""
        timeout = self.group.timeout
        if timeout is None:
            return ANSWER_SECONDS
        return min(ANSWER_SECONDS, max(0.0, timeout - max((each.seconds for each in work), default=0.0)))

    def fail_held_work(self, error: Exception) -> list[TenantDone]:
        """Return failed results for all work that this worker holds."""
        return self.failures(self.held_work(), error)

    def failures(self, work: Sequence[W], error: Exception) -> list[TenantDone]:
        """Return failed results for the tenants of some work."""
        return [TenantDone(job, None, error, each.seconds, each.restarts) for each in work for job in each.jobs]

    def handle_timeout(
        self, work: Sequence[W], error: Exception, allowed: float, took: float
    ) -> tuple[list[TenantDone], list[W]]:
        """Decide what happens to the work of a request that timed out.

        Args:
            work: the work of the request.
            error: the timeout error.
            allowed: the request's time limit in seconds.
            took: the seconds it took.

        Returns:
            The results of tenants whose time is used up, and the work that may continue.
        """
        if took < 0.9 * allowed:  # the connection's own socket_timeout, which is shorter
            return self.failures(work, error), []
        if allowed >= ANSWER_SECONDS:
            return self.failures(work, timed_out(ANSWER_SECONDS, error)), []
        timeout = self.group.timeout or 0.0
        up = [each for each in work if each.seconds >= 0.99 * timeout]
        return self.failures(up, timed_out(timeout, error)), [each for each in work if each not in up]

    def connect(self, seconds: float) -> Generator[Step, Any, None]:
        """Connect, unless the worker is connected."""
        if not self.connected:
            self.db = yield Connect(seconds)
            self.connected = True

    def is_out_of_permits(self, error: Exception) -> bool:
        """Return whether the connection failed for want of a permit, while other workers of the run hold one."""
        self.out_of_permits = isinstance(error, NoPermitError)
        return self.out_of_permits

    def record_answer(self) -> None:
        """Note that the server has replied."""
        self.group.answers += 1

    def take_unreachable_work(self, took: float, held: Sequence[W] = (), *, hopeless: bool) -> list[W]:
        """Take all waiting work that would fail in the same way, so that a run waits for a dead server once, not once
        per write.

        This is the work whose remaining time is not longer than the time the server has been silent.

        Args:
            took: the seconds of the failed attempt.
            held: other work that this worker holds.
            hopeless: whether to give up all work if the server has never replied.
        """
        group = self.group
        if group.answers != self._answers:
            self._answers, self._unanswered_seconds = group.answers, 0.0
        self._unanswered_seconds += took
        none = hopeless and not group.answers
        unreachable_work: list[W] = []
        if none or 0.9 * self.seconds_left([]) <= self._unanswered_seconds:
            unreachable_work += map(group.make, group.pending)
            group.pending.clear()
        unreachable_work += [
            each for each in held if none or 0.9 * self.seconds_left([each]) <= self._unanswered_seconds
        ]
        late = [each for each in group.started if none or 0.9 * self.seconds_left([each]) <= self._unanswered_seconds]
        if late:
            unreachable_work += late
            gone = {id(each) for each in late}
            kept = [each for each in group.started if id(each) not in gone]
            group.started.clear()
            group.started.extend(kept)
        return unreachable_work
