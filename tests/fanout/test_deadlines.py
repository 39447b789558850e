"""Deadlines: servers that hang, dribble, refuse or hang up, and functions that never return."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tenantlimpyd.context import carry_tenant
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import FanOutError
from tenantlimpyd.router import DatabaseRouter
from tests.support.chaos_proxy import ChaosProxy
from tests.support.tls import Authority
from tests.support.waiting import aeventually

pytestmark = pytest.mark.slow

SOON = 3.0
"""Far more than the deadlines in here, far less than redis-py takes by itself."""


@pytest.fixture
def stopwatch():
    started = time.monotonic()
    yield
    assert time.monotonic() - started < SOON


def ping(database):
    return database.connection.ping()


def aping(database):
    return database.aconnection.ping()


@pytest.mark.usefixtures("stopwatch")
async def test_broken_servers_are_named_and_the_others_complete(broken, names_of_broken):
    arguments = {"on_error": "collect", "timeout": 1}
    both = await asyncio.gather(
        asyncio.to_thread(broken.fan_out, ping, **arguments), broken.afan_out(aping, **arguments)
    )
    for outcomes in both:
        assert {tenant for tenant, outcome in outcomes.items() if not outcome.ok} == names_of_broken
        assert all(outcome.value is True for outcome in outcomes.values() if outcome.ok)
        for tenant in names_of_broken:
            error = outcomes[tenant].error
            assert isinstance(error, redis.TimeoutError | redis.ConnectionError), (tenant, error)
            assert error.tenant == tenant
            assert outcomes[tenant].seconds < SOON
            assert "hunter2" not in str(error)
        assert "not finished within 1 s" in str(outcomes["hangs"].error)
        assert "not finished within 1 s" in str(outcomes["dribbles"].error)
        assert "connecting to 127.0.0.1:1" in str(outcomes["refuses"].error)
    await broken.aclose()


@pytest.mark.usefixtures("stopwatch")
async def test_scans_keep_their_deadline(broken, names_of_broken):
    scan = broken.scan_pages(on_error="collect", timeout=1)
    ascan = broken.ascan_pages(on_error="collect", timeout=1)
    both = await asyncio.gather(asyncio.to_thread(list, scan), _collected(ascan))
    for pages, outcomes in zip(both, (scan.outcomes, ascan.outcomes), strict=True):
        assert {tenant for tenant, _ in pages} == set(broken.tenants()) - names_of_broken
        assert {tenant for tenant, outcome in outcomes.items() if not outcome.ok} == names_of_broken
        assert "not finished within 1 s" in str(outcomes["hangs"].error)
    await broken.aclose()


async def _collected(scan):
    return [item async for item in scan]


@pytest.mark.usefixtures("stopwatch")
async def test_connections_to_hanging_servers_are_closed(misbehaving):
    def wait(peer, stop):
        while peer.recv(65536):
            pass

    server = misbehaving(wait)
    router = DatabaseRouter({"hangs": RedisDatabase(host="127.0.0.1", port=server.port)})
    for run in (
        lambda: asyncio.to_thread(router.fan_out, ping, timeout=0.2),
        lambda: router.afan_out(aping, timeout=0.2),
    ):
        with pytest.raises(FanOutError, match="hangs"):
            await run()
    assert server.accepted == 2
    await aeventually(lambda: server.ended == 2)


@pytest.mark.usefixtures("stopwatch")
def test_many_tenants_of_a_hanging_server_do_not_wait_for_one_another_forever(misbehaving):
    server = misbehaving(lambda peer, stop: stop.wait(10))
    router = DatabaseRouter(
        {f"t{number}": RedisDatabase(host="127.0.0.1", port=server.port, db=number) for number in range(16)}
    )
    outcomes = router.fan_out(ping, timeout=0.2, on_error="collect")
    assert {type(outcome.error) for outcome in outcomes.values()} == {redis.TimeoutError}
    assert server.accepted == 16


@pytest.mark.usefixtures("stopwatch")
@pytest.mark.parametrize("after", [0, 12])
def test_function_that_does_not_return_is_abandoned(fleet, after):
    """Also a function that starts late, when the caller already waits."""
    release, calls = threading.Event(), iter(range(100))

    def work(database):
        if database.settings.db >= after:
            release.wait(20)
        return next(calls)

    try:
        outcomes = fleet.fan_out(work, timeout=0.2, on_error="collect", tenants=[f"t{n}" for n in range(after + 3)])
    finally:
        release.set()
    assert [outcome.ok for outcome in outcomes.values()] == [True] * after + [False] * 3
    late = [outcome.error for outcome in outcomes.values() if not outcome.ok]
    assert all(isinstance(error, redis.TimeoutError) and "not finished within 0.2 s" in str(error) for error in late)


@pytest.mark.usefixtures("stopwatch")
async def test_coroutine_that_does_not_return_is_cancelled(fleet):
    cancelled = []

    async def work(database):
        try:
            await asyncio.sleep(30 if database.settings.db == 3 else 0)
        except asyncio.CancelledError:
            cancelled.append(database.settings.db)
            raise
        return True

    outcomes = await fleet.afan_out(work, timeout=0.2, on_error="collect")
    assert cancelled == [3]
    assert isinstance(outcomes["t3"].error, redis.TimeoutError)
    assert sum(outcome.ok for outcome in outcomes.values()) == 19


@pytest.mark.usefixtures("stopwatch")
def test_abandoned_function_sends_no_more_commands(fleet):
    proceed, refused = threading.Event(), threading.Event()

    def work(database):
        proceed.wait(20)
        try:
            database.connection.set("late", 1)
        except redis.TimeoutError:
            refused.set()
            raise

    outcomes = fleet.fan_out(work, timeout=0.2, tenants=["t1"], on_error="collect")
    assert isinstance(outcomes["t1"].error, redis.TimeoutError)
    proceed.set()
    assert refused.wait(5)
    assert fleet.database_for("t1").connection.exists("late") == 0


@pytest.mark.usefixtures("stopwatch")
def test_commands_of_a_function_share_the_deadline(fleet):
    def work(database):
        for _ in range(100):
            database.connection.blpop("nothing", 0.05)

    outcomes = fleet.fan_out(work, timeout=0.15, tenants=["t1"], on_error="collect")
    assert isinstance(outcomes["t1"].error, redis.TimeoutError)
    assert fleet.database_for("t1").connection.ping()


def test_deadline_of_a_fan_out_ends_with_it(fleet):
    fleet.fan_out(ping, timeout=0.2)
    pool = fleet.database_for("t1").connection.connection_pool
    assert pool._available_connections
    for connection in pool._available_connections:
        assert connection.socket_timeout == connection.socket_connect_timeout or connection.socket_timeout is None
    assert fleet.database_for("t1").connection.blpop("nothing", 0.25) is None


@pytest.mark.usefixtures("stopwatch")
def test_leaving_a_scan_wakes_threads_that_wait_for_a_server(broken, no_thread_is_left):
    scan = broken.scan_keys()  # no deadline but 10 s for each answer
    next(scan)
    scan.close()
    assert no_thread_is_left() == []


@pytest.mark.usefixtures("stopwatch")
async def test_leaving_an_async_scan_cancels_tasks_that_wait_for_a_server(broken):
    async with broken.ascan_keys() as scan:
        await anext(scan)
    assert len(asyncio.all_tasks()) == 1
    await broken.aclose()


@pytest.mark.usefixtures("stopwatch")
async def test_server_that_becomes_silent_within_a_reply_fails_by_the_deadline(flushed_server, call):
    with redis.Redis(**flushed_server.settings) as client:
        client.mset({f"key:{number}": 1 for number in range(5000)})
    with ChaosProxy(flushed_server.host, flushed_server.port) as proxy:
        router = DatabaseRouter({"t": RedisDatabase(host="127.0.0.1", port=proxy.port, retry=Retry(NoBackoff(), 0))})
        seen = 0
        scan = call.form(router, "scan_pages")(timeout=0.4, on_error="collect", count=100)
        async for _ in call.each(scan):
            seen += 1
            if seen == 3:
                proxy.swallow()
        error = scan.outcomes["t"].error
        assert isinstance(error, redis.TimeoutError), error
        proxy.heal()
        assert len(set(router.scan_keys())) == 5000
        await router.aclose()


@pytest.mark.usefixtures("stopwatch")
async def test_deadlines_hold_over_tls(tmp_path, flushed_server, call):
    authority = Authority(tmp_path)
    with ChaosProxy(flushed_server.host, flushed_server.port, authority.server_context()) as proxy:
        router = DatabaseRouter({"t": RedisDatabase(host="127.0.0.1", port=proxy.port, **authority.client_settings)})
        arguments = {"timeout": 2.0, "on_error": "collect"}

        async def run():
            return await call(router, "fan_out", lambda database: call.client(database).ping(), **arguments)

        assert (await run())["t"].value is True
        proxy.swallow()
        arguments["timeout"] = 0.1
        assert isinstance((await run())["t"].error, redis.TimeoutError)
        proxy.heal()
        arguments["timeout"] = 2.0
        assert (await run())["t"].value is True
        await router.aclose()


@pytest.mark.usefixtures("stopwatch")
def test_deadlines_hold_on_unix_sockets(flushed_server):
    router = DatabaseRouter({"t": RedisDatabase(unix_socket_path=flushed_server.unix_socket, db=1)})
    assert router.fan_out(ping, timeout=0.3)["t"].value is True
    outcomes = router.fan_out(
        lambda database: database.connection.blpop("nothing", 20), timeout=0.1, on_error="collect"
    )
    assert isinstance(outcomes["t"].error, redis.TimeoutError)
    assert router.fan_out(ping, timeout=0.3)["t"].value is True
    router.close()


@pytest.mark.usefixtures("stopwatch")
async def test_coroutine_that_suppresses_a_cancellation_is_cancelled_again(fleet):
    suppressed = []

    async def work(_):
        while len(suppressed) < 3:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                suppressed.append(1)
        await asyncio.sleep(30)

    outcomes = await fleet.afan_out(work, timeout=0.1, tenants=["t1"], on_error="collect")
    assert isinstance(outcomes["t1"].error, redis.TimeoutError)
    suppressed.clear()
    task = asyncio.create_task(fleet.afan_out(work, tenants=["t1"]))
    await aeventually(lambda: len(asyncio.all_tasks()) == 4)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(asyncio.all_tasks()) == 1
    assert asyncio.current_task().cancelling() == 0


def test_work_passed_to_another_thread_does_not_inherit_the_deadline(fleet):
    """Work that a fan-out function passes to another thread is not bound by the fan-out."""
    answers = []

    def later(database):
        time.sleep(0.5)
        answers.append(database.connection.ping())

    threads = []

    def hand_on(database):
        threads.append(threading.Thread(target=carry_tenant(later), args=(database,)))
        threads[-1].start()

    fleet.fan_out(hand_on, tenants=["t1"], timeout=0.3)
    threads[0].join(5)
    assert answers == [True]


def test_hanging_server_leaves_workers_for_the_others(fleet, misbehaving, flushed_server):
    silent = misbehaving(lambda peer, stop: stop.wait(5))
    for number in range(8):
        fleet.add(f"hung{number}", RedisDatabase(host="127.0.0.1", port=silent.port, db=number))
    finished = {}
    started = time.monotonic()
    for tenant, _ in (scan := fleet.scan_keys(concurrency=4, timeout=1, on_error="collect")):
        finished.setdefault(tenant, time.monotonic() - started)
    assert len([tenant for tenant in scan.outcomes if tenant.startswith("t")]) == 20
    assert max(finished.values()) < 0.9  # before the first deadline of the hung ones
