"""``fan_out``: one function, called for every tenant."""

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
Entering = Callable[[str], contextlib.AbstractContextManager[Any]]

DEFAULT_TIMEOUT = 10.0
"""Seconds each tenant has, unless the caller says otherwise."""


class FunctionFanOut:
    """The outcomes of one fan-out, and its log events."""

    def __init__(self, jobs: Sequence[Job], policy: ErrorPolicy) -> None:
        self._order = [job.tenant for job in jobs]
        self._settled = OutcomeCollector(policy, "fan_out")
        self._started = time.monotonic()
        logs.emit("fan_out_started", tenants=len(jobs))

    def hear(self, event: Event) -> None:
        """Take notice of what happened."""
        if isinstance(event, JobResult):
            self._settled.settle(event.job.tenant, event.value, event.error, event.seconds)

    def settle(self, job: Job, value: Any, error: Exception | None, seconds: float) -> None:
        """Keep a tenant's outcome."""
        self._settled.settle(job.tenant, value, error, seconds)

    def log(self) -> None:
        """Send the event of its end."""
        logs.emit(
            "fan_out_finished",
            tenants=len(self._order),
            failed=len(self._settled.failed),
            seconds=round(time.monotonic() - self._started, 6),
        )

    def result(self) -> dict[str, Outcome[Any]]:
        """Return the outcomes in the tenants' order, or raise what was deferred."""
        self._settled.finish()
        return {tenant: self._settled.outcomes[tenant] for tenant in self._order}


def fan_out(
    jobs: Sequence[Job],
    function: Callable[[RedisDatabase], T],
    *,
    entering: Entering,
    policy: ErrorPolicy,
    timeout: float | None,
    concurrency: int,
) -> dict[str, Outcome[T]]:
    """Call ``function`` with each job's database, in threads, each inside ``entering(tenant)``."""

    def work(visit: JobRun) -> T:
        with entering(visit.job.tenant):
            return function(visit.job.database)

    report = FunctionFanOut(jobs, policy)
    run = ThreadRunner(jobs, work, timeout=timeout, concurrency=concurrency, stops=policy == "raise")
    try:
        with contextlib.closing(run.events()) as events:  # type: ignore[type-var]
            for event in events:
                report.hear(event)
    finally:
        report.log()
    return report.result()


class NotAwaitableError(TypeError):
    """The function of an asyncio fan-out is a blocking one."""


async def afan_out(
    jobs: Sequence[Job],
    function: Callable[[RedisDatabase], Awaitable[T]],
    *,
    entering: Entering,
    policy: ErrorPolicy,
    timeout: float | None,  # noqa: ASYNC109 - for each tenant
    concurrency: int,
) -> dict[str, Outcome[T]]:
    """Await ``function`` of each job's database, in tasks, each inside ``entering(tenant)``."""

    async def work(visit: AsyncJobRun) -> T:
        with entering(visit.job.tenant):
            answer = function(visit.job.database)
            if not inspect.isawaitable(answer):
                raise NotAwaitableError(
                    "the function of afan_out must return an awaitable (database.aconnection, or async def), not a "
                    f"{type(answer).__name__}: a blocking one would hold up every other task. fan_out takes those."
                )
            return await visit.within(timeout, answer)  # type: ignore[no-any-return]

    report = FunctionFanOut(jobs, policy)
    run = TaskRunner(jobs, work, timeout=timeout, concurrency=concurrency, stops=policy == "raise")
    try:
        async with contextlib.aclosing(run.events()) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, JobResult) and isinstance(event.error, NotAwaitableError):
                    raise event.error
                report.hear(event)
    finally:
        report.log()
    return report.result()
