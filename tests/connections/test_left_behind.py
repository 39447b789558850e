"""Permits of ended event loops, lookups interrupted by a fork, and keys that are not UTF-8."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading

import pytest

from tenantlimpyd import Budget, DatabaseRouter, RedisDatabase
from tenantlimpyd.exceptions import UnknownTenantError

RAW = [b"tmp:\xff\xfe%d" % number for number in range(20)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", ["pubsub", "watch", "scan"])
def test_permits_of_an_ended_event_loop_are_released(flushed_server, kind):
    with RedisDatabase(**flushed_server.settings, db=1, budget=Budget(per_server=2, timeout=0.5)) as database:
        database.connection.mset({f"k{number}": 1 for number in range(100)})

        async def leave_open():
            if kind == "pubsub":
                await database.aconnection.pubsub().subscribe("channel")
            elif kind == "watch":
                await database.aconnection.pipeline().watch("k1")
            else:
                await anext(database.ascan_keys(count=10))

        for _ in range(6):
            asyncio.run(leave_open())
        gc.collect()
        assert database.connection.ping()
        stats = database.server.pool_stats()
        assert (stats.in_use, stats.waiting) == (0, 0)


def test_child_forked_during_a_lookup_repeats_the_lookup(flushed_server):
    entered, go = threading.Event(), threading.Event()

    def find(tenant):
        if threading.current_thread().name == "asks":
            entered.set()
            go.wait(10)
        return RedisDatabase(**flushed_server.settings, db=3) if tenant == "acme" else None

    router = DatabaseRouter(resolver=find)
    thread = threading.Thread(target=router.database_for, args=("acme",), name="asks")
    thread.start()
    assert entered.wait(10)
    pid = os.fork()
    if not pid:
        signal.alarm(5)  # ends a child that waits for the parent's thread
        status = 1
        try:
            assert router.database_for("acme").keyspace.db == 3
            try:
                router.database_for("globex")
            except UnknownTenantError:
                status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    go.set()
    thread.join()
    router.close()
    assert status == 0


@pytest.mark.parametrize("budget", [1, 2, 4])
def test_scanned_keys_that_are_not_utf8_can_be_deleted_in_the_loop(flushed_server, budget):
    settings = {**flushed_server.settings, "db": 5}
    with DatabaseRouter({"acme": RedisDatabase(**settings, budget=Budget(per_server=budget))}) as router:
        client = router.database_for("acme").connection
        client.mset(dict.fromkeys(RAW, 1))
        deleted = 0
        for tenant, keys in router.scan_pages("tmp:*", timeout=5):
            if keys:
                deleted += router.database_for(tenant).connection.unlink(*keys)
        assert deleted == len(RAW)
        assert client.dbsize() == 0


async def test_scanned_keys_that_are_not_utf8_work_in_commands_and_pipelines(flushed_server, call):
    async with RedisDatabase(**flushed_server.settings, db=5) as database:
        database.connection.mset(dict.fromkeys(RAW, 1))
        keys = sorted(database.scan_keys())
        client = call.client(database)
        pipe = client.pipeline(transaction=False)
        for key in keys[:10]:
            pipe.incr(key)
        replies = [client.get(keys[0]), client.object("ENCODING", keys[0]), client.exists(*keys), pipe.execute()]
        replies = [await call.result(reply) for reply in replies]
        assert replies[0] in ("1", "2")
        assert replies[1:] == ["int", len(keys), [2] * 10]


async def test_values_that_are_not_utf8_are_still_refused(flushed_server, call):
    async with RedisDatabase(**flushed_server.settings, db=5) as database:
        client = call.client(database)
        with pytest.raises(UnicodeEncodeError):
            await call.result(client.set("k", "\udcff"))
        assert not database.connection.exists("k")
