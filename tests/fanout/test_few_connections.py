"""Scans and fan-out commands with few permits: no tenant fails for want of a permit that the run itself holds."""

from __future__ import annotations

import contextlib
import time

import pytest
import redis

from tenantlimpyd import Budget
from tenantlimpyd._connections.borrower import NoPermitError
from tenantlimpyd._connections.pool import AsyncPool, Pool
from tenantlimpyd._scan.scan_worker import ScanWorker
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.embedded import EmbeddedServer
from tenantlimpyd.operations import Command
from tenantlimpyd.router import DatabaseRouter
from tests.support.chaos_proxy import ChaosProxy

pytestmark = pytest.mark.slow

LARGE, KEYS = 12, 1500


class User:
    db = 0
    retired = False


@pytest.fixture(scope="module")
def full():
    """A server with twelve databases that are large, for pages of twenty."""
    with EmbeddedServer(databases=LARGE) as server, redis.Redis(**server.settings) as client:
        for number in range(LARGE):
            client.execute_command("SELECT", number)
            client.mset({f"k{key}": 1 for key in range(KEYS)})
        yield server


class Held:
    """Connections to a server that the application uses meanwhile."""

    def __init__(self, database, call):
        self._pool = database.server.pools()[0] if not call.is_async else database.server.loop_pools().pool
        self._blocks = not call.is_async
        self._held = []

    async def take(self, number):
        for _ in range(number):
            lent = self._pool.checkout(User())
            self._held.append(lent if self._blocks else await lent)

    async def release(self):
        for each in self._held:
            released = self._pool.release(each)
            if not self._blocks:
                await released


@pytest.mark.parametrize("on_full", ["raise", "wait"])
@pytest.mark.parametrize("free", [1, 2])
async def test_workers_share_the_free_permits(full, call, on_full, free):
    """Further workers use a connection if a permit is free, and do not fail otherwise."""
    budget = Budget(per_server=4, on_full=on_full)
    router = DatabaseRouter({f"t{n}": RedisDatabase(**full.settings, db=n, budget=budget) for n in range(LARGE)})
    held = Held(router.database_for("t1"), call)
    await held.take(4 - free)
    arguments = {"count": 20, "on_error": "collect", "timeout": 5}
    found = 0
    scan = call.form(router, "scan_pages")(**arguments)
    async for _, page in call.each(scan):
        found += len(page)
    sizes = await call(router, "fan_out", Command("DBSIZE"), on_error="collect")
    assert [outcome.error for outcome in scan.outcomes.values()] == [None] * LARGE
    assert found == LARGE * KEYS
    assert [outcome.value for outcome in sizes.values()] == [KEYS] * LARGE
    await held.release()
    await router.aclose()


async def test_without_a_free_permit_the_budget_decides(full, call):
    budget = Budget(per_server=2, timeout=0.1)
    router = DatabaseRouter({f"t{n}": RedisDatabase(**full.settings, db=n, budget=budget) for n in range(3)})
    held = Held(router.database_for("t1"), call)
    await held.take(2)
    scan = call.form(router, "scan_pages")(on_error="collect")
    assert await call.list(scan) == []
    assert {type(outcome.error) for outcome in scan.outcomes.values()} == {redis.exceptions.MaxConnectionsError}
    await held.release()
    await router.aclose()


def test_deadline_error_says_that_no_permit_was_free(full):
    router = DatabaseRouter({"t": RedisDatabase(**full.settings, db=1, budget=Budget(per_server=1))})
    pool = router.database_for("t").server.pools()[0]
    held = pool.checkout(User())
    scan = router.scan_pages(on_error="collect", timeout=0.2)
    assert list(scan) == []
    error = scan.outcomes["t"].error
    assert isinstance(error, redis.TimeoutError)
    assert "not finished within 0.2 s; before that, MaxConnectionsError: all 1 connections" in str(error)
    pool.release(held)
    router.close()


@pytest.mark.parametrize("arguments", [{"timeout": 0.5}, {}], ids=["deadline", "budget"])
async def test_slow_consumer_with_the_only_permit_does_not_consume_deadline(full, call, arguments):
    """The second server is scanned after the first, however long the consumer takes."""
    with EmbeddedServer() as other, redis.Redis(**other.settings) as client:
        client.mset({f"k{key}": 1 for key in range(60)})
        budget = Budget(total=1, timeout=0.3)
        router = DatabaseRouter(
            {
                "a": RedisDatabase(**full.settings, db=1, budget=budget),
                "b": RedisDatabase(**other.settings, budget=budget),
            }
        )
        found = dict.fromkeys(("a", "b"), 0)
        pages = 0
        if not call.is_async:
            scan = router.scan_pages(count=500, on_error="collect", **arguments)
            for tenant, page in scan:
                found[tenant] += len(page)
                pages += 1
                time.sleep(0.3 if pages < 4 else 0)  # noqa: ASYNC251 - a consumer that blocks
        else:
            scan = router.ascan_pages(count=500, on_error="collect", **arguments)
            async for tenant, page in scan:
                found[tenant] += len(page)
        assert [outcome.error for outcome in scan.outcomes.values()] == [None, None]
        assert found == {"a": KEYS, "b": 60}
        await router.aclose()


async def test_returned_work_is_resumed_with_its_database_number_verified(full, call):
    """Two workers and one permit; the returned work has a database number that does not exist."""
    settings = {**full.settings, "budget": Budget(per_server=2, on_full="raise")}
    numbers = [5000, *range(LARGE)]
    router = DatabaseRouter({f"t{n}": RedisDatabase(**settings, db=n) for n in numbers})
    held = Held(router.database_for("t1"), call)
    await held.take(1)
    step = Command("INCR", "counted")
    outcomes = await call(router, "fan_out", step, on_error="collect")
    assert [tenant for tenant, outcome in outcomes.items() if not outcome.ok] == ["t5000"]
    with redis.Redis(**full.settings) as client:
        for number in range(LARGE):
            client.execute_command("SELECT", number)
            assert client.getdel("counted") == b"1"
    await held.release()
    await router.aclose()


async def test_workers_without_a_permit_retry_at_intervals(full, call, monkeypatch):
    """One server holds the only permit for a while; others wait for it without busy waiting."""
    tried = []
    for owner in (Pool, AsyncPool):
        checkout = owner.checkout

        def counted(pool, user, *, may_wait=True, checkout=checkout):
            tried.append(pool)
            return checkout(pool, user, may_wait=may_wait)

        monkeypatch.setattr(owner, "checkout", counted)
    budget = Budget(total=1)
    with ChaosProxy(full.host, full.port) as proxy, contextlib.ExitStack() as stack:
        databases = {"slow": RedisDatabase(host="127.0.0.1", port=proxy.port, db=1, budget=budget)}
        for number in range(6):
            server = stack.enter_context(EmbeddedServer())
            databases[f"o{number}"] = RedisDatabase(**server.settings, budget=budget)
        router = DatabaseRouter(databases)
        proxy.disturb(latency=0.05)
        began = time.monotonic()
        found = await call.list(call.form(router, "scan_keys")(count=100))
        assert len(set(found)) == KEYS
        # Each of the six at most every 0.05 s, and once when a permit is free.
        assert len(tried) < 50 + 6 * (20 * (time.monotonic() - began) + 7)
        await router.aclose()


async def test_unconfirmed_database_is_scanned_again_and_reported(full, monkeypatch, call):
    """Its last page was received before the connection was lost, and no permit was free for another."""
    router = DatabaseRouter({"t": RedisDatabase(**full.settings, db=1, budget=Budget(per_server=4))})
    lost = []
    turn = ScanWorker._confirm_pages

    def concluded(worker, after, now, found):
        last = bool(found.last)
        turn(worker, None if last and not lost else after, now, found)
        if last and not lost:
            lost.append(1)
            monkeypatch.setattr(ScanWorker, "connect", unreachable)

    connect = ScanWorker.connect

    def unreachable(worker, seconds):
        monkeypatch.setattr(ScanWorker, "connect", connect)
        raise NoPermitError("no place")
        yield

    monkeypatch.setattr(ScanWorker, "_confirm_pages", concluded)
    arguments = {"count": 2000, "on_error": "collect"}
    scan = call.form(router, "scan_keys")(**arguments)
    found = await call.list(scan)
    assert len(found) == 2 * KEYS
    assert len(set(found)) == KEYS
    assert scan.outcomes["t"].restarts == 1
    await router.aclose()
