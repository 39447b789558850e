"""``fan_out`` of one command or script, over few connections for any number of databases."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from tenantlimpyd._fanout.functions import FunctionFanOut
from tenantlimpyd._fanout.multiplex.asyncio_loop import AsyncioLoop, progress_of
from tenantlimpyd._fanout.multiplex.command_call import CommandCall
from tenantlimpyd._fanout.multiplex.command_worker import CommandWorker
from tenantlimpyd._fanout.multiplex.protocol import Progress
from tenantlimpyd._fanout.multiplex.scheduler import WorkerScheduler
from tenantlimpyd._fanout.multiplex.select_loop import SelectLoop
from tenantlimpyd._fanout.multiplex.worker import WorkGroup
from tenantlimpyd._fanout.outcomes import ErrorPolicy, Job, Outcome, grouped
from tenantlimpyd._fanout.task_runner import TaskRunner
from tenantlimpyd._operations.steps import Command, Script

__all__ = ["acall_all", "call_all"]


class _CommandFanOut:
    """One sync or async fan-out of a command or script."""

    def __init__(
        self,
        jobs: Sequence[Job],
        step: Command | Script,
        policy: ErrorPolicy,
        timeout: float | None,
        concurrency: int,
    ) -> None:
        self.remaining = len(jobs)
        groups = [
            WorkGroup(together[0].server, together[0].clients, together, CommandCall.of, timeout)
            for together in grouped(jobs).values()
        ]
        self.plan = WorkerScheduler(groups, lambda group: CommandWorker(group, step), concurrency)
        self.report = FunctionFanOut(jobs, policy)

    def handle(self, progress: Progress) -> None:
        for tenant in progress.finished:
            self.remaining -= 1
            self.report.settle(tenant.job, tenant.value, tenant.error, tenant.seconds)


def call_all(
    jobs: Sequence[Job], step: Command | Script, *, policy: ErrorPolicy, timeout: float | None, concurrency: int
) -> dict[str, Outcome[Any]]:
    """Send a command or script to the database of each job, and return the outcomes by tenant."""
    fan_out_run = _CommandFanOut(jobs, step, policy, timeout, concurrency)
    run = SelectLoop(fan_out_run.plan, stops=policy == "raise")
    try:
        with contextlib.closing(run.progress()) as progress:  # type: ignore[type-var]
            while fan_out_run.remaining:
                fan_out_run.handle(next(progress))
    finally:
        fan_out_run.report.log()
    return fan_out_run.report.result()


async def acall_all(
    jobs: Sequence[Job],
    step: Command | Script,
    *,
    policy: ErrorPolicy,
    timeout: float | None,  # noqa: ASYNC109 - for each tenant
    concurrency: int,
) -> dict[str, Outcome[Any]]:
    """Send a command or script to the database of each job; the async version of :func:`call_all`."""
    fan_out_run = _CommandFanOut(jobs, step, policy, timeout, concurrency)
    loop = AsyncioLoop(fan_out_run.plan, stops=policy == "raise")
    run = TaskRunner(fan_out_run.plan, loop.run_worker, timeout=None, concurrency=fan_out_run.plan.workers)
    try:
        async with contextlib.aclosing(run.events()) as events:  # type: ignore[type-var]
            while fan_out_run.remaining:
                fan_out_run.handle(progress_of(await anext(events)))
    finally:
        fan_out_run.report.log()
    return fan_out_run.report.result()
