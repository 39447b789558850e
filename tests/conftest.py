"""Fixtures of all tests: one embedded server per run, and an empty database of it for each test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from tenantlimpyd.embedded import EmbeddedServer
from tests.support.caller import Caller

if TYPE_CHECKING:
    import redis

    from tenantlimpyd.database import RedisDatabase

SLOW_MODULE = re.compile(r"^pytestmark = .*\bpytest\.mark\.slow\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out modules that are slow as a whole, since importing them would take longer than the fast tests."""
    if config.option.markexpr != "not slow" or collection_path.suffix != ".py":
        return None
    return True if SLOW_MODULE.search(collection_path.read_text(encoding="utf-8")) else None


def clear(client: redis.Redis) -> None:
    """Delete all keys and load the scripts of changes, whose first use would take one more round trip."""
    from tenantlimpyd.atomic.general_script import CHANGE
    from tenantlimpyd.atomic.guarded_write import GUARDED_WRITE
    from tenantlimpyd.atomic.short_script import SHORT

    client.flushall()
    client.script_flush()  # else the round trips of a test would depend on the tests before it
    for script in (CHANGE, SHORT, GUARDED_WRITE):
        client.script_load(script)


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Caller:
    """Run a test in sync and in async: ``await call(p.name, "get")`` is ``p.name.get()``, or ``await p.name.aget()``."""
    return Caller(is_async=request.param == "async")


@pytest.fixture(autouse=True)
def default_logging() -> Iterator[None]:
    """Take back what a test configured of structlog."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """A real server on loopback, with 64 logical databases. A test that stops a server starts another one."""
    with EmbeddedServer(databases=64) as started:
        yield started


@pytest.fixture(scope="session")
def server_url(server: EmbeddedServer) -> str:
    """The URL of that server, without a database number."""
    return server.url


@pytest.fixture
def flushed_server(server: EmbeddedServer) -> EmbeddedServer:
    """The same server, with every logical database empty, and the scripts of changes known."""
    import redis

    with redis.Redis(**server.settings) as client:
        clear(client)
    return server


@pytest.fixture
def database(flushed_server: EmbeddedServer) -> Iterator[RedisDatabase]:
    """An empty RedisDatabase for this test."""
    from tenantlimpyd.database import RedisDatabase

    with RedisDatabase(**flushed_server.settings, db=0) as database:
        yield database
