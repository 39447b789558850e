"""GETs that go to one tenant's database after the other's on one server, beside redis-py on one database.

Both sides have as many threads, or tasks; each block starts its own and waits for them, so that starting costs both the same.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import redis
import redis.asyncio

from benchmarks.pairs import AsyncBlock, Block, Figure, acompare, compare
from benchmarks.setting import KEY, VALUE, alike
from tenantlimpyd import Budget, DatabaseRouter, RedisDatabase
from tenantlimpyd.embedded import EmbeddedServer

TENANTS = 10_000
WORKERS = 64
CONNECTIONS = 64
AIM = 1.10
EACH = 16
"""GETs of one worker in a block."""


@attrs.frozen
class Rotation:
    """The tenants of one server.

    Attributes:
        router: all of them.
        settings: how redis-py connects to the database of one.
        dedicated: the same for asyncio.
        order: their ids, shuffled, without end.
        confirmed: a router of the same tenants, whose user may not send EXEC, so that each SELECT is confirmed.
    """

    router: DatabaseRouter
    settings: dict[str, Any]
    dedicated: dict[str, Any]
    order: Iterator[str]
    confirmed: DatabaseRouter


@contextmanager
def fleet() -> Iterator[Rotation]:
    """Start a server with a database for each tenant, one key in each; each tenant has been used once."""
    with EmbeddedServer(databases=TENANTS) as server:
        names = [f"t{db}" for db in range(TENANTS)]
        router = DatabaseRouter(
            {name: RedisDatabase(**server.settings, db=db) for db, name in enumerate(names)},
            budget=Budget(per_server=CONNECTIONS, per_tenant=CONNECTIONS),
        )
        for name in names:
            router.database_for(name).connection.set(KEY, VALUE)
        router.database_for(names[0]).connection.acl_setuser(
            "confirmed", enabled=True, passwords=["+x"], keys=["*"], commands=["+@all", "-exec"], reset=True
        )
        user = {"username": "confirmed", "password": "x"}
        confirmed = DatabaseRouter(
            {name: RedisDatabase(**server.settings, **user, db=db) for db, name in enumerate(names)},
            budget=Budget(per_server=CONNECTIONS, per_tenant=CONNECTIONS),
        )
        random.Random(1).shuffle(names)
        settings = router.database_for(names[0]).settings
        with router, confirmed:
            yield Rotation(router, settings.for_blocking(), settings.for_asyncio(), itertools.cycle(names), confirmed)


def _count(rotation: Rotation) -> None:
    if (most := sum(pool_stats.open for pool_stats in rotation.router.pool_stats().values())) > CONNECTIONS:
        raise AssertionError(f"{most} connections")


def _checked(value: Any) -> None:
    if value != VALUE:
        raise AssertionError(f"{value!r} is not what every tenant has")


def figures(rotation: Rotation, seconds: float) -> Iterator[tuple[str, str, Figure]]:
    """Yield name, peer and figure of what blocks: with one thread, and with many."""
    router, order = rotation.router, rotation.order

    def ours() -> None:
        with router.use_tenant(next(order)):
            _checked(router.database.connection.get(KEY))

    with redis.Redis(**alike(rotation.settings, max_connections=WORKERS)) as peer:

        def theirs() -> None:
            _checked(peer.get(KEY))

        def routed() -> None:
            _checked(router.database_for(next(order)).connection.get(KEY))

        for workers in (1, WORKERS):
            name = f"GET of the next tenant, {workers} thread{'s' * (workers > 1)}"
            figure = compare(
                _threads(routed, workers), _threads(theirs, workers), seconds=seconds, repeat=EACH * workers
            )
            yield name, "redis-py GET of one database", figure
        _count(rotation)
        figure = compare(_threads(ours, 1), _threads(theirs, 1), seconds=seconds, repeat=EACH)
        yield "the same, entering the tenant", "redis-py GET of one database", figure

        def stored_by_peer() -> None:
            peer.set(KEY, VALUE)

        for name, rotated in (("", router), (", where SELECT is confirmed first", rotation.confirmed)):

            def stored(rotated: DatabaseRouter = rotated) -> None:
                rotated.database_for(next(order)).connection.set(KEY, VALUE)

            figure = compare(_threads(stored, 1), _threads(stored_by_peer, 1), seconds=seconds, repeat=EACH)
            yield f"SET of the next tenant, 1 thread{name}", "redis-py SET of one database", figure


def _threads(work: Any, workers: int) -> Block:
    def block(repeat: int) -> None:
        def each() -> None:
            for _ in range(repeat // workers):
                work()

        if workers == 1:
            each()
            return
        threads = [threading.Thread(target=each) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return block


async def afigures(rotation: Rotation, seconds: float) -> list[tuple[str, str, Figure]]:
    """Return name, peer and figure of what awaits: with one task, and with many."""
    router, order = rotation.router, rotation.order
    for _ in range(TENANTS):  # used once in this event loop, as in the blocking part
        await router.database_for(next(order)).aconnection.get(KEY)
    peer = redis.asyncio.Redis(**alike(rotation.dedicated, max_connections=WORKERS))

    async def routed() -> None:
        _checked(await router.database_for(next(order)).aconnection.get(KEY))

    async def theirs() -> None:
        _checked(await peer.get(KEY))

    found = []
    for workers in (1, WORKERS):
        name = f"GET of the next tenant, {workers} task{'s' * (workers > 1)}"
        figure = await acompare(
            _tasks(routed, workers), _tasks(theirs, workers), seconds=seconds, repeat=EACH * workers
        )
        found.append((name, "redis-py's asyncio GET of one database", figure))
    _count(rotation)
    await peer.aclose()
    await router.aclose()
    return found


def _tasks(work: Any, workers: int) -> AsyncBlock:
    async def block(repeat: int) -> None:
        async def each() -> None:
            for _ in range(repeat // workers):
                await work()

        await asyncio.gather(*(each() for _ in range(workers)))

    return block
