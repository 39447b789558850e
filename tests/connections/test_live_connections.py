"""Permits follow the connections that exist: an unreferenced connection frees its permit."""

from __future__ import annotations

import asyncio
import functools
import gc
import threading

import pytest
import redis

from tenantlimpyd import Budget, RedisDatabase
from tenantlimpyd._connections.live_connections import LiveConnections, Permit
from tests.support.interruption import LEFT_BEHIND, interrupted_at
from tests.support.waiting import aeventually, eventually

pytestmark = LEFT_BEHIND


@pytest.fixture
def database(flushed_server):
    with RedisDatabase(**flushed_server.settings, db=1, budget=Budget(per_server=2, total=2, timeout=5)) as database:
        yield database


def lose(database):
    """Check a connection out and forget it, as code does that is interrupted before it has a name for it."""
    view = database.connection.connection_pool
    view._pool.checkout(view.user)


def stats(database):
    found = database.server.pool_stats()
    return found.open, found.in_use, found.waiting


def test_what_is_lost_is_counted_no_longer():
    whole, lost = set(), []
    live, other = (LiveConnections(whole, lambda: lost.append(1)) for _ in range(2))
    kept, gone, elsewhere = Permit("a"), Permit("b"), Permit("c")
    live.add(kept)
    live.add(gone)
    other.add(elsewhere)
    assert (len(live), len(other), len(whole), list(other)) == (2, 1, 3, [elsewhere])
    del gone
    assert (len(live), len(whole), list(live), lost) == (1, 2, [kept], [1])
    live.discard(kept)
    assert (len(live), len(whole), kept in live, lost) == (0, 1, False, [1])
    other.clear()
    del kept, elsewhere
    assert (len(other), len(whole), lost) == (0, 0, [1])


def test_lost_connections_free_their_permits(database):
    for _ in range(10):
        lose(database)
    gc.collect()
    assert stats(database) == (0, 0, 0)
    assert database.connection.ping()


def test_lost_connection_frees_its_permit_for_a_thread_that_waits(database):
    view = database.connection.connection_pool
    held = [view._pool.checkout(view.user) for _ in range(2)]
    answers = []
    thread = threading.Thread(target=lambda: answers.append(database.connection.ping()))
    thread.start()
    eventually(lambda: stats(database)[2] == 1)
    held.pop()
    gc.collect()
    thread.join(3)
    assert answers == [True]
    view._pool.release(held.pop())
    assert stats(database)[1:] == (0, 0)


async def test_lost_connections_of_tasks_free_their_permits(database):
    view = database.aconnection.connection_pool
    for _ in range(10):
        await view._pool.checkout(view.user)
    gc.collect()
    assert stats(database) == (0, 0, 0)
    assert await database.aconnection.ping()
    held = [await view._pool.checkout(view.user) for _ in range(2)]
    waits = asyncio.ensure_future(database.aconnection.ping())
    await aeventually(lambda: stats(database)[2] == 1)
    held.pop()
    gc.collect()
    assert await asyncio.wait_for(waits, 3)
    await view._pool.release(held.pop())
    await database.aclose()


@pytest.mark.slow
def test_interrupt_at_each_step_of_a_checkout_loses_no_permit(database):
    step, client = 0, database.connection
    client.ping()
    while interrupted_at(step, client.ping):
        step += 1
    assert step > 100
    gc.collect()
    assert stats(database)[1:] == (0, 0)
    pipelines = [client.pipeline() for _ in range(2)]
    assert all(pipeline.watch("k") for pipeline in pipelines)
    for pipeline in pipelines:
        pipeline.reset()


@pytest.mark.slow
def test_an_interrupt_at_each_step_of_connecting_leads_no_command_to_another_database(flushed_server):
    budget = Budget(per_server=1, total=1, timeout=5)
    settings = flushed_server.settings
    with (
        RedisDatabase(**settings, db=1, budget=budget) as one,
        RedisDatabase(**settings, db=2, budget=budget) as other,
        redis.Redis(**{**settings, "db": 0}) as raw,
    ):
        step = 0
        while True:
            one.server.trim(0)
            reached = interrupted_at(step, functools.partial(one.connection.set, "one", step), package_only=True)
            if stats(one)[1]:  # what was interrupted is in a reference cycle
                gc.collect()
            other.connection.set("other", step)
            one.connection.set("one", step)
            if not reached:
                break
            step += 1
        assert step > 200
        assert raw.info("keyspace").keys() == {"db1", "db2"}
        assert (one.connection.keys(), other.connection.keys()) == (["one"], ["other"])
        assert stats(one)[1:] == (0, 0)


def test_a_connection_that_replaces_its_permit_is_counted_once(database, monkeypatch):
    """Else another thread would see no room for the moment, and wait though a permit is free."""
    view = database.connection.connection_pool
    pool, got, threads = view._pool, [], []
    add = LiveConnections.add

    def adding(self, item):
        add(self, item)
        if type(item) is not Permit and not threads:
            threads.append(threading.Thread(target=lambda: got.append(pool.limiter.acquire(pool, view.user))))
            threads[0].start()
            threads[0].join(0.2)

    monkeypatch.setattr(LiveConnections, "add", adding)
    connection = pool.checkout(view.user)
    threads[0].join()
    assert [type(each) for each in got] == [Permit]
    pool.limiter.release(pool, got.pop(), keep=False)
    pool.release(connection)
    assert stats(database)[1:] == (0, 0)
