"""Resolvers are called for unknown ids, once for concurrent callers, and their results are cached."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from tenantlimpyd import current_tenant
from tenantlimpyd.context import frames
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import ConfigurationError, SharedKeyspaceError, UnknownTenantError
from tenantlimpyd.router import DatabaseRouter, registry
from tenantlimpyd.router.registry import UnknownIds
from tests.support.waiting import eventually

KNOWN = {"found": 1, "other": 2}


class Recorder:
    """Resolves the ids in KNOWN; counts how often it is asked."""

    def __init__(self):
        self.asked = []
        self.answer = self._database
        self.gate = None

    def _database(self, tenant):
        return RedisDatabase(host="192.0.2.1", db=KNOWN[tenant]) if tenant in KNOWN else None

    def find(self, tenant):
        self.asked.append(tenant)
        if self.gate is not None:
            assert self.gate.wait(5)
        return self.answer(tenant)

    async def afind(self, tenant):
        self.asked.append(tenant)
        await asyncio.sleep(0.01)
        return self.answer(tenant)


@pytest.fixture
def recorder():
    return Recorder()


def test_resolved_tenant_is_cached(recorder):
    router = DatabaseRouter({"given": RedisDatabase(host="192.0.2.1", db=9)}, resolver=recorder.find)
    assert "found" not in router
    database = router.database_for("found")
    assert database.keyspace.db == 1
    assert router.database_for("found") is database
    with router.use_tenant("found"):
        assert router.database is database
    router.database_for("given")
    assert recorder.asked == ["found"]
    assert router.tenants() == ("given", "found")


async def test_resolver_may_be_a_coroutine_function(recorder):
    router = DatabaseRouter(resolver=recorder.afind)
    async with router.use_tenant("found"):
        assert router.database.keyspace.db == 1
    assert await router.adatabase_for("found") is router.database_for("found")
    assert recorder.asked == ["found"]


async def test_sync_resolver_runs_in_a_thread_for_async_callers(recorder):
    threads = []
    recorder.answer = lambda tenant: threads.append(threading.current_thread()) or recorder._database(tenant)
    router = DatabaseRouter(resolver=recorder.find)
    async with router.use_tenant("found"):
        assert current_tenant() == "found"
    assert threads != [threading.current_thread()]


def test_async_resolver_is_refused_by_sync_callers(recorder):
    router = DatabaseRouter(resolver=recorder.afind)
    with pytest.raises(ConfigurationError, match="async with"):
        router.database_for("found")
    with pytest.raises(ConfigurationError), router.use_tenant("found"):
        pytest.fail("entered")
    assert recorder.asked == []


async def test_unknown_id_is_cached(recorder, call):
    router = DatabaseRouter(resolver=call.form(recorder, "find"))
    for _ in range(5):
        with pytest.raises(UnknownTenantError) as caught:
            async with router.use_tenant("nobody"):
                pytest.fail("entered")
        assert caught.value.tenant == "nobody"
    assert recorder.asked == ["nobody"]
    assert frames.get() is None
    assert len(router) == 0


def test_unknown_id_is_asked_again_after_a_while(recorder, monkeypatch):
    router = DatabaseRouter(resolver=recorder.find)
    with pytest.raises(UnknownTenantError):
        router.database_for("nobody")
    now = time.monotonic()
    monkeypatch.setattr(registry.time, "monotonic", lambda: now + 10.5)
    KNOWN_NOW = {**KNOWN, "nobody": 7}  # noqa: N806
    recorder.answer = lambda tenant: RedisDatabase(host="192.0.2.1", db=KNOWN_NOW[tenant])
    assert router.database_for("nobody").keyspace.db == 7


def test_unknown_id_that_is_added_is_known_at_once(recorder):
    router = DatabaseRouter(resolver=recorder.find)
    with pytest.raises(UnknownTenantError):
        router.database_for("nobody")
    router.add("nobody", RedisDatabase())
    assert router.database_for("nobody")
    router.remove("nobody")
    with pytest.raises(UnknownTenantError):
        router.database_for("nobody")
    assert recorder.asked == ["nobody", "nobody"]


def test_memory_of_unknown_ids_is_bounded():
    unknown = UnknownIds(60, most=3)
    for number in range(10):
        unknown.remember(str(number))
    assert [str(number) in unknown for number in range(10)] == [False] * 7 + [True] * 3
    unknown.remember("7")
    unknown.remember("new")
    assert "7" in unknown
    assert "8" not in unknown
    unknown.forget("7")
    assert "7" not in unknown
    unknown.forget("7")


@pytest.mark.parametrize("tenant", ["found", "nobody"])
def test_concurrent_threads_call_the_resolver_once(recorder, tenant):
    recorder.gate = threading.Event()
    router, got = DatabaseRouter(resolver=recorder.find), []

    def look_up():
        try:
            got.append(router.database_for(tenant))
        except UnknownTenantError as error:
            got.append(type(error))

    threads = [threading.Thread(target=look_up) for _ in range(10)]
    for thread in threads:
        thread.start()
    eventually(lambda: recorder.asked)
    recorder.gate.set()
    for thread in threads:
        thread.join(5)
    assert recorder.asked == [tenant]
    assert len(got) == 10
    assert len(set(got)) == 1
    assert router._resolving._asking == {}


@pytest.mark.parametrize("tenant", ["found", "nobody"])
async def test_concurrent_tasks_call_the_resolver_once(recorder, tenant):
    router = DatabaseRouter(resolver=recorder.afind)
    got = await asyncio.gather(*(router.adatabase_for(tenant) for _ in range(20)), return_exceptions=True)
    assert recorder.asked == [tenant]
    kinds = {type(each) for each in got}
    assert kinds == {RedisDatabase if tenant == "found" else UnknownTenantError}


async def test_cancelled_caller_does_not_cancel_the_resolution_of_others(recorder):
    router = DatabaseRouter(resolver=recorder.afind)
    first, second = (asyncio.create_task(router.adatabase_for("found")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).keyspace.db == 1
    with pytest.raises(asyncio.CancelledError):
        await first
    assert recorder.asked == ["found"]


async def test_error_of_a_resolver_propagates_and_is_not_cached(recorder, call):
    router = DatabaseRouter(resolver=call.form(recorder, "find"))

    def broken(_):
        raise ConnectionRefusedError("no registry")

    recorder.answer = broken
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError, match="no registry"):
            async with router.use_tenant("found"):
                pytest.fail("entered")
    assert recorder.asked == ["found", "found"]
    recorder.answer = recorder._database
    assert (await router.adatabase_for("found")).keyspace.db == 1
    assert frames.get() is None


@pytest.mark.parametrize("junk", ["redis://h", 5, {"host": "h"}, RedisDatabase, False], ids=repr)
async def test_resolver_that_returns_another_type_is_refused(recorder, call, junk):
    router = DatabaseRouter(resolver=call.form(recorder, "find"))
    recorder.answer = lambda _: junk
    with pytest.raises(ConfigurationError, match="needs a RedisDatabase"):
        await router.adatabase_for("found")
    assert len(router) == 0


def test_sync_resolver_that_returns_a_coroutine_is_refused(recorder):
    router = DatabaseRouter(resolver=lambda tenant: recorder.afind(tenant))  # noqa: PLW0108 - no coroutine function
    with pytest.raises(ConfigurationError, match="make it an async def"):
        router.database_for("found")


def test_resolver_must_be_callable():
    with pytest.raises(ConfigurationError, match="resolver must be a function"):
        DatabaseRouter(resolver={"found": RedisDatabase()})


@pytest.mark.invariant(6)
def test_resolved_databases_can_not_share_a_keyspace(recorder):
    router = DatabaseRouter({"given": RedisDatabase(host="192.0.2.1", db=1)}, resolver=recorder.find)
    with pytest.raises(SharedKeyspaceError):
        router.database_for("found")
    assert router.tenants() == ("given",)
    assert router.database_for("other").keyspace.db == 2
