"""Invariants 10 and 13: raw connections refuse commands that reach keys of other tenants, in every spelling."""

from __future__ import annotations

import copy
import pickle

import pytest

from tenantlimpyd import Command, DatabaseRouter, RedisDatabase
from tenantlimpyd.exceptions import ImplementationError


@pytest.fixture
async def database(server):
    async with RedisDatabase(**server.settings, db=1) as database:
        database.connection.flushdb()
        yield database


@pytest.fixture
async def prefixed(server):
    async with RedisDatabase(**server.settings, db=1, key_prefix="acme:") as database:
        yield database


async def execute(database, call, *command, pipeline=False):
    client = call.client(database)
    if not pipeline:
        reply = client.execute_command(*command)
        return await call.result(reply)
    pipe = client.pipeline(transaction=False)
    pipe.execute_command(*command)
    return await call.result(pipe.execute())


@pytest.mark.parametrize("pipeline", [False, True], ids=["alone", "pipeline"])
@pytest.mark.parametrize(
    "command",
    [
        ("SWAPDB", 1, 2),
        ("swapdb\t1 2",),
        (b"SWAPDB 1 2",),
        ("MOVE", "k", 2),
        ("\nmove", "k", 2),
        ("COPY", "k", "c", "db", 2),
    ],
    ids=repr,
)
async def test_command_that_reaches_another_database_is_refused(database, call, command, pipeline):
    database.connection.set("k", "v")
    with pytest.raises(ImplementationError, match="it reaches another database"):
        await execute(database, call, *command, pipeline=pipeline)
    assert database.connection.get("k") == "v"


async def test_copy_within_the_database_works(database, call):
    database.connection.set("k", "v")
    await execute(database, call, "COPY", "k", "DB2")
    assert database.connection.get("DB2") == "v"


@pytest.mark.parametrize("pipeline", [False, True], ids=["alone", "pipeline"])
@pytest.mark.parametrize("command", ["FLUSHDB", "flushdb\t", b"FLUSHALL"], ids=repr)
async def test_database_with_a_key_prefix_is_not_emptied(database, prefixed, call, command, pipeline):
    database.connection.set("globex:k", "theirs")
    with pytest.raises(ImplementationError, match="all tenants that share this database"):
        await execute(prefixed, call, command, pipeline=pipeline)
    assert database.connection.get("globex:k") == "theirs"


async def test_database_without_a_key_prefix_can_be_emptied(database, call):
    database.connection.set("k", "v")
    await execute(database, call, "FLUSHDB")
    assert not database.connection.exists("k")


@pytest.mark.parametrize("command", [("WAIT", 0, 10), ("waitaof", 0, 0, 10)], ids=repr)
async def test_waiting_for_writes_of_another_connection_is_refused(database, call, command):
    with pytest.raises(ImplementationError, match="waits for the writes of its own connection"):
        await execute(database, call, *command)


async def test_waiting_on_the_connection_that_wrote_works(database):
    with database.connection.client() as client:
        client.set("k", "v")
        assert client.wait(0, 10) == 0
    async with database.aconnection.client() as client:
        await client.set("k", "v")
        assert await client.wait(0, 10) == 0


def test_settings_are_not_pickled_with_their_password():
    settings = RedisDatabase(host="redis-1", username="bob", password="hunter2").settings
    with pytest.raises(TypeError, match="may hold a password"):
        pickle.dumps(settings)
    assert copy.deepcopy(settings) == copy.copy(settings) == settings


@pytest.mark.parametrize("timeout", [10**400, 1e300])
def test_timeout_beyond_clocks_is_refused_as_an_argument(database, timeout):
    with DatabaseRouter({"acme": database}) as router, pytest.raises(ValueError, match="timeout must be at most"):
        router.fan_out(Command("PING"), timeout=timeout)


def test_page_beyond_servers_is_refused_as_an_argument(database):
    with DatabaseRouter({"acme": database}) as router, pytest.raises(ValueError, match="count must be from 1"):
        router.scan_keys(count=2**63)


def test_command_without_a_name_is_refused():
    with pytest.raises(TypeError, match="needs the command's name"):
        Command()


class AwkwardError(Exception):
    """An application's exception that refuses notes and copies."""

    def add_note(self, note):
        raise RuntimeError(note)

    def __copy__(self):
        raise RuntimeError


async def test_one_error_of_two_tenants_names_each_once(server, call):
    cause = KeyError("cause")
    shared = ValueError("shared")
    shared.__cause__ = cause

    def fails(_database):
        raise shared

    databases = {f"t{number}": RedisDatabase(**server.settings, db=number) for number in range(4)}
    with DatabaseRouter(databases) as router:
        outcomes = await call(router, "fan_out", fails, on_error="collect")
        for tenant, outcome in outcomes.items():
            assert outcome.error.tenant == tenant
            assert outcome.error.__notes__ == [f"tenant: {tenant}"]
            assert outcome.error.__traceback__ is not None
            assert outcome.error.__cause__ is cause
        await router.aclose()


def test_error_that_can_not_be_decorated_is_an_outcome(server):
    awkward = AwkwardError("x")

    def fails(_database):
        raise awkward

    databases = {f"t{number}": RedisDatabase(**server.settings, db=number) for number in range(2)}
    with DatabaseRouter(databases) as router:
        outcomes = router.fan_out(fails, on_error="collect")
        assert not any(outcome.ok for outcome in outcomes.values())
