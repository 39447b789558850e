"""The connection budget: limits, the order of waiting callers, and what happens at the limit."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
import redis

from tenantlimpyd import Budget, DatabaseRouter, PoolStats
from tenantlimpyd._connections.deadline import Deadline
from tenantlimpyd._fanout.multiplex.lease import Lease
from tenantlimpyd.exceptions import ConfigurationError
from tests.support.waiting import aeventually, eventually, open_connections

pytestmark = pytest.mark.slow

Full = redis.exceptions.MaxConnectionsError


def held(database):
    """Check a connection out; return a function that releases it."""
    pool = database.connection.connection_pool
    connection = pool.get_connection()
    return lambda: pool.release(connection)


async def aheld(database):
    pool = database.aconnection.connection_pool
    connection = await pool.get_connection()
    return lambda: pool.release(connection)


def test_all_wrong_numbers_are_reported_at_once():
    with pytest.raises(ConfigurationError) as caught:
        Budget(per_server=0, total=True, per_tenant=-1, idle=0, timeout="soon", on_full="panic")
    assert len(caught.value.problems) == 6
    assert all(problem.startswith("budget: ") for problem in caught.value.problems)
    assert Budget(per_tenant=None, idle=None).share(64) == 48


@pytest.mark.parametrize("wrong", [5, "wait", {"total": 5}])
def test_budget_argument_must_be_a_budget(opened, wrong):
    with pytest.raises(ConfigurationError, match=r"tenantlimpyd\.Budget"):
        opened(budget=wrong)
    with pytest.raises(ConfigurationError, match=r"tenantlimpyd\.Budget"):
        DatabaseRouter(budget=wrong)


def test_full_budget_raises_at_once_if_on_full_is_raise(opened):
    budget = Budget(per_server=2, per_tenant=2, on_full="raise")
    one, other = opened(db=1, budget=budget), opened(db=2, budget=budget)
    back = [held(one), held(one)]
    started = time.monotonic()
    with pytest.raises(Full, match=r"all 2 connections to 127\.0\.0\.1:\d+ are in use") as caught:
        other.connection.ping()
    assert isinstance(caught.value, redis.ConnectionError)
    assert time.monotonic() - started < 1
    back.pop()()
    assert other.connection.ping()
    back.pop()()


async def test_error_after_waiting_says_how_long(opened):
    budget = Budget(per_server=1, timeout=0.15)
    one, other = opened(db=1, budget=budget), opened(db=2, budget=budget)
    back = held(one)
    for ask in (lambda: asyncio.to_thread(other.connection.ping), other.aconnection.ping):
        with pytest.raises(Full, match=r"none was returned within 0\.\d+ s"):
            await ask()
    assert one.server.pool_stats() == PoolStats(open=1, idle=0, in_use=1, waiting=0, dedicated=0)
    back()
    assert await other.aconnection.ping()
    await other.aclose()


async def test_sync_and_async_callers_are_served_in_order(opened):
    budget = Budget(per_server=1, timeout=10)
    databases = [opened(db=db, budget=budget) for db in range(1, 7)]
    server, order = databases[0].server, []
    back = held(databases[0])
    asked = []
    for number, database in enumerate(databases):

        def ask(database=database, number=number):
            free = held(database)
            order.append(number)
            free()

        async def ask_async(database=database, number=number):
            free = await aheld(database)
            order.append(number)
            await free()

        asked.append(asyncio.create_task(ask_async() if number % 2 else asyncio.to_thread(ask)))
        await aeventually(lambda number=number: server.pool_stats().waiting == number + 1)
    back()
    await asyncio.wait_for(asyncio.gather(*asked), 10)
    assert order == list(range(6))
    assert (server.pool_stats().in_use, server.pool_stats().waiting) == (0, 0)
    assert server.pool_stats().open <= 1
    await databases[1].aclose()


async def test_one_tenant_can_not_use_all_connections(opened):
    budget = Budget(per_server=4, per_tenant=2, timeout=5)
    noisy, quiet = opened(db=1, budget=budget), opened(db=2, budget=budget)
    back = [held(noisy), held(noisy)]
    waiting = [asyncio.create_task(asyncio.to_thread(held, noisy)) for _ in range(5)]
    await aeventually(lambda: noisy.server.pool_stats().waiting == 5)
    assert quiet.connection.ping()  # past those that wait for their own tenant
    assert await quiet.aconnection.ping()
    for _ in range(7):
        back.pop(0)()
        if waiting:
            done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=5)
            back.extend(task.result() for task in done)
            waiting = list(rest)
    assert not waiting
    assert noisy.server.pool_stats().in_use == 0
    with pytest.raises(Full, match="this database uses its 2 connections"):
        strict = opened(db=1, budget=Budget(per_server=4, per_tenant=2, on_full="raise"))
        back = [held(strict), held(strict)]
        held(strict)
    for each in back:
        each()
    await quiet.aclose()


def test_total_limits_connections_of_all_servers(opened):
    budget = Budget(total=2, on_full="raise")
    one, other = opened(db=1, budget=budget), opened(db=1, budget=budget, socket_timeout=9)
    assert one.server is not other.server
    back = [held(one), held(other)]
    with pytest.raises(Full, match="all 2 connections of the budget"):
        one.connection.ping()
    back.pop()()
    assert one.connection.ping()  # the idle connection of the other server was closed for it
    assert (one.server.pool_stats().open, other.server.pool_stats().open) == (2, 0)
    back.pop()()


async def test_idle_sync_connections_are_closed_for_async_ones_and_vice_versa(opened, flushed_server, client_name):
    budget = Budget(per_server=2, per_tenant=2, on_full="raise")
    database = opened(db=1, budget=budget)
    for free in [await aheld(database), await aheld(database)]:
        await free()
    back = [held(database), held(database)]
    await aeventually(lambda: len(open_connections(flushed_server, client_name)) == 2)
    for each in back:
        each()
    assert await database.aconnection.ping()
    assert len(open_connections(flushed_server, client_name)) == 2
    assert database.server.pool_stats().open == 2
    await database.aclose()


async def test_idle_connections_are_closed_after_the_idle_time(opened, flushed_server, client_name):
    budget = Budget(idle=0.05)
    database, other = opened(db=1, budget=budget), opened(db=1, budget=budget, socket_timeout=9, client_name="x")
    for free in [held(database) for _ in range(3)]:
        free()
    await database.aconnection.ping()
    assert len(open_connections(flushed_server, client_name)) == 4

    def few():
        other.connection.ping()  # anything that happens under the budget
        return len(open_connections(flushed_server, client_name)) == 0

    await aeventually(few)
    assert database.server.pool_stats() == PoolStats()
    await database.aclose()


def test_idle_connections_are_closed_on_demand(opened, flushed_server, client_name):
    database = opened(db=1, budget=Budget())
    for free in [held(database) for _ in range(3)]:
        free()
    assert database.server.trim(60) == 0
    assert database.server.trim(0) == 3
    assert open_connections(flushed_server, client_name) == []
    assert database.connection.ping()


async def test_cancelled_waiter_loses_no_permit(opened):
    budget = Budget(per_server=1, timeout=10)
    database = opened(db=1, budget=budget)
    for steps in range(8):
        back = await aheld(database)
        task = asyncio.create_task(database.aconnection.ping())
        await aeventually(lambda: database.server.pool_stats().waiting == 1)
        asyncio.get_running_loop().call_soon(task.cancel) if steps % 2 else None
        await back()
        for _ in range(steps // 2):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        pool_stats = database.server.pool_stats()
        assert (pool_stats.in_use, pool_stats.waiting) == (0, 0)
        assert await asyncio.wait_for(database.aconnection.ping(), 5)
    await database.aclose()


def test_deadline_ends_the_wait_for_a_permit(opened):
    database = opened(db=1, budget=Budget(per_server=1, timeout=30))
    back = held(database)
    started = time.monotonic()
    with Deadline(0.1).applied(), pytest.raises(redis.TimeoutError, match="no time left"):
        database.connection.ping()
    assert time.monotonic() - started < 5
    limit, failed = Deadline(None), []

    def ask():
        with limit.applied():
            try:
                database.connection.ping()
            except redis.TimeoutError as error:
                failed.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    eventually(lambda: database.server.pool_stats().waiting == 1)
    limit.cancel()
    thread.join(5)
    assert failed == ["cancelled"]
    assert database.server.pool_stats().waiting == 0
    back()


async def test_failed_connection_attempt_keeps_no_permit(opened):
    budget = Budget(per_server=2)
    dead = opened(host="127.0.0.1", port=1, budget=budget, retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0))
    for _ in range(5):
        with pytest.raises(redis.ConnectionError, match=r"Error 111|refused"):
            dead.connection.ping()
        with pytest.raises(redis.ConnectionError, match=r"Error 111|refused"):
            await dead.aconnection.ping()
    assert dead.server.pool_stats() == PoolStats()


def test_lower_max_connections_of_the_settings_applies(opened):
    database = opened(db=1, max_connections=2, budget=Budget(per_tenant=9, on_full="raise"))
    back = [held(database), held(database)]
    with pytest.raises(Full, match="all 2"):
        database.connection.ping()
    for each in back:
        each()


def test_blocking_commands_use_dedicated_connections(opened):
    database = opened(db=1, budget=Budget(per_server=1, dedicated=1, per_tenant=1, on_full="raise"))
    back = held(database)
    assert database.connection.blpop("none", 0.01) is None
    back()
    with database.connection.pubsub() as subscriber:
        subscriber.subscribe("x")
        with pytest.raises(Full):
            database.connection.blpop("none", 0.01)


async def test_databases_get_the_budget_of_their_router(opened):
    budget, own = Budget(per_server=3), Budget()
    databases = {"a": opened(db=1), "b": opened(db=2), "c": opened(db=3, budget=own)}
    databases["a"].connection.ping()  # before it is a tenant's
    router = DatabaseRouter(databases, budget=budget)
    assert router.pool_stats() == {}
    for tenant in "abc":
        router.database_for(tenant).connection.ping()
        await router.database_for(tenant).aconnection.ping()
    a, b, c = (database.server for database in databases.values())
    assert a is b
    assert a.budget_limiter.budget is budget
    assert c.budget_limiter.budget is own
    assert router.pool_stats() == {a.name: PoolStats(open=4, idle=4)}
    await router.aclose()
    assert router.pool_stats() == {}


def test_many_threads_and_databases_use_few_connections(opened, flushed_server, client_name):
    budget = Budget(per_server=8)
    databases = [opened(db=db, budget=budget) for db in range(60)]
    wrong: list[int] = []
    peak: list[int] = []

    def work(number):
        for step in range(30):
            database = databases[(number * 7 + step) % 60]
            text = str(database.settings.db)
            database.connection.set("k", text)
            if database.connection.get("k") != text:
                wrong.append(number)
        peak.append(len(open_connections(flushed_server, client_name)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    assert len(peak) == 64
    assert max(peak) <= 8


async def test_many_tasks_and_databases_use_few_connections(opened, flushed_server, client_name):
    budget = Budget(per_server=8)
    databases = [opened(db=db, budget=budget) for db in range(60)]

    async def work(number):
        for step in range(20):
            database = databases[(number * 7 + step) % 60]
            text = str(database.settings.db)
            await database.aconnection.set("k", text)
            assert await database.aconnection.get("k") == text

    await asyncio.gather(*map(work, range(64)))
    assert len(open_connections(flushed_server, client_name)) <= 8
    for database in databases:
        await database.aclose()
    assert open_connections(flushed_server, client_name) == []


@pytest.mark.parametrize("step", ["before", "after"])
def test_interrupt_during_release_loses_no_permit(opened, monkeypatch, step):
    """Raise as a signal handler may, while the connection is being closed."""
    database = opened(db=1, budget=Budget(per_server=1, on_full="raise"))
    pool = database.server.pools()[0]
    connection = database.connection.connection_pool.get_connection()
    close = type(connection).disconnect

    def interrupted(self, *arguments, **options):
        if step == "after":
            close(self, *arguments, **options)
        monkeypatch.undo()
        raise KeyboardInterrupt

    connection.altered = True  # so that it is closed
    monkeypatch.setattr(type(connection), "disconnect", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pool.release(connection)
    assert database.server.pool_stats().open == 0
    assert database.connection.ping()
    connection.disconnect()


def test_lease_is_released_once(opened):
    """After an interrupt, the connection may already have another borrower."""
    database = opened(db=1, budget=Budget(per_server=1, on_full="raise"))
    lease = Lease(database.server)
    lease.connect()
    connection = lease.connection
    lease.give_back(1)
    again = database.connection.connection_pool.get_connection()
    assert again is connection
    lease.connection = connection  # the interrupt came before this was forgotten
    lease.give_back(None)
    assert connection.is_connected
    assert database.server.pool_stats().in_use == 1
    database.connection.connection_pool.release(again)
    assert database.server.pool_stats().idle == 1
