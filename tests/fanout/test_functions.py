"""fan_out and afan_out: one function, called for every tenant."""

from __future__ import annotations

import asyncio
import contextvars
import pickle
import sys
import threading
import time

import pytest
import redis

from tenantlimpyd import current_tenant
from tenantlimpyd._fanout.outcomes import Outcome
from tenantlimpyd.context import frames
from tenantlimpyd.exceptions import FanOutError, InvalidTenantError, LimpydException, UnknownTenantError
from tenantlimpyd.router import DatabaseRouter

pytestmark = pytest.mark.slow

word = contextvars.ContextVar("word", default="unset")


class TwoError(Exception):
    """An exception that copies can't be made of."""

    def __init__(self, one, two):
        super().__init__(one)


SHARED = ValueError("the same object each time")


def odd_fails(database):
    if database.settings.db % 2:
        raise ValueError(f"db {database.settings.db}")
    return database.connection.dbsize()


async def aodd_fails(database):
    if database.settings.db % 2:
        raise ValueError(f"db {database.settings.db}")
    return await database.aconnection.dbsize()


async def modes(router, function, afunction, **arguments):
    """Run both; return what came of each, a result or an exception."""
    results = []
    for run in (
        lambda: asyncio.to_thread(router.fan_out, function, **arguments),
        lambda: router.afan_out(afunction, **arguments),
    ):
        try:
            results.append(await run())
        except Exception as error:  # noqa: BLE001 - to be looked at
            results.append(error)
    await router.aclose()
    return results


async def test_outcomes_of_all_tenants_are_in_order(fleet):
    for outcomes in await modes(
        fleet, lambda database: database.connection.dbsize(), lambda database: database.aconnection.dbsize()
    ):
        assert list(outcomes) == list(fleet.tenants())
        assert all(isinstance(outcome, Outcome) and outcome.ok for outcome in outcomes.values())
        assert {outcome.value for outcome in outcomes.values()} == {3}
        assert all(outcome.error is None and 0 <= outcome.seconds < 10 for outcome in outcomes.values())


async def test_given_tenants_are_called_once_in_the_given_order(fleet):
    for outcomes in (
        fleet.fan_out(lambda _: current_tenant(), tenants=iter(["t3", "t1", "t3"])),
        await fleet.afan_out(_current, tenants=iter(["t3", "t1", "t3"])),
    ):
        assert [(tenant, outcome.value) for tenant, outcome in outcomes.items()] == [("t3", "t3"), ("t1", "t1")]


async def _current(_database):
    await asyncio.sleep(0)
    return current_tenant()


async def test_function_runs_with_its_tenant_and_the_context_of_the_caller(fleet):
    word.set("carried")
    with fleet.use_tenant("t5"):
        outcomes = await fleet.afan_out(_current)
        assert {tenant: outcome.value for tenant, outcome in outcomes.items()} == {t: t for t in fleet.tenants()}
        assert current_tenant() == "t5"
        seen = fleet.fan_out(
            lambda database: (current_tenant(), fleet.database is database, word.get(), word.set("changed") is not None)
        )
        assert {tenant: outcome.value for tenant, outcome in seen.items()} == {
            tenant: (tenant, True, "carried", True) for tenant in fleet.tenants()
        }
        assert (current_tenant(), word.get()) == ("t5", "carried")
    assert frames.get() is None
    await fleet.aclose()


async def test_defer_raises_after_all_tenants_finished(fleet):
    for error in await modes(fleet, odd_fails, aodd_fails):
        assert isinstance(error, FanOutError)
        assert isinstance(error, LimpydException)
        assert "10 of 20 tenants failed" in str(error)
        assert sorted(each.tenant for each in error.exceptions) == sorted(f"t{number}" for number in range(1, 20, 2))
        assert all(each.__notes__ == [f"tenant: {each.tenant}"] for each in error.exceptions)
        assert set(error.outcomes) == set(fleet.tenants())
        assert error.outcomes["t2"].value == 3
        assert error.outcomes["t3"].error in error.exceptions
        again = pickle.loads(pickle.dumps(error))
        assert [each.tenant for each in again.exceptions] == [each.tenant for each in error.exceptions]
        assert again.outcomes["t2"] == error.outcomes["t2"]
        caught = []
        try:
            raise error
        except* ValueError as group:
            caught = [each.tenant for each in group.exceptions]
        assert len(caught) == 10


async def test_collect_never_raises(fleet):
    for outcomes in await modes(fleet, odd_fails, aodd_fails, on_error="collect"):
        assert [outcome.ok for outcome in outcomes.values()] == [True, False] * 10
        assert outcomes["t1"].error.tenant == "t1"
        assert outcomes["t1"].value is None


async def test_raise_stops_at_the_first_failure(fleet):
    for error in await modes(fleet, odd_fails, aodd_fails, on_error="raise", concurrency=1):
        assert type(error) is ValueError
        assert error.tenant == "t1"
    ran = []

    async def alogged(database):
        ran.append(database)
        await aodd_fails(database)

    with pytest.raises(ValueError):
        fleet.fan_out(lambda database: ran.append(database) or odd_fails(database), on_error="raise", concurrency=1)
    assert len(ran) == 2, "the one that failed was the second, and the last to be begun"
    ran.clear()
    with pytest.raises(ValueError):
        await fleet.afan_out(alogged, on_error="raise", concurrency=1)
    assert len(ran) == 2
    await fleet.aclose()


async def test_exception_object_shared_by_tenants_names_each_tenant(fleet):
    def fail(_):
        raise SHARED

    async def afail(_):
        raise SHARED

    for outcomes in await modes(fleet, fail, afail, on_error="collect"):
        assert [outcome.error.tenant for outcome in outcomes.values()] == list(fleet.tenants())
        assert {type(outcome.error) for outcome in outcomes.values()} == {ValueError}


async def test_exceptions_that_can_not_be_copied_are_outcomes(fleet):
    shared = TwoError(1, 2)

    def fail(_):
        raise shared

    outcomes = fleet.fan_out(fail, on_error="collect")
    assert [outcome.error.tenant for outcome in outcomes.values()] == list(fleet.tenants())
    assert all("TwoError: 1" in str(outcome.error) or outcome.error is shared for outcome in outcomes.values())


async def test_system_exit_fails_one_tenant_only(fleet):
    class Odd(BaseException):
        pass

    def leave(database):
        if database.settings.db == 3:
            sys.exit(7)
        if database.settings.db == 4:
            raise Odd
        return 1

    async def aleave(database):
        await asyncio.sleep(0)
        if database.settings.db == 5:
            raise asyncio.CancelledError
        return leave(database)

    for number, outcomes in enumerate(await modes(fleet, leave, aleave, on_error="collect")):
        assert isinstance(outcomes["t3"].error, RuntimeError)
        assert "SystemExit" in str(outcomes["t3"].error)
        assert "Odd" in str(outcomes["t4"].error)
        assert sum(outcome.ok for outcome in outcomes.values()) == 18 - number


async def test_server_error_is_the_unchanged_outcome(fleet):
    for outcomes in await modes(
        fleet,
        lambda database: database.connection.execute_command("NONSENSE"),
        lambda database: database.aconnection.execute_command("NONSENSE"),
        on_error="collect",
        tenants=["t1"],
    ):
        assert isinstance(outcomes["t1"].error, redis.ResponseError)


async def test_fan_out_without_tenants_is_empty():
    router = DatabaseRouter()
    assert router.fan_out(odd_fails) == {}
    assert await router.afan_out(aodd_fails) == {}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"on_error": "ignore"}, ValueError),
        ({"on_error": None}, ValueError),
        ({"on_error": ["raise"]}, ValueError),
        ({"timeout": 0}, ValueError),
        ({"timeout": -1}, ValueError),
        ({"timeout": float("nan")}, ValueError),
        ({"timeout": "1"}, TypeError),
        ({"timeout": True}, TypeError),
        ({"concurrency": 0}, ValueError),
        ({"concurrency": 1.5}, TypeError),
        ({"concurrency": True}, TypeError),
        ({"tenants": "t1"}, TypeError),
        ({"tenants": b"t1"}, TypeError),
        ({"tenants": 5}, TypeError),
        ({"tenants": ["t1", "nobody"]}, UnknownTenantError),
        ({"tenants": ["t1", "*"]}, InvalidTenantError),
        ({"tenants": [None]}, InvalidTenantError),
    ],
    ids=repr,
)
async def test_wrong_arguments_are_errors_of_the_call(fleet, arguments, error):
    def never(_):
        pytest.fail("ran")

    with pytest.raises(error):
        fleet.fan_out(never, **arguments)
    with pytest.raises(error):
        await fleet.afan_out(never, **arguments)
    for scan in (fleet.scan_keys, fleet.scan_pages, fleet.ascan_keys, fleet.ascan_pages):
        with pytest.raises(error):
            scan(**arguments)


async def test_sync_function_is_refused_by_afan_out(fleet):
    with pytest.raises(TypeError, match="must return an awaitable"):
        await fleet.afan_out(lambda database: 5, on_error="collect")


class Gauge:
    """How many are inside at once."""

    def __init__(self):
        self.inside = self.most = 0
        self._lock = threading.Lock()

    def __enter__(self):
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)

    def __exit__(self, *_):
        with self._lock:
            self.inside -= 1


@pytest.mark.parametrize(("concurrency", "most"), [(1, 1), (3, 3), (32, 8)])
async def test_concurrency_is_bounded_overall_and_on_one_server(fleet, concurrency, most):
    in_threads, in_tasks = Gauge(), Gauge()

    def work(_):
        with in_threads:
            time.sleep(0.01)

    async def awork(_):
        with in_tasks:
            await asyncio.sleep(0.01)

    await modes(fleet, work, awork, concurrency=concurrency)
    assert in_tasks.most == most
    assert in_threads.most <= most
    assert in_threads.most > 1 or most == 1


def test_slow_server_delays_only_its_own_tenants(fleet, flushed_server):
    from tenantlimpyd.database import RedisDatabase

    for number in range(4):
        fleet.add(f"u{number}", RedisDatabase(unix_socket_path=flushed_server.unix_socket, db=40 + number))
    gate, ran = threading.Event(), []

    def work(database):
        if database.settings.server == flushed_server.unix_socket:
            ran.append(current_tenant())
            if len(ran) == 4:
                gate.set()
            return True
        return gate.wait(5)  # all eight workers of the first server are busy until the other one is done

    outcomes = fleet.fan_out(work, concurrency=10)
    assert all(outcome.value for outcome in outcomes.values())


async def test_cancelling_a_fan_out_cancels_its_tasks(fleet):
    ended = []
    started = asyncio.Semaphore(0)

    async def work(_):
        started.release()
        try:
            await asyncio.sleep(30)
        finally:
            ended.append(current_tenant())

    task = asyncio.create_task(fleet.afan_out(work))
    for _ in range(8):
        await started.acquire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(ended) == 8
    assert len(asyncio.all_tasks()) == 1


async def test_fan_out_inside_a_fan_out_works(fleet):
    outcomes = fleet.fan_out(
        lambda _: len(fleet.fan_out(lambda inner: inner.connection.ping(), tenants=["t1", "t2"])), tenants=["t3", "t4"]
    )
    assert [outcome.value for outcome in outcomes.values()] == [2, 2]
