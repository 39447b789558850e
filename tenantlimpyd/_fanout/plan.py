"""The order and the concurrency of jobs: in total and per server.

This module schedules one job per tenant, for functions. Scans and single commands use
:mod:`tenantlimpyd._fanout.multiplex.scheduler`, which combines tenants.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from tenantlimpyd._fanout.outcomes import Job
from tenantlimpyd.exceptions import shown

__all__ = ["PER_SERVER", "AsyncJobQueue", "JobPlan", "JobSource", "StuckError", "ThreadJobQueue", "checked_concurrency"]

PER_SERVER = 8
"""The largest number of concurrent jobs per server. More would only queue inside the server."""


def checked_concurrency(concurrency: object) -> int:
    """Return a valid concurrency.

    Raises:
        TypeError: If it is not an int.
        ValueError: If it is less than 1.
    """
    if not isinstance(concurrency, int) or isinstance(concurrency, bool):
        raise TypeError(f"concurrency must be a whole number, not {shown(concurrency)}")
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, not {concurrency}")
    return concurrency


class StuckError(RuntimeError):
    """No work is running although tenants are missing."""

    def __init__(self) -> None:
        super().__init__("no work is running although tenants are missing: this is a bug, please report it")


class JobSource(Protocol):
    """A scheduler of work. One thread at a time calls its methods."""

    @property
    def exhausted(self) -> bool:
        """Whether there will be no more work."""
        ...

    def pick(self) -> Any:
        """Return the next piece of work, or None if there is none at the moment."""
        ...

    def release(self, work: Any, /) -> None:
        """Register the end of a piece of work."""
        ...


class JobPlan:
    """Schedules jobs, one server after another in turn.

    A server gets at most ``PER_SERVER`` concurrent jobs, and at most its share while other servers have waiting jobs. A server
    that hangs delays its own tenants only.

    Args:
        jobs: the jobs.
        concurrency: the largest number of concurrent jobs.
    """

    def __init__(self, jobs: Sequence[Job], concurrency: int) -> None:
        self._concurrency = concurrency
        self._waiting: dict[str, deque[Job]] = {}
        for job in jobs:
            self._waiting.setdefault(job.server, deque()).append(job)
        self._busy = dict.fromkeys(self._waiting, 0)
        self._turn = deque(self._waiting)  # servers that have jobs left
        self._servers = len(self._waiting)  # servers with waiting or running jobs

    @property
    def workers(self) -> int:
        """The largest number of jobs that can ever run at once. More threads or tasks would only wait."""
        return min(self._concurrency, sum(min(PER_SERVER, len(jobs)) for jobs in self._waiting.values()))

    @property
    def exhausted(self) -> bool:
        """Whether every job has been started."""
        return not self._turn

    def pick(self) -> Job | None:
        """Return the next job whose server has capacity, or None if none has."""
        most = min(PER_SERVER, max(1, self._concurrency // max(1, self._servers)))
        for _ in range(len(self._turn)):
            server = self._turn.popleft()
            jobs = self._waiting[server]
            job = jobs.popleft() if self._busy[server] < most else None
            if jobs:
                self._turn.append(server)
            if job is not None:
                self._busy[server] += 1
                return job
        return None

    def release(self, job: Job) -> None:
        """Register the end of a job."""
        self._busy[job.server] -= 1
        if not self._busy[job.server] and not self._waiting[job.server]:
            self._servers -= 1


class ThreadJobQueue:
    """A queue from which threads take jobs.

    The end of a job wakes one thread. A thread that got a job wakes the next one, since the end of a server's last job may
    permit several. So the number of wake-ups is proportional to the jobs, however many threads wait.
    """

    def __init__(self, plan: JobSource) -> None:
        self._plan = plan
        self._change = threading.Condition()
        self._stopped = False

    def take(self) -> Any:
        """Return the next job, after waiting for its server's capacity, or None if there are no more jobs."""
        with self._change:
            while not self._stopped and not self._plan.exhausted:
                if (job := self._plan.pick()) is not None:
                    self._change.notify()
                    return job
                self._change.wait()
            self._change.notify_all()
            return None

    def done(self, job: Any) -> None:
        """Register the end of a job."""
        with self._change:
            self._plan.release(job)
            self._change.notify()

    def stop(self) -> None:
        """Start no more jobs."""
        with self._change:
            self._stopped = True
            self._change.notify_all()


class AsyncJobQueue:
    """A queue from which tasks of one event loop take jobs. It wakes tasks as :class:`ThreadJobQueue` wakes threads."""

    def __init__(self, plan: JobSource) -> None:
        self._plan = plan
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._stopped = False
        self._out = 0  # running jobs

    async def take(self) -> Any:
        """Return the next job, after waiting for its server's capacity, or None if there are no more jobs.

        Raises:
            StuckError: If no job is waiting or running although the scheduler expects more.
        """
        while not self._stopped and not self._plan.exhausted:
            if (job := self._plan.pick()) is not None:
                self._out += 1
                self._wake_one()
                return job
            if not self._out:
                raise StuckError
            await self._woken()
        self.wake()  # there are no more jobs
        return None

    async def _woken(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._wake_one()  # in place of this task
            raise

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def done(self, job: Any) -> None:
        """Register the end of a job."""
        self._out -= 1
        self._plan.release(job)
        self._wake_one()

    def wake(self) -> None:
        """Wake all waiting tasks: there may be more work, or none any more."""
        waiters, self._waiters = self._waiters, deque()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def stop(self) -> None:
        """Start no more jobs."""
        self._stopped = True
        self.wake()
