"""The counter of commands and round trips."""

from __future__ import annotations

import asyncio
import threading

import pytest
import redis.asyncio.connection
import redis.connection

from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.embedded import EmbeddedServer
from tenantlimpyd.testing import count_commands
from tenantlimpyd.testing.counting import command_names


def test_commands_and_round_trips_are_counted(database: RedisDatabase) -> None:
    with count_commands(database) as sent:
        database.connection.set("a", "x" * 100_000)
        assert (sent.round_trips, sent.commands) == (1, 1)
        with database.connection.pipeline(transaction=True) as pipeline:
            pipeline.get("a").incr("n").execute()
    assert sent.sent == [("SET",), ("MULTI", "GET", "INCRBY", "EXEC")]
    assert (sent.round_trips, sent.commands) == (2, 5)
    assert sent.names == ["SET", "MULTI", "GET", "INCRBY", "EXEC"]
    assert "x" * 10 not in repr(sent)
    database.connection.get("a")
    assert sent.round_trips == 2
    sent.clear()
    assert sent.commands == 0


async def test_async_commands_are_counted(database: RedisDatabase) -> None:
    with count_commands(database) as sent:
        await database.aconnection.set("a", 1)
        async with database.aconnection.pipeline(transaction=False) as pipeline:
            await pipeline.get("a").get("b").execute()
        await asyncio.gather(*(database.aconnection.get("a") for _ in range(5)))
    assert sent.sent == [("SET",), ("GET", "GET"), *[("GET",)] * 5]
    await database.aclose()


def test_handshake_and_health_check_are_not_counted(flushed_server: EmbeddedServer) -> None:
    with (
        RedisDatabase(**flushed_server.settings, db=5, client_name="me", health_check_interval=0.000_001) as database,
        count_commands() as sent,
    ):
        database.connection.get("a")
        database.connection.get("a")
    assert sent.sent == [("GET",), ("GET",)]


def test_only_the_given_databases_are_counted(flushed_server: EmbeddedServer) -> None:
    settings = flushed_server.settings
    with (
        RedisDatabase(**settings, db=1) as one,
        RedisDatabase(**settings, db=2) as two,
        RedisDatabase(unix_socket_path=flushed_server.unix_socket, db=1) as by_socket,
        RedisDatabase(url=f"{flushed_server.url}/1") as by_url,
        count_commands(one) as sent_to_one,
        count_commands(one, two) as sent_to_both,
        count_commands(by_socket) as sent_by_socket,
        count_commands() as sent_at_all,
    ):
        one.connection.set("a", 1)
        two.connection.get("a")
        by_socket.connection.incr("a")
        by_url.connection.delete("a")
    assert sent_to_one.names == ["SET", "DEL"]
    assert sent_to_both.names == ["SET", "GET", "DEL"]
    assert sent_by_socket.names == ["INCRBY"]
    assert sent_at_all.names == ["SET", "GET", "INCRBY", "DEL"]


def test_threads_are_counted_and_methods_are_restored(database: RedisDatabase) -> None:
    before = [
        (owner.send_packed_command, owner.connect_check_health, owner.check_health)
        for owner in (redis.connection.AbstractConnection, redis.asyncio.connection.AbstractConnection)
    ]
    with count_commands(database) as outer:
        with count_commands(database) as inner:
            threads = [threading.Thread(target=database.connection.incr, args=("n",)) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        database.connection.get("n")
    assert inner.names == ["INCRBY"] * 8
    assert outer.names == ["INCRBY"] * 8 + ["GET"]
    with pytest.raises(ZeroDivisionError), count_commands():
        1 / 0  # noqa: B018
    after = [
        (owner.send_packed_command, owner.connect_check_health, owner.check_health)
        for owner in (redis.connection.AbstractConnection, redis.asyncio.connection.AbstractConnection)
    ]
    assert after == before


@pytest.mark.parametrize(
    ("packed", "names"),
    [
        (b"", []),
        (b"*1\r\n$4\r\nping\r\n", ["PING"]),
        (b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$9\r\n*1\r\n$1\r\nx\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n", ["SET", "GET"]),
    ],
)
def test_command_names_are_read_from_packed_commands(packed: bytes, names: list[str]) -> None:
    assert list(command_names(packed)) == names
