"""A scan keeps one connection: on another one its cursor could mean another place, or nothing, and keys be missing."""

from __future__ import annotations

import pytest
import redis

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


def idle(database):
    pool = database.connection.connection_pool
    return len(pool._in_use_connections) == 0


def test_a_lost_connection_ends_the_scan_with_an_error(scanned, kill):
    keys = scanned.scan_keys(count=10)
    next(keys)
    kill()
    with pytest.raises(redis.ConnectionError, match="lost during the scan"):
        list(keys)
    assert idle(scanned)
    assert len(set(scanned.scan_keys())) == 500  # the next scan begins anew


async def test_a_lost_connection_ends_the_scan_with_an_error_in_asyncio(scanned, kill):
    keys = scanned.ascan_keys(count=10)
    await anext(keys)
    kill()
    with pytest.raises(redis.ConnectionError, match="lost during the scan"):
        _ = [key async for key in keys]
    assert len({key async for key in scanned.ascan_keys()}) == 500
    await scanned.aclose()


def test_a_connection_lost_before_the_first_page_is_replaced(scanned, kill):
    keys = scanned.scan_keys(count=10)
    kill()
    assert len(set(keys)) == 500


async def test_a_connection_lost_before_the_first_page_is_replaced_in_asyncio(scanned, kill):
    await scanned.aconnection.ping()
    keys = scanned.ascan_keys(count=10)
    kill()
    assert len({key async for key in keys}) == 500
    await scanned.aclose()


def test_a_scan_that_is_dropped_gives_its_connection_back(scanned):
    keys = scanned.scan_keys(count=10)
    next(keys)
    assert not idle(scanned)
    keys.close()
    assert idle(scanned)
    pages = scanned.pages(count=10)
    next(pages)
    del pages
    assert idle(scanned)


def test_a_scan_goes_on_where_it_began_when_the_database_moves(scanned, flushed_server):
    keys = scanned.scan_keys(count=10)
    first = next(keys)
    scanned.connect(**flushed_server.settings, db=4)
    assert len({first, *keys}) == 500
