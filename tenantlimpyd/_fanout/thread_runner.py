"""The blocking engine of functions: a bounded number of threads that visit tenants, and a consumer that hears how each ended.

Deadlines hold in three ways: commands inherit the time left (:mod:`tenantlimpyd._connections.deadline`); a thread that still waits for
its server when the time is up has its socket shut down; and one that does something else altogether is given up, its
result no longer waited for.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextvars import Context, copy_context
from typing import Any, TypeAlias

import attrs

from tenantlimpyd._connections import fork
from tenantlimpyd._connections.deadline import GRACE, Deadline
from tenantlimpyd._fanout.outcomes import Job, JobResult, timed_out
from tenantlimpyd._fanout.plan import JobPlan, ThreadJobQueue

__all__ = ["JobRun", "ThreadRunner"]


@attrs.define(eq=False)
class JobRun:
    """One job being run.

    Attributes:
        limit: on its thread's commands.
        started: when it was begun, by the monotonic clock.
        given_up: it is no longer waited for, and its outcome told.
    """

    job: Job
    limit: Deadline
    started: float
    given_up: bool = False
    thread: threading.Thread = attrs.field(factory=threading.current_thread)

    @property
    def seconds(self) -> float:
        """How long it took so far."""
        return time.monotonic() - self.started


WorkItem: TypeAlias = Callable[[JobRun], Any]


class ThreadRunner:
    """One fan-out: starts threads when it is iterated over, ends them when it is closed or through.

    Args:
        jobs: the work.
        work: what is done for each job.
        timeout: seconds each job has in all; None: no limit but what the work sets itself.
        concurrency: how many threads there are at most.
        stops: no job is begun once one has failed. The thread that sees the failure says so, before the consumer hears of it.
    """

    def __init__(
        self, jobs: Sequence[Job], work: WorkItem, *, timeout: float | None, concurrency: int, stops: bool = False
    ) -> None:
        self._stops = stops
        self._work = work
        self._timeout = timeout
        self._missing = len(jobs)
        self._concurrency = min(concurrency, len(jobs))
        self._plan = ThreadJobQueue(JobPlan(jobs, concurrency))
        self._context: Context = copy_context()
        self._change = threading.Condition()
        self._events: deque[JobResult] = deque()
        self._visits: set[JobRun] = set()
        self._threads: set[threading.Thread] = set()
        self._closed = False
        self._process = fork.generation

    def events(self) -> Iterator[JobResult]:
        """Iterate over the ends of the jobs, until every one has ended. Leaving the iteration early ends the threads."""
        self._process = fork.generation
        try:
            for _ in range(self._concurrency):
                self._start_thread()
            for _ in range(self._missing):
                yield self._next()
        finally:
            self._close()

    def _close(self) -> None:
        """Stop: no new visit, running ones are cut short. Returns when the threads have ended."""
        if self._process != fork.generation:  # a child has none of the threads, and the sockets are its parent's
            return
        self._plan.stop()
        with self._change:
            self._closed = True
            running = list(self._visits)
        for visit in running:
            visit.limit.cancel()
        deadline = time.monotonic() + 10 * GRACE
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))

    # In the threads

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._serve, name="tenantlimpyd-fan-out", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _serve(self) -> None:
        try:
            while (job := self._plan.take()) is not None:
                visit = JobRun(job, Deadline(self._timeout), time.monotonic())
                with self._change:
                    if self._closed:
                        return
                    self._visits.add(visit)
                    self._change.notify_all()  # the consumer may wait for longer than this one has
                if not self._run_one(visit):
                    return
        finally:
            self._threads.discard(threading.current_thread())

    def _run_one(self, visit: JobRun) -> bool:
        """Run one job; return whether this thread is still wanted."""
        value, error = None, None
        try:
            value = self._context.copy().run(self._limited, visit)
        except Exception as raised:  # noqa: BLE001 - a tenant's failure is its outcome
            error = raised
        except BaseException as raised:  # noqa: BLE001 - sys.exit() in here ends this tenant's work, not the program
            error = RuntimeError(f"{type(raised).__name__} was raised")
            error.__cause__ = raised
        finally:
            with self._change:
                self._visits.discard(visit)
            if error is not None and self._stops:
                self._plan.stop()
            if not visit.given_up:
                self._plan.done(visit.job)
        if error is not None and visit.limit.expired:
            error = timed_out(self._timeout, error)
        if visit.given_up:
            return False
        self._report(JobResult(visit.job, value, error, visit.seconds))
        return True

    def _limited(self, visit: JobRun) -> Any:
        visit.job.check()
        with visit.limit.applied():
            return self._work(visit)

    def _report(self, ended: JobResult) -> None:
        with self._change:
            self._events.append(ended)
            self._change.notify_all()

    # In the consumer

    def _next(self) -> JobResult:
        while True:
            with self._change:
                if self._events:
                    return self._events.popleft()
                self._change.wait(self._until_next_deadline())
                if self._events:
                    continue
                late = [visit for visit in self._visits if visit.limit.overdue > GRACE]
            for visit in late:
                visit.limit.cancel()
                if visit.limit.overdue > 2 * GRACE:
                    self._give_up(visit)

    def _until_next_deadline(self) -> float | None:
        nearest = min((-visit.limit.overdue for visit in self._visits), default=math.inf)
        return None if nearest == math.inf else max(nearest, 0.0) + GRACE

    def _give_up(self, visit: JobRun) -> None:
        """Let a thread that does not come back be; another takes its place."""
        with self._change:
            if visit not in self._visits:
                return
            self._visits.discard(visit)
            visit.given_up = True
            self._threads.discard(visit.thread)
        if self._stops:
            self._plan.stop()
        self._plan.done(visit.job)
        self._report(JobResult(visit.job, None, timed_out(self._timeout), visit.seconds))
        self._start_thread()
