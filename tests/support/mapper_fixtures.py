"""Fixtures of the tests of the object mapper: models, fields, indexes, collections, pipelines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis

from tenantlimpyd import fields
from tenantlimpyd.contrib.collection import ExtendedCollectionManager
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.router import DatabaseRouter
from tests.conftest import clear
from tests.support.models import define, make_person


@pytest.fixture(params=[RedisDatabase, DatabaseRouter])
def host(request: pytest.FixtureRequest) -> Any:
    """A database or router that models can be bound to; no server is needed."""
    return request.param()


@pytest.fixture(scope="session")
def raw_client(server: Any) -> Iterator[redis.Redis]:
    """One client for the whole run: these tests are many and short."""
    with redis.Redis(**server.settings, db=0, decode_responses=True) as client:
        yield client


@pytest.fixture
def flushed_server(server: Any, raw_client: redis.Redis) -> Any:
    """The server, with every logical database empty."""
    clear(raw_client)
    return server


@pytest.fixture
def raw(flushed_server: Any, raw_client: redis.Redis) -> redis.Redis:
    """Another client of the same database."""
    return raw_client


@pytest.fixture
async def database(flushed_server: Any) -> AsyncIterator[RedisDatabase]:
    """An empty database for this test, for sync and async use."""
    database = RedisDatabase(**flushed_server.settings, db=0)
    yield database
    await database.aclose()
    database.close()


@pytest.fixture
def person(database: RedisDatabase) -> Any:
    """A model with a field of each kind."""
    return make_person(database)


@pytest.fixture
def made(database: Any) -> Any:
    """``made(name=StringField(), ...)``: a model of these fields, with extended collections."""

    def make(name: str = "Thing", /, **body: Any) -> Any:
        return define(database, name, **{"collection_manager": ExtendedCollectionManager, "namespace": "p", **body})

    return make


@pytest.fixture
def numbered(made: Any) -> Any:
    """A model with an indexed string, whose pk the application gives."""
    return made(code=fields.PKField(), f=fields.StringField(indexable=True))
