"""connect() and reset() move a database, and all models and objects that use it."""

from __future__ import annotations

import asyncio
import functools
import threading

import pytest

from tenantlimpyd import fields, model
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import ConfigurationError, SharedKeyspaceError
from tenantlimpyd.router import DatabaseRouter
from tests.support.waiting import aeventually, open_connections


def to(database: RedisDatabase, **settings):
    return {**database.connection_settings, **settings}


def person_of(where):
    class Person(model.RedisModel):
        database = where
        namespace = "repointing"
        name = fields.StringField(indexable=True)

    return Person


def commands_of(server, client_name):
    return [entry["cmd"] for entry in open_connections(server, client_name)]


async def test_existing_models_and_objects_use_the_new_settings(opened):
    database = opened(db=1)
    person_model = person_of(database)
    person, found = person_model(name="Ada"), person_model.collection(name="Ada")
    assert list(found)
    client = database.connect(**to(database, db=2))
    assert client is database.connection
    assert person.name.get() is None
    assert await person.name.aget() is None
    assert list(person_model.collection(name="Ada")) == []
    person_model(name="Bob")
    assert opened(db=2).connection.dbsize() > 0
    await database.aconnect(**to(database, db=1))
    assert await person.name.aget() == person.name.get() == "Ada"
    await database.aclose()


async def test_moved_database_closes_its_old_connections(opened, flushed_server, client_name):
    database = opened(db=1)
    for number in range(2, 8):
        database.connection.ping()
        await database.aconnection.ping()
        if number % 2:
            database.connect(**to(database, db=number))
        else:
            await database.aconnect(**to(database, db=number))
    await aeventually(lambda: open_connections(flushed_server, client_name) == [])
    database.connection.ping()
    assert [entry["db"] for entry in open_connections(flushed_server, client_name)] == ["7"]
    await database.aclose()
    assert open_connections(flushed_server, client_name) == []


async def test_command_in_flight_finishes_on_the_old_connection(call, opened, flushed_server, client_name):
    database = opened(db=1)
    waiter = asyncio.create_task(call.concurrently(database.connection.blpop, database.aconnection.blpop, "queue", 20))
    blocked = functools.partial(commands_of, flushed_server, client_name)
    await aeventually(lambda: "blpop" in blocked())
    await call(database, "connect", **to(database, db=2))
    opened(db=1, client_name="other").connection.rpush("queue", "job")
    assert list(await asyncio.wait_for(waiter, 10)) == ["queue", "job"]
    assert "blpop" not in blocked()
    await database.aclose()


async def test_connect_without_arguments_returns_the_client(call, opened):
    database = opened(db=1)
    assert await call(database, "connect") is call.client(database)
    assert database.keyspace.db == 1


def test_connect_replaces_all_settings(opened):
    database = opened(db=5, socket_timeout=3)
    database.connect(host="127.0.0.1", port=1)
    assert database.connection_settings == {"host": "127.0.0.1", "port": 1}
    assert database.keyspace.db == 0


def test_reset_without_arguments_restores_the_default_settings(opened):
    database = opened(db=5)
    assert database.reset() is None
    assert database.connection_settings == {"host": "localhost", "port": 6379, "db": 0}


def test_wrong_settings_change_nothing(opened):
    database = opened(db=5)
    before = database.connection
    for wrong in ({"prot": 1}, {"key_prefix": 5}, {"db": -1}):
        with pytest.raises(ConfigurationError):
            database.connect(**wrong)
    assert database.connection is before
    assert database.connection.ping()


def test_key_prefix_can_not_change(opened):
    database = opened(db=1, key_prefix="a:")
    database.connect(**to(database, db=2))
    assert database.key_prefix == "a:"
    database.connect(**to(database, db=3), key_prefix="a:")
    with pytest.raises(ConfigurationError, match="make another RedisDatabase"):
        database.connect(**to(database, db=2), key_prefix="b:")
    with pytest.raises(ConfigurationError, match="key_prefix can't be changed from"):
        database.reset(**to(database, db=2), key_prefix="")
    assert (database.key_prefix, database.keyspace.prefix, database.keyspace.db) == ("a:", "a:", 3)


def test_version_is_asked_of_the_new_server(opened):
    database = opened(db=1)
    version = database.redis_version
    database.connect(**to(database, db=2))
    assert database._redis_version is None
    assert database.redis_version == version


@pytest.mark.invariant(6)
async def test_database_can_not_move_to_the_keyspace_of_another_tenant(call):
    one, other = RedisDatabase(host="h", db=1), RedisDatabase(host="h", db=2, key_prefix="x:")
    router = DatabaseRouter({"one": one, "other": other})
    with pytest.raises(SharedKeyspaceError, match="'one' and 'other'"):
        await call(one, "connect", host="h", db=2)
    assert one.keyspace.db == 1
    with pytest.raises(SharedKeyspaceError):
        other.reset(host="h", db=1)
    await call(one, "connect", host="h", db=3)
    await call(other, "connect", host="h", db=1)  # where "one" was
    assert [router.database_for(tenant).keyspace.db for tenant in ("one", "other")] == [3, 1]


def test_database_of_two_routers_is_checked_by_both():
    shared = RedisDatabase(host="h", db=1)
    first = DatabaseRouter({"a": shared, "b": RedisDatabase(host="h", db=2)})
    second = DatabaseRouter({"a": shared, "c": RedisDatabase(host="h", db=3)})
    for db in (2, 3):
        with pytest.raises(SharedKeyspaceError):
            shared.connect(host="h", db=db)
    shared.connect(host="h", db=4)
    for router in (first, second):
        with pytest.raises(SharedKeyspaceError):
            router.add("new", RedisDatabase(host="h", db=4))
        router.add("old", RedisDatabase(host="h", db=1))


async def test_database_of_a_removed_tenant_may_move_anywhere(call):
    one, other = RedisDatabase(host="h", db=1), RedisDatabase(host="h", db=2)
    router = DatabaseRouter({"one": one, "other": other})
    assert router.remove("one") is one
    await call(one, "connect", host="h", db=2)
    assert one.keyspace.db == 2


def test_databases_of_two_routers_move_concurrently_without_deadlock():
    databases = [RedisDatabase(host="h", db=number) for number in range(8)]
    orders = (databases, databases[::-1])
    routers = [DatabaseRouter({f"t{each.keyspace.db}": each for each in order}) for order in orders]
    start = threading.Barrier(len(databases))

    def move(database):
        start.wait(5)
        own = database.keyspace.db
        for round_ in range(25):
            database.connect(host="h", db=own + 8 * (round_ % 3))

    movers = [threading.Thread(target=move, args=(database,), daemon=True) for database in databases]
    for mover in movers:
        mover.start()
    for mover in movers:
        mover.join(20)
    assert not any(mover.is_alive() for mover in movers)
    assert [len(router) for router in routers] == [8, 8]


def test_add_waits_for_a_move_and_checks_the_new_keyspace():
    """A tenant added while its database moves is indexed under the new keyspace."""
    moving = RedisDatabase(host="h", db=1)
    for round_ in range(30):
        router = DatabaseRouter()
        target = 2 + round_
        adder = threading.Thread(target=router.add, args=("t", moving))
        mover = threading.Thread(target=moving.connect, kwargs={"host": "h", "db": target})
        adder.start()
        mover.start()
        adder.join(5)
        mover.join(5)
        with pytest.raises(SharedKeyspaceError):
            router.add("other", RedisDatabase(host="h", db=target))


def test_threads_use_the_old_or_the_new_keyspace_during_a_move(opened):
    database = opened(db=1)
    opened(db=1).connection.set("where", "one")
    opened(db=2).connection.set("where", "two")
    seen: set[str | None] = set()
    stop = threading.Event()

    def read():
        while not stop.is_set():
            seen.add(database.connection.get("where"))

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for number in range(20):
        database.connect(**to(database, db=1 + number % 2))
    stop.set()
    for reader in readers:
        reader.join(5)
    assert seen <= {"one", "two"}
