"""The bounded cache of resolved tenants: eviction, invalidation, and tenants that stay usable."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import threading

import pytest

from tenantlimpyd import fields, model
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import (
    ConfigurationError,
    InvalidTenantError,
    SharedKeyspaceError,
    UnknownTenantError,
    WrongTenantError,
)
from tenantlimpyd.operations import Command
from tenantlimpyd.router import DatabaseRouter
from tests.support.waiting import aeventually, eventually


class Registry:
    """A registry of tenants that may change; counts how often it is called."""

    def __init__(self, server, *, is_async=False):
        self.server = server
        self.places = {f"t{number}": {"db": number} for number in range(1, 9)}
        self.asked = []
        self.resolver = self.afind if is_async else self.find

    def find(self, tenant):
        self.asked.append(tenant)
        place = self.places.get(tenant)
        return None if place is None else RedisDatabase(**{**self.server.settings, **place})

    async def afind(self, tenant):
        await asyncio.sleep(0)
        return self.find(tenant)


@pytest.fixture
def registry(flushed_server):
    return Registry(flushed_server)


def make(registry, **options):
    router = DatabaseRouter(resolver=registry.resolver, **options)

    class Note(model.RedisModel):
        database = router
        namespace = f"cache-{id(router)}"
        text = fields.StringField(indexable=True)

    return router, Note


def test_cache_keeps_the_tenants_used_last(registry):
    router, _ = make(registry, resolver_cache=2)
    for tenant in ("t1", "t2", "t1", "t3"):
        with router.use_tenant(tenant):
            assert router.database.keyspace.db == int(tenant[1])
    assert sorted(router.tenants()) == ["t1", "t3"]
    gc.collect()
    router.database_for("t2")
    assert registry.asked == ["t1", "t2", "t3", "t2"]
    assert len(router) == 2
    router.close()


def test_configured_and_added_tenants_are_not_evicted(registry):
    settings = registry.server.settings
    router = DatabaseRouter({"given": RedisDatabase(**settings, db=20)}, resolver=registry.resolver, resolver_cache=1)
    router.add("added", RedisDatabase(**settings, db=21))
    for tenant in ("t1", "t2", "t3"):
        router.database_for(tenant)
    assert sorted(router.tenants()) == ["added", "given", "t3"]


def test_evicted_tenant_closes_its_connections_when_their_commands_are_done(registry):
    router, _ = make(registry, resolver_cache=1)
    database = router.database_for("t1")
    assert database.connection.ping()
    pool = database._clients.client.connection_pool
    held = pool.get_connection()
    router.database_for("t2")
    held.send_command("PING")
    assert held.read_response() == "PONG"  # in flight: it finishes
    pool.release(held)
    assert not held.is_connected
    router.close()


@pytest.mark.parametrize("is_async", [False, True])
async def test_objects_and_scopes_of_an_evicted_tenant_remain_usable(flushed_server, is_async):
    registry = Registry(flushed_server, is_async=is_async)
    router, note = make(registry, resolver_cache=1)
    async with router.use_tenant("t1"):
        kept = await note.acreate(text="one")
        collection = note.collection(text="one")
        for other in ("t2", "t3"):
            await router.adatabase_for(other)
        assert "t1" not in router
        assert await kept.text.aget() == "one"
        assert kept.text.get() == "one"
        assert await note(kept.pk.get()).text.aget() == "one"  # made now, with a resolver that only awaits
        assert await collection.acount() == 1
    assert kept.text.get() == "one"
    async with router.use_tenant("t1"):  # is resolved again, unchanged
        assert router.database is kept._placement.database
        assert await kept.text.aget() == "one"
    assert registry.asked == ["t1", "t2", "t3"]
    async with router.use_tenant("t2"):
        with pytest.raises(WrongTenantError):
            kept.text.get()
    await router.aclose()


def test_keyspace_of_an_evicted_tenant_can_be_used_by_another(registry):
    router, note = make(registry, resolver_cache=1)
    with router.use_tenant("t1"):
        kept = note(text="one")
    router.database_for("t2")
    assert kept.text.get() == "one"
    router.add("another", RedisDatabase(**registry.server.settings, db=1))
    with pytest.raises(WrongTenantError, match="look it up again"):
        kept.text.get()
    with pytest.raises(SharedKeyspaceError), router.use_tenant("t1"):
        pytest.fail("entered")
    router.remove("another")
    with router.use_tenant("t1"):
        assert kept.text.get() == "one"
    router.close()


def test_scans_of_an_evicted_tenant_continue(registry):
    router, _ = make(registry, resolver_cache=1)
    database = router.database_for("t1")
    database.connection.mset({f"key:{number}": 1 for number in range(300)})
    found = database.scan_keys(count=10)
    first = next(found)
    router.database_for("t2")
    assert {first, *found} == {f"key:{number}" for number in range(300)}
    scan = router.scan_keys(tenants=["t3", "t4", "t1"])
    assert {tenant for tenant, _ in scan} == {"t1"}
    assert all(outcome.ok for outcome in scan.outcomes.values())
    router.close()


# Invalidation


@pytest.mark.parametrize("is_async", [False, True])
async def test_forgotten_tenant_is_resolved_again(flushed_server, is_async):
    registry = Registry(flushed_server, is_async=is_async)
    router, note = make(registry)
    async with router.use_tenant("t1"):
        kept = await note.acreate(text="one")
        assert router.forget("t1") is True
        assert await note(kept.pk.get()).text.aget() == "one"  # the entered scope stays usable
        registry.places["t1"] = {"db": 11}
    async with router.use_tenant("t1"):
        assert router.database.keyspace.db == 11
        with pytest.raises(WrongTenantError, match="another keyspace"):
            kept.text.get()
    assert registry.asked == ["t1", "t1"]
    assert router.forget("t2") is False
    with pytest.raises(InvalidTenantError):
        router.forget("*")
    await router.aclose()


def test_existing_objects_use_the_settings_resolved_last(registry):
    router, note = make(registry)
    with router.use_tenant("t1"):
        kept = note(text="one")
        before = router.database
    registry.places["t1"] = {"db": 1, "client_name": "renewed"}
    router.forget("t1")
    with router.use_tenant("t1"):
        assert router.database is not before
        assert kept.text.get() == "one"
        assert before.connection.client_getname() == "renewed"
        kept.text.set("two")
        assert note.get(text="two").pk.get() == kept.pk.get()
    router.close()


@pytest.mark.parametrize("is_async", [False, True])
async def test_forget_drops_a_cached_unknown_id(flushed_server, is_async):
    registry = Registry(flushed_server, is_async=is_async)
    router, _ = make(registry)
    with pytest.raises(UnknownTenantError):
        await router.adatabase_for("new")
    registry.places["new"] = {"db": 12}
    with pytest.raises(UnknownTenantError):
        await router.adatabase_for("new")
    assert router.forget("new") is False
    assert (await router.adatabase_for("new")).keyspace.db == 12


def test_result_resolved_before_forget_is_not_cached(registry):
    asked, go_on = threading.Event(), threading.Event()
    answer = registry.find

    def slow(tenant):
        database = answer(tenant)
        asked.set()
        assert go_on.wait(5)
        return database

    registry.resolver = slow
    router, _ = make(registry)
    found = []
    thread = threading.Thread(target=lambda: found.append(router.database_for("t1")))
    thread.start()
    assert asked.wait(5)
    registry.places["t1"] = {"db": 13}
    router.forget("t1")
    go_on.set()
    thread.join(5)
    assert found[0].keyspace.db == 13
    assert registry.asked == ["t1", "t1"]


def test_forgetting_an_evicted_tenant_resolves_it_again(registry):
    router, note = make(registry, resolver_cache=1)
    with router.use_tenant("t1"):
        kept = note(text="one")
    router.database_for("t2")
    router.forget("t1")
    registry.places["t1"] = {"db": 14}
    assert router.database_for("t1").keyspace.db == 14
    with pytest.raises(WrongTenantError):
        kept.text.get()


# Replacing


def test_replace_moves_a_tenant_to_another_database(registry):
    settings = registry.server.settings
    router, note = make(registry)
    old = RedisDatabase(**settings, db=1)
    router.add("acme", old)
    router.add("globex", RedisDatabase(**settings, db=2))
    with router.use_tenant("acme"):
        kept = note(text="one")
    with pytest.raises(SharedKeyspaceError):
        router.replace("acme", RedisDatabase(**settings, db=2))
    assert router.database_for("acme") is old
    same = RedisDatabase(**settings, db=1, client_name="renewed")
    assert router.replace("acme", same) is old
    with router.use_tenant("acme"):
        assert router.database is same
        assert kept.text.get() == "one"
        assert old.connection.client_getname() == "renewed"
    elsewhere = RedisDatabase(**settings, db=3)
    assert router.replace("acme", elsewhere) is same
    assert router.replace("acme", elsewhere) is elsewhere
    with router.use_tenant("acme"), pytest.raises(WrongTenantError):
        kept.text.get()
    router.add("initech", RedisDatabase(**settings, db=1))  # its old keyspace is free
    with pytest.raises(SharedKeyspaceError):
        elsewhere.connect(**settings, db=1)
    same.connect(**settings, db=4)  # belongs to no tenant now
    for wrong, error in ((None, ConfigurationError), (RedisDatabase(), UnknownTenantError)):
        with pytest.raises(error):
            router.replace("nobody" if wrong else "acme", wrong)
    router.close()


def test_object_does_not_follow_a_replaced_database(registry):
    settings = registry.server.settings
    router, note = make(registry)
    old = RedisDatabase(**settings, db=1)
    router.add("acme", old)
    with router.use_tenant("acme"):
        kept = note(text="one")
        router.replace("acme", RedisDatabase(**settings, db=1))
        assert kept.text.get() == "one"
        old.connect(**settings, db=5)  # the application may move it, but the tenant does not follow
        with pytest.raises(WrongTenantError):
            kept.text.get()
    router.close()


def test_objects_of_a_removed_tenant_are_refused_even_if_it_is_added_again(registry):
    router, note = make(registry, resolver_cache=1)
    with router.use_tenant("t1"):
        kept = note(text="one")
    router.database_for("t2")
    router.database_for("t1")
    router.remove("t1")
    router.database_for("t1")
    with pytest.raises(WrongTenantError):
        kept.text.get()


# Single flight


def waiting(router):
    """Return how many threads and tasks wait for the resolution of t1."""
    ask = router._resolving._asking.get("t1")
    return 0 if ask is None else len(ask.future._condition._waiters) + len(ask.future._done_callbacks)


def test_failed_resolution_is_shared_by_waiting_callers_and_not_cached(registry):
    go_on, asked = threading.Event(), []

    def failing(tenant):
        asked.append(tenant)
        assert go_on.wait(5)
        raise ConnectionRefusedError("no registry")

    router, got = DatabaseRouter(resolver=failing), []

    def look_up():
        try:
            router.database_for("t1")
        except ConnectionRefusedError as error:
            got.append(error)

    threads = [threading.Thread(target=look_up) for _ in range(10)]
    for thread in threads:
        thread.start()
    eventually(lambda: waiting(router) == 9)
    go_on.set()
    for thread in threads:
        thread.join(5)
    assert len(got) == 10
    assert asked == ["t1"]
    with pytest.raises(ConnectionRefusedError):
        router.database_for("t1")


@pytest.mark.parametrize("is_async", [False, True])
def test_concurrent_event_loops_and_threads_call_the_resolver_once(registry, is_async):
    started, go_on = threading.Event(), threading.Event()

    async def slow(tenant):
        started.set()
        await aeventually(go_on.is_set)
        return registry.find(tenant)

    def find(tenant):
        started.set()
        assert go_on.wait(5)
        return registry.find(tenant)

    router, got = DatabaseRouter(resolver=slow if is_async else find), []

    async def several():
        got.extend(await asyncio.gather(*(router.adatabase_for("t1") for _ in range(50))))

    threads = [threading.Thread(target=lambda: asyncio.run(several())) for _ in range(4)]
    if not is_async:
        threads += [threading.Thread(target=lambda: got.append(router.database_for("t1"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert started.wait(5)
    eventually(lambda: waiting(router) >= (200 if is_async else 203))  # 204 where a loop's thread asks
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert len(got) == (200 if is_async else 204)
    assert len(set(map(id, got))) == 1
    assert registry.asked == ["t1"]


def test_resolution_of_an_ended_event_loop_is_taken_over(registry):
    started, first = threading.Event(), []

    async def resolver(tenant):
        first.append(tenant)
        if len(first) == 1:
            started.set()
            await asyncio.sleep(60)
        return registry.find(tenant)

    router, got = DatabaseRouter(resolver=resolver), []

    async def impatient():
        task = asyncio.create_task(router.adatabase_for("t1"))
        await aeventually(got_waiting.is_set)
        task.cancel()

    async def patient():
        assert await asyncio.to_thread(started.wait, 5)
        task = asyncio.create_task(router.adatabase_for("t1"))
        await aeventually(lambda: waiting(router) == 2)
        got_waiting.set()
        got.append(await task)

    got_waiting = threading.Event()
    threads = [threading.Thread(target=asyncio.run, args=(each(),)) for each in (impatient, patient)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert [database.keyspace.db for database in got] == [1]
    assert router._resolving._asking == {}


async def test_slow_sync_resolver_does_not_block_event_loops(registry):
    go_on = threading.Event()

    def slow(tenant):
        assert go_on.wait(5)
        return registry.find(tenant)

    router = DatabaseRouter(resolver=slow)
    tasks = [asyncio.create_task(router.adatabase_for("t1")) for _ in range(200)]
    await aeventually(lambda: waiting(router) == 200)
    before = threading.active_count()
    go_on.set()
    await asyncio.gather(*tasks)
    assert before < 20  # one thread calls the resolver
    assert registry.asked == ["t1"]


def test_resolver_that_calls_its_own_router_is_refused():
    def resolver(tenant):
        return router.database_for(tenant)

    router = DatabaseRouter(resolver=resolver)
    with pytest.raises(ConfigurationError, match="asks its own router"):
        router.database_for("t1")


@pytest.mark.parametrize("given", [0, -1, True, 1.5, "10"])
def test_cache_size_must_be_a_number(given):
    with pytest.raises(ConfigurationError, match="resolver_cache must be a number of tenants"):
        DatabaseRouter(resolver_cache=given)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync resolver", "async resolver"])
async def test_work_for_more_tenants_than_the_cache_holds(flushed_server, is_async):
    registry = Registry(flushed_server, is_async=is_async)
    for number in range(1, 9):
        with RedisDatabase(**flushed_server.settings, db=number) as database:
            database.connection.set(f"of-{number}", 1)
    tenants = [f"t{number}" for number in range(1, 9)]

    def fresh():
        return make(registry, resolver_cache=2)[0]

    outcomes = await fresh().afan_out(lambda database: database.aconnection.keys("*"), tenants=tenants)
    assert {tenant: outcome.value for tenant, outcome in outcomes.items()} == {
        tenant: [f"of-{tenant[1]}"] for tenant in tenants
    }
    assert all(outcome.value == 1 for outcome in (await fresh().afan_out(Command("DBSIZE"), tenants=tenants)).values())
    assert await fresh().acheck(tenants=tenants) == []
    assert all(outcome.ok for outcome in (await fresh()._aprobe(tenants=tenants)).values())
    assert (await fresh().ahealth(tenants=tenants)).count() == (8, 8)
    if not is_async:
        expected = [(tenant, f"of-{tenant[1]}") for tenant in tenants]
        assert sorted(fresh().scan_keys(tenants=tenants)) == expected
        assert sorted([item async for item in fresh().ascan_keys(tenants=tenants)]) == expected
        assert fresh().health(tenants=tenants).count() == (8, 8)
        found = fresh().fan_out(lambda database: database.connection.dbsize(), tenants=tenants)
        assert [outcome.value for outcome in found.values()] == [1] * 8


@pytest.mark.slow
def test_cache_smaller_than_the_active_tenants_is_no_error(frequent_switches):
    """Tenants are found, evicted and found again by eight threads, some of which still use the evicted ones."""

    def find(tenant):
        return RedisDatabase(host="localhost", port=1, db=int(tenant[1:]) % 10, key_prefix=f"{tenant}:")

    errors = []
    with DatabaseRouter(resolver=find, resolver_cache=5) as router:

        def enter(seed):
            chosen, held = random.Random(seed), []
            for _ in range(1000):
                tenant = f"t{chosen.randrange(30)}"
                try:
                    with router.use_tenant(tenant):
                        held = [*held, router._current_placement()][-chosen.randrange(1, 20) :]
                        assert router.database.key_prefix == f"{tenant}:"
                except Exception as error:  # noqa: BLE001 - counted
                    errors.append(error)

        threads = [threading.Thread(target=enter, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []


@pytest.fixture
def frequent_switches():
    """Let threads take turns after each few instructions."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)
