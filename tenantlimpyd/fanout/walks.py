"""Walks: iterating over the keys of many databases, as they come."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import attrs

from tenantlimpyd import logs
from tenantlimpyd.closing import AsyncClosing, Closing
from tenantlimpyd.fanout.outcomes import ErrorPolicy, Job, Outcome, Settled
from tenantlimpyd.fanout.tasks import AsyncVisit, TaskRun
from tenantlimpyd.fanout.threads import Ended, ThreadedRun, Visit
from tenantlimpyd.scanning import Pages

__all__ = ["ANSWER_SECONDS", "AsyncWalk", "Walk", "WalkOrder"]

I = TypeVar("I")  # noqa: E741 - the walk's items

ANSWER_SECONDS = 10.0
"""How long a server may take for one page of a walk, where the walk's own ``timeout`` is not shorter."""


@attrs.frozen
class WalkOrder:
    """What a walk is asked to do.

    Attributes:
        jobs: the tenants and databases, as they were when it was asked.
        match, count, type: as for ``RedisDatabase.scan_keys``.
        policy: what becomes of failures.
        timeout: seconds each tenant's server may take in all; None: no limit but for each answer.
        concurrency: how many tenants are scanned at once.
    """

    jobs: Sequence[Job]
    match: str | None
    count: int | None
    type: str | None
    policy: ErrorPolicy
    timeout: float | None
    concurrency: int

    def __attrs_post_init__(self) -> None:
        for job in self.jobs:  # wrong arguments are an error of the call, not of each tenant
            Pages.of(job.database.key_prefix, self.match, self.count, self.type)
            break


class _Progress:
    """What a walk knows of itself, in either colour."""

    def __init__(self, order: WalkOrder) -> None:
        self.order = order
        self.settled = Settled(order.policy, "scan")
        self.keys = 0
        self._started = 0.0

    def start(self) -> None:
        self._started = time.monotonic()
        logs.emit("scan_started", tenants=len(self.order.jobs), match=self.order.match)

    def finish(self, *, complete: bool) -> None:
        logs.emit(
            "scan_finished",
            tenants=len(self.order.jobs),
            failed=len(self.settled.failed),
            keys=self.keys,
            seconds=round(time.monotonic() - self._started, 6),
            complete=complete,
        )


class Walk(Closing, Generic[I]):
    """A blocking walk: iterate over it once.

    Items come as they arrive, tenants mixed. Nothing is asked of any server before the first item is asked for.
    :meth:`close`, or the end of a ``with`` block, ends all threads and gives back all connections; so does leaving the loop
    over a walk that nothing else refers to. A thread that is just connecting ends with its connect timeout.
    """

    def __init__(self, order: WalkOrder, unpack: Callable[[str, list[str]], Sequence[I]]) -> None:
        self._progress = _Progress(order)
        self._unpack = unpack
        self._items = self._iterate()

    @property
    def outcomes(self) -> Mapping[str, Outcome[int]]:
        """The outcomes so far, by tenant: how many keys were delivered, or the error. Complete when the walk is through."""
        return MappingProxyType(self._progress.settled.outcomes)

    def __iter__(self) -> Iterator[I]:
        return self._items

    def __next__(self) -> I:
        return next(self._items)

    def close(self) -> None:
        """End the walk. Harmless when it is through."""
        self._items.close()

    def _iterate(self) -> Generator[I, None, None]:
        progress, unpack = self._progress, self._unpack
        del self  # an abandoned walk ends at once, not when a garbage collector finds the cycle
        order = progress.order
        run = ThreadedRun(
            order.jobs,
            _scanning(order),
            timeout=order.timeout,
            concurrency=order.concurrency,
            stops=order.policy == "raise",
        )
        complete = False
        progress.start()
        try:
            with contextlib.closing(run.events()) as events:  # type: ignore[type-var]
                for event in events:
                    if isinstance(event, Ended):
                        progress.settled.settle(event.tenant, event.value, event.error, event.seconds)
                    elif event.content:
                        progress.keys += len(event.content)
                        yield from unpack(event.tenant, event.content)
            complete = True
        finally:
            progress.finish(complete=complete)
        progress.settled.finish()


def _scanning(order: WalkOrder) -> Callable[[Visit], int]:
    def scan(visit: Visit) -> int:
        keys = 0
        with contextlib.closing(visit.job.database.pages(order.match, order.count, order.type)) as pages:
            while True:
                visit.begin_answer(ANSWER_SECONDS)
                page = next(pages, None)
                if page is None:
                    return keys
                if page:
                    visit.deliver(page)
                    keys += len(page)

    return scan


class AsyncWalk(AsyncClosing, Generic[I]):
    """A walk for ``async for``: iterate over it once.

    Items come as they arrive, tenants mixed. Nothing is asked of any server before the first item is asked for;
    :meth:`aclose` or the end of an ``async with`` block ends all tasks and gives back all connections. (A loop that is
    merely left does so a moment later, when the event loop gets to it.)
    """

    def __init__(self, order: WalkOrder, unpack: Callable[[str, list[str]], Sequence[I]]) -> None:
        self._progress = _Progress(order)
        self._unpack = unpack
        self._items = self._iterate()

    @property
    def outcomes(self) -> Mapping[str, Outcome[int]]:
        """The outcomes so far, by tenant: how many keys were delivered, or the error. Complete when the walk is through."""
        return MappingProxyType(self._progress.settled.outcomes)

    def __aiter__(self) -> AsyncIterator[I]:
        return self._items

    def __anext__(self) -> Any:
        return anext(self._items)

    async def aclose(self) -> None:
        """End the walk. Harmless when it is through."""
        await self._items.aclose()

    async def _iterate(self) -> AsyncGenerator[I, None]:
        progress, unpack = self._progress, self._unpack
        del self
        order = progress.order
        run = TaskRun(
            order.jobs,
            _ascanning(order),
            timeout=order.timeout,
            concurrency=order.concurrency,
            stops=order.policy == "raise",
        )
        complete = False
        progress.start()
        try:
            async with contextlib.aclosing(run.events()) as events:  # type: ignore[type-var]
                async for event in events:
                    if isinstance(event, Ended):
                        progress.settled.settle(event.tenant, event.value, event.error, event.seconds)
                    elif event.content:
                        progress.keys += len(event.content)
                        for item in unpack(event.tenant, event.content):
                            yield item
            complete = True
        finally:
            progress.finish(complete=complete)
        progress.settled.finish()


def _ascanning(order: WalkOrder) -> Callable[[AsyncVisit], Any]:
    async def scan(visit: AsyncVisit) -> int:
        keys = 0
        async with contextlib.aclosing(visit.job.database.apages(order.match, order.count, order.type)) as pages:
            while True:
                page = await visit.within(visit.time_left(ANSWER_SECONDS), anext(pages, None))
                if page is None:
                    return keys
                if page:
                    await visit.deliver(page)
                    keys += len(page)

    return scan
