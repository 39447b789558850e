"""The stage for faults at exact places."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integration.isolation.shared.spots import LIMITED
from integration.isolation.shared.stage import HASTY, Stage, set_stage
from tests.support.servers import ServerHandle


@pytest.fixture(scope="module")
def limiting_server(server_source) -> Iterator[ServerHandle]:
    """A server with a user whose rights come and go."""
    server = server_source.start(acl=[f"user {LIMITED} on >pw ~* &* +@all"])
    try:
        yield server
    finally:
        server.end()


@pytest.fixture
def stage(limiting_server: ServerHandle) -> Iterator[Stage]:
    with set_stage(limiting_server) as stage:
        yield stage


@pytest.fixture
def hasty_stage(limiting_server: ServerHandle) -> Iterator[Stage]:
    """One whose callers wait for a short while only."""
    with set_stage(limiting_server, HASTY) as stage:
        yield stage


@pytest.fixture
def persistent_stage(limiting_server: ServerHandle) -> Iterator[Stage]:
    """One whose callers try once more."""
    with set_stage(limiting_server, retries=1) as stage:
        yield stage
