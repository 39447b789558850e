"""Scans: iteration over the keys of many databases, in the order in which pages arrive."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import attrs

from tenantlimpyd import logs
from tenantlimpyd._context_managers import AsyncCloseOnExit, CloseOnExit
from tenantlimpyd._fanout.multiplex.asyncio_loop import AsyncioLoop, progress_of
from tenantlimpyd._fanout.multiplex.protocol import Progress
from tenantlimpyd._fanout.multiplex.scheduler import WorkerScheduler
from tenantlimpyd._fanout.multiplex.select_loop import SelectLoop
from tenantlimpyd._fanout.multiplex.worker import ANSWER_SECONDS, WorkGroup
from tenantlimpyd._fanout.outcomes import ErrorPolicy, Job, Outcome, OutcomeCollector, grouped
from tenantlimpyd._fanout.task_runner import TaskRunner
from tenantlimpyd._operations.scan_page import ScanOptions
from tenantlimpyd._scan.dedup import KeyDeduplicator
from tenantlimpyd._scan.keyspaces import ScannedDatabase, ScannedDatabases
from tenantlimpyd._scan.resume_token import ResumeToken, request_digest
from tenantlimpyd._scan.scan_worker import ScanWorker, log_restart

__all__ = ["ANSWER_SECONDS", "AsyncTenantScan", "ScanRequest", "TenantScan"]

I = TypeVar("I")  # noqa: E741 - the items of the scan

_BUFFER = 8
"""The largest number of results that wait for the consumer of an async scan."""


@attrs.frozen
class ScanRequest:
    """The arguments of a scan.

    Attributes:
        jobs: the tenants and their databases at the time of the call.
        match, count, type: as for ``RedisDatabase.scan_keys``.
        policy: what happens to failures.
        timeout: seconds that each tenant's server may take in total; None if only single replies are limited.
        concurrency: the largest number of connections.
        unique: the number of keys to remember for deduplication; 0 for none.
        resume: the token of the scan to continue.
    """

    jobs: Sequence[Job]
    match: str | None
    count: int | None
    type: str | None
    policy: ErrorPolicy
    timeout: float | None
    concurrency: int
    unique: int = 0
    resume: ResumeToken | None = None

    def __attrs_post_init__(self) -> None:
        ScanOptions.of(
            "", self.match, self.count, self.type
        )  # wrong arguments are an error of the call, not of each tenant


class _ScanProgress:
    """The progress of a sync or async scan.

    There may be very many tenants, so only the id and the outcome of a finished tenant are kept.
    """

    def __init__(self, request: ScanRequest) -> None:
        self.request = attrs.evolve(request, jobs=())
        self.collector = OutcomeCollector(request.policy, "scan")
        self.unique = KeyDeduplicator(request.unique) if request.unique else None
        self.keys = 0
        self._started = 0.0
        self._counts: dict[str, int] = {}
        self._tenants = [job.tenant for job in request.jobs]
        self._finished_before = request.resume.finished(self._tenants) if request.resume is not None else set()
        self._jobs = [job for job in request.jobs if job.tenant not in self._finished_before]
        self._unfinished: dict[ScannedDatabase, None] = {}
        self.remaining = self.tenants = len(self._jobs)

    def plan(self) -> WorkerScheduler:
        """Group the databases by server and return the scheduler. Sends nothing."""
        groups: list[WorkGroup[ScannedDatabase]] = []
        request, jobs_left, self._jobs = self.request, self._jobs, []
        for jobs in grouped(jobs_left).values():
            databases = ScannedDatabases(jobs, request.match, request.count, request.type)
            group = WorkGroup(jobs[0].server, jobs[0].clients, databases.planned(), databases.make, request.timeout)
            groups.append(group)
            if request.resume is not None and request.resume.positions:
                self._resume_from(group, request.resume)
        return WorkerScheduler(groups, ScanWorker, request.concurrency)

    def _resume_from(self, group: WorkGroup[ScannedDatabase], token: ResumeToken) -> None:
        """Queue the databases that an earlier scan has scanned partly."""
        planned = list(group.pending)
        group.pending.clear()
        for each in planned:
            database = group.make(each)
            token.put(database)
            if database.begun:
                group.started.append(database)
                self._unfinished[database] = None
            else:
                group.pending.append(each)

    def start(self) -> None:
        self._started = time.monotonic()
        logs.emit("scan_started", tenants=len(self._tenants), match=self.request.match)

    def handle(self, progress: Progress) -> Iterator[tuple[str, list[str]]]:
        """Process the results of a request and yield its keys by tenant.

        Raises:
            Exception: If a tenant fails and the policy is ``raise``: the tenant's error.
        """
        for database, reason in progress.restarted:
            database.handed = (b"0", None)
            log_restart(database, reason)
        outcomes, counts, unique = self.collector.outcomes, self._counts, self.unique
        for database, parts, behind in progress.pieces:
            for tenant, found in parts:
                if tenant in outcomes:  # the tenant was removed in the meantime
                    continue
                keys = found if unique is None else unique.new(tenant, found)
                if keys:
                    counts[tenant] = counts.get(tenant, 0) + len(keys)
                    self.keys += len(keys)
                    yield tenant, keys
            if behind is not None:  # the last page counts after the server's identity is confirmed
                database.handed = behind
                self._unfinished[database] = None
        for database in progress.done:
            self._unfinished.pop(database, None)
            for job in database.jobs:
                self._settle(job.tenant, None, database.seconds, database.restarts)
        for end in progress.finished:
            self._settle(end.job.tenant, end.error, end.seconds, end.restarts)

    def _settle(self, tenant: str, error: Exception | None, seconds: float, restarts: int) -> None:
        if tenant in self.collector.outcomes:
            return
        self.remaining -= 1
        if self.unique is not None:
            self.unique.forget(tenant)
        keys = self._counts.pop(tenant, 0)
        self.collector.settle(tenant, None if error is not None else keys, error, seconds, restarts)

    def finish(self, *, complete: bool) -> None:
        logs.emit(
            "scan_finished",
            tenants=len(self._tenants),
            failed=len(self.collector.failed),
            keys=self.keys,
            seconds=round(time.monotonic() - self._started, 6),
            complete=complete,
        )

    @property
    def exact(self) -> bool:
        return self.unique is not None and self.unique.exact and self.request.resume is None

    def token(self) -> str:
        """Return the token for the position after the items that the consumer has received."""
        request = self.request
        finished = self._finished_before | {tenant for tenant, outcome in self.collector.outcomes.items() if outcome.ok}
        unfinished = [
            database for database in self._unfinished if any(job.tenant not in finished for job in database.jobs)
        ]
        return ResumeToken.of(
            request_digest(request.match, request.type), self._tenants, finished, unfinished
        ).encoded()


class _ScanResults:
    """The results that sync and async scans report."""

    _progress: _ScanProgress

    @property
    def outcomes(self) -> Mapping[str, Outcome[int]]:
        """The outcomes by tenant so far: the number of delivered keys, or the error. Complete at the end of the scan.

        A resumed scan has no outcomes of tenants that were finished before.
        """
        return MappingProxyType(self._progress.collector.outcomes)

    @property
    def tenants(self) -> int:
        """The number of tenants in this scan, without those that were finished before a resumed scan."""
        return self._progress.tenants

    @property
    def complete(self) -> bool:
        """Whether every tenant is finished and none has failed."""
        collector = self._progress.collector
        return not self._progress.remaining and not collector.failed

    @property
    def exact(self) -> bool:
        """Whether each key was delivered once so far. False without ``unique``, after more keys than it may remember, and in a
        resumed scan, which does not know the keys delivered before.
        """
        return self._progress.exact

    def token(self) -> str:
        """Return the position of the scan, for ``resume`` in this or another process.

        Keys of the page that the loop is working on may be delivered again after a resume; no key is left out. The text
        holds no tenant id, key or setting. Ten thousand tenants need a few kilobytes.
        """
        return self._progress.token()


class TenantScan(_ScanResults, CloseOnExit, Generic[I]):
    """A sync scan. Iterate over it once.

    Items are delivered in the order of arrival, with tenants mixed. The scan sends nothing before the first item is requested.
    :meth:`close`, or the end of a ``with`` block, returns all connections; so does leaving the loop over a scan without another
    reference. Threads only connect; a thread that is connecting ends at its connect timeout.
    """

    def __init__(self, request: ScanRequest, unpack: Callable[[str, list[str]], Iterable[I]]) -> None:
        self._progress = _ScanProgress(request)
        self._unpack = unpack
        self._items = self._iterate(self._progress.plan())

    def __iter__(self) -> Iterator[I]:
        return self._items

    def __next__(self) -> I:
        return next(self._items)

    def close(self) -> None:
        """End the scan. It is safe to call this after the end."""
        self._items.close()

    def _iterate(self, plan: WorkerScheduler) -> Generator[I, None, None]:
        progress, unpack = self._progress, self._unpack
        del self  # so that an abandoned scan ends at once, without the garbage collector
        run = SelectLoop(plan, stops=progress.request.policy == "raise")
        complete = False
        progress.start()
        try:
            with contextlib.closing(run.progress()) as results:  # type: ignore[type-var]
                while progress.remaining:
                    for tenant, keys in progress.handle(next(results)):
                        yield from unpack(tenant, keys)
            complete = True
        finally:
            progress.finish(complete=complete)
        progress.collector.finish()


class AsyncTenantScan(_ScanResults, AsyncCloseOnExit, Generic[I]):
    """An async scan. Iterate over it once with ``async for``.

    Items are delivered in the order of arrival, with tenants mixed. The scan sends nothing before the first item is requested.
    :meth:`aclose`, or the end of an ``async with`` block, ends all tasks and returns all connections. After a loop that
    was left without it, the event loop does so a moment later.
    """

    def __init__(self, request: ScanRequest, unpack: Callable[[str, list[str]], Iterable[I]]) -> None:
        self._progress = _ScanProgress(request)
        self._unpack = unpack
        self._items = self._iterate(self._progress.plan())

    def __aiter__(self) -> AsyncIterator[I]:
        return self._items

    def __anext__(self) -> Any:
        return anext(self._items)

    async def aclose(self) -> None:
        """End the scan. It is safe to call this after the end."""
        await self._items.aclose()

    async def _iterate(self, plan: WorkerScheduler) -> AsyncGenerator[I, None]:
        progress, unpack = self._progress, self._unpack
        del self
        loop = AsyncioLoop(plan, stops=progress.request.policy == "raise")
        run = TaskRunner(plan, loop.run_worker, timeout=None, concurrency=plan.workers, buffer=_BUFFER)
        complete = False
        progress.start()
        try:
            async with contextlib.aclosing(run.events()) as events:  # type: ignore[type-var]
                while progress.remaining:
                    for tenant, keys in progress.handle(progress_of(await anext(events))):
                        for item in unpack(tenant, keys):
                            yield item
            complete = True
        finally:
            progress.finish(complete=complete)
        progress.collector.finish()
