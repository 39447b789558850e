"""Ways in which services use tenants, at random and side by side; each does a number of checked operations."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import redis

from integration.isolation.desk import HealthProbe, Tally
from tenantlimpyd import DatabaseRouter
from tenantlimpyd.context import TenantThreadPoolExecutor, carry_tenant

__all__ = ["WORKLOADS", "run_all"]


class Planned(Exception):  # noqa: N818 - nothing went wrong
    """Raised on purpose, to leave contexts by an exception."""


def _nested(desk: HealthProbe, depth: int) -> None:
    """Enter tenants in one another; come out by return and by exception; check after every step."""
    tenant = desk.any_tenant()
    with desk.router.use_tenant(tenant):
        desk.touch(tenant)
        if depth and desk.chooser.random() < 0.6:
            with contextlib.suppress(Planned):
                _nested(desk, depth - 1)
            desk.touch(tenant)
        if desk.chooser.random() < 0.1:
            with desk.router.use_no_tenant():
                desk.expect_none()
        for _ in range(desk.chooser.randrange(6)):
            desk.touch(tenant)
        if desk.chooser.random() < 0.2:
            raise Planned


def threads(desk: HealthProbe, operations: int) -> None:
    """Several threads, each in and out of nested tenants."""
    going = desk.until(operations)

    def work() -> None:
        while going():
            with contextlib.suppress(Planned):
                _nested(desk, 3)
            desk.expect_none()

    _in_threads([work] * 4)


def generators(desk: HealthProbe, operations: int) -> None:
    """Generators of many tenants, consumed a step here and there under other tenants, most left half-consumed."""
    going = desk.until(operations)

    def make(tenant: str) -> Generator[None, None, None]:
        @desk.router.use_tenant(tenant)
        def steps() -> Generator[None, None, None]:
            for _ in range(20):
                desk.touch(tenant)
                with contextlib.suppress(Planned):
                    yield
                other = desk.any_tenant()
                with desk.router.use_tenant(other):
                    desk.touch(other)
                    yield
                    desk.touch(other)
                desk.touch(tenant)

        return steps()

    def work() -> None:
        running: list[Any] = []
        while going():
            if len(running) < 10:
                running.append(make(desk.any_tenant()))
            outside = desk.any_tenant()
            with desk.router.use_tenant(outside):
                for _ in range(5):
                    if running and next(chosen := desk.chooser.choice(running), desk) is desk:
                        running.remove(chosen)
                    desk.touch(outside)
            chance = desk.chooser.random()
            if running and chance < 0.2:
                running.pop().close()
            elif running and chance < 0.4:
                running.pop()  # left to the garbage collector
            elif running and chance < 0.6:
                with contextlib.suppress(StopIteration, Planned, TypeError):
                    running[-1].throw(Planned)
            desk.expect_none()

    _in_threads([work] * 2)


def executors(desk: HealthProbe, operations: int) -> None:
    """Work handed to other threads: with the tenant where that is asked for, without it elsewhere."""
    going = desk.until(operations)
    with TenantThreadPoolExecutor(4) as carrying, ThreadPoolExecutor(2) as plain:
        while going():
            tenant, other = desk.any_tenant(), desk.any_tenant()
            with desk.router.use_tenant(tenant):
                waiting = [carrying.submit(desk.touch, tenant) for _ in range(8)]
                waiting += [plain.submit(desk.expect_none), plain.submit(carry_tenant(desk.touch), tenant)]
                with desk.router.use_tenant(other):
                    waiting += [carrying.submit(desk.touch, other) for _ in range(4)]
                    waiting.append(carrying.submit(_nested_quietly, desk))
                desk.touch(tenant)
            for future in waiting:
                future.result(60)


def _nested_quietly(desk: HealthProbe) -> None:
    with contextlib.suppress(Planned):
        _nested(desk, 1)


def walks(desk: HealthProbe, operations: int) -> None:
    """Scans over several tenants, some left half-way: each key must be of the tenant it comes with."""
    going = desk.until(operations)
    while going():
        some = desk.chooser.sample(desk.tenants, 3)
        tenant = desk.any_tenant()
        with desk.router.use_tenant(tenant):
            walk = desk.router.scan_keys(match="own:*", tenants=some, count=10)
            stop = desk.chooser.randrange(150)
            for number, (whose, key) in enumerate(walk):
                desk.compare("scan", whose, True, key.startswith(f"own:{whose}:") and whose in some)
                if number == stop:
                    break
            desk.touch(tenant)
            if desk.chooser.random() < 0.5:
                walk.close()
            own = desk.router.database.scan_keys("own:*", count=5)
            for _ in range(desk.chooser.randrange(KEYS_OF_A_SCAN)):
                desk.compare("scan_keys", tenant, True, next(own).startswith(f"own:{tenant}:"))
        outcomes = desk.router.fan_out(
            lambda database: database.connection.get(f"{database.key_prefix}me:1"), tenants=some
        )
        for whose, outcome in outcomes.items():
            desk.compare("fan_out", whose, f"{whose}:1", outcome.value)


KEYS_OF_A_SCAN = 30


async def _session(desk: HealthProbe, depth: int, going: Callable[[], bool]) -> None:
    tenant = desk.any_tenant()
    async with desk.router.use_tenant(tenant):
        await desk.atouch(tenant)
        if depth:
            await asyncio.gather(
                _inheriting(desk, tenant),
                _session(desk, depth - 1, going),
                _cancelled(desk),
                _half_consumed(desk),
                asyncio.to_thread(desk.touch, tenant),
            )
        for _ in range(5):
            await desk.atouch(tenant)


async def _inheriting(desk: HealthProbe, tenant: str) -> None:
    """A task has the tenant it was made under, and what it enters is its own."""
    for _ in range(3):
        await desk.atouch(tenant)
    other = desk.any_tenant()
    with desk.router.use_tenant(other):
        await desk.atouch(other)
        await asyncio.sleep(0)
        await desk.atouch(other)
    await desk.atouch(tenant)


async def _cancelled(desk: HealthProbe) -> None:
    """A task that is cancelled wherever it happens to be: mostly while a reply is on its way."""
    tenant = desk.any_tenant()

    async def work() -> None:
        async with desk.router.use_tenant(tenant):
            while not desk.given_up:
                await desk.atouch(tenant)

    task = asyncio.create_task(work())
    for _ in range(desk.chooser.randrange(1, 25)):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=10)
    if not task.cancelled():
        desk.tally.stray("a task was cancelled, and went on")
        desk.given_up = True
        await task


async def _half_consumed(desk: HealthProbe) -> None:
    tenant, outside = desk.any_tenant(), desk.any_tenant()

    @desk.router.use_tenant(tenant)
    async def steps() -> AsyncGenerator[None, None]:
        while not desk.given_up:
            await desk.atouch(tenant)
            yield

    items = steps()
    async with desk.router.use_tenant(outside):
        for _ in range(desk.chooser.randrange(1, 4)):
            await anext(items, None)
            await desk.atouch(outside)
    if desk.chooser.random() < 0.5:
        await items.aclose()


def tasks(desk: HealthProbe, operations: int) -> None:
    """Many tasks on one event loop: inheriting, nested, cancelled, generators left half-consumed, threads from the loop."""
    going = desk.until(operations)

    async def worker() -> None:
        while going():
            await _session(desk, 2, going)
            desk.expect_none()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(worker())

    asyncio.run(main())


def torn(desk: HealthProbe, operations: int) -> None:
    """Connections that are cut in mid-reply, under threads and tasks: an answer is the right one, or there is none."""
    going = desk.until(operations)

    def work() -> None:
        while going():
            tenant = desk.any_tenant()
            with desk.router.use_tenant(tenant):
                try:
                    desk.touch(tenant)
                except redis.ConnectionError:
                    desk.tally.lose()
                except redis.TimeoutError:
                    desk.tally.lose()

    async def awork() -> None:
        while going():
            tenant = desk.any_tenant()
            async with desk.router.use_tenant(tenant):
                try:
                    await asyncio.wait_for(desk.atouch(tenant), desk.chooser.choice([0.0005, 0.002, 5]))
                except (redis.ConnectionError, redis.TimeoutError, TimeoutError):
                    desk.tally.lose()

    async def main() -> None:
        await asyncio.gather(*(awork() for _ in range(5)))

    _in_threads([work, work, lambda: asyncio.run(main())])


def _in_threads(works: list[Callable[[], None]]) -> None:
    errors: list[BaseException] = []

    def shared_connection_class(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread that waits
            errors.append(error)

    running = [threading.Thread(target=shared_connection_class, args=(work,)) for work in works]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if errors:
        raise errors[0]


WORKLOADS: dict[str, Callable[[HealthProbe, int], None]] = {
    "threads": threads,
    "tasks": tasks,
    "generators": generators,
    "executors": executors,
    "walks": walks,
    "torn": torn,
}


def run_all(router: DatabaseRouter, plan: dict[str, int], tenants: list[str], seed: int) -> Tally:
    """Run workloads one after another, each a number of operations."""
    tally = Tally()
    for kind, operations in plan.items():
        desk = HealthProbe(router, tenants, kind, random.Random(f"{seed} {kind}"), tally)
        WORKLOADS[kind](desk, operations)
    return tally
