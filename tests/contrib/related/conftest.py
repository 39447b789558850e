from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.router import DatabaseRouter
from tests.contrib.related.related_models import make_models


@pytest.fixture
def m(database: RedisDatabase) -> SimpleNamespace:
    """Models with relations of every kind, on an empty database."""
    return make_models(database)


@pytest.fixture
async def router(flushed_server: Any) -> Any:
    made = DatabaseRouter(
        {
            "acme": RedisDatabase(**flushed_server.settings, db=1),
            "globex": RedisDatabase(**flushed_server.settings, db=2, key_prefix="g:"),
        }
    )
    yield made
    await made.aclose()
    made.close()


@pytest.fixture
def routed(router: DatabaseRouter) -> SimpleNamespace:
    """The same models, on a router of two tenants."""
    return make_models(router)
