"""A forked child never uses connections of its parent, and does not disturb them."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest
import redis

from tenantlimpyd import Budget


def in_child(function):
    """Fork, run a function in the child, and return what it returns, as text."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, repr(function()).encode())
        except BaseException as error:  # noqa: BLE001 - for the parent to see
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    text = os.read(reading, 10_000).decode()
    os.close(reading)
    return text


def test_children_and_parent_use_separate_connections(opened):
    databases = [opened(db=db) for db in range(1, 9)]
    for database in databases * 2:
        database.connection.set("k", str(database.settings.db))
    own = databases[0].connection.client_id()

    def work():
        ids = set()
        for _ in range(20):
            for database in databases:
                assert database.connection.get("k") == str(database.settings.db)
                ids.add(database.connection.client_id())
        return ids

    childs = [in_child(work) for _ in range(3)]
    assert len(set(childs)) == 3
    assert all(text.startswith("{") and str(own) not in text for text in childs)
    assert work() == {own}


def test_connections_in_use_at_the_fork_do_not_count_in_the_child(opened):
    database = opened(db=1, budget=Budget(per_server=2, per_tenant=1, on_full="raise"))
    pool = database.connection.connection_pool
    connection = pool.get_connection()

    def work():
        pool.release(connection)  # the parent's: nothing happens
        return database.connection.ping(), database.server.pool_stats().open

    assert in_child(work) == "(True, 1)"
    assert database.server.pool_stats().in_use == 1
    pool.release(connection)
    assert database.connection.ping()


def test_connection_held_over_the_fork_is_refused_in_the_child(opened):
    database = opened(db=1)
    with database.connection.pipeline() as pipeline:
        pipeline.watch("k")
        assert "WatchError" in in_child(lambda: pipeline.get("k"))
        pipeline.multi()
        pipeline.set("k", 1)
        assert pipeline.execute() == [True]  # the parent's is unchanged


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # forks while other threads run, on purpose
def test_lock_held_at_the_fork_does_not_hang_the_child(opened):
    database = opened(db=1)
    database.connection.ping()
    scope = database.server.budget_limiter
    locked, done = threading.Event(), threading.Event()

    def hold():
        with scope.lock, scope.creation_lock:
            locked.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert locked.wait(5)
    assert in_child(database.connection.ping) == "True"
    done.set()
    thread.join(5)


def test_event_loop_in_the_child_has_connections_of_its_own(opened):
    database = opened(db=1)

    async def ids():
        return await database.aconnection.client_id()

    async def parent():
        own = await ids()
        child = await asyncio.to_thread(in_child, lambda: asyncio.run(ids()))
        assert child.isdigit()
        assert child != str(own)
        assert await ids() == own
        await database.aclose()

    asyncio.run(parent())


def test_blocking_connection_of_the_parent_reconnects_in_the_child(opened):
    database = opened(db=1)
    client = database.connection.client()  # keeps one connection, whatever happens
    own = client.client_id()

    def work():
        return client.client_id() != own, " db=1 " in client.execute_command("CLIENT", "INFO")

    assert in_child(work) == "(True, True)"
    assert client.client_id() == own
    client.close()
    assert isinstance(client, redis.Redis)
