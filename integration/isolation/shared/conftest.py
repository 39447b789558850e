"""Fixtures: the harness for faults at exact places."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integration.isolation.shared.harness import IMPATIENT, Harness, make_harness
from integration.isolation.shared.sites import LIMITED
from tests.support.servers import ServerHandle


@pytest.fixture(scope="module")
def limiting_server(server_source) -> Iterator[ServerHandle]:
    """A server with a user whose rights are revoked and granted."""
    server = server_source.start(acl=[f"user {LIMITED} on >pw ~* &* +@all"])
    try:
        yield server
    finally:
        server.end()


@pytest.fixture
def harness(limiting_server: ServerHandle) -> Iterator[Harness]:
    with make_harness(limiting_server) as harness:
        yield harness


@pytest.fixture
def impatient_harness(limiting_server: ServerHandle) -> Iterator[Harness]:
    """A harness with a short socket timeout."""
    with make_harness(limiting_server, IMPATIENT) as harness:
        yield harness


@pytest.fixture
def retrying_harness(limiting_server: ServerHandle) -> Iterator[Harness]:
    """A harness whose clients retry once."""
    with make_harness(limiting_server, retries=1) as harness:
        yield harness
