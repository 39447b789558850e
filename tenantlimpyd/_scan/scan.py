"""Walks: iterating over the keys of many databases, as they come."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import attrs

from tenantlimpyd import logs
from tenantlimpyd._context_managers import AsyncCloseOnExit, CloseOnExit
from tenantlimpyd._fanout.multiplex.asyncio_loop import AsyncioLoop, chunk_of
from tenantlimpyd._fanout.multiplex.protocol import Progress
from tenantlimpyd._fanout.multiplex.scheduler import WorkerScheduler, WorkGroup
from tenantlimpyd._fanout.multiplex.select_loop import SelectLoop
from tenantlimpyd._fanout.multiplex.worker import ANSWER_SECONDS
from tenantlimpyd._fanout.outcomes import ErrorPolicy, Job, Outcome, OutcomeCollector, grouped
from tenantlimpyd._fanout.task_runner import TaskRunner
from tenantlimpyd._operations.scan_page import ScanOptions
from tenantlimpyd._scan.dedup import KeyDeduplicator
from tenantlimpyd._scan.keyspaces import ScannedDatabase, ScannedDatabases
from tenantlimpyd._scan.resume_token import ResumeToken, question
from tenantlimpyd._scan.scan_worker import ScanWorker, log_restart

__all__ = ["ANSWER_SECONDS", "AsyncTenantScan", "ScanRequest", "TenantScan"]

I = TypeVar("I")  # noqa: E741 - the walk's items

_BUFFER = 8
"""What came of so many trips waits for the consumer of an asyncio walk at most."""


@attrs.frozen
class ScanRequest:
    """What a walk is asked to do.

    Attributes:
        jobs: the tenants and databases, as they were when it was asked.
        match, count, type: as for ``RedisDatabase.scan_keys``.
        policy: what becomes of failures.
        timeout: seconds each tenant's server may take in all; None: no limit but for each answer.
        concurrency: how many connections there are at once.
        unique: how many keys to remember, so that each comes once; 0: none.
        resume: the token of a walk to go on with.
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
    """What a walk knows of itself, in either colour.

    There may be very many tenants. So of one that is through nothing is kept but its id and its outcome.
    """

    def __init__(self, order: ScanRequest) -> None:
        self.order = attrs.evolve(order, jobs=())
        self.settled = OutcomeCollector(order.policy, "scan")
        self.unique = KeyDeduplicator(order.unique) if order.unique else None
        self.keys = 0
        self._started = 0.0
        self._counts: dict[str, int] = {}
        self._tenants = [job.tenant for job in order.jobs]
        self._through = order.resume.finished(self._tenants) if order.resume is not None else set()
        self._jobs = [job for job in order.jobs if job.tenant not in self._through]
        self._unfinished: dict[ScannedDatabase, None] = {}
        self.missing = self.tenants = len(self._jobs)

    def plan(self) -> WorkerScheduler:
        """Group the databases, as they are connected now. Asks nobody."""
        groups: list[WorkGroup[ScannedDatabase]] = []
        order, asked, self._jobs = self.order, self._jobs, []
        for jobs in grouped(asked).values():
            sources = ScannedDatabases(jobs, order.match, order.count, order.type)
            group = WorkGroup(jobs[0].server, jobs[0].clients, sources.planned(), sources.made, order.timeout)
            groups.append(group)
            if order.resume is not None and order.resume.places:
                self._go_on_with(group, order.resume)
        return WorkerScheduler(groups, ScanWorker, order.concurrency)

    def _go_on_with(self, group: WorkGroup[ScannedDatabase], token: ResumeToken) -> None:
        """Lay aside, for any lane, the databases in the middle of which an earlier walk was."""
        planned = list(group.fresh)
        group.fresh.clear()
        for each in planned:
            source = group.make(each)
            token.put(source)
            if source.begun:
                group.large.append(source)
                self._unfinished[source] = None
            else:
                group.fresh.append(each)

    def start(self) -> None:
        self._started = time.monotonic()
        logs.emit("scan_started", tenants=len(self._tenants), match=self.order.match)

    def hear(self, chunk: Progress) -> Iterator[tuple[str, list[str]]]:
        """Take notice of what came of a trip; yield the keys it brings, by tenant.

        Raises:
            Exception: a tenant's error, where the policy is ``raise``.
        """
        for source, reason in chunk.restarted:
            source.handed = (b"0", None)
            log_restart(source, reason)
        outcomes, counts, unique = self.settled.outcomes, self._counts, self.unique
        for source, parts, behind in chunk.pieces:
            for tenant, found in parts:
                if tenant in outcomes:  # removed meanwhile
                    continue
                keys = found if unique is None else unique.new(tenant, found)
                if keys:
                    counts[tenant] = counts.get(tenant, 0) + len(keys)
                    self.keys += len(keys)
                    yield tenant, keys
            if behind is not None:  # the end counts once the server has confirmed it
                source.handed = behind
                self._unfinished[source] = None
        for source in chunk.done:
            self._unfinished.pop(source, None)
            for job in source.jobs:
                self._settle(job.tenant, None, source.seconds, source.restarts)
        for end in chunk.ends:
            self._settle(end.job.tenant, end.error, end.seconds, end.restarts)

    def _settle(self, tenant: str, error: Exception | None, seconds: float, restarts: int) -> None:
        if tenant in self.settled.outcomes:
            return
        self.missing -= 1
        if self.unique is not None:
            self.unique.forget(tenant)
        keys = self._counts.pop(tenant, 0)
        self.settled.settle(tenant, None if error is not None else keys, error, seconds, restarts)

    def finish(self, *, complete: bool) -> None:
        logs.emit(
            "scan_finished",
            tenants=len(self._tenants),
            failed=len(self.settled.failed),
            keys=self.keys,
            seconds=round(time.monotonic() - self._started, 6),
            complete=complete,
        )

    @property
    def exact(self) -> bool:
        return self.unique is not None and self.unique.exact and self.order.resume is None

    def token(self) -> str:
        """Return the place behind what the consumer has had."""
        order = self.order
        through = self._through | {tenant for tenant, outcome in self.settled.outcomes.items() if outcome.ok}
        unfinished = [source for source in self._unfinished if any(job.tenant not in through for job in source.jobs)]
        return ResumeToken.of(question(order.match, order.type), self._tenants, through, unfinished).encoded()


class _ScanResults:
    """What both walks tell of themselves."""

    _progress: _ScanProgress

    @property
    def outcomes(self) -> Mapping[str, Outcome[int]]:
        """The outcomes so far, by tenant: how many keys were delivered, or the error. Complete when the walk is through.

        Tenants that a resumed walk was through with before are not among them.
        """
        return MappingProxyType(self._progress.settled.outcomes)

    @property
    def tenants(self) -> int:
        """How many tenants this walk visits: those of ``tenants``, without those that a resumed walk was through with."""
        return self._progress.tenants

    @property
    def complete(self) -> bool:
        """Whether every tenant is through, and none has failed."""
        settled = self._progress.settled
        return not self._progress.missing and not settled.failed

    @property
    def exact(self) -> bool:
        """Whether each key came once so far, which ``unique`` is needed for. Not when there were more than it may remember,
        nor in a walk that was resumed: what came before it was stopped is not known.
        """
        return self._progress.exact

    def token(self) -> str:
        """Return the walk's place, for ``resume`` in this or another process.

        It counts what the loop has had: keys handed out since the last page was through may come again, none is left out. The
        text holds no tenant's id, no key and no setting, and has some kilobytes for ten thousand tenants.
        """
        return self._progress.token()


class TenantScan(_ScanResults, CloseOnExit, Generic[I]):
    """A blocking walk: iterate over it once.

    Items come as they arrive, tenants mixed. Nothing is asked of any server before the first item is asked for.
    :meth:`close`, or the end of a ``with`` block, gives back all connections; so does leaving the loop over a walk that nothing
    else refers to. Threads are used to connect and for nothing else; one that is just connecting ends with its connect timeout.
    """

    def __init__(self, order: ScanRequest, unpack: Callable[[str, list[str]], Iterable[I]]) -> None:
        self._progress = _ScanProgress(order)
        self._unpack = unpack
        self._items = self._iterate(self._progress.plan())

    def __iter__(self) -> Iterator[I]:
        return self._items

    def __next__(self) -> I:
        return next(self._items)

    def close(self) -> None:
        """End the walk. Harmless when it is through."""
        self._items.close()

    def _iterate(self, plan: WorkerScheduler) -> Generator[I, None, None]:
        progress, unpack = self._progress, self._unpack
        del self  # an abandoned walk ends at once, not when a garbage collector finds the cycle
        run = SelectLoop(plan, stops=progress.order.policy == "raise")
        complete = False
        progress.start()
        try:
            with contextlib.closing(run.chunks()) as chunks:  # type: ignore[type-var]
                while progress.missing:
                    for tenant, keys in progress.hear(next(chunks)):
                        yield from unpack(tenant, keys)
            complete = True
        finally:
            progress.finish(complete=complete)
        progress.settled.finish()


class AsyncTenantScan(_ScanResults, AsyncCloseOnExit, Generic[I]):
    """A walk for ``async for``: iterate over it once.

    Items come as they arrive, tenants mixed. Nothing is asked of any server before the first item is asked for;
    :meth:`aclose` or the end of an ``async with`` block ends all tasks and gives back all connections. (A loop that is
    merely left does so a moment later, when the event loop gets to it.)
    """

    def __init__(self, order: ScanRequest, unpack: Callable[[str, list[str]], Iterable[I]]) -> None:
        self._progress = _ScanProgress(order)
        self._unpack = unpack
        self._items = self._iterate(self._progress.plan())

    def __aiter__(self) -> AsyncIterator[I]:
        return self._items

    def __anext__(self) -> Any:
        return anext(self._items)

    async def aclose(self) -> None:
        """End the walk. Harmless when it is through."""
        await self._items.aclose()

    async def _iterate(self, plan: WorkerScheduler) -> AsyncGenerator[I, None]:
        progress, unpack = self._progress, self._unpack
        del self
        driving = AsyncioLoop(plan, stops=progress.order.policy == "raise")
        run = TaskRunner(plan, driving.adrive, timeout=None, concurrency=plan.workers, buffer=_BUFFER)
        complete = False
        progress.start()
        try:
            async with contextlib.aclosing(run.events()) as events:  # type: ignore[type-var]
                while progress.missing:
                    for tenant, keys in progress.hear(chunk_of(await anext(events))):
                        for item in unpack(tenant, keys):
                            yield item
            complete = True
        finally:
            progress.finish(complete=complete)
        progress.settled.finish()
