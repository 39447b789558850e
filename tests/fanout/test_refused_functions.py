"""What a fan-out refuses: functions that it can't run, and commands that reach beyond one tenant's keys."""

from __future__ import annotations

import functools

import pytest

from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import FanOutError, ImplementationError
from tenantlimpyd.operations import Command
from tenantlimpyd.router import DatabaseRouter

pytestmark = pytest.mark.slow


async def coroutine_function(database):
    await database.aconnection.ping()


def generator_function(database):
    yield database


async def async_generator_function(database):
    yield database


class Callable:
    async def __call__(self, database):
        await database.aconnection.ping()


@pytest.fixture
def router(server):
    with DatabaseRouter({"acme": RedisDatabase(**server.settings, db=1)}) as router:
        yield router


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (generator_function, "can't run a generator function"),
        (async_generator_function, "can't run a generator function"),
        (functools.partial(generator_function), "can't run a generator function"),
        (5, "takes a function of a database"),
    ],
)
async def test_functions_whose_body_would_not_run_are_refused(call, router, function, message):
    with pytest.raises(TypeError, match=message):
        await call(router, "fan_out", function)


@pytest.mark.parametrize("function", [coroutine_function, Callable()])
def test_fan_out_refuses_coroutine_functions(router, function):
    with pytest.raises(TypeError, match="can't run a coroutine function"):
        router.fan_out(function)


def test_returned_coroutine_is_a_failed_outcome(router):
    with pytest.raises(FanOutError) as caught:
        router.fan_out(lambda database: [coroutine_function(database)][0])
    assert "returned a coroutine" in str(caught.value.exceptions[0])


@pytest.mark.parametrize(
    "words",
    [
        ("FLUSHALL",), ("SWAPDB", 1, 2), ("MOVE", "k", 2), ("COPY", "a", "b", "DB", 2), ("MIGRATE", "h", 1, "k", 0, 10),
        ("SELECT\t3",),
        ("\nselect 3",), (b"SELECT", 3), ("BLPOP", "k", 0), ("CLIENT SETNAME", "x"), ("JSON.GET", "k"),
        ("XREAD", "BLOCK", 1, "STREAMS", "k", 0),
    ],
    ids=repr,
)  # fmt: skip
async def test_commands_beyond_their_database_are_refused(router, words):
    with pytest.raises(ImplementationError, match="can't be sent to many databases"):
        router.fan_out(Command(*words))
    with pytest.raises(ImplementationError, match="can't be sent to many databases"):
        await router.afan_out(Command(*words))


async def test_command_for_a_whole_database_is_refused_for_tenants_by_prefix(flushed_server):
    settings = {**flushed_server.settings, "db": 1}
    with DatabaseRouter(
        {name: RedisDatabase(**settings, key_prefix=f"{name}:") for name in ("acme", "globex")}
    ) as router:
        router.database_for("globex").connection.set("globex:note", "theirs")
        with pytest.raises(ImplementationError, match="keys of other tenants"):
            router.fan_out(Command("FLUSHDB"), tenants=["acme"])
        with pytest.raises(ImplementationError, match="keys of other tenants"):
            await router.afan_out(Command("FLUSHDB"), tenants=["acme"])
        assert router.fan_out(Command("DBSIZE"), tenants=["acme"])["acme"].value == 1
        router.database_for("globex").connection.delete("globex:note")
