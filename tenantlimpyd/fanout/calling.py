"""``fan_out`` of one command or script: on few connections, however many databases there are."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from tenantlimpyd.fanout.calls import Call
from tenantlimpyd.fanout.commands import CallLane
from tenantlimpyd.fanout.groups import Group, LanePlan
from tenantlimpyd.fanout.outcomes import ErrorPolicy, Job, Outcome
from tenantlimpyd.fanout.running import Driving, chunk_of
from tenantlimpyd.fanout.selecting import LaneRun
from tenantlimpyd.fanout.sources import grouped
from tenantlimpyd.fanout.spread import Report
from tenantlimpyd.fanout.steps import Chunk
from tenantlimpyd.fanout.tasks import TaskRun
from tenantlimpyd.operations import Command, Script

__all__ = ["acall_all", "call_all"]


class _Asking:
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
            Group(together[0].server, together[0].link, together, Call.of, timeout)
            for together in grouped(jobs).values()
        ]
        self.plan = LanePlan(groups, lambda group: CallLane(group, step), concurrency)
        self.report = Report(jobs, policy)

    def hear(self, chunk: Chunk) -> None:
        for end in chunk.ends:
            self.missing -= 1
            self.report.settle(end.job, end.value, end.error, end.seconds)


def call_all(
    jobs: Sequence[Job], step: Command | Script, *, policy: ErrorPolicy, timeout: float | None, concurrency: int
) -> dict[str, Outcome[Any]]:
    """Send a command or script to each job's database."""
    asking = _Asking(jobs, step, policy, timeout, concurrency)
    run = LaneRun(asking.plan, stops=policy == "raise")
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
    asking = _Asking(jobs, step, policy, timeout, concurrency)
    driving = Driving(asking.plan, stops=policy == "raise")
    run = TaskRun(asking.plan, driving.adrive, timeout=None, concurrency=asking.plan.lanes)
    try:
        async with contextlib.aclosing(run.events()) as events:  # type: ignore[type-var]
            while asking.missing:
                asking.hear(chunk_of(await anext(events)))
    finally:
        asking.report.log()
    return asking.report.result()
