"""The loop that runs a lane in a task. The blocking one is :mod:`tenantlimpyd.fanout.selecting`."""

from __future__ import annotations

import asyncio
from typing import Any

from tenantlimpyd.fanout.lanes import Chunk, Connect, Pause, Trip, UnreachableError
from tenantlimpyd.fanout.leases import AsyncLease
from tenantlimpyd.fanout.outcomes import Ended
from tenantlimpyd.fanout.tasks import AsyncVisit, Event

__all__ = ["Driving", "chunk_of"]


def chunk_of(event: Event) -> Chunk:
    """Return what an event of a lane's task says."""
    if not isinstance(event, Ended):
        chunk: Chunk = event.content
        return chunk
    # Of a lane, which has said why tenants failed; unless it has failed itself.
    return Chunk() if event.error is None else Chunk(ends=event.job.give_up(event.error))


class Driving:
    """Runs lanes.

    Args:
        stops: whether nothing more is begun once a tenant has failed.
    """

    def __init__(self, *, stops: bool) -> None:
        self._stops = stops

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


async def _aexchange(lease: AsyncLease, step: Trip | Connect) -> Any:
    if isinstance(step, Trip):
        return await lease.exchange(step.payload, step.replies, text=step.text)
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
