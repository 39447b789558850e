"""What users may write with one database."""

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

import redis
import redis.asyncio

from tenantlimpyd import RedisDatabase


def settings_are_those_of_redis_py() -> None:
    RedisDatabase()
    RedisDatabase(host="localhost", port=6379, db=1, username="app", password="secret", ssl=True, protocol=2)
    RedisDatabase(url="rediss://cache.example:6380/3")
    RedisDatabase(unix_socket_path="/run/redis.sock", key_prefix="acme:")
    RedisDatabase(key_prefix=7)  # type: ignore[arg-type]
    RedisDatabase("localhost")  # type: ignore[call-arg]


def a_database_closes_at_the_end_of_a_with_block() -> None:
    with RedisDatabase(db=1) as database:
        assert_type(database, RedisDatabase)
    database.close()


async def a_database_closes_at_the_end_of_an_async_with_block() -> None:
    async with RedisDatabase(db=1) as database:
        assert_type(database, RedisDatabase)
    await database.aclose()
    database.aclose()  # type: ignore[unused-coroutine]


def clients_are_those_of_redis_py(database: RedisDatabase) -> None:
    blocking: redis.Redis = database.connection
    awaiting: redis.asyncio.Redis = database.aconnection
    wrong: redis.asyncio.Redis = database.connection  # type: ignore[assignment]
    assert_type(database.key_prefix, str)


def keys_are_text(database: RedisDatabase) -> None:
    keys: Iterator[str] = database.scan_keys(match="invoice:*", count=500, type="hash")
    for key in database.scan_keys():
        assert_type(key, str)
    database.scan_keys(match=1)  # type: ignore[arg-type]
    database.scan_keys(count="many")  # type: ignore[arg-type]


async def keys_are_text_in_asyncio_too(database: RedisDatabase) -> None:
    keys: AsyncIterator[str] = database.ascan_keys(match="invoice:*", count=500, type="hash")
    async for key in database.ascan_keys():
        assert_type(key, str)
    for _refused in database.ascan_keys():  # type: ignore[attr-defined]
        pass
