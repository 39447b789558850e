"""The loop that runs a lane in a task. The blocking one is :mod:`tenantlimpyd.fanout.selecting`."""

from __future__ import annotations

import asyncio
from typing import Any

from tenantlimpyd.fanout.groups import CROWDED, LanePlan
from tenantlimpyd.fanout.leases import AsyncLease
from tenantlimpyd.fanout.outcomes import Ended
from tenantlimpyd.fanout.steps import Chunk, Connect, Leave, Pause, Trip, UnreachableError, fails, sent, thrown
from tenantlimpyd.fanout.tasks import AsyncVisit, Event, TaskRun

__all__ = ["Driving", "chunk_of"]


def chunk_of(event: Event) -> Chunk:
    """Return what an event of a lane's task says."""
    if event.job is None and isinstance(event, Ended) and event.error is not None:
        raise event.error
    if not isinstance(event, Ended):
        chunk: Chunk = event.content
        return chunk
    # Of a lane, which has said why tenants failed; unless it has failed itself.
    return Chunk() if event.error is None else Chunk(ends=event.job.give_up(event.error))


class Driving:
    """Runs the lanes of a plan.

    Args:
        plan: what hands them out.
        stops: whether nothing more is begun once a tenant has failed.
    """

    def __init__(self, plan: LanePlan, *, stops: bool) -> None:
        self._plan = plan
        self._stops = stops
        self._trying: asyncio.TimerHandle | None = None

    async def adrive(self, visit: AsyncVisit) -> None:
        """Run a lane in this task, to its end."""
        lane = visit.job
        steps = lane.steps()
        async with AsyncLease(lane.group.link.server) as lease:
            step = next(steps, None)
            while step is not None:
                if isinstance(step, Trip | Connect):
                    try:
                        if isinstance(step, Trip):
                            reply = await visit.within(step.seconds, lease.exchange(step))
                        else:
                            reply = await self._connect(visit, step, lease)
                    except Exception as error:  # noqa: BLE001 - the lane knows what to do
                        step = thrown(steps, error)
                    else:
                        step = sent(steps, reply)
                        del reply  # its keys are gone once the consumer is done with them
                    continue
                if isinstance(step, Chunk):
                    if self._stops and fails(step):
                        visit.run.stop()
                        await visit.deliver(step)
                        return
                    await visit.deliver(step)
                elif isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                elif isinstance(step, Leave):
                    await lease.aclose()
                else:
                    visit.run.wake()
                step = next(steps, None)
            await lease.give_back(lane.db)
        if lane.crowded and self._trying is None:
            self._trying = asyncio.get_running_loop().call_later(CROWDED, self._try_again, visit.run)

    async def _connect(self, visit: AsyncVisit, step: Connect, lease: AsyncLease) -> Any:
        try:
            return await visit.within(step.seconds, lease.connect(waits=self._plan.waits(visit.job)))
        except Exception as error:
            raise UnreachableError from error

    def _try_again(self, run: TaskRun) -> None:
        self._trying = None
        self._plan.try_again()
        run.wake()
