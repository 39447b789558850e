"""A router with three tenants on the tests' server, and one that connects to nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tenantlimpyd._connections.budget import Budget
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.embedded import EmbeddedServer
from tenantlimpyd.router import DatabaseRouter


@pytest.fixture
def router(flushed_server: EmbeddedServer) -> Iterator[DatabaseRouter]:
    """Tenants acme, globex and initech, with the empty databases 1, 2 and 3."""
    names = ("acme", "globex", "initech")
    databases = {name: RedisDatabase(**flushed_server.settings, db=db) for db, name in enumerate(names, start=1)}
    # With a budget of their own, they share connections with no other test's databases.
    with DatabaseRouter(databases, budget=Budget()) as router:
        yield router
    for database in databases.values():
        database.close()


@pytest.fixture
def paper() -> DatabaseRouter:
    """Tenants a, b and c of a server that nobody connects to."""
    return DatabaseRouter({name: RedisDatabase(host="192.0.2.1", db=db) for db, name in enumerate("abc")})
