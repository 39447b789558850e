"""The async runner of jobs: a bounded number of tasks, and a consumer that receives results as they arrive.

A task that exceeds its time limit is cancelled together with its command; redis-py then closes the connection.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import attrs

from tenantlimpyd._connections.deadline import GRACE_SECONDS
from tenantlimpyd._fanout.outcomes import Job, JobResult, timed_out
from tenantlimpyd._fanout.plan import AsyncJobQueue, JobPlan, JobSource, StuckError

__all__ = ["AsyncJobRun", "Event", "ResultPage", "TaskRunner"]


@attrs.frozen
class ResultPage:
    """A part of the result of a job."""

    job: Any
    content: Any


Event: TypeAlias = ResultPage | JobResult


@attrs.define(eq=False)
class AsyncJobRun:
    """A running job: its clock, and its delivery of results."""

    job: Any
    run: TaskRunner
    started: float
    waited: float = 0.0

    @property
    def seconds(self) -> float:
        """The seconds that the job has taken, without waiting for the consumer."""
        return time.monotonic() - self.started - self.waited

    async def within(self, seconds: float | None, answer: Awaitable[Any]) -> Any:
        """Await an awaitable with a time limit.

        Raises:
            redis.TimeoutError: If it takes longer than ``seconds``.
        """
        clock = _Alarm(seconds)
        try:
            return await answer
        except asyncio.CancelledError as error:
            if clock.stop():
                raise
            total = self.run.timeout
            allowed = total if total is not None and self.seconds >= total else seconds
            raise timed_out(allowed, error) from error
        finally:
            clock.stop()

    async def deliver(self, content: Any) -> None:
        """Deliver a part of the result. Waiting for the consumer does not count as the job's time."""
        started = time.monotonic()
        try:
            await self.run.queue.put(ResultPage(self.job, content))
        finally:
            self.waited += time.monotonic() - started


class _Alarm:
    """Cancels the current task after a time limit, repeatedly until :meth:`stop`.

    ``asyncio.timeout`` cancels once, and one cancellation may be lost: code may suppress it, and ``asyncio.wait_for`` of
    Python 3.11 does so if its result arrives at the same moment.
    """

    def __init__(self, seconds: float | None) -> None:
        task = asyncio.current_task()
        assert task is not None, "there is always a task here"  # noqa: S101
        self._task = task
        self._before = task.cancelling()
        self._rung = 0
        self._handle: asyncio.TimerHandle | None = None
        if seconds is not None:
            self._handle = asyncio.get_running_loop().call_later(seconds, self._ring)

    def _ring(self) -> None:
        self._rung += 1
        self._task.cancel()
        self._handle = asyncio.get_running_loop().call_later(GRACE_SECONDS, self._ring)

    def stop(self) -> bool:
        """Stop, and return whether the task was not cancelled by this object alone."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        rung, self._rung = self._rung, 0
        for _ in range(rung):
            self._task.uncancel()
        return not rung or self._task.cancelling() > self._before


async def _result(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks repeatedly until they have ended."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=GRACE_SECONDS)
        for task in done:
            _ = task.cancelled() or task.exception()


WorkItem: TypeAlias = Callable[[AsyncJobRun], Awaitable[Any]]


class TaskRunner:
    """Runs jobs in tasks while it is iterated over, and ends the tasks at the end of the iteration.

    Arguments as for :class:`~tenantlimpyd._fanout.thread_runner.ThreadRunner`, and:

    Args:
        jobs: jobs, or a scheduler whose work arrives over time. Such a run ends when it is closed.
        buffer: the largest number of results that wait for the consumer.
    """

    def __init__(
        self,
        jobs: Sequence[Job] | JobSource,
        work: WorkItem,
        *,
        timeout: float | None,
        concurrency: int,
        stops: bool = False,
        buffer: int = 64,
    ) -> None:
        self._stops = stops
        self.timeout = timeout
        self._work = work
        if isinstance(jobs, Sequence):
            self._remaining: float = len(jobs)
            plan = JobPlan(jobs, concurrency)
            self._tasks = plan.workers
            self._planned: JobSource = plan
        else:
            self._remaining, self._tasks, self._planned = math.inf, concurrency, jobs
        self._plan: AsyncJobQueue | None = None
        self.queue: asyncio.Queue[Event] = asyncio.Queue(buffer)

    async def events(self) -> AsyncIterator[Event]:
        """Iterate over results until every job has ended. Leaving the iteration early cancels the tasks."""
        plan = self._plan = AsyncJobQueue(self._planned)
        remaining = self._remaining
        tasks = [asyncio.create_task(self._serve(plan)) for _ in range(self._tasks)]
        try:
            while remaining:
                event = await self.queue.get()
                remaining -= isinstance(event, JobResult)
                yield event
        finally:
            await _result(tasks)

    def stop(self) -> None:
        """Start no more jobs."""
        if self._plan is not None:
            self._plan.stop()

    def wake(self) -> None:
        """Wake idle tasks: there may be more work."""
        if self._plan is not None:
            self._plan.wake()

    async def _serve(self, plan: AsyncJobQueue) -> None:
        while (job := await self._took(plan)) is not None:
            try:
                result = await self._run_one(job)
                if result.error is not None and self._stops:
                    plan.stop()
            finally:
                plan.done(job)
            await self.queue.put(result)

    async def _took(self, plan: AsyncJobQueue) -> Any:
        try:
            return await plan.take()
        except StuckError as error:  # the consumer waits for results, unless it has just received the last one
            await self.queue.put(JobResult(None, None, error, 0.0))
            return None

    async def _run_one(self, job: Any) -> JobResult:
        job_run = AsyncJobRun(job, self, time.monotonic())
        value, error = None, None
        try:
            # A separate task, so that changes of the context (the entered tenant) end with the job.
            value = await asyncio.create_task(self._called(job_run))
        except Exception as raised:  # noqa: BLE001 - becomes the outcome of the tenant
            error = raised
        except asyncio.CancelledError as raised:
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # the consumer has left the iteration
                raise
            error = RuntimeError("the work for this tenant was cancelled from within")
            error.__cause__ = raised
        return JobResult(job, value, error, job_run.seconds)

    async def _called(self, job_run: AsyncJobRun) -> Any:
        job_run.job.check()
        try:
            return await self._work(job_run)
        except (Exception, asyncio.CancelledError, KeyboardInterrupt):
            raise
        except BaseException as raised:  # sys.exit() ends this job, not the event loop
            raise RuntimeError(f"{type(raised).__name__} was raised") from raised
