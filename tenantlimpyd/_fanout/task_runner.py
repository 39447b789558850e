"""The asyncio engine: a bounded number of tasks that visit tenants, and a consumer that hears of it as it happens.

A task whose time is up is cancelled, and with it the command it waits for; redis-py then closes the connection.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import attrs

from tenantlimpyd._connections.deadline import GRACE
from tenantlimpyd._fanout.outcomes import Job, JobResult, timed_out
from tenantlimpyd._fanout.plan import AsyncJobQueue, JobPlan, JobSource, StuckError

__all__ = ["AsyncJobRun", "Event", "ResultPage", "TaskRunner"]


@attrs.frozen
class ResultPage:
    """A part of a job's result."""

    job: Any
    content: Any


Event: TypeAlias = ResultPage | JobResult


@attrs.define(eq=False)
class AsyncJobRun:
    """One job being run: its clock, and how it delivers."""

    job: Any
    run: TaskRunner
    started: float
    waited: float = 0.0

    @property
    def seconds(self) -> float:
        """How long the visit took so far, without waiting for the consumer."""
        return time.monotonic() - self.started - self.waited

    async def within(self, seconds: float | None, answer: Awaitable[Any]) -> Any:
        """Await an answer.

        Raises:
            TimeoutError: redis-py's, when it takes longer than ``seconds``.
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
        """Hand over a part of the result; waits while the consumer has enough. That wait does not count."""
        started = time.monotonic()
        try:
            await self.run.queue.put(ResultPage(self.job, content))
        finally:
            self.waited += time.monotonic() - started


class _Alarm:
    """Cancels the current task when the time is up, and again and again until :meth:`stop`.

    ``asyncio.timeout`` cancels once, and a cancellation may get lost: code may suppress it, and ``asyncio.wait_for`` of
    Python 3.11 does when its result comes at the same moment.
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
        self._handle = asyncio.get_running_loop().call_later(GRACE, self._ring)

    def stop(self) -> bool:
        """End it; return whether somebody else has cancelled the task, or nobody has."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        rung, self._rung = self._rung, 0
        for _ in range(rung):
            self._task.uncancel()
        return not rung or self._task.cancelling() > self._before


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=GRACE)
        for task in done:
            _ = task.cancelled() or task.exception()


WorkItem: TypeAlias = Callable[[AsyncJobRun], Awaitable[Any]]


class TaskRunner:
    """One fan-out: starts tasks when it is iterated over, ends them when it is closed or through.

    Arguments as for :class:`~tenantlimpyd._fanout.thread_runner.ThreadRunner`, and:

    Args:
        jobs: jobs, or a plan that hands work out as it turns up. Such a run is through when it is closed.
        buffer: how many pages wait for the consumer at most.
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
            self._missing: float = len(jobs)
            self._tasks = min(concurrency, len(jobs))
            self._planned: JobSource = JobPlan(jobs, concurrency)
        else:
            self._missing, self._tasks, self._planned = math.inf, concurrency, jobs
        self._plan: AsyncJobQueue | None = None
        self.queue: asyncio.Queue[Event] = asyncio.Queue(buffer)

    async def events(self) -> AsyncIterator[Event]:
        """Iterate over what happens, until every tenant has ended. Leaving the iteration early cancels the tasks."""
        plan = self._plan = AsyncJobQueue(self._planned)
        missing = self._missing
        tasks = [asyncio.create_task(self._serve(plan)) for _ in range(self._tasks)]
        try:
            while missing:
                event = await self.queue.get()
                missing -= isinstance(event, JobResult)
                yield event
        finally:
            await _end(tasks)

    def stop(self) -> None:
        """Begin no more jobs."""
        if self._plan is not None:
            self._plan.stop()

    def wake(self) -> None:
        """Let idle tasks look whether there is more work."""
        if self._plan is not None:
            self._plan.wake()

    async def _serve(self, plan: AsyncJobQueue) -> None:
        while (job := await self._taken(plan)) is not None:
            try:
                ended = await self._run_one(job)
                if ended.error is not None and self._stops:
                    plan.stop()
            finally:
                plan.done(job)
            await self.queue.put(ended)

    async def _taken(self, plan: AsyncJobQueue) -> Any:
        try:
            return await plan.take()
        except StuckError as error:  # the consumer waits for more, unless it has just had the last of it
            await self.queue.put(JobResult(None, None, error, 0.0))
            return None

    async def _run_one(self, job: Any) -> JobResult:
        visit = AsyncJobRun(job, self, time.monotonic())
        value, error = None, None
        try:
            # A task of its own: what the work does to the context (the tenant it enters) ends with it.
            value = await asyncio.create_task(self._called(visit))
        except Exception as raised:  # noqa: BLE001 - a tenant's failure is its outcome
            error = raised
        except asyncio.CancelledError as raised:
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # the consumer left
                raise
            error = RuntimeError("the work for this tenant was cancelled from within")
            error.__cause__ = raised
        return JobResult(job, value, error, visit.seconds)

    async def _called(self, visit: AsyncJobRun) -> Any:
        visit.job.check()
        try:
            return await self._work(visit)
        except (Exception, asyncio.CancelledError, KeyboardInterrupt):
            raise
        except BaseException as raised:  # sys.exit() in here ends this tenant's work, not the event loop
            raise RuntimeError(f"{type(raised).__name__} was raised") from raised
