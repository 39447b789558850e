"""The two loops that run lanes: in a thread, and in a task."""

from __future__ import annotations

import asyncio
from typing import Any

from tenantlimpyd.fanout.lanes import Chunk, Connect, Pause, Trip, UnreachableError
from tenantlimpyd.fanout.leases import AsyncLease, Lease
from tenantlimpyd.fanout.tasks import AsyncVisit
from tenantlimpyd.fanout.threads import Visit

__all__ = ["Driving"]


class Driving:
    """Runs lanes.

    Args:
        stops: whether nothing more is begun once a tenant has failed.
    """

    def __init__(self, *, stops: bool) -> None:
        self._stops = stops

    def drive(self, visit: Visit) -> None:
        """Run a lane in this thread, to its end."""
        visit.late = True
        steps = visit.job.steps()
        with Lease(visit.job.group.link.server) as lease:
            step = next(steps, None)
            while step is not None:
                if isinstance(step, Trip | Connect):
                    visit.begin_trip(step.seconds)
                    try:
                        replies = _exchange(lease, step)
                    except Exception as error:  # noqa: BLE001 - the lane knows what to do
                        step = _thrown(steps, error)
                    else:
                        step = _sent(steps, replies)
                    continue
                if isinstance(step, Chunk):
                    if self._failing(step):
                        visit.run.stop()
                        visit.deliver(step)
                        return
                    visit.deliver(step)
                elif isinstance(step, Pause):
                    visit.limit.restart(None)
                    visit.limit.pause(step.seconds)
                else:
                    visit.run.wake()
                step = next(steps, None)
            lease.give_back(visit.job.db)
        visit.run.wake()  # it may have laid work down, and if it was given up, nobody else tells of its end

    async def adrive(self, visit: AsyncVisit) -> None:
        """Run a lane in this task, to its end."""
        steps = visit.job.steps()
        async with AsyncLease(visit.job.group.link.server) as lease:
            step = next(steps, None)
            while step is not None:
                if isinstance(step, Trip | Connect):
                    try:
                        replies = await visit.within(step.seconds, _aexchange(lease, step))
                    except Exception as error:  # noqa: BLE001 - the lane knows what to do
                        step = _thrown(steps, error)
                    else:
                        step = _sent(steps, replies)
                    continue
                if isinstance(step, Chunk):
                    if self._failing(step):
                        visit.run.stop()
                        await visit.deliver(step)
                        return
                    await visit.deliver(step)
                elif isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                else:
                    visit.run.wake()
                step = next(steps, None)
            await lease.give_back(visit.job.db)

    def _failing(self, chunk: Chunk) -> bool:
        return self._stops and any(end.error is not None for end in chunk.ends)


def _exchange(lease: Lease, step: Trip | Connect) -> Any:
    if isinstance(step, Trip):
        return lease.exchange(step.payload, step.replies)
    try:
        return lease.connect()
    except Exception as error:
        raise UnreachableError from error


async def _aexchange(lease: AsyncLease, step: Trip | Connect) -> Any:
    if isinstance(step, Trip):
        return await lease.exchange(step.payload, step.replies)
    try:
        return await lease.connect()
    except Exception as error:
        raise UnreachableError from error


def _sent(steps: Any, replies: Any) -> Any:
    try:
        return steps.send(replies)
    except StopIteration:
        return None


def _thrown(steps: Any, error: Exception) -> Any:
    try:
        return steps.throw(error)
    except StopIteration:
        return None
