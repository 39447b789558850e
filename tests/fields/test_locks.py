"""``FieldLock``: exclusion, reentrance, loss, and cleanup."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from redis.exceptions import LockError, LockNotOwnedError

from tenantlimpyd import fields
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.database.locks import FieldLock
from tenantlimpyd.exceptions import NoTenantError, WrongTenantError
from tenantlimpyd.router import DatabaseRouter
from tenantlimpyd.testing import count_commands
from tests.support.models import define


async def elsewhere(function, *args):
    """Call a function in a thread that knows nothing of this context."""
    with ThreadPoolExecutor(1) as executor:
        return await asyncio.wrap_future(executor.submit(function, *args))


def acquired(field):
    lock = FieldLock(field, blocking=False)
    if lock.acquire():
        lock.release()
        return True
    return False


async def test_lock_covers_a_field_of_all_objects_for_other_clients(call, person, raw):
    p, q = await call.create(person, note="n"), await call.create(person)
    async with call.enter(FieldLock(p.note)) as lock:
        assert 0 < raw.pttl("spec:person:lock-for-update:note") <= 5000
        assert await call(lock, "locked")
        assert await call(lock, "owned")
        for field in (p.note, q.note, person.get_field("note")):
            assert not await elsewhere(acquired, field)
        assert await elsewhere(acquired, p.name)
        await call(lock, "extend", 100)
        assert raw.ttl(lock.name) > 50
        await call(p.note, "set", "fields don't mind")
    assert not raw.exists("spec:person:lock-for-update:note")
    assert await elsewhere(acquired, q.note)


async def test_lock_is_reentrant(call, person, raw):
    p, q = await call.create(person), await call.create(person)
    lock = FieldLock(p.note)
    async with call.enter(lock):
        with count_commands() as sent:
            async with (
                call.enter(FieldLock(q.note)),
                call.enter(lock),
                call.enter(FieldLock(person.get_field("note"))),
            ):
                pass
        assert sent.commands == 0
        assert raw.exists(lock.name)
        assert not await elsewhere(acquired, p.note)
    assert not raw.exists(lock.name)


async def test_tasks_exclude_each_other_and_child_tasks_share_the_lock(person):
    p = await person.acreate(note="0")
    inside = 0

    async def add():
        nonlocal inside
        async with FieldLock(p.note, sleep=0.001, timeout=30):
            assert inside == 0
            inside += 1
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(add() for _ in range(5)))

    async def helper():
        async with FieldLock(p.note, blocking=False):
            return True

    async with FieldLock(p.note):
        assert await asyncio.create_task(helper())
        still = asyncio.create_task(asyncio.sleep(0))
        await still
    async with FieldLock(p.note):
        pass

    async def late(ended):
        await ended.wait()
        return await FieldLock(p.note, blocking=False).aacquire()

    ended = asyncio.Event()
    async with FieldLock(p.note):
        task = asyncio.create_task(late(ended))
    async with FieldLock(p.note):  # acquired again, which the task started under the old lock does not share
        ended.set()
        assert await task is False


@pytest.mark.pitfall(17)
async def test_lost_lock_raises_and_is_forgotten(call, person, raw):
    p = await call.create(person)
    with pytest.raises(LockNotOwnedError):
        async with call.enter(FieldLock(p.note)) as lock:
            raw.delete(lock.name)
    with count_commands() as sent:
        async with call.enter(FieldLock(p.note)):
            assert not await elsewhere(acquired, p.note)
    assert "SET" in sent.names
    with pytest.raises(ZeroDivisionError):
        async with call.enter(FieldLock(p.note)):
            raise ZeroDivisionError
    assert not raw.exists(lock.name)


@pytest.mark.pitfall(17)
async def test_failed_acquisition_leaves_no_state(call, person, raw):
    p = await call.create(person)
    name = FieldLock(p.note).name
    raw.hset(name, "not", "a lock")  # SET NX fails
    waiting = FieldLock(p.note, blocking_timeout=0.05, sleep=0.01)
    assert await call(waiting, "acquire") is False
    with pytest.raises(LockError):
        async with call.enter(waiting):
            pytest.fail("it is not free")
    broken = FieldLock(p.note)  # its token can not be sent
    with pytest.raises(redis.DataError):
        await call(broken, "acquire", token=object())
    raw.delete(name)
    with count_commands() as sent:
        async with call.enter(FieldLock(p.note)):
            pass
    assert "SET" in sent.names
    with pytest.raises(LockError):
        await call(FieldLock(p.note), "release")


@pytest.mark.pitfall(18)
async def test_lock_of_one_database_does_not_hold_in_another(call, flushed_server, raw):
    databases = [RedisDatabase(**flushed_server.settings, db=0, key_prefix=prefix) for prefix in ("a:", "b:")]
    things = [define(database, value=fields.StringField()) for database in databases]
    a, b = [await call.create(thing, value="v") for thing in things]
    async with call.enter(FieldLock(a.value)) as outer:
        async with call.enter(FieldLock(b.value)) as inner:
            assert raw.exists(outer.name, inner.name) == 2
            assert (outer.name[:2], inner.name[:2]) == ("a:", "b:")
        assert not await elsewhere(acquired, a.value)
        assert await elsewhere(acquired, b.value)
    for database in databases:
        await database.aclose()
        database.close()


async def test_fields_and_models_that_are_not_lockable_are_not_locked(call, database, raw):
    free = define(database, "Free", value=fields.StringField(lockable=False))
    model_free = define(database, "Loose", value=fields.StringField(), lockable=False)
    for thing in (free, model_free):
        t = await call.create(thing, value="v")
        before = set(raw.scan_iter())
        async with call.enter(FieldLock(t.value)) as lock, call.enter(lock):
            assert set(raw.scan_iter()) == before
    async with call.enter(FieldLock(model_free.get_field("value"))) as lock:
        assert raw.exists(lock.name)  # a field of the class has its own flag


async def test_locks_of_tenants_are_independent(call, flushed_server):
    router = DatabaseRouter(
        {
            "acme": RedisDatabase(**flushed_server.settings, db=1),
            "globex": RedisDatabase(**flushed_server.settings, db=2),
        }
    )
    thing = define(router, value=fields.StringField())
    with pytest.raises(NoTenantError):
        FieldLock(thing.get_field("value"))
    with router.use_tenant("acme"):
        t = await call.create(thing, value="v")
        of_acme = FieldLock(thing.get_field("value"))
        async with call.enter(FieldLock(t.value)):
            with router.use_tenant("globex"):
                with pytest.raises(WrongTenantError):
                    FieldLock(t.value)
                with pytest.raises(WrongTenantError):
                    await call(of_acme, "acquire")
                with count_commands() as sent:
                    async with call.enter(FieldLock(thing.get_field("value"))):
                        pass
                assert "SET" in sent.names
    await router.aclose()
    router.close()


@pytest.mark.pitfall(15)
async def test_hmset_of_a_unique_value_has_one_winner_without_a_lock(person):
    people = [await person.acreate() for _ in range(8)]
    results = await asyncio.gather(*(p.ahmset(badge="b", age=1) for p in people), return_exceptions=True)
    assert results.count(True) == 1
    with ThreadPoolExecutor(8) as executor:
        futures = [executor.submit(p.hmset, badge="c") for p in people]
        outcomes = [future.exception() for future in futures]
    assert outcomes.count(None) == 1


async def test_lock_inside_a_pipeline_is_acquired_at_once(call, person, database, raw):
    p = await call.create(person, note="n")
    with database.pipeline() as pipe:
        async with call.enter(FieldLock(p.note)) as lock:
            assert raw.exists(lock.name)
            await call(p.note, "get")
            assert await call(pipe, "execute") == ["n"]
        assert not raw.exists(lock.name)


async def test_lock_that_expired_and_was_taken_by_another_is_not_entered_again(call, person, raw):
    p = await call.create(person)
    outer = FieldLock(p.note, timeout=0.05)
    assert await call(outer, "acquire")
    await asyncio.sleep(0.1)
    raw.set(outer.name, "the token of another")  # as another process would
    assert not await call(FieldLock(p.note, blocking=False), "acquire")
    assert raw.get(outer.name) == "the token of another"
    with pytest.raises(LockError):
        await call(outer, "release")
    assert raw.get(outer.name) == "the token of another"


async def test_lock_that_expired_is_acquired_again_by_the_inner_block(call, person, raw):
    p = await call.create(person)
    outer, inner = FieldLock(p.note, timeout=0.05), FieldLock(p.note)
    assert await call(outer, "acquire")
    await asyncio.sleep(0.1)
    assert await call(inner, "acquire")
    assert not await elsewhere(acquired, p.note)
    await call(inner, "release")
    assert not raw.exists(outer.name)
    with pytest.raises(LockNotOwnedError):
        await call(outer, "release")
