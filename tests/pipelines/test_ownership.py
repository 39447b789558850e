"""A pipeline queues the commands of one task or thread, for one database and one tenant."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tenantlimpyd import carry_tenant, fields
from tenantlimpyd.exceptions import ImplementationError, NoTenantError, WrongTenantError
from tenantlimpyd.router import DatabaseRouter
from tests.support.interruption import interrupted_at
from tests.support.models import define
from tests.support.pipelines import piped

pytestmark = pytest.mark.slow


def in_a_thread(function):
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(function).result(timeout=30)


@pytest.mark.pitfall(21)
def test_each_thread_has_its_own_pipeline(person, database):
    p, q = person(note="p"), person(note="q")
    entered, done = threading.Event(), threading.Event()

    def other():
        assert q.note.get() == "q"  # at once, in the middle of the first thread's block
        with database.pipeline() as pipe:
            q.note.set("other")
            entered.set()
            assert done.wait(30)
            return pipe.execute()

    with ThreadPoolExecutor(1) as executor, database.pipeline() as pipe:
        p.note.set("first")
        running = executor.submit(other)
        assert entered.wait(30)
        p.note.get()
        assert pipe.execute() == [True, "first"]
        done.set()
        assert running.result(timeout=30) == [True]
        assert p.note.append("!") is pipe
        assert pipe.execute() == [6]
    assert (p.note.get(), q.note.get()) == ("first!", "other")


def test_thread_that_carries_the_tenant_does_not_use_the_pipeline(person, database):
    p = person(note="n")
    with database.pipeline() as pipe:
        assert in_a_thread(carry_tenant(p.note.get)) == "n"
        assert len(pipe) == 0


def test_shared_pipeline_queues_the_commands_of_all_threads(person, database):
    people = [person(note=str(number)) for number in range(20)]
    unstored = person()
    with database.pipeline(share_in_threads=True) as pipe:
        with ThreadPoolExecutor(4) as executor:
            assert all(given is pipe for given in executor.map(lambda p: p.note.get(), people))
            assert all(given is pipe for given in executor.map(lambda _: unstored.name.append("x"), range(20)))
        results = pipe.execute()
        assert sorted(map(int, results[:20])) == list(range(20))
        assert sorted(results[20:]) == list(range(1, 21))
    assert unstored.pk.get() == "21"
    assert in_a_thread(people[3].note.get) == "3"


async def test_each_task_has_its_own_pipeline(person, database):
    p, q = await person.acreate(note="p"), await person.acreate(note="q")
    turn = asyncio.Event()

    async def one():
        async with database.apipeline() as pipe:
            await p.note.aset("one")
            turn.set()
            await asyncio.sleep(0)
            await p.note.aget()
            return await pipe.aexecute()

    async def other():
        await turn.wait()
        assert await q.note.aget() == "q"
        async with database.apipeline() as pipe:
            await q.note.aset("other")
            await asyncio.sleep(0)
            return await pipe.aexecute()

    assert await asyncio.gather(one(), other()) == [[True, "one"], [True]]


async def test_pipeline_queues_awaited_calls_but_not_new_tasks(person, database):
    p = await person.acreate(note="n")

    async def started():
        return await p.note.aget()

    async with database.apipeline() as pipe:
        assert await asyncio.create_task(started()) == "n"
        assert await asyncio.gather(p.note.aset("m"), p.note.aget()) == [pipe, pipe]
        assert await pipe.aexecute() == [True, "m"]


async def test_pipeline_block_can_be_left_in_another_context(call, person, database):
    p = await call.create(person, note="n")

    def block():
        with database.pipeline() as pipe:
            yield pipe

    generator = block()
    pipe = next(generator)
    assert await call(p.note, "get") is pipe
    await asyncio.create_task(finished(generator))
    assert not pipe.entered
    assert await call(p.note, "get") == "n"


async def finished(generator):
    generator.close()


@pytest.fixture
async def router(flushed_server):
    made = DatabaseRouter.from_config(
        {
            "servers": {"main": {"url": flushed_server.url}},
            "tenants": {
                "acme": {"server": "main", "db": 1},
                "globex": {"server": "main", "db": 2, "key_prefix": "g:"},
            },
        }
    )
    yield made
    await made.aclose()
    made.close()


@pytest.fixture
def thing(router):
    return define(router, "Thing", value=fields.StringField(indexable=True))


async def test_pipeline_of_a_router_uses_the_current_tenant(call, router, thing):
    for build in (router.pipeline, router.apipeline, lambda: router.transaction(len)):
        with pytest.raises(NoTenantError):
            build()
    with pytest.raises(NoTenantError):
        await router.atransaction(len)
    for tenant in ("acme", "globex"):
        with router.use_tenant(tenant):
            async with piped(call, router) as pipe:
                assert pipe.database is router.database
                t = await call.create(thing, value=tenant)
                await call(t.value, "get")
                assert await call(pipe, "execute") == [None, tenant]
            assert await call(t.value, "get") == tenant


@pytest.mark.invariant(3)
async def test_pipeline_keeps_its_tenant(call, router, thing):
    with router.use_tenant("acme"):
        t = await call.create(thing, value="a")
        late = router.pipeline()
        async with piped(call, router) as pipe:
            await call(t.value, "set", "b")
            with router.use_tenant("globex"):
                for attempt in (
                    lambda: call(pipe, "execute"),
                    lambda: call(pipe, "watch", "k"),
                    lambda: call(pipe, "unwatch"),
                    lambda: call(t.value, "get"),
                ):
                    with pytest.raises(WrongTenantError):
                        await attempt()
                for attempt in (lambda: pipe.set("k", 1), pipe.multi, late.__enter__):
                    with pytest.raises(WrongTenantError):
                        attempt()
                u = await call.create(thing, value="of globex")  # of another database: at once
                assert await call(u.value, "get") == "of globex"
            assert await call(pipe, "execute") == [True]
        assert await call(t.value, "get") == "b"
        async with piped(call, router.database) as pipe:  # made by the database itself
            await call(t.value, "get")
            with router.use_tenant("globex"), pytest.raises(WrongTenantError):
                await call(pipe, "execute")
            assert await call(pipe, "execute") == ["b"]


async def test_fields_of_another_database_are_not_watched(call, router, thing):
    with router.use_tenant("globex"):
        u = await call.create(thing, value="g")
    with router.use_tenant("acme"):
        async with piped(call, router) as pipe:
            with pytest.raises(WrongTenantError):
                await call(pipe, "watch", u.value)
            with router.use_no_tenant(), pytest.raises(ImplementationError, match="another database"):
                await call(pipe, "watch", u.value)


def test_a_pipeline_whose_exit_was_interrupted_queues_no_later_commands(database):
    """As a signal handler may raise: the commands after the block would never be executed."""

    def work():
        with database.pipeline() as pipe:
            pipe.set("key", 1)

    step = 0
    while interrupted_at(step, work, package_only=True):
        gc.collect()
        assert database.connection.set("after", step) is True
        step += 1
    assert step > 20
    assert database.connection.get("after") == str(step - 1)
