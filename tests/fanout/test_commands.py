"""fan_out of one command or script: over few connections, and never in another tenant's database."""

from __future__ import annotations

import asyncio

import pytest
import redis

from tenantlimpyd import RedisDatabase
from tenantlimpyd.embedded import EmbeddedServer
from tenantlimpyd.exceptions import FanOutError, ImplementationError, UnknownTenantError
from tenantlimpyd.operations import Command, Script
from tenantlimpyd.router import DatabaseRouter
from tenantlimpyd.testing import count_commands

pytestmark = pytest.mark.slow

INCREMENT = Script("return redis.call('INCR', KEYS[1])", ["counter"])


async def modes(router, step, **arguments):
    results = []
    for run in (
        lambda: asyncio.to_thread(router.fan_out, step, **arguments),
        lambda: router.afan_out(step, **arguments),
    ):
        try:
            results.append(await run())
        except Exception as error:  # noqa: BLE001 - to be looked at
            results.append(error)
    await router.aclose()
    return results


@pytest.fixture(scope="module")
def wide():
    """A server of 600 databases."""
    with EmbeddedServer(databases=600) as server:
        yield server


@pytest.fixture
def many(wide, client_name):
    with redis.Redis(**wide.settings) as client:
        client.flushall()
    databases = {f"t{n}": RedisDatabase(**wide.settings, db=n, client_name=client_name) for n in range(600)}
    with DatabaseRouter(databases) as router:
        yield router


def selected(server):
    with redis.Redis(**server.settings) as client:
        return {int(name.removeprefix("db")): facts["keys"] for name, facts in client.info("keyspace").items()}


async def test_command_reaches_every_tenant_in_few_round_trips(many, wide):
    with redis.Redis(**wide.settings) as client:
        before = client.info("stats")["total_connections_received"]
        with count_commands() as counted:
            outcomes = many.fan_out(Command("SET", "x", 1))
        opened = client.info("stats")["total_connections_received"] - before
    assert list(outcomes) == list(many.tenants())
    assert all(outcome.value is True and outcome.ok for outcome in outcomes.values())
    assert selected(wide) == dict.fromkeys(range(600), 1)
    assert opened <= 8
    assert counted.trips <= 12
    for outcomes in await modes(many, Command("DBSIZE")):
        assert {outcome.value for outcome in outcomes.values()} == {1}
        assert all(0 < outcome.seconds < 10 for outcome in outcomes.values())


async def test_script_is_sent_once_and_runs_for_every_tenant(many, wide):
    first, second = await modes(many, INCREMENT)
    assert {outcome.value for outcome in first.values()} == {1}
    assert {outcome.value for outcome in second.values()} == {2}
    with redis.Redis(**wide.settings) as client:
        calls = client.info("commandstats")
        assert calls["cmdstat_eval"]["calls"] < 60
        assert calls["cmdstat_evalsha"]["calls"] > 1000


async def test_replies_equal_those_of_redis_py(fleet):
    database = fleet.database_for("t1")
    database.connection.hset("h", mapping={"é": "ö"})
    database.connection.set("raw", b"\xff")
    for command, expected in (
        (Command("HGETALL", "h"), {"é": "ö"}),
        (Command("CONFIG GET", "maxmemory"), {"maxmemory": "0"}),
        (Command(b"GET", "none"), None),
        (Command("SCAN", 0, "MATCH", "h*", "COUNT", 100), (0, ["h"])),
        (Script("return {1, 'é'}"), [1, "é"]),
    ):
        for outcomes in await modes(fleet, command, tenants=["t1"]):
            assert outcomes["t1"].value == expected
    for outcomes in await modes(fleet, Command("GET", "raw"), tenants=["t1", "t2"], on_error="collect"):
        assert isinstance(outcomes["t1"].error, UnicodeDecodeError)
        assert outcomes["t2"].ok
    from redis.client import NEVER_DECODE

    for outcomes in await modes(fleet, Command("GET", "raw", **{NEVER_DECODE: True}), tenants=["t1"]):
        assert outcomes["t1"].value == b"\xff"


async def test_database_out_of_range_fails_alone_and_writes_nothing_elsewhere(many, wide, client_name):
    for number in (700, 650, 10_000):
        many.add(f"far{number}", RedisDatabase(**wide.settings, db=number, client_name=client_name))
    for outcomes in await modes(many, Command("INCR", "counter"), on_error="collect"):
        assert {tenant for tenant, outcome in outcomes.items() if not outcome.ok} == {"far700", "far650", "far10000"}
        assert "out of range" in str(outcomes["far700"].error)
    for number in range(600):
        assert many.database_for(f"t{number}").connection.get("counter") == "2", number


async def test_refused_select_runs_nothing_in_the_previous_database(fleet, flushed_server):
    """The user loses the right to SELECT while its connections are open, and so may be in any tenant's database."""
    with redis.Redis(**flushed_server.settings, db=0) as admin:
        admin.acl_setuser("mover", enabled=True, passwords=["+x"], keys=["*"], commands=["+@all"], reset=True)
        own = {"username": "mover", "password": "x"}
        router = DatabaseRouter({f"m{n}": RedisDatabase(**flushed_server.settings, **own, db=n) for n in range(1, 6)})
        try:
            for outcomes in await modes(router, Command("SET", "k", 1)):
                assert all(outcome.ok for outcome in outcomes.values())
            router.fan_out(Command("PING"))
            admin.acl_setuser("mover", commands=["-select"])
            outcomes = router.fan_out(Command("INCR", "k"), on_error="collect")
            assert {type(outcome.error) for outcome in outcomes.values()} == {redis.exceptions.NoPermissionError}
            for number in range(6):
                admin.execute_command("SELECT", number)
                assert admin.get("k") in (b"1", None), number
        finally:
            router.close()
            admin.acl_deluser("mover")


async def test_users_without_multi_are_served(flushed_server):
    with redis.Redis(**flushed_server.settings) as admin:
        admin.acl_setuser("plain", enabled=True, passwords=["+x"], keys=["*"], commands=["+@all", "-multi"], reset=True)
        own = {"username": "plain", "password": "x"}
        databases = {f"m{n}": RedisDatabase(**flushed_server.settings, **own, db=n) for n in range(6)}
        databases["far"] = RedisDatabase(**flushed_server.settings, **own, db=10_000)
        router = DatabaseRouter(databases)
        try:
            for outcomes in await modes(router, Command("INCR", "k"), on_error="collect"):
                assert [tenant for tenant, outcome in outcomes.items() if not outcome.ok] == ["far"]
            assert {outcomes[f"m{n}"].value for n in range(6)} == {2}
        finally:
            router.close()
            admin.acl_deluser("plain")


@pytest.mark.parametrize(
    "command",
    [
        *(Command("SELECT", 1), Command("select 1"), Command(b"AUTH", "x"), Command("BLPOP", "x", 0), Command("MULTI")),
        *(Command("SUBSCRIBE", "x"), Command("SWAPDB", 1, 2), Command("CLIENT REPLY", "OFF")),
    ],
    ids=lambda command: str(command.args[:1]),
)
async def test_commands_that_can_not_be_pipelined_are_refused(fleet, command):
    with pytest.raises(ImplementationError, match="over one connection"):
        fleet.fan_out(command)
    with pytest.raises(ImplementationError, match="over one connection"):
        await fleet.afan_out(command)


async def test_error_policies_of_a_fan_out_command(fleet):
    fleet.database_for("t3").connection.lpush("x", 1)
    for error in await modes(fleet, Command("INCR", "x")):
        assert isinstance(error, FanOutError)
        assert [each.tenant for each in error.exceptions] == ["t3"]
    for outcomes in await modes(fleet, Command("INCR", "x"), on_error="collect"):
        assert isinstance(outcomes["t3"].error, redis.ResponseError)
    for error in await modes(fleet, Command("INCR", "x"), on_error="raise"):
        assert type(error) is redis.ResponseError
        assert error.tenant == "t3"


async def test_failing_servers_affect_only_their_own_tenants(broken, names_of_broken):
    for outcomes in await modes(broken, Command("PING"), on_error="collect", timeout=0.3):
        assert {tenant for tenant, outcome in outcomes.items() if not outcome.ok} == names_of_broken
        assert "not finished within 0.3 s" in str(outcomes["hangs"].error)
        assert all(outcome.value is True for outcome in outcomes.values() if outcome.ok)


async def test_dead_server_costs_one_attempt_however_many_tenants_it_has(misbehaving):
    server = misbehaving(lambda peer, stop: stop.wait(10))
    router = DatabaseRouter({f"t{n}": RedisDatabase(host="127.0.0.1", port=server.port, db=n) for n in range(500)})
    for outcomes in await modes(router, Command("PING"), on_error="collect", timeout=0.2):
        assert {type(outcome.error) for outcome in outcomes.values()} == {redis.TimeoutError}
    assert server.accepted <= 16


async def test_tenant_removed_during_a_fan_out_gets_no_command(fleet):
    jobs = fleet._jobs(["t1", "t2"], allow_switch=False)
    fleet.remove("t1")
    from tenantlimpyd._fanout.commands import acall_all, call_all

    arguments = {"policy": "collect", "timeout": 1.0, "concurrency": 4}
    for outcomes in (
        call_all(jobs, Command("PING"), **arguments),
        await acall_all(jobs, Command("PING"), **arguments),
    ):
        assert isinstance(outcomes["t1"].error, UnknownTenantError)
        assert outcomes["t2"].ok
    await fleet.aclose()


async def test_fan_out_command_without_tenants_is_empty():
    for outcomes in await modes(DatabaseRouter(), Command("PING")):
        assert outcomes == {}


async def test_server_that_does_not_queue_gets_each_command_after_its_select(misbehaving):
    """It replies OK to everything, so that it does not pass the probe of its transactions."""

    def agrees(peer, _stop):
        while data := peer.recv(65536):
            peer.sendall(b"+OK\r\n" * data.count(b"*"))

    port = misbehaving(agrees).port
    settings = {"host": "127.0.0.1", "port": port, "protocol": 2, "driver_info": None, "breaker": None}
    router = DatabaseRouter({f"t{number}": RedisDatabase(**settings, db=number) for number in range(3)})
    for outcomes in await modes(router, Command("GET", "x"), on_error="collect"):
        assert {outcome.value for outcome in outcomes.values()} == {"OK"}
    await router.aclose()
