"""scan_keys, scan_pages and their async forms over many tenants."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import threading

import pytest
import redis

from tenantlimpyd import current_tenant
from tenantlimpyd._fanout.outcomes import Job
from tenantlimpyd._fanout.task_runner import ResultPage, TaskRunner
from tenantlimpyd.context import frames
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import FanOutError, UnknownTenantError
from tenantlimpyd.router import DatabaseRouter
from tests.support.waiting import aeventually, eventually, open_connections

pytestmark = pytest.mark.slow

ALL = sorted((f"t{number}", f"t{number}:{key}") for number in range(20) for key in range(3))


async def both_ways(router, **arguments):
    """Return what the four methods find, by key."""
    found = [list(router.scan_keys(**arguments)), [item async for item in router.ascan_keys(**arguments)]]
    for pages in (
        list(router.scan_pages(**arguments)),
        [page async for page in router.ascan_pages(**arguments)],
    ):
        assert all(type(page) is tuple and type(page[1]) is list and page[1] for page in pages)
        found.append([(tenant, key) for tenant, keys in pages for key in keys])
    await router.aclose()
    return [sorted(set(each)) for each in found]


async def test_scan_returns_all_keys_of_all_tenants(fleet):
    assert await both_ways(fleet) == [ALL] * 4


async def test_scan_accepts_match_count_type_and_tenants(fleet):
    fleet.database_for("t2").connection.sadd("t2:set", "x")
    assert await both_ways(fleet, match="*:1", count=1) == [[item for item in ALL if item[1].endswith(":1")]] * 4
    assert await both_ways(fleet, type="set") == [[("t2", "t2:set")]] * 4
    assert await both_ways(fleet, tenants=["t3", "t3"]) == [[item for item in ALL if item[0] == "t3"]] * 4
    assert await both_ways(fleet, tenants=[]) == [[]] * 4


async def test_prefixes_are_removed_from_keys(flushed_server):
    databases = {
        name: RedisDatabase(**flushed_server.settings, db=1, key_prefix=f"{name}*:") for name in ("one", "two")
    }
    with DatabaseRouter(databases) as router:
        router.database_for("one").connection.mset({"one*:a": 1, "two*:b": 1, "oneX:c": 1, "other": 1})
        assert await both_ways(router) == [[("one", "a"), ("two", "b")]] * 4
        assert await both_ways(router, match="a*") == [[("one", "a")]] * 4


@pytest.mark.parametrize("kind", ["keys", "pages"])
async def test_outcomes_count_the_keys(call, fleet, kind):
    scan = call.form(fleet, f"scan_{kind}")()
    assert dict(scan.outcomes) == {}
    assert len(await call.list(scan)) == (60 if kind == "keys" else 20)
    assert {tenant: outcome.value for tenant, outcome in scan.outcomes.items()} == dict.fromkeys(fleet.tenants(), 3)
    with pytest.raises(TypeError):
        scan.outcomes["t1"] = None
    assert await call.list(scan) == []  # once only
    await fleet.aclose()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"match": b"x"}, TypeError), ({"count": 0}, ValueError), ({"count": "1"}, TypeError), ({"type": 5}, TypeError)],
    ids=repr,
)
def test_wrong_arguments_are_errors_of_the_call(fleet, arguments, error):
    for scan in (fleet.scan_keys, fleet.scan_pages, fleet.ascan_keys, fleet.ascan_pages):
        with pytest.raises(error):
            scan(**arguments)


async def test_scan_that_is_not_started_sends_no_command(fleet, flushed_server, client_name, no_thread_is_left):
    scan, ascan = fleet.scan_keys(), fleet.ascan_keys()
    assert no_thread_is_left() == []
    assert open_connections(flushed_server, client_name) == []
    scan.close()
    await ascan.aclose()
    assert list(scan) == []
    assert [item async for item in ascan] == []
    del scan, ascan
    gc.collect()


def test_tenants_are_determined_by_the_call(fleet):
    scan = fleet.scan_keys()
    fleet.add("late", RedisDatabase(host="127.0.0.1", port=1))
    assert sorted(set(scan)) == ALL


def test_tenant_removed_before_its_turn_is_a_failed_outcome(fleet):
    scan = fleet.scan_keys(on_error="collect")
    fleet.remove("t1")  # its keyspace may belong to another tenant by now
    assert ("t1", "t1:0") not in set(scan)
    assert isinstance(scan.outcomes["t1"].error, UnknownTenantError)
    assert ("t1", "t1:0") not in set(fleet.scan_keys())


def fill(router, flushed_server, keys=3000):
    """Give eight tenants so many keys that no scan ends before its consumer does."""
    with redis.Redis(**flushed_server.settings) as client:
        pipeline = client.pipeline(transaction=False)
        for number in range(8):
            pipeline.execute_command("SELECT", number)
            pipeline.mset({f"big:{key}": 1 for key in range(keys)})
        pipeline.execute()


def left(scan):
    for _ in scan:
        break
    scan.close()


def left_by_with(scan):
    with scan:
        next(scan)


def left_by_error(scan):
    with pytest.raises(LookupError), scan:
        for _ in scan:
            raise LookupError


def abandoned(scan):
    iterator = iter(scan)
    next(iterator)
    del iterator, scan
    gc.collect()


def abandoned_by_loop(scan):
    for _ in scan:
        break


@pytest.mark.parametrize("leave", [left, left_by_with, left_by_error, abandoned, abandoned_by_loop])
def test_leaving_a_scan_early_releases_every_thread_and_connection(
    fleet, flushed_server, client_name, no_thread_is_left, leave
):
    fill(fleet, flushed_server)
    leave(fleet.scan_keys(count=10))
    gc.collect()
    assert no_thread_is_left() == []
    checked_out = [
        connection
        for tenant in fleet.tenants()
        for connection in fleet.database_for(tenant).connection.connection_pool._in_use_connections
    ]
    assert checked_out == []
    fleet.close()
    eventually(lambda: open_connections(flushed_server, client_name) == [])


async def test_leaving_an_async_scan_early_releases_every_task_and_connection(fleet, flushed_server, client_name):
    fill(fleet, flushed_server)
    scan = fleet.ascan_keys(count=10)
    async for _ in scan:
        break
    assert len(asyncio.all_tasks()) > 1
    await scan.aclose()
    assert len(asyncio.all_tasks()) == 1
    async with fleet.ascan_keys(count=10) as scan:
        await anext(scan)
    assert len(asyncio.all_tasks()) == 1
    with pytest.raises(LookupError):
        async with fleet.ascan_pages(count=10) as scan:
            async for _ in scan:
                raise LookupError
    assert len(asyncio.all_tasks()) == 1
    await fleet.aclose()
    assert open_connections(flushed_server, client_name) == []


async def test_abandoned_async_scan_is_closed(fleet, flushed_server):
    fill(fleet, flushed_server)

    async def consume():
        async for _ in fleet.ascan_keys(count=10):
            break

    await consume()
    gc.collect()
    await aeventually(lambda: len(asyncio.all_tasks()) == 1)
    await fleet.aclose()


async def test_cancelled_async_scan_releases_its_connections(fleet, flushed_server):
    fill(fleet, flushed_server)
    seen = []

    async def consume():
        async with fleet.ascan_keys(count=10) as scan:
            async for item in scan:
                seen.append(item)
                await asyncio.sleep(0)

    task = asyncio.create_task(consume())
    await aeventually(lambda: seen)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(asyncio.all_tasks()) == 1
    await fleet.aclose()


async def test_consumer_keeps_its_own_tenant(fleet):
    with fleet.use_tenant("t7"):
        for _ in fleet.scan_keys():
            assert current_tenant() == "t7"
        async for _ in fleet.ascan_keys():
            assert current_tenant() == "t7"
    assert frames.get() is None
    await fleet.aclose()


def jobs(number):
    return [Job(f"t{each}", RedisDatabase(host="192.0.2.1", db=each)) for each in range(number)]


async def test_back_pressure_bounds_the_pages_of_tasks_in_flight():
    made = []

    async def work(visit):
        for number in range(500):
            made.append(number)
            await visit.deliver(number)

    run = TaskRunner(jobs(4), work, timeout=None, concurrency=4, buffer=5)
    events = run.events()
    for taken in range(1, 51):
        assert isinstance(await anext(events), ResultPage)
        await asyncio.sleep(0)
        assert len(made) <= taken + 5 + 4
    await events.aclose()
    assert len(asyncio.all_tasks()) == 1


async def test_results_are_yielded_as_they_arrive(fleet, misbehaving, flushed_server, call):
    """A waiting server does not delay the keys of others."""
    gate = threading.Event()

    def slowly(peer, stop):
        assert gate.wait(10)
        with socket.create_connection((flushed_server.host, flushed_server.port)) as real:
            while not stop.is_set():
                for source, other in ((peer, real), (real, peer)):
                    source.settimeout(0.01)
                    with contextlib.suppress(TimeoutError):
                        if not (data := source.recv(65536)):
                            return
                        other.sendall(data)

    slow = RedisDatabase(host="127.0.0.1", port=misbehaving(slowly).port, db=0)
    fleet.add("slow", slow)
    seen = set()

    def take(tenant):
        seen.add(tenant)
        if len(seen) == 20:
            assert "slow" not in seen
            gate.set()

    async for tenant, _ in call.each(call.form(fleet, "scan_keys")()):
        take(tenant)
    assert len(seen) == 21
    await fleet.aclose()


async def test_error_policies_of_scans(broken, names_of_broken):
    arguments = {"timeout": 0.3}
    scan, ascan, found = broken.scan_keys(**arguments), broken.ascan_keys(**arguments), []

    async def consume():
        _ = [found.append(item) async for item in ascan]

    caught, acaught = await asyncio.gather(
        asyncio.to_thread(lambda: [found.append(item) for item in scan]), consume(), return_exceptions=True
    )
    assert type(caught) is type(acaught) is FanOutError
    assert sorted(found) == sorted([*ALL, *ALL])
    for each, error in ((scan, caught), (ascan, acaught)):
        assert {failed.tenant for failed in error.exceptions} == names_of_broken
        assert {tenant for tenant, outcome in each.outcomes.items() if not outcome.ok} == names_of_broken
        assert sum(outcome.value for outcome in each.outcomes.values() if outcome.ok) == 60
    await broken.aclose()


async def test_raise_ends_a_scan_at_the_first_failure(broken, names_of_broken):
    scan, ascan = broken.scan_keys(on_error="raise", timeout=0.3), broken.ascan_keys(on_error="raise", timeout=0.3)
    with pytest.raises(redis.RedisError) as caught:
        list(scan)
    with pytest.raises(redis.RedisError) as acaught:
        _ = [item async for item in ascan]
    assert {caught.value.tenant, acaught.value.tenant} <= names_of_broken
    assert len(asyncio.all_tasks()) == 1
    await broken.aclose()
