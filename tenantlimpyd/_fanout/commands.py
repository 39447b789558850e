"""``fan_out`` of one command or script: on few connections, however many databases there are."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from tenantlimpyd._fanout.functions import FunctionFanOut
from tenantlimpyd._fanout.multiplex.asyncio_loop import AsyncioLoop, chunk_of
from tenantlimpyd._fanout.multiplex.command_call import CommandCall
from tenantlimpyd._fanout.multiplex.command_worker import CommandWorker
from tenantlimpyd._fanout.multiplex.protocol import Progress
from tenantlimpyd._fanout.multiplex.scheduler import WorkerScheduler, WorkGroup
from tenantlimpyd._fanout.multiplex.select_loop import SelectLoop
from tenantlimpyd._fanout.outcomes import ErrorPolicy, Job, Outcome, grouped
from tenantlimpyd._fanout.task_runner import TaskRunner
from tenantlimpyd._operations.steps import Command, Script

__all__ = ["acall_all", "call_all"]


class _CommandFanOut:
    """One fan-out of a step, in either colour."""

    def __init__(
        self,
        jobs: Sequence[Job],
        step: Command | Script,
        policy: ErrorPolicy,
        timeout: float | None,
        concurrency: int,
    ) -> None:
        self.missing = len(jobs)
        groups = [
            WorkGroup(together[0].server, together[0].clients, together, CommandCall.of, timeout)
            for together in grouped(jobs).values()
        ]
        self.plan = WorkerScheduler(groups, lambda group: CommandWorker(group, step), concurrency)
        self.report = FunctionFanOut(jobs, policy)

    def hear(self, chunk: Progress) -> None:
        for end in chunk.ends:
            self.missing -= 1
            self.report.settle(end.job, end.value, end.error, end.seconds)


def call_all(
    jobs: Sequence[Job], step: Command | Script, *, policy: ErrorPolicy, timeout: float | None, concurrency: int
) -> dict[str, Outcome[Any]]:
    """Send a command or script to each job's database."""
    asking = _CommandFanOut(jobs, step, policy, timeout, concurrency)
    run = SelectLoop(asking.plan, stops=policy == "raise")
    try:
        with contextlib.closing(run.chunks()) as chunks:  # type: ignore[type-var]
            while asking.missing:
                asking.hear(next(chunks))
    finally:
        asking.report.log()
    return asking.report.result()


async def acall_all(
    jobs: Sequence[Job],
    step: Command | Script,
    *,
    policy: ErrorPolicy,
    timeout: float | None,  # noqa: ASYNC109 - for each tenant
    concurrency: int,
) -> dict[str, Outcome[Any]]:
    """Send a command or script to each job's database, awaiting."""
    asking = _CommandFanOut(jobs, step, policy, timeout, concurrency)
    driving = AsyncioLoop(asking.plan, stops=policy == "raise")
    run = TaskRunner(asking.plan, driving.adrive, timeout=None, concurrency=asking.plan.workers)
    try:
        async with contextlib.aclosing(run.events()) as events:  # type: ignore[type-var]
            while asking.missing:
                asking.hear(chunk_of(await anext(events)))
    finally:
        asking.report.log()
    return asking.report.result()
