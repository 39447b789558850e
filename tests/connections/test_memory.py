"""The memory of an idle database, in bytes that Python allocates."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from tenantlimpyd import DatabaseRouter
from tenantlimpyd.database import RedisDatabase

pytestmark = pytest.mark.slow

NUMBER = 10_000
SETTINGS = {"host": "redis-1", "port": 6379, "username": "shop", "password": "s3cret", "socket_timeout": 5}


@pytest.fixture
def allocated():
    """Return how many bytes were allocated since the last call, for each of the databases."""
    RedisDatabase(**SETTINGS, db=1).connection.get_encoder()  # what is made once
    gc.collect()
    tracemalloc.start()
    last = tracemalloc.get_traced_memory()[0]

    def allocated() -> float:
        nonlocal last
        gc.collect()
        before, last = last, tracemalloc.get_traced_memory()[0]
        return (last - before) / NUMBER

    yield allocated
    tracemalloc.stop()


def test_idle_database_allocates_little_memory(allocated):
    databases = [RedisDatabase(**SETTINGS, db=db) for db in range(NUMBER)]
    unused = allocated()
    assert unused <= 300  # 248 at the time of writing, the list's own 8 included
    for database in databases:
        assert database.connection is not None
    used = unused + allocated()
    assert used <= 550  # 481
    router = DatabaseRouter()
    for number, database in enumerate(databases):
        with database._guarded_by(router):
            pass
        databases[number] = database
    assert used + allocated() <= 650  # 529


def test_databases_of_one_server_have_one_pool():
    databases = [RedisDatabase(**SETTINGS, db=db) for db in range(100)]
    assert len({id(database.connection.connection_pool._pool) for database in databases}) == 1
    assert len({id(database.connection.response_callbacks) for database in databases}) == 1
    assert len({id(database.settings.shared) for database in databases}) == 1
