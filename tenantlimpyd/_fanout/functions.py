"""``fan_out`` of a function, called once for each tenant."""

from __future__ import annotations

import contextlib
import functools
import inspect
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from tenantlimpyd import logs
from tenantlimpyd._fanout.outcomes import ErrorPolicy, Job, JobResult, Outcome, OutcomeCollector
from tenantlimpyd._fanout.task_runner import AsyncJobRun, Event, TaskRunner
from tenantlimpyd._fanout.thread_runner import JobRun, ThreadRunner
from tenantlimpyd.exceptions import shown

if TYPE_CHECKING:
    from tenantlimpyd.database import RedisDatabase

__all__ = ["DEFAULT_TIMEOUT", "FunctionFanOut", "afan_out", "checked_function", "fan_out"]

T = TypeVar("T")
TenantScope = Callable[[str], contextlib.AbstractContextManager[Any]]

DEFAULT_TIMEOUT = 10.0
"""Default time limit of each tenant in seconds."""


class FunctionFanOut:
    """The outcomes and the log events of one fan-out."""

    def __init__(self, jobs: Sequence[Job], policy: ErrorPolicy) -> None:
        self._tenants = [job.tenant for job in jobs]
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
            tenants=len(self._tenants),
            failed=len(self._collector.failed),
            seconds=round(time.monotonic() - self._started, 6),
        )

    def result(self) -> dict[str, Outcome[Any]]:
        """Return the outcomes in the order of the tenants.

        Raises:
            FanOutError: If a tenant failed and the policy is ``defer``.
        """
        self._collector.finish()
        return {tenant: self._collector.outcomes[tenant] for tenant in self._tenants}


def checked_function(function: object, *, awaits: bool) -> None:
    """Raise if a function can't be run for each tenant.

    Args:
        function: the function of a fan-out.
        awaits: whether it is for ``afan_out``.

    Raises:
        TypeError: If it is not callable, or calling it would not run its body: a generator function, or for ``fan_out`` a
            coroutine function.
    """
    bare: Any = function
    while isinstance(bare, functools.partial):
        bare = bare.func
    if not callable(bare):
        raise TypeError(f"a fan-out takes a function of a database, a Command or a Script, not {shown(function)}")
    called = bare if inspect.isroutine(bare) else getattr(bare, "__call__", bare)  # noqa: B004 - the method itself is looked at
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise TypeError("a fan-out can't run a generator function: nothing iterates over it. Return a list instead.")
    if not awaits and inspect.iscoroutinefunction(called):
        raise TypeError("fan_out can't run a coroutine function: nothing awaits it. Use `await router.afan_out(...)`.")


def _checked_result(value: T) -> T:
    """Return the result of a function, or raise if it would still have to be run."""
    if inspect.isawaitable(value) or inspect.isgenerator(value) or inspect.isasyncgen(value):
        kind = type(value).__name__
        if inspect.iscoroutine(value) or inspect.isgenerator(value):
            value.close()
        raise TypeError(
            f"the function of fan_out returned a {kind}, which nothing runs. Use afan_out, or return a list."
        )
    return value


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
            return _checked_result(function(job_run.job.database))

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
