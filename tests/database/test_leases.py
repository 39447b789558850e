"""A lease: one connection of a server, commands for many of its databases in one write."""

from __future__ import annotations

import asyncio
import os

import pytest
import redis

from tenantlimpyd import Budget
from tenantlimpyd.testing import count_commands
from tests.database.watching import open_connections

PASSWORD = "s3cret-password"


@pytest.fixture(params=["blocking", "asyncio"])
def asking(request):
    """Take a lease in the test's colour; give ``ask`` and ``close``, to be awaited."""

    def asking(server):
        if request.param == "asyncio":
            lease = server.alease()
            return lease.ask, lease.aclose
        lease = server.lease()

        async def ask(pairs, **options):
            return lease.ask(pairs, **options)

        async def close():
            lease.close()

        return ask, close

    return asking


def reads(databases=range(8)):
    return [(db, ("DBSIZE",)) for db in databases]


async def test_many_databases_in_one_write(opened, asking, raw, flushed_server, client_name):
    database = opened(db=3)
    for db in range(8):
        with redis.Redis(**flushed_server.settings, db=db) as client:
            client.mset({f"k{number}": "é" for number in range(db + 1)})
    ask, close = asking(database.server)
    with count_commands() as counted:
        assert await ask(reads()) == list(range(1, 9))
        assert await ask(reads([7, 7, 0])) == [8, 8, 1]
    assert len(counted.wire) == 2
    assert await ask([(2, ("GET", "k1")), (3, ("GET", "k1"))], raw=True) == ["é".encode()] * 2
    assert await ask([(2, ("GET", "k1")), (0, ("GET", "k1"))]) == ["é", None]
    cursor, keys = (await ask([(5, ("SCAN", 0, "COUNT", 100))]))[0]
    assert (cursor, len(keys)) == ("0", 6)
    assert len(open_connections(flushed_server, client_name)) == 1
    assert database.server.gauges().in_use == 1
    await close()
    assert database.server.gauges().in_use == 0
    database.connection.set("mine", 1)  # the connection knows where it is
    assert database.connection.dbsize() == 5
    await database.aclose()


async def test_errors_stand_where_replies_would(opened, asking):
    database = opened(db=3)
    database.connection.set("text", "x")
    ask, close = asking(database.server)
    replies = await ask([(3, ("HGET", "text", "f")), (64, ("DBSIZE",)), (64, ("GET", "text")), (3, ("GET", "text"))])
    assert "WRONGTYPE" in str(replies[0])
    assert "out of range" in str(replies[1])
    assert "out of range" in str(replies[2])
    assert replies[3] == "x"
    await close()
    assert database.server.gauges().open <= 1
    assert database.connection.get("text") == "x"
    await database.aclose()


async def test_commands_that_write(opened, asking, raw):
    database = opened(db=3)
    ask, close = asking(database.server)
    for round_ in range(2):
        with count_commands() as counted:
            replies = await ask([(db, ("INCR", "n")) for db in range(6)] + [(2, ("SCRIPT", "FLUSH"))])
        assert replies == [round_ + 1] * 6 + ["OK"]
    assert len(counted.wire) == 1
    assert await ask(reads([1, 2])) == [1, 1]
    replies = await ask([(1, ("INCR", "n")), (1, ("LPUSH", "n", 1)), (2, ("INCR", "n"))])
    assert (replies[0], replies[2]) == (3, 3)
    assert "WRONGTYPE" in str(replies[1])
    await close()
    assert {name: each["keys"] for name, each in raw.info("keyspace").items()} == {f"db{db}": 1 for db in range(6)}
    await database.aclose()


@pytest.mark.parametrize("pairs", [[(1, ("SET", "stray", 1)), (64, ("SET", "stray", 1))], [(64, ("SET", "stray", 1))]])
async def test_invariant_8_writes_need_their_database(opened, asking, raw, pairs):
    database = opened(db=3)
    ask, close = asking(database.server)
    assert await ask([(2, ("PING",))]) == ["PONG"]
    with pytest.raises(redis.ResponseError, match="out of range"):
        await ask(pairs)
    await close()
    assert raw.info("keyspace") == {}
    await database.aclose()


async def test_invariant_8_writes_need_the_right_to_select(opened, asking, guarded_server, raw):
    user = guarded_server("walker", "~*", "&*", "+@all")
    database = opened(db=3, username=user, password=PASSWORD, client_name=None)
    ask, close = asking(database.server)
    pairs = [(db, ("SET", "k", 1)) for db in (1, 2)]
    assert await ask(pairs) == ["OK", "OK"]
    raw.flushall()
    raw.execute_command("ACL", "SETUSER", user, "-select", "-multi")
    with pytest.raises(redis.exceptions.NoPermissionError):
        await ask(pairs)
    await close()
    assert raw.info("keyspace") == {}
    await database.aclose()


async def test_a_lost_connection_ends_the_lease(opened, asking, raw):
    database = opened(db=3)
    ask, close = asking(database.server)
    (own,) = (await ask([(1, ("PING",))]),)
    for entry in raw.client_list():
        if entry["name"].startswith("test-"):
            raw.client_kill_filter(_id=entry["id"])
    assert own == ["PONG"]
    with pytest.raises(redis.ConnectionError):
        await ask(reads())
    with pytest.raises(redis.ConnectionError, match="take another one"):
        await ask(reads())
    await close()
    assert database.server.gauges().open == 0
    await database.aclose()


async def test_a_lease_counts_in_the_budget(opened, asking):
    database = opened(db=3, budget=Budget(per_server=1, on_full="raise"))
    ask, close = asking(database.server)
    await ask(reads([1]))
    with pytest.raises(redis.exceptions.MaxConnectionsError):
        database.connection.ping()
    await close()
    assert await database.aconnection.ping()
    await database.aclose()


async def test_a_cancelled_lease_closes_its_connection(opened):
    database = opened(db=3)
    for steps in range(10):
        async with database.server.alease() as lease:
            await lease.ask(reads([1]))
            task = asyncio.create_task(lease.ask(reads()))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert await database.aconnection.dbsize() == 0
        assert database.server.gauges().in_use == 0
    await database.aclose()


def test_a_lease_stays_in_its_process(opened):
    database = opened(db=3)
    with database.server.lease() as lease:
        lease.ask(reads([1]))
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                lease.ask(reads([1]))
            except redis.ConnectionError as error:
                os.write(writing, str(error).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        os.close(writing)
        assert b"another process" in os.read(reading, 200)
        os.close(reading)
        assert lease.ask(reads([1])) == [0]
