"""The asyncio loop that runs workers, each in a task.

The blocking loop is :mod:`tenantlimpyd._fanout.multiplex.select_loop`.
"""

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
    has_failures,
    send,
    throw,
)
from tenantlimpyd._fanout.multiplex.scheduler import PERMIT_RETRY_SECONDS, WorkerScheduler
from tenantlimpyd._fanout.outcomes import JobResult
from tenantlimpyd._fanout.task_runner import AsyncJobRun, Event, TaskRunner

__all__ = ["AsyncioLoop", "progress_of"]


def progress_of(event: Event) -> Progress:
    """Return the progress that an event of a worker's task reports.

    Raises:
        StuckError: If there are no more workers although tenants are missing.
    """
    if event.job is None and isinstance(event, JobResult) and event.error is not None:
        raise event.error
    if not isinstance(event, JobResult):
        progress: Progress = event.content
        return progress
    # The worker has reported its tenants, unless it has failed itself.
    return Progress() if event.error is None else Progress(finished=event.job.fail_held_work(event.error))


class AsyncioLoop:
    """Runs the workers of a scheduler.

    Args:
        plan: the scheduler.
        stops: whether to start nothing more after the first failure.
    """

    def __init__(self, plan: WorkerScheduler, *, stops: bool) -> None:
        self._plan = plan
        self._stops = stops
        self._retry_timer: asyncio.TimerHandle | None = None

    async def run_worker(self, job_run: AsyncJobRun) -> None:
        """Run a worker in this task until it ends."""
        worker = job_run.job
        steps = worker.steps()
        async with AsyncLease(worker.group.clients.server) as lease:
            step = next(steps, None)
            while step is not None:
                if isinstance(step, SendRequest | Connect):
                    try:
                        if isinstance(step, SendRequest):
                            reply = await job_run.within(step.seconds, lease.exchange(step))
                        else:
                            reply = await self._connect(job_run, step, lease)
                    except Exception as error:  # noqa: BLE001 - the worker handles it
                        step = throw(steps, error)
                    else:
                        step = send(steps, reply)
                        del reply  # so that its keys are freed once the consumer has processed them
                    continue
                if isinstance(step, Progress):
                    if self._stops and has_failures(step):
                        job_run.run.stop()
                        await job_run.deliver(step)
                        return
                    await job_run.deliver(step)
                elif isinstance(step, Delay):
                    await asyncio.sleep(step.seconds)
                elif isinstance(step, Disconnect):
                    await lease.aclose()
                else:
                    job_run.run.wake()
                step = next(steps, None)
            await lease.give_back(worker.db)
        if worker.out_of_permits and self._retry_timer is None:
            self._retry_timer = asyncio.get_running_loop().call_later(
                PERMIT_RETRY_SECONDS, self._retry_permits, job_run.run
            )

    async def _connect(self, job_run: AsyncJobRun, step: Connect, lease: AsyncLease) -> Any:
        try:
            return await job_run.within(step.seconds, lease.connect(may_wait=self._plan.may_wait(job_run.job)))
        except Exception as error:
            raise UnreachableError from error

    def _retry_permits(self, run: TaskRunner) -> None:
        self._retry_timer = None
        self._plan.retry_permits()
        run.wake()
