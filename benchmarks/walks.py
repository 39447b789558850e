"""Walks beside those of others: large databases on two servers, very many small ones, both also at a distance, and growth.

``python -m benchmarks walks growth`` prints these alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import redis

from benchmarks import growth, rbpeer
from benchmarks.byhand import ByHand
from benchmarks.delaying import delayed
from benchmarks.pairs import Block, Figure, compare
from benchmarks.setting import DATABASES, KEYS, alike, many_tenants
from tenantlimpyd import DatabaseRouter, RedisDatabase
from tenantlimpyd._operations.scan_page import DEFAULT_PAGE
from tenantlimpyd.embedded import EmbeddedServer

TOTAL = 2 * DATABASES * KEYS
"""Keys a walk must give. They don't change meanwhile and the tables don't either, so each comes once."""
SMALL, EACH = 10_000, 20
"""Small databases, and keys in each."""
DELAY = 0.002
"""Seconds that the network takes each way, where it is not loopback."""
MATCH = "invoice:*"


def counted(walk: Callable[[], int], total: int = TOTAL) -> Block:
    """Return a block that walks, and raises if keys are missing: a fast walk that lost some would be no figure."""

    def block(repeat: int) -> None:
        for _ in range(repeat):
            if (found := walk()) < total:
                raise AssertionError(f"{found} keys of {total}")

    return block


def by_key(router: DatabaseRouter, total: int = TOTAL) -> Block:
    """Return a block that takes each key with its tenant."""
    return counted(lambda: sum(1 for _tenant, _key in router.scan_keys(match=MATCH)), total)


def by_page(router: DatabaseRouter, total: int = TOTAL) -> Block:
    """Return a block that takes lists of keys with their tenant."""
    return counted(lambda: sum(len(keys) for _tenant, keys in router.scan_pages(match=MATCH)), total)


def aby_page(router: DatabaseRouter, total: int = TOTAL) -> Block:
    """Return a block that takes lists of keys with ``async for``, on an event loop of its own each time."""

    async def walk() -> int:
        found = 0
        async for _tenant, keys in router.ascan_pages(match=MATCH):
            found += len(keys)
        return found

    return counted(lambda: asyncio.run(walk()), total)


def hand_by_key(hand: ByHand) -> Block:
    return counted(lambda: sum(1 for _place, keys in hand.pages() for _key in keys))


def hand_by_page(hand: ByHand) -> Block:
    return counted(lambda: sum(len(keys) for _place, keys in hand.pages()))


def in_turn(peers: list[redis.Redis]) -> Block:
    """Return a block that takes each key of one redis-py client after another."""

    def walk() -> int:
        return sum(1 for peer in peers for _key in peer.scan_iter(match=MATCH, count=DEFAULT_PAGE))

    return counted(walk)


def limpyd_in_turn(router: DatabaseRouter) -> Block | str:
    """Return a block that does as limpyd: its databases one after another, a page of Redis's own size; or why it can't."""
    try:
        from limpyd.database import RedisDatabase as Peer
    except ImportError as error:
        return f"limpyd can't be imported: {error}"
    settings = [router.database_for(tenant).connection_settings for tenant in router.tenants()]
    databases = [Peer(**each) for each in settings]
    return counted(lambda: sum(1 for database in databases for _key in database.connection.scan_iter(match=MATCH)))


def once(ours: Block, peer: Block, rounds: int = 3, every: int = 1) -> Figure:
    """Compare with something that takes so long that it is done once, after our rounds; no quartiles come of it.

    The peer may do a part only, one in ``every``: since it does one thing after
    another, all would take so many times as long.
    """
    mine = []
    ours(1)
    for _ in range(rounds):
        started = time.perf_counter()
        ours(1)
        mine.append(time.perf_counter() - started)
    started = time.perf_counter()
    peer(1)
    took = (time.perf_counter() - started) * every
    our = statistics.median(mine)
    return Figure(our / took, our / took, our / took, our * 1e6, took * 1e6, 1)


def clients_in_turn(port: int, every: int = 1) -> Block:
    """Return a block that makes a redis-py client for each small database, or each so manieth, walks it, and closes it."""

    def walk() -> int:
        found = 0
        for db in range(0, SMALL, every):
            with redis.Redis(host="127.0.0.1", port=port, db=db, decode_responses=True) as client:
                found += sum(1 for _key in client.scan_iter(match=MATCH, count=DEFAULT_PAGE))
        return found

    return counted(walk, SMALL * EACH // every)


@contextlib.contextmanager
def at(router: DatabaseRouter, ports: dict[int, int]) -> Iterator[DatabaseRouter]:
    """Make the same router, by way of proxies."""
    databases = {}
    for tenant in router.tenants():
        settings = router.database_for(tenant).connection_settings
        databases[tenant] = RedisDatabase(**{**settings, "port": ports[settings["port"]]})
    with DatabaseRouter(databases) as far:
        yield far


def places(router: DatabaseRouter) -> list[tuple[str, int, int]]:
    """Return host, port and number of the databases."""
    each = (router.database_for(tenant).connection_settings for tenant in router.tenants())
    return [(settings["host"], settings["port"], settings["db"]) for settings in each]


def large(report, seconds: float) -> None:
    """Walk large databases on two servers."""
    report.section(f"walk of {2 * DATABASES} databases of {KEYS:,} keys on two servers")
    with many_tenants() as (router, peers):
        hand = ByHand(places(router), MATCH)
        report.add(
            "scan_pages, list by list",
            "select() and hiredis by hand",
            compare(by_page(router), hand_by_page(hand), seconds=seconds, repeat=1),
            1.15,
        )
        report.add(
            "scan_keys, key by key",
            "select() and hiredis by hand",
            compare(by_key(router), hand_by_key(hand), seconds=seconds, repeat=1),
            1.5,
        )
        report.add(
            "ascan_pages, list by list",
            "select() and hiredis by hand",
            compare(aby_page(router), hand_by_page(hand), seconds=seconds, repeat=1),
        )
        report.add(
            "scan_keys, key by key",
            "redis-py, one after another",
            compare(by_key(router), in_turn(peers), seconds=seconds, repeat=1),
        )
        limpyd = limpyd_in_turn(router)
        if isinstance(limpyd, str):
            report.say(limpyd)
        else:
            report.add("scan_keys, key by key", "limpyd, one after another", once(by_key(router), limpyd))
        _beside_rb(report, router)
        hand.close()
        _far(report, router, peers, seconds)


def _beside_rb(report, router: DatabaseRouter) -> None:
    rb = rbpeer.walked(places(router), MATCH, DEFAULT_PAGE, TOTAL)
    if isinstance(rb, str):
        report.say(rb)
        return

    def waits(repeat: int) -> None:
        time.sleep(repeat * rb)

    report.add("scan_pages, list by list", "rb on redis-py 4, its own process", once(by_page(router), waits))


def _far(report, router: DatabaseRouter, peers: list[redis.Redis], seconds: float) -> None:
    ports = sorted({port for _, port, _ in places(router)})
    report.section(f"the same, the network taking {1000 * DELAY:g} ms each way")
    with (
        delayed(ports[0], DELAY) as one,
        delayed(ports[1], DELAY) as two,
        at(router, dict(zip(ports, (one, two), strict=True))) as far,
    ):
        hand = ByHand(places(far), MATCH)
        report.add(
            "scan_pages, list by list",
            "select() and hiredis by hand",
            compare(by_page(far), hand_by_page(hand), seconds=seconds, repeat=1),
        )
        hand.close()
        slow = [redis.Redis(**alike(far.database_for(tenant).settings.for_blocking())) for tenant in far.tenants()]
        report.add("scan_keys, key by key", "redis-py, one after another", once(by_key(far), in_turn(slow)))
        for peer in slow:
            peer.close()


def small(report) -> None:
    """Walk very many small databases."""
    with EmbeddedServer(databases=SMALL) as server, redis.Redis(**server.settings) as client:
        growth.fill(client, SMALL, EACH)
        for title, delay in (("", None), (f", {1000 * DELAY:g} ms each way", DELAY)):
            report.section(f"walk of {SMALL:,} databases of {EACH} keys{title}")
            with contextlib.ExitStack() as stack:
                port = server.port if delay is None else stack.enter_context(delayed(server.port, delay))
                databases = {f"t{db}": RedisDatabase(host="127.0.0.1", port=port, db=db) for db in range(SMALL)}
                router = stack.enter_context(DatabaseRouter(databases))
                every = 1 if delay is None else 40
                peer = clients_in_turn(port, every)
                client.config_resetstat()
                by_page(router, SMALL * EACH)(1)
                opened = client.info("stats")["total_connections_received"]
                name = "a redis-py client each" + ("" if every == 1 else f", from one in {every}")
                figure = once(by_page(router, SMALL * EACH), peer, every=every)
                report.add("scan_pages, list by list", name, figure, 0.01)
                report.say(f"{opened} connections; at most 8 is the aim")


GROWTH = ("tenants", "time, ms", "µs a key", "memory, kB", "bytes a tenant", "connections")


def grows(report, picture: Path | None) -> None:
    """Tell how a walk grows."""
    points = growth.grown(EACH)
    rows = [
        (
            f"{point.tenants:,}",
            f"{1000 * point.seconds:,.1f}",
            f"{1e6 * point.seconds / point.keys:.2f}",
            f"{point.kilobytes:,.0f}",
            f"{1024 * point.kilobytes / point.tenants:,.0f}",
            f"{point.connections}",
        )
        for point in points
    ]
    report.table(f"how a walk of {EACH} keys a tenant grows", GROWTH, rows)
    if picture is not None:
        growth.draw(points, picture)


def measure(report, seconds: float) -> None:
    """Measure walks beside those of others."""
    large(report, seconds)
    small(report)
