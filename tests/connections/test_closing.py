"""Closing, event loops, threads and forks leave no connection and no warning."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref

import pytest

from tenantlimpyd._connections.budget import Budget
from tenantlimpyd.database import RedisDatabase
from tests.support.waiting import eventually, open_connections


def test_close_closes_and_using_it_again_opens(opened, flushed_server, client_name):
    database = opened(db=1)
    with database as entered:
        assert entered is database
        database.connection.ping()
        assert len(open_connections(flushed_server, client_name)) == 1
    assert open_connections(flushed_server, client_name) == []
    assert database.connection.ping()
    database.close()
    database.close()
    assert open_connections(flushed_server, client_name) == []


async def test_aclose_closes_both_modes(opened, flushed_server, client_name):
    database = opened(db=1)
    async with database as entered:
        assert entered is database
        database.connection.ping()
        await asyncio.gather(*(database.aconnection.ping() for _ in range(5)))
        assert len(open_connections(flushed_server, client_name)) > 1
    assert open_connections(flushed_server, client_name) == []
    await database.aclose()


async def test_close_in_a_running_loop_closes_its_connections_soon(opened, flushed_server, client_name):
    database = opened(db=1)
    await database.aconnection.ping()
    database.close()
    for _ in range(1000):
        if not open_connections(flushed_server, client_name):
            break
        await asyncio.sleep(0.005)
    assert open_connections(flushed_server, client_name) == []


def test_close_from_another_thread_closes_the_connections_of_a_running_loop(opened, flushed_server, client_name):
    database = opened(db=1)
    up, stop = threading.Event(), threading.Event()

    async def serve():
        await database.aconnection.ping()
        up.set()
        await asyncio.to_thread(stop.wait, 10)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert up.wait(5)
    assert len(open_connections(flushed_server, client_name)) == 1
    database.close()
    eventually(lambda: open_connections(flushed_server, client_name) == [])
    stop.set()
    thread.join(5)


def test_consecutive_event_loops_leave_no_connection(opened, flushed_server, client_name):
    database = opened(db=1)
    loops = []

    async def use():
        loops.append(weakref.ref(asyncio.get_running_loop()))
        assert len(await asyncio.gather(*(database.aconnection.ping() for _ in range(3)))) == 3

    for _ in range(4):
        asyncio.run(use())  # ends without aclose()
        assert open_connections(flushed_server, client_name) == []
    gc.collect()
    assert [loop() for loop in loops] == [None] * 4


def test_concurrent_event_loops_in_threads_leave_no_connection(opened, flushed_server, client_name):
    database = opened(db=1)
    clients, failures = set(), []
    gate = threading.Barrier(4)

    async def use(number):
        clients.add(id(database.aconnection))
        gate.wait(5)
        for step in range(20):
            await database.aconnection.set(f"k{number}", step)
            if await database.aconnection.get(f"k{number}") != str(step):
                failures.append(number)

    threads = [threading.Thread(target=lambda number=number: asyncio.run(use(number))) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert failures == []
    assert len(clients) == 4
    assert open_connections(flushed_server, client_name) == []


def test_connections_of_a_loop_closed_without_shutdown_are_dropped_later(opened):
    database = opened(db=1)

    async def touch():
        return database.aconnection

    loop = asyncio.new_event_loop()
    loop.run_until_complete(touch())
    loop.close()
    assert len(database.server._loop_pools) == 1
    asyncio.run(touch())
    assert len(database.server._loop_pools) == 0


def test_asyncio_client_needs_a_running_loop(database):
    with pytest.raises(RuntimeError, match="no running event loop"):
        _ = database.aconnection


async def test_event_loop_has_one_client(database):
    assert database.aconnection is database.aconnection
    await database.aclose()


def test_garbage_collected_database_closes_its_connections(flushed_server, client_name):
    def use():
        database = RedisDatabase(**flushed_server.settings, client_name=client_name)
        database.connection.ping()

        async def ping():
            await database.aconnection.ping()

        asyncio.run(ping())

    use()
    gc.collect()
    eventually(lambda: open_connections(flushed_server, client_name) == [])


def test_forked_child_opens_its_own_connections(opened):
    database = opened(db=1)
    parents = database.connection.client_id()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(database.connection.client_id()).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    childs = os.read(reading, 100).decode()
    os.close(reading)
    assert childs
    assert childs != str(parents)
    assert database.connection.client_id() == parents  # its connection is as it was


def test_garbage_collection_of_a_database_during_counting_does_not_deadlock(opened, flushed_server, client_name):
    """The garbage collector may run in the thread that holds the lock of the counters."""
    kept, deferred = opened(db=1), RedisDatabase(**flushed_server.settings, client_name=client_name, socket_timeout=9)
    deferred.connection.ping()
    kept.connection.ping()
    with kept.server.budget_limiter.lock:
        del deferred
        gc.collect()
    kept.connection.ping()
    eventually(lambda: len(open_connections(flushed_server, client_name)) == 1)


def test_garbage_collection_of_a_connection_during_counting_does_not_deadlock(opened):
    """A watching pipeline has a connection and releases it when it is garbage-collected."""
    database = opened(db=1, budget=Budget(per_server=1, timeout=1))

    def leave():
        pipeline = database.connection.pipeline()
        pipeline.watch("k")
        pipeline.itself = pipeline  # found by the garbage collector only

    def collect():
        with database.server.budget_limiter.lock:
            gc.collect()

    gc.disable()
    try:
        leave()
        thread = threading.Thread(target=collect, daemon=True)
        thread.start()
        thread.join(5)
        assert not thread.is_alive()
    finally:
        gc.enable()
    assert database.connection.ping()
