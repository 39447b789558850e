"""The two loops that run lanes: in a thread, and in a task."""

from __future__ import annotations

import asyncio
from typing import Any

from tenantlimpyd.fanout.lanes import Chunk, Pause, Trip, UnreachableError
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
        with Lease(visit.job.group.link) as lease:
            step = next(steps, None)
            while step is not None:
                if isinstance(step, Trip):
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

    async def adrive(self, visit: AsyncVisit) -> None:
        """Run a lane in this task, to its end."""
        steps = visit.job.steps()
        async with AsyncLease(visit.job.group.link) as lease:
            step = next(steps, None)
            while step is not None:
                if isinstance(step, Trip):
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

    def _failing(self, chunk: Chunk) -> bool:
        return self._stops and any(end.error is not None for end in chunk.ends)


def _exchange(lease: Lease, trip: Trip) -> list[Any]:
    try:
        lease.connect()
    except Exception as error:
        raise UnreachableError from error
    return lease.exchange(trip.payload, trip.replies, decode=trip.decode)


async def _aexchange(lease: AsyncLease, trip: Trip) -> list[Any]:
    try:
        await lease.connect()
    except Exception as error:
        raise UnreachableError from error
    return await lease.exchange(trip.payload, trip.replies, decode=trip.decode)


def _sent(steps: Any, replies: list[Any]) -> Any:
    try:
        return steps.send(replies)
    except StopIteration:
        return None


def _thrown(steps: Any, error: Exception) -> Any:
    try:
        return steps.throw(error)
    except StopIteration:
        return None
