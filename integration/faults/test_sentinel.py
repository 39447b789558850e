"""A failover while tenants write: bounded in time, in sync and async, and no write to the old master."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
import redis

from integration.faults.sentinel_group import MASTER, until
from tenantlimpyd import DatabaseRouter, RedisDatabase

TENANTS = 8
BOUND = 20.0
"""Seconds in which every tenant must be served again: the sentinels take about two of them."""


@pytest.mark.timeout(120)
def test_writes_of_tenants_continue_after_a_failover(group):
    master, replica = group.master, group.replica
    router = DatabaseRouter(
        {
            f"t{number}": RedisDatabase(sentinel={"master": MASTER, "hosts": group.hosts}, db=number, socket_timeout=2)
            for number in range(TENANTS)
        }
    )
    stop, failed, wrong = threading.Event(), [], []
    served = dict.fromkeys(router.tenants(), 0.0)

    def note(tenant, reply):
        if reply != tenant:
            wrong.append((tenant, reply))
        served[tenant] = time.monotonic()

    def blocking(tenant):
        with router.use_tenant(tenant):
            while not stop.is_set():
                try:
                    router.connection.set("whose", tenant)
                    note(tenant, router.connection.get("whose") or tenant)
                except (redis.ConnectionError, redis.TimeoutError) as error:
                    failed.append(error)
                    stop.wait(0.01)

    async def awaiting(tenant):
        async with router.use_tenant(tenant):
            while not stop.is_set():
                try:
                    await router.aconnection.set("whose", tenant)
                    note(tenant, await router.aconnection.get("whose") or tenant)
                except (redis.ConnectionError, redis.TimeoutError) as error:
                    failed.append(error)
                    await asyncio.sleep(0.01)

    async def many(tenants):
        await asyncio.gather(*map(awaiting, tenants))

    tenants = list(router.tenants())
    threads = [threading.Thread(target=blocking, args=(tenant,)) for tenant in tenants[::2]]
    threads.append(threading.Thread(target=lambda: asyncio.run(many(tenants[1::2]))))
    for thread in threads:
        thread.start()
    try:
        until(lambda: all(served.values()))
        master.kill()
        killed = time.monotonic()
        until(lambda: all(when > killed + 0.5 for when in served.values()), BOUND)
        with redis.Redis(**replica.settings) as client:
            assert client.info("replication")["role"] == "master"
        master.start()  # it comes back as a master, until the sentinels tell it otherwise
        again = time.monotonic()
        until(lambda: all(when > again + 0.5 for when in served.values()), BOUND)
        with redis.Redis(**master.settings) as client:  # nobody wrote to it before it became a replica
            keys = client.info("keyspace")
            assert client.info("replication")["role"] == "slave" or not keys
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert failed
    assert wrong == []
    for number, tenant in enumerate(tenants):
        with redis.Redis(**replica.settings, db=number, decode_responses=True) as client:
            assert client.get("whose") == tenant
    assert router.check() == []
    router.close()
