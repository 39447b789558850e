"""The sync runner of jobs: a bounded number of threads, and a consumer that receives results as they arrive.

Deadlines are enforced in three ways. Commands inherit the remaining time (:mod:`tenantlimpyd._connections.deadline`).
The socket of a thread that still waits for its server after the deadline is shut down. A thread that does something
else is abandoned: its result is no longer awaited, and another thread replaces it.
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
from tenantlimpyd._connections.deadline import GRACE_SECONDS, Deadline
from tenantlimpyd._fanout.outcomes import Job, JobResult, timed_out
from tenantlimpyd._fanout.plan import JobPlan, ThreadJobQueue

__all__ = ["JobRun", "ThreadRunner"]


@attrs.define(eq=False)
class JobRun:
    """A running job.

    Attributes:
        job: the job.
        limit: the deadline of its commands.
        started: the start, in seconds of the monotonic clock.
        given_up: whether the job was abandoned and its outcome is recorded.
        thread: the thread that runs it.
    """

    job: Job
    limit: Deadline
    started: float
    given_up: bool = False
    thread: threading.Thread = attrs.field(factory=threading.current_thread)

    @property
    def seconds(self) -> float:
        """The seconds that the job has taken."""
        return time.monotonic() - self.started


WorkItem: TypeAlias = Callable[[JobRun], Any]


class ThreadRunner:
    """Runs jobs in threads while it is iterated over, and ends the threads at the end of the iteration.

    Args:
        jobs: the jobs.
        work: the function to call for each job.
        timeout: seconds that each job has in total; None for no limit.
        concurrency: the largest number of threads.
        stops: whether to start no job after a failure, even before the consumer receives it.
    """

    def __init__(
        self, jobs: Sequence[Job], work: WorkItem, *, timeout: float | None, concurrency: int, stops: bool = False
    ) -> None:
        self._stops = stops
        self._work = work
        self._timeout = timeout
        self._remaining = len(jobs)
        plan = JobPlan(jobs, concurrency)
        self._concurrency = plan.workers
        self._plan = ThreadJobQueue(plan)
        self._context: Context = copy_context()
        self._change = threading.Condition()
        self._events: deque[JobResult] = deque()
        self._running: set[JobRun] = set()
        self._threads: set[threading.Thread] = set()
        self._closed = False
        self._process = fork.generation

    def events(self) -> Iterator[JobResult]:
        """Iterate over results until every job has ended. Leaving the iteration early ends the threads."""
        self._process = fork.generation
        try:
            for _ in range(self._concurrency):
                self._start_thread()
            for _ in range(self._remaining):
                yield self._next()
        finally:
            self._close()

    def _close(self) -> None:
        """Start no more jobs, interrupt the running ones, and wait for the threads."""
        if self._process != fork.generation:  # a forked child has no threads, and the sockets belong to its parent
            return
        self._plan.stop()
        with self._change:
            self._closed = True
            running = list(self._running)
        for job_run in running:
            job_run.limit.cancel()
        deadline = time.monotonic() + 10 * GRACE_SECONDS
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
                job_run = JobRun(job, Deadline(self._timeout), time.monotonic())
                with self._change:
                    if self._closed:
                        return
                    self._running.add(job_run)
                    self._change.notify_all()  # the consumer may wait for longer than this job's deadline
                if not self._run_one(job_run):
                    return
        finally:
            self._threads.discard(threading.current_thread())

    def _run_one(self, job_run: JobRun) -> bool:
        """Run one job, and return whether this thread continues."""
        value, error = None, None
        try:
            value = self._context.copy().run(self._limited, job_run)
        except Exception as raised:  # noqa: BLE001 - becomes the outcome of the tenant
            error = raised
        except BaseException as raised:  # noqa: BLE001 - sys.exit() ends this job, not the program
            error = RuntimeError(f"{type(raised).__name__} was raised")
            error.__cause__ = raised
        finally:
            with self._change:
                self._running.discard(job_run)
            if error is not None and self._stops:
                self._plan.stop()
            if not job_run.given_up:
                self._plan.done(job_run.job)
        if error is not None and job_run.limit.expired:
            error = timed_out(self._timeout, error)
        if job_run.given_up:
            return False
        self._report(JobResult(job_run.job, value, error, job_run.seconds))
        return True

    def _limited(self, job_run: JobRun) -> Any:
        job_run.job.check()
        with job_run.limit.applied():
            return self._work(job_run)

    def _report(self, result: JobResult) -> None:
        with self._change:
            self._events.append(result)
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
                late = [job_run for job_run in self._running if job_run.limit.overdue > GRACE_SECONDS]
            for job_run in late:
                job_run.limit.cancel()
                if job_run.limit.overdue > 2 * GRACE_SECONDS:
                    self._give_up(job_run)

    def _until_next_deadline(self) -> float | None:
        nearest = min((-job_run.limit.overdue for job_run in self._running), default=math.inf)
        return None if nearest == math.inf else max(nearest, 0.0) + GRACE_SECONDS

    def _give_up(self, job_run: JobRun) -> None:
        """Abandon a thread that does not return, and start another one."""
        with self._change:
            if job_run not in self._running:
                return
            self._running.discard(job_run)
            job_run.given_up = True
            self._threads.discard(job_run.thread)
        if self._stops:
            self._plan.stop()
        self._plan.done(job_run.job)
        self._report(JobResult(job_run.job, None, timed_out(self._timeout), job_run.seconds))
        self._start_thread()
