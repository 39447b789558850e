"""Scan workers: few connections and round trips, one pass per database, and restarts of lost scans."""

from __future__ import annotations

import asyncio
import gc
import itertools
import pickle
import threading
import time
import tracemalloc

import pytest
import redis
import structlog
from redis.backoff import ConstantBackoff, NoBackoff
from redis.retry import Retry
from structlog.testing import capture_logs

from tenantlimpyd import RedisDatabase
from tenantlimpyd._connections.budget import Budget
from tenantlimpyd.embedded import EmbeddedServer
from tenantlimpyd.exceptions import LimpydException, ScanInterruptedError, UnknownTenantError
from tenantlimpyd.router import DatabaseRouter
from tenantlimpyd.testing import count_commands
from tests.support.chaos_proxy import ChaosProxy
from tests.support.waiting import aeventually, open_connections

pytestmark = pytest.mark.slow

IMPATIENT = {"retry": Retry(NoBackoff(), 0)}


async def run_scan(router, call, *, between=None, **arguments):
    """Scan; return the keys with their tenants, and the scan. ``between`` is called for each item."""
    found = []
    if not call.is_async:
        scan = router.scan_keys(**arguments)
        for item in scan:
            found.append(item)
            if between is not None:
                between(found)
    else:
        scan = router.ascan_keys(**arguments)
        async for item in scan:
            found.append(item)
            if between is not None:
                await asyncio.to_thread(between, found)
        await router.aclose()
    return found, scan


@pytest.fixture(scope="module")
def wide():
    """A server of 500 databases, with 5 keys each."""
    with EmbeddedServer(databases=500) as server, redis.Redis(**server.settings) as client:
        pipeline = client.pipeline(transaction=False)
        for number in range(500):
            pipeline.execute_command("SELECT", number)
            pipeline.mset({f"t{number}:{key}": 1 for key in range(5)})
        pipeline.execute()
        yield server


def fleet_of(server, numbers, **settings):
    return DatabaseRouter({f"t{number}": RedisDatabase(**server.settings, db=number, **settings) for number in numbers})


class Counted:
    """The commands that a server got meanwhile."""

    def __init__(self, server):
        self._server = server

    def __enter__(self):
        with redis.Redis(**self._server.settings) as client:
            client.config_resetstat()
        return self

    def __exit__(self, *_):
        with redis.Redis(**self._server.settings) as client:
            commands = client.info("commandstats")
            self.connections = client.info("stats")["total_connections_received"] - 1
        self.scans = commands.get("cmdstat_scan", {"calls": 0})["calls"]


async def test_many_small_databases_take_few_connections_and_round_trips(wide, call, client_name):
    router = fleet_of(wide, range(500), client_name=client_name)
    with Counted(wide) as asked, count_commands() as counted:
        found, scan = await run_scan(router, call)
    assert sorted(found) == sorted((f"t{n}", f"t{n}:{key}") for n in range(500) for key in range(5))
    assert {outcome.value for outcome in scan.outcomes.values()} == {5}
    assert asked.scans == 500
    assert asked.connections <= 8
    assert counted.trips <= 8
    router.close()


async def test_connections_are_borrowed_from_the_pool_and_released(wide, call, client_name):
    router = fleet_of(wide, range(20), client_name=client_name)
    for _ in range(3):
        assert len(await call.list(call.form(router, "scan_keys")())) == 100
    assert len(open_connections(wide, client_name)) == 1
    for n in range(20):
        assert await call.result(call.client(router.database_for(f"t{n}")).get(f"t{n}:0")) == "1"
    assert len(open_connections(wide, client_name)) == 1
    await router.aclose()


async def test_large_databases_are_spread_over_connections(flushed_server, call, client_name):
    router = fleet_of(flushed_server, range(12), client_name=client_name)
    expected = set()
    for number in range(12):
        keys = [f"t{number}:{key}" for key in range(3000 if number < 4 else 3)]
        router.database_for(f"t{number}").connection.mset(dict.fromkeys(keys, 1))
        expected |= {(f"t{number}", key) for key in keys}
    router.close()
    most = []
    watching = itertools.count()

    def watch(_):
        if next(watching) % 400 == 0:
            most.append(len(open_connections(flushed_server, client_name)))

    found, scan = await run_scan(router, call, between=watch, count=100)
    assert set(found) == expected
    assert 2 <= max(most) <= 8
    assert all(outcome.ok for outcome in scan.outcomes.values())
    router.close()


@pytest.mark.parametrize("match", [None, "a*", "*:9", "[ab]:?", "a:[!0-5]", "[a-é]:1"], ids=ascii)
async def test_tenants_that_share_a_database_are_scanned_in_one_pass(flushed_server, call, match):
    names = ["acme:", "acme2:", "a*b:", "zeta:", "zèta:"]
    databases = {
        f"t{n}": RedisDatabase(**flushed_server.settings, db=1, key_prefix=name) for n, name in enumerate(names)
    }
    router = DatabaseRouter(databases)
    with redis.Redis(**flushed_server.settings, db=1) as client:
        client.mset({f"{name}{kind}:{key}": 1 for name in names for kind in "abc" for key in range(50)})
        client.mset({"acme": 1, "acme3:a:1": 1, "aXb:a:1": 1, "": 1, "zeta:": 1, "acme:acme2:a:9": 1})
        alone = set()
        for tenant in databases:
            alone |= {(tenant, key) for key in router.database_for(tenant).scan_keys(match)}
    with Counted(flushed_server) as asked:
        found, scan = await run_scan(router, call, match=match, count=100)
    assert set(found) == alone
    assert sum(outcome.value for outcome in scan.outcomes.values()) == len(found)
    if match != "[a-é]:1":  # which only a server can tell
        assert asked.scans <= 2 + (5 * 150 + 6) // 100
    some, _ = await run_scan(router, call, match=match, tenants=["t0", "t3"])
    assert set(some) == {(tenant, key) for tenant, key in alone if tenant in {"t0", "t3"}}
    router.close()


async def test_a_thousand_tenants_of_one_database_are_scanned(flushed_server, call):
    router = DatabaseRouter(
        {f"t{n}": RedisDatabase(**flushed_server.settings, key_prefix=f"{n}:") for n in range(1000)}
    )
    router.database_for("t1").connection.mset({f"{n}:{key}": 1 for n in range(1000) for key in range(4)})
    with Counted(flushed_server) as asked:
        found, _ = await run_scan(router, call)
    assert set(found) == {(f"t{n}", str(key)) for n in range(1000) for key in range(4)}
    assert asked.scans <= 10
    router.close()


async def test_database_out_of_range_fails_alone_without_keys_of_others(wide, call):
    router = fleet_of(wide, [1, 2, 600, 3, 700, 4])
    found, scan = await run_scan(router, call, on_error="collect")
    assert sorted(found) == sorted((f"t{n}", f"t{n}:{key}") for n in (1, 2, 3, 4) for key in range(5))
    assert {tenant for tenant, outcome in scan.outcomes.items() if not outcome.ok} == {"t600", "t700"}
    assert "out of range" in str(scan.outcomes["t600"].error)
    assert isinstance(scan.outcomes["t600"].error, redis.ResponseError)
    router.close()


async def test_users_without_info_or_select_are_served(flushed_server, call):
    with redis.Redis(**flushed_server.settings) as admin:
        admin.acl_setuser(
            "least", enabled=True, passwords=["+x"], keys=["*"], commands=["+scan", "+select", "+ping"], reset=True
        )
        admin.acl_setuser("still", enabled=True, passwords=["+x"], keys=["*"], commands=["+scan"], reset=True)
        for number in range(4):
            admin.execute_command("SELECT", number)
            admin.mset({f"t{number}:{key}": 1 for key in range(2500)})
        router = fleet_of(flushed_server, range(4), username="least", password="x")
        found, scan = await run_scan(router, call, count=100)
        assert set(found) == {(f"t{n}", f"t{n}:{key}") for n in range(4) for key in range(2500)}
        assert {outcome.restarts for outcome in scan.outcomes.values()} == {0}
        router.close()
        router = fleet_of(flushed_server, range(3), username="still", password="x")
        found, scan = await run_scan(router, call, count=1000, on_error="collect")
        assert set(found) == {("t0", f"t0:{key}") for key in range(2500)}
        assert isinstance(scan.outcomes["t1"].error, redis.exceptions.NoPermissionError)
        router.close()
        admin.acl_deluser("least", "still")


def lasting(tmp_path):
    return EmbeddedServer(data_dir=tmp_path, options={"appendonly": True, "appendfsync": "always"})


def filled(server, tenants=2, keys=2500):
    with redis.Redis(**server.settings) as client:
        for number in range(tenants):
            client.execute_command("SELECT", number)
            client.mset({f"t{number}:{key}": 1 for key in range(keys)})
    return {(f"t{number}", f"t{number}:{key}") for number in range(tenants) for key in range(keys)}


def once(after, action, tenants=()):
    """Return a function that calls ``action`` once, after so many items and a key of each of these tenants."""
    state = []

    def between(found):
        if len(found) >= after and not state and {tenant for tenant, _ in found}.issuperset(tenants):
            state.append(1)
            action()

    return between


async def test_restarted_server_is_scanned_again(tmp_path, call):
    structlog.configure()
    with lasting(tmp_path) as server, capture_logs() as events:
        expected = filled(server)
        router = fleet_of(server, range(2), breaker=None)
        found, scan = await run_scan(router, call, count=20, between=once(1500, server.restart), on_error="collect")
        assert set(found) == expected
        assert all(outcome.ok for outcome in scan.outcomes.values())
        assert sum(outcome.restarts for outcome in scan.outcomes.values()) >= 1
        reasons = [event["reason"] for event in events if event["event"] == "scan_restarted"]
        assert reasons
        assert set(reasons) == {"run id"}
        router.close()


async def test_unique_scan_repeats_no_key_after_a_restart(tmp_path, call):
    with lasting(tmp_path) as server:
        expected = filled(server)
        router = fleet_of(server, range(2), breaker=None)
        found, scan = await run_scan(router, call, count=20, between=once(1500, server.restart), unique=True)
        assert sorted(found) == sorted(expected)
        assert scan.exact
        assert {outcome.value for outcome in scan.outcomes.values()} == {2500}
        router.close()


async def test_lost_connection_to_the_same_server_continues_the_scan(flushed_server, call):
    structlog.configure()
    expected = filled(flushed_server)
    with ChaosProxy(flushed_server.host, flushed_server.port) as proxy, capture_logs() as events:
        router = DatabaseRouter({f"t{n}": RedisDatabase(host="127.0.0.1", port=proxy.port, db=n) for n in range(2)})
        found, scan = await run_scan(router, call, count=20, between=once(1500, proxy.reset))
        assert set(found) == expected
        assert len(found) < len(expected) + 1000  # it continued at its cursor
        assert {outcome.restarts for outcome in scan.outcomes.values()} == {0}
        assert not [event for event in events if event["event"] == "scan_restarted"]
        router.close()


async def test_server_that_does_not_come_back_interrupts_its_tenants(flushed_server, tmp_path, call):
    with lasting(tmp_path) as dying:
        filled(dying)
        expected = filled(flushed_server)
        databases = {f"dying{n}": RedisDatabase(**dying.settings, db=n, **IMPATIENT) for n in range(2)}
        databases |= {f"t{n}": RedisDatabase(**flushed_server.settings, db=n) for n in range(2)}
        router = DatabaseRouter(databases)
        kill = once(20, dying.kill, ("dying0", "dying1"))  # while their scans are in progress
        found, scan = await run_scan(router, call, count=20, between=kill, on_error="collect")
        assert {item for item in found if item[0].startswith("t")} == expected
        for tenant in ("dying0", "dying1"):
            outcome = scan.outcomes[tenant]
            assert outcome.interrupted
            assert not outcome.ok
            assert isinstance(outcome.error, ScanInterruptedError)
            assert isinstance(outcome.error, redis.ConnectionError)
            assert isinstance(outcome.error, LimpydException)
            assert outcome.error.tenant == tenant
            again = pickle.loads(pickle.dumps(outcome.error))
            assert (type(again), str(again)) == (ScanInterruptedError, str(outcome.error))
        assert not scan.outcomes["t0"].interrupted
        router.close()


async def test_change_of_role_restarts_the_scan(flushed_server, call):
    structlog.configure()
    with EmbeddedServer() as server:
        filled(server, tenants=1)
        expected = filled(flushed_server, tenants=1, keys=3000)
        router = fleet_of(server, [0])

        def demote():
            with redis.Redis(**server.settings) as client:
                client.replicaof(flushed_server.host, flushed_server.port)
                ends = time.monotonic() + 10
                while client.info("replication")["master_link_status"] != "up" and time.monotonic() < ends:
                    time.sleep(0.01)

        with capture_logs() as events:
            found, scan = await run_scan(router, call, count=20, between=once(800, demote), on_error="collect")
        assert set(found) >= expected
        assert scan.outcomes["t0"].ok
        assert scan.outcomes["t0"].restarts >= 1
        assert "role" in [event["reason"] for event in events if event["event"] == "scan_restarted"]
        router.close()


async def test_server_that_changes_too_often_interrupts_its_tenants(tmp_path, call):
    with lasting(tmp_path) as server:
        filled(server, tenants=1, keys=5000)
        # However long a start takes, a scan that finds no server waits for it.
        router = fleet_of(server, [0], breaker=None, retry=Retry(ConstantBackoff(0.02), 400))
        last = [0]

        def between(found):
            if len(found) - last[0] > 1200:
                last[0] = len(found)
                server.restart()

        _, scan = await run_scan(router, call, count=10, between=between, on_error="collect")
        outcome = scan.outcomes["t0"]
        assert outcome.interrupted
        assert outcome.restarts == 3
        assert "changed 4 times" in str(outcome.error)
        router.close()


async def test_tenants_of_one_request_have_the_same_duration(flushed_server, call):
    filled(flushed_server, tenants=10, keys=3)
    with ChaosProxy(flushed_server.host, flushed_server.port) as proxy:
        proxy.disturb(latency=0.05)
        router = DatabaseRouter({f"t{n}": RedisDatabase(host="127.0.0.1", port=proxy.port, db=n) for n in range(10)})
        _, scan = await run_scan(router, call, timeout=5)
        assert len({outcome.seconds for outcome in scan.outcomes.values()}) == 1
        assert all(0.1 <= outcome.seconds < 5 for outcome in scan.outcomes.values())
        router.close()


async def test_dead_server_costs_one_deadline_however_many_tenants_it_has(misbehaving, call):
    server = misbehaving(lambda peer, stop: stop.wait(10))
    router = DatabaseRouter({f"t{n}": RedisDatabase(host="127.0.0.1", port=server.port, db=n) for n in range(2000)})
    _, scan = await run_scan(router, call, timeout=0.3, on_error="collect")
    assert {type(outcome.error) for outcome in scan.outcomes.values()} == {redis.TimeoutError}
    assert server.accepted <= 8
    router.close()


async def test_tenant_removed_during_a_scan_fails_alone(flushed_server, call):
    filled(flushed_server, tenants=2)
    databases = {f"t{n}": RedisDatabase(**flushed_server.settings, db=0, key_prefix=f"t0:{n}") for n in (1, 2)}
    router = DatabaseRouter(databases)
    found, scan = await run_scan(
        router, call, count=20, between=once(300, lambda: router.remove("t1")), on_error="collect"
    )
    assert isinstance(scan.outcomes["t1"].error, UnknownTenantError)
    assert scan.outcomes["t2"].ok
    assert len({item for item in found if item[0] == "t2"}) == 1 + 10 + 100 + 500
    router.close()


async def test_slow_consumer_delays_further_requests(flushed_server, call):
    """The data read from servers is bounded by what the consumer has taken, not by their size."""
    filled(flushed_server, tenants=8, keys=4000)
    router = fleet_of(flushed_server, range(8))
    with redis.Redis(**flushed_server.settings) as client:
        client.config_resetstat()

        def asked():
            return client.info("commandstats").get("cmdstat_scan", {"calls": 0})["calls"]

        scan = call.form(router, "scan_pages")(count=10)
        await call.next(scan)
        looks = [asked()]

        def at_rest():
            time.sleep(0.02)
            looks.append(asked())
            return len(looks) > 10 and len(set(looks[-10:])) == 1

        await aeventually(at_rest)
        assert looks[-1] < 600  # of 3200
        await call(scan, "close")
    await router.aclose()


def test_scan_with_fewer_connections_than_it_could_use_is_complete(flushed_server, client_name):
    expected = filled(flushed_server, tenants=6)
    settings = {**flushed_server.settings, "client_name": client_name, "max_connections": 2}
    router = DatabaseRouter({f"t{n}": RedisDatabase(**settings, db=n) for n in range(6)})
    seen, most = set(), 0
    for number, item in enumerate(router.scan_keys(count=50)):
        seen.add(item)
        if number % 500 == 0:
            most = max(most, len(open_connections(flushed_server, client_name)))
    assert seen == expected
    assert most <= 2
    router.close()


def test_concurrent_scans_of_many_threads_are_complete(wide):
    router = fleet_of(wide, range(200))
    failures = []

    def scan():
        if len(set(router.scan_keys())) != 1000:
            failures.append(1)

    threads = [threading.Thread(target=scan) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    router.close()


@pytest.mark.parametrize("on_full", ["raise", "wait"])
async def test_exhausted_budget_fails_the_scan_without_hanging(flushed_server, call, on_full):
    filled(flushed_server, tenants=4)
    budget = Budget(per_server=1, per_tenant=1, on_full=on_full, timeout=0.1)
    router = DatabaseRouter({f"t{n}": RedisDatabase(**flushed_server.settings, db=n, budget=budget) for n in range(4)})
    found, scan = await run_scan(router, call, count=50)
    assert len(set(found)) == 4 * 2500
    held = call.form(router.database_for("t0"), "scan_keys")(count=10)
    await call.next(held)
    _, scan = await run_scan(router, call, on_error="collect")
    assert {type(outcome.error) for outcome in scan.outcomes.values()} == {redis.exceptions.MaxConnectionsError}
    await call(held, "close")
    await router.aclose()


async def test_health_check_of_redis_py_does_not_disturb_a_scan(flushed_server, call):
    """The health check of redis-py, which is due at the next use, does not disturb the scan."""
    expected = filled(flushed_server, tenants=3, keys=50)
    router = fleet_of(flushed_server, range(3), health_check_interval=60)

    def due(pool):
        for connection in pool._available_connections:
            connection.next_health_check = 1e-9

    for _ in range(2):
        if not call.is_async:
            for n in (0, 1, 2, 0):
                router.database_for(f"t{n}").connection.get(
                    "x"
                )  # the connection changes tenants, and rests with MULTI pre-opened
            due(router.database_for("t0")._clients.server.pools()[0])
            assert set(router.scan_keys()) == expected
        else:
            for n in (0, 1, 2, 0):
                await router.database_for(f"t{n}").aconnection.get("x")
            due(router.database_for("t0")._clients.server.loop_pools().pool)
            assert {item async for item in router.ascan_keys()} == expected
    await router.aclose()


async def test_only_outcomes_of_finished_tenants_are_kept(wide, call):
    router = fleet_of(wide, range(500))
    async for _ in _each(call.form(router, "scan_keys")()):
        pass  # pools and connections exist from now on
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        scan = call.form(router, "scan_keys")()
        asked = tracemalloc.get_traced_memory()[0] - before
        async for _ in _each(scan):
            pass
        gc.collect()
        through = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(scan.outcomes) == 500
    assert asked / 500 < 450
    assert through / 500 < 300
    await router.aclose()


async def _each(scan):
    if hasattr(scan, "__aiter__"):
        async for item in scan:
            yield item
    else:
        for item in scan:
            yield item
