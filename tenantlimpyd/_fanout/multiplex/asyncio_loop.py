"""The loop that runs a lane in a task. The blocking one is :mod:`tenantlimpyd._fanout.multiplex.select_loop`."""

from __future__ import annotations

import asyncio
from typing import Any

from tenantlimpyd._fanout.multiplex.lease import AsyncLease
from tenantlimpyd._fanout.multiplex.protocol import (
    Connect,
    Delay,
    Disconnect,
    Progress,
    SendRequest,
    UnreachableError,
    fails,
    sent,
    thrown,
)
from tenantlimpyd._fanout.multiplex.scheduler import CROWDED, WorkerScheduler
from tenantlimpyd._fanout.outcomes import JobResult
from tenantlimpyd._fanout.task_runner import AsyncJobRun, Event, TaskRunner

__all__ = ["AsyncioLoop", "chunk_of"]


def chunk_of(event: Event) -> Progress:
    """Return what an event of a lane's task says."""
    if event.job is None and isinstance(event, JobResult) and event.error is not None:
        raise event.error
    if not isinstance(event, JobResult):
        chunk: Progress = event.content
        return chunk
    # Of a lane, which has said why tenants failed; unless it has failed itself.
    return Progress() if event.error is None else Progress(ends=event.job.give_up(event.error))


class AsyncioLoop:
    """Runs the lanes of a plan.

    Args:
        plan: what hands them out.
        stops: whether nothing more is begun once a tenant has failed.
    """

    def __init__(self, plan: WorkerScheduler, *, stops: bool) -> None:
        self._plan = plan
        self._stops = stops
        self._trying: asyncio.TimerHandle | None = None

    async def adrive(self, visit: AsyncJobRun) -> None:
        """Run a lane in this task, to its end."""
        worker = visit.job
        steps = worker.steps()
        async with AsyncLease(worker.group.clients.server) as lease:
            step = next(steps, None)
            while step is not None:
                if isinstance(step, SendRequest | Connect):
                    try:
                        if isinstance(step, SendRequest):
                            reply = await visit.within(step.seconds, lease.exchange(step))
                        else:
                            reply = await self._connect(visit, step, lease)
                    except Exception as error:  # noqa: BLE001 - the lane knows what to do
                        step = thrown(steps, error)
                    else:
                        step = sent(steps, reply)
                        del reply  # its keys are gone once the consumer is done with them
                    continue
                if isinstance(step, Progress):
                    if self._stops and fails(step):
                        visit.run.stop()
                        await visit.deliver(step)
                        return
                    await visit.deliver(step)
                elif isinstance(step, Delay):
                    await asyncio.sleep(step.seconds)
                elif isinstance(step, Disconnect):
                    await lease.aclose()
                else:
                    visit.run.wake()
                step = next(steps, None)
            await lease.give_back(worker.db)
        if worker.crowded and self._trying is None:
            self._trying = asyncio.get_running_loop().call_later(CROWDED, self._try_again, visit.run)

    async def _connect(self, visit: AsyncJobRun, step: Connect, lease: AsyncLease) -> Any:
        try:
            return await visit.within(step.seconds, lease.connect(waits=self._plan.waits(visit.job)))
        except Exception as error:
            raise UnreachableError from error

    def _try_again(self, run: TaskRunner) -> None:
        self._trying = None
        self._plan.try_again()
        run.wake()
