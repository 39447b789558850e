"""A scan keeps one connection, because its cursor is only valid on the same server."""

from __future__ import annotations

import os

import pytest
import redis

from tenantlimpyd import DatabaseRouter
from tenantlimpyd.database import RedisDatabase


@pytest.fixture
def scanned(flushed_server):
    with RedisDatabase(**flushed_server.settings, db=3, client_name="scanned") as database:
        database.connection.mset({f"key:{number}": 1 for number in range(500)})
        yield database


@pytest.fixture
def kill(flushed_server):
    """Close the connections of the scan from the server's side."""
    with redis.Redis(**flushed_server.settings, decode_responses=True) as client:

        def kill():
            for entry in client.client_list():
                if entry["name"] == "scanned":
                    client.client_kill_filter(_id=entry["id"])

        yield kill


def idle(client):
    return len(client.connection_pool._in_use_connections) == 0


async def test_lost_connection_ends_the_scan_with_an_error(call, scanned, kill):
    keys = call.form(scanned, "scan_keys")(count=10)
    await call.next(keys)
    kill()
    with pytest.raises(redis.ConnectionError, match="lost during the scan"):
        await call.list(keys)
    assert idle(call.client(scanned))
    assert len(await call.scan(scanned, "scan_keys")) == 500  # the next scan begins at the start
    await scanned.aclose()


async def test_connection_lost_before_the_first_page_is_replaced(call, scanned, kill):
    await call.result(call.client(scanned).ping())
    keys = call.form(scanned, "scan_keys")(count=10)
    kill()
    assert len(set(await call.list(keys))) == 500
    await scanned.aclose()


def test_abandoned_scan_releases_its_connection(scanned):
    keys = scanned.scan_keys(count=10)
    next(keys)
    assert not idle(scanned.connection)
    keys.close()
    assert idle(scanned.connection)
    pages = scanned._pages(count=10)
    next(pages)
    del pages
    assert idle(scanned.connection)


async def test_tenants_scan_ends_with_an_error_when_its_database_moves(scanned, flushed_server):
    with DatabaseRouter({"acme": scanned}) as router, router.use_tenant("acme"):
        keys, later, akeys = scanned.scan_keys(count=10), scanned.scan_keys(), scanned.ascan_keys(count=10)
        next(keys)
        await anext(akeys)
        await scanned.aconnect(**flushed_server.settings, db=4)
        for scan in (keys, later):
            with pytest.raises(redis.ConnectionError, match="connected elsewhere"):
                list(scan)
        with pytest.raises(redis.ConnectionError, match="connected elsewhere"):
            _ = [key async for key in akeys]
        assert list(scanned.scan_keys()) == []
        await scanned.aclose()


def test_scan_is_not_shared_by_a_forked_process(scanned):
    keys = scanned.scan_keys(count=10)
    next(keys)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            next(key for key in keys if not key)
        except redis.ConnectionError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert b"another process" in os.read(reading, 500)
    os.close(reading)
    os.close(writing)
    assert len(list(keys)) >= 499


def test_scan_continues_on_its_first_server_when_the_database_moves(scanned, flushed_server):
    keys = scanned.scan_keys(count=10)
    first = next(keys)
    scanned.connect(**flushed_server.settings, db=4)
    assert len({first, *keys}) == 500
