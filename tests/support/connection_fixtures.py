"""Fixtures of the tests of connections: databases with named connections, and ACL users."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.embedded import EmbeddedServer


@pytest.fixture
def client_name() -> str:
    """A name for this test's connections."""
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture
def opened(flushed_server: EmbeddedServer, client_name: str) -> Iterator[Callable[..., RedisDatabase]]:
    """Make databases on the flushed server, by their settings; closed at the end."""
    made: list[RedisDatabase] = []

    def make(**settings: Any) -> RedisDatabase:
        made.append(RedisDatabase(**{"client_name": client_name, **flushed_server.settings, **settings}))
        return made[-1]

    yield make
    for database in made:
        database.close()


@pytest.fixture
def raw(flushed_server: EmbeddedServer) -> Iterator[redis.Redis]:
    """A plain redis-py client of database 0, without decoding."""
    with redis.Redis(**flushed_server.settings) as client:
        yield client


@pytest.fixture
def guarded_server(flushed_server: EmbeddedServer) -> Iterator[Callable[..., str]]:
    """Make ACL users on the shared server: ``guarded_server("name", "+@all", ...)``; removed at the end."""
    names: list[str] = []
    with redis.Redis(**flushed_server.settings) as admin:

        def make(name: str, *rules: str) -> str:
            admin.execute_command("ACL", "SETUSER", name, "on", ">s3cret-password", *rules)
            names.append(name)
            return name

        yield make
        for name in names:
            admin.acl_deluser(name)
