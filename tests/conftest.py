"""What every fast test may ask for: one embedded server a run, and an empty database of it for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tenantlimpyd.embedded import EmbeddedServer

if TYPE_CHECKING:
    import redis

    from tenantlimpyd.database import RedisDatabase

SLOW = (
    *("cli", "contrib", "examples", "fanout", "middleware", "test_chaosproxy.py", "embedded"),
    *("database/test_breaker.py", "database/test_sentinel.py", "database/test_budget.py", "database/test_memory.py"),
    *(
        "router/test_scale.py",
        "test_config_fuzz.py",
        "testing/test_plugin.py",
        "testing/test_leaks.py",
        "models/test_many_values",
        "models/test_collection",
        "models/test_index_",
    ),
)
"""Tests that start processes and servers, wait for real deadlines, or try very many cases: ``make fast`` leaves them out."""


def _slow(path: Path, config: pytest.Config) -> bool:
    here = config.rootpath / "tests"
    return path.is_relative_to(here) and path.relative_to(here).as_posix().startswith(SLOW)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    # Importing what is left out anyway would take half of the time of those that run.
    return True if config.option.markexpr == "not slow" and _slow(collection_path, config) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if _slow(item.path, config):
            item.add_marker("slow")


def clear(client: redis.Redis) -> None:
    """Leave a server with no key, and with the scripts of changes, whose first use would be a round trip more."""
    from tenantlimpyd.atomic.general_script import CHANGE
    from tenantlimpyd.atomic.short_script import SHORT

    client.flushall()
    client.script_flush()  # or what a test counts would depend on the tests before it
    for script in (CHANGE, SHORT):
        client.script_load(script)


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """A real server on loopback, with 64 logical databases. Not to be stopped: start one of your own for that."""
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
    """A RedisDatabase of its own for this test, empty."""
    from tenantlimpyd.database import RedisDatabase

    with RedisDatabase(**flushed_server.settings, db=0) as database:
        yield database
