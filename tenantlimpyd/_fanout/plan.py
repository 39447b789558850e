"""In what order tenants are visited, and how many at once: overall, and on one server.

This one hands out one tenant after another, for functions. Walks and single commands have a planner of their own, which
puts tenants together (:mod:`tenantlimpyd._fanout.multiplex.scheduler`).
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
"""Tenants visited at once on one server; more would only queue up inside it."""


def checked_concurrency(concurrency: object) -> int:
    """Return how many tenants may be visited at once.

    Raises:
        TypeError, ValueError: it is no positive whole number.
    """
    if not isinstance(concurrency, int) or isinstance(concurrency, bool):
        raise TypeError(f"concurrency must be a whole number, not {shown(concurrency)}")
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, not {concurrency}")
    return concurrency


class StuckError(RuntimeError):
    """Nothing goes on, and nothing has ended."""

    def __init__(self) -> None:
        super().__init__("nothing is on its way, and tenants are missing: please report this, it is a bug")


class JobSource(Protocol):
    """What decides which work is done next. Its methods are called by one thread at a time."""

    @property
    def exhausted(self) -> bool:
        """Whether there will be no more work."""
        ...

    def pick(self) -> Any:
        """Return the next piece of work; None: at the moment, there is none."""
        ...

    def release(self, work: Any, /) -> None:
        """Count a piece of work as ended."""
        ...


class JobPlan:
    """Hands out jobs, server by server in turn.

    One server gets ``PER_SERVER`` at once at most, and while others have tenants waiting no more than its share of all:
    so a server that hangs holds up its own tenants only.

    Args:
        jobs: the work.
        concurrency: how many of them run at once.
    """

    def __init__(self, jobs: Sequence[Job], concurrency: int) -> None:
        self._concurrency = concurrency
        self._waiting: dict[str, deque[Job]] = {}
        for job in jobs:
            self._waiting.setdefault(job.server, deque()).append(job)
        self._busy = dict.fromkeys(self._waiting, 0)
        self._turn = deque(self._waiting)  # servers that have jobs left

    @property
    def exhausted(self) -> bool:
        """Whether every job was handed out."""
        return not self._turn

    def pick(self) -> Job | None:
        """Return the next job whose server has room; None: at the moment, none has."""
        most = min(PER_SERVER, max(1, self._concurrency // self._servers))
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

    @property
    def _servers(self) -> int:
        """How many servers have jobs, waiting or running."""
        return sum(1 for server, busy in self._busy.items() if busy or self._waiting[server]) or 1

    def release(self, job: Job) -> None:
        """Count a job as ended."""
        self._busy[job.server] -= 1


class ThreadJobQueue:
    """A plan that threads take jobs from."""

    def __init__(self, plan: JobSource) -> None:
        self._plan = plan
        self._change = threading.Condition()
        self._stopped = False

    def take(self) -> Any:
        """Return the next job, waiting until its server has room; None: there are no more."""
        with self._change:
            while not self._stopped and not self._plan.exhausted:
                if (job := self._plan.pick()) is not None:
                    return job
                self._change.wait()
            self._change.notify_all()
            return None

    def done(self, job: Any) -> None:
        """Tell that a job has ended."""
        with self._change:
            self._plan.release(job)
            self._change.notify_all()

    def stop(self) -> None:
        """Hand out nothing more."""
        with self._change:
            self._stopped = True
            self._change.notify_all()


class AsyncJobQueue:
    """A plan that tasks of one event loop take jobs from."""

    def __init__(self, plan: JobSource) -> None:
        self._plan = plan
        self._change = asyncio.Event()
        self._stopped = False
        self._out = 0  # jobs that have not ended

    async def take(self) -> Any:
        """Return the next job, waiting until its server has room; None: there are no more.

        Raises:
            StuckError: there is none, none has not ended, and the plan says that there will be more.
        """
        while not self._stopped and not self._plan.exhausted:
            if (job := self._plan.pick()) is not None:
                self._out += 1
                return job
            if not self._out:
                raise StuckError
            self._change.clear()
            await self._change.wait()
        self._change.set()  # those that wait learn that there is nothing left
        return None

    def done(self, job: Any) -> None:
        """Tell that a job has ended."""
        self._out -= 1
        self._plan.release(job)
        self._change.set()

    def wake(self) -> None:
        """Let those that wait look again: there may be more work."""
        self._change.set()

    def stop(self) -> None:
        """Hand out nothing more."""
        self._stopped = True
        self._change.set()
