"""``fan_out`` of a function, called once for each tenant."""

from __future__ import annotations

import contextlib
import inspect
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from tenantlimpyd import logs
from tenantlimpyd._fanout.outcomes import ErrorPolicy, Job, JobResult, Outcome, OutcomeCollector
from tenantlimpyd._fanout.task_runner import AsyncJobRun, Event, TaskRunner
from tenantlimpyd._fanout.thread_runner import JobRun, ThreadRunner

if TYPE_CHECKING:
    from tenantlimpyd.database import RedisDatabase

__all__ = ["DEFAULT_TIMEOUT", "FunctionFanOut", "afan_out", "fan_out"]

T = TypeVar("T")
TenantScope = Callable[[str], contextlib.AbstractContextManager[Any]]

DEFAULT_TIMEOUT = 10.0
"""Default time limit of each tenant in seconds."""


class FunctionFanOut:
    """The outcomes and the log events of one fan-out."""

    def __init__(self, jobs: Sequence[Job], policy: ErrorPolicy) -> None:
        self._order = [job.tenant for job in jobs]
        self._collector = OutcomeCollector(policy, "fan_out")
        self._started = time.monotonic()
        logs.emit("fan_out_started", tenants=len(jobs))

    def handle(self, event: Event) -> None:
        """Record the outcome of a finished job."""
        if isinstance(event, JobResult):
            self._collector.settle(event.job.tenant, event.value, event.error, event.seconds)

    def settle(self, job: Job, value: Any, error: Exception | None, seconds: float) -> None:
        """Record the outcome of a tenant."""
        self._collector.settle(job.tenant, value, error, seconds)

    def log(self) -> None:
        """Log the end of the fan-out."""
        logs.emit(
            "fan_out_finished",
            tenants=len(self._order),
            failed=len(self._collector.failed),
            seconds=round(time.monotonic() - self._started, 6),
        )

    def result(self) -> dict[str, Outcome[Any]]:
        """Return the outcomes in the order of the tenants.

        Raises:
            FanOutError: If a tenant failed and the policy is ``defer``.
        """
        self._collector.finish()
        return {tenant: self._collector.outcomes[tenant] for tenant in self._order}


def fan_out(
    jobs: Sequence[Job],
    function: Callable[[RedisDatabase], T],
    *,
    entering: TenantScope,
    policy: ErrorPolicy,
    timeout: float | None,
    concurrency: int,
) -> dict[str, Outcome[T]]:
    """Call ``function`` with the database of each job in threads, with the job's tenant entered."""

    def work(job_run: JobRun) -> T:
        with entering(job_run.job.tenant):
            return function(job_run.job.database)

    report = FunctionFanOut(jobs, policy)
    run = ThreadRunner(jobs, work, timeout=timeout, concurrency=concurrency, stops=policy == "raise")
    try:
        with contextlib.closing(run.events()) as events:  # type: ignore[type-var]
            for event in events:
                report.handle(event)
    finally:
        report.log()
    return report.result()


class NotAwaitableError(TypeError):
    """The function of an async fan-out did not return an awaitable."""


async def afan_out(
    jobs: Sequence[Job],
    function: Callable[[RedisDatabase], Awaitable[T]],
    *,
    entering: TenantScope,
    policy: ErrorPolicy,
    timeout: float | None,  # noqa: ASYNC109 - for each tenant
    concurrency: int,
) -> dict[str, Outcome[T]]:
    """Await ``function`` with the database of each job in tasks, with the job's tenant entered."""

    async def work(job_run: AsyncJobRun) -> T:
        with entering(job_run.job.tenant):
            answer = function(job_run.job.database)
            if not inspect.isawaitable(answer):
                raise NotAwaitableError(
                    "the function of afan_out must return an awaitable (database.aconnection, or async def), not a "
                    f"{type(answer).__name__}: a blocking one would hold up every other task. fan_out takes those."
                )
            return await job_run.within(timeout, answer)  # type: ignore[no-any-return]

    report = FunctionFanOut(jobs, policy)
    run = TaskRunner(jobs, work, timeout=timeout, concurrency=concurrency, stops=policy == "raise")
    try:
        async with contextlib.aclosing(run.events()) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, JobResult) and isinstance(event.error, NotAwaitableError):
                    raise event.error
                report.handle(event)
    finally:
        report.log()
    return report.result()
