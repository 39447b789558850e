"""Fan-out commands while permissions change between two writes: each runs in its tenant's database or not at all."""

from __future__ import annotations

import asyncio
import time

import pytest
import redis

from tenantlimpyd import Budget
from tenantlimpyd._fanout.commands import acall_all, call_all
from tenantlimpyd._fanout.multiplex.lease import AsyncLease
from tenantlimpyd._fanout.multiplex.reply_reader import ReplyReader
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.embedded import EmbeddedServer
from tenantlimpyd.exceptions import UnknownTenantError
from tenantlimpyd.operations import Command, Script
from tenantlimpyd.router import DatabaseRouter
from tenantlimpyd.testing import count_commands
from tests.support.chaos_proxy import ChaosProxy

pytestmark = pytest.mark.slow

MANY = 100
INCREMENT = Script("return redis.call('INCR', KEYS[1])", ["n"])


@pytest.fixture(scope="module")
def wide():
    with EmbeddedServer(databases=MANY + 1) as server:
        yield server


@pytest.fixture
def admin(wide):
    with redis.Redis(**wide.settings) as client:
        client.flushall()
        client.execute_command("ACL", "SETUSER", "worker", "reset", "on", ">pw", "~*", "&*", "+@all")
        yield client


def make(server, *numbers):
    budget = Budget()
    own = {**server.settings, "username": "worker", "password": "pw", "budget": budget}
    return DatabaseRouter({f"t{n}": RedisDatabase(**own, db=n) for n in numbers})


async def asked(router, call, step=INCREMENT, tenants=None):
    if not call.is_async:
        return router.fan_out(step, on_error="collect", tenants=tenants)
    return await router.afan_out(step, on_error="collect", tenants=tenants)


def counts(admin):
    """Return what each database counted, by number."""
    pipeline = admin.pipeline(transaction=False)
    for number in range(MANY + 1):
        pipeline.execute_command("SELECT", number)
        pipeline.get("n")
    replies = pipeline.execute()[1::2]
    admin.execute_command("SELECT", 0)
    return {number: int(reply) for number, reply in enumerate(replies) if reply is not None}


@pytest.mark.parametrize("write", range(1, 7))
@pytest.mark.parametrize(
    "lost", ["-multi", "-select", "-exec", "-incr -eval -evalsha", "-multi -select", "-exec -select", "-discard -multi"]
)
@pytest.mark.parametrize("step", [Command("INCR", "n"), INCREMENT], ids=["command", "script"])
async def test_permission_revoked_before_any_write_never_writes_elsewhere(
    wide, admin, monkeypatch, call, write, lost, step
):
    begin, writes = ReplyReader.begin, iter(range(1, 10_000))

    def revoked(self, round_trip):
        if next(writes) == write:
            admin.execute_command("ACL", "SETUSER", "worker", *lost.split())
        return begin(self, round_trip)

    router = make(wide, *range(1, MANY + 1))
    monkeypatch.setattr(ReplyReader, "begin", revoked)
    outcomes = await asked(router, call, step)
    monkeypatch.undo()
    counted = counts(admin)
    done = {int(tenant[1:]) for tenant, outcome in outcomes.items() if outcome.ok}
    assert len(outcomes) == MANY
    assert counted == dict.fromkeys(done, 1)  # once each, and nowhere else
    assert (
        "select" in lost or "incr" in lost or done == set(range(1, MANY + 1))
    )  # one by one, where there are no transactions
    assert {type(outcome.error) for outcome in outcomes.values() if not outcome.ok} <= {
        redis.exceptions.NoPermissionError
    }
    admin.execute_command("ACL", "SETUSER", "worker", "+@all")
    assert {outcome.value for outcome in (await asked(router, call, Command("ECHO", "well"))).values()} == {"well"}
    await router.aclose()


@pytest.mark.parametrize("write", range(2, 5))
async def test_released_connection_knows_its_database_after_select_was_revoked(wide, admin, monkeypatch, call, write):
    """The user may send no MULTI, and loses SELECT between two round trips."""
    admin.execute_command("ACL", "SETUSER", "worker", "-multi")
    for number in (0, 3, 5):
        admin.execute_command("SELECT", number)
        admin.set("who", number)
    router = make(wide, 0, 3, 5)
    begin, writes = ReplyReader.begin, iter(range(1, 10_000))

    def revoked(self, round_trip):
        if next(writes) == write:
            admin.execute_command("ACL", "SETUSER", "worker", "-select")
        return begin(self, round_trip)

    monkeypatch.setattr(ReplyReader, "begin", revoked)
    await asked(router, call, Command("GET", "who"), ["t3", "t5"])
    monkeypatch.undo()
    admin.execute_command("ACL", "SETUSER", "worker", "+@all")
    for who in ("0", "5", "3"):
        database = router.database_for(f"t{who}")
        got = await call.result(call.client(database).get("who"))
        assert got == who
    await router.aclose()


@pytest.mark.parametrize("right", ["-multi", "-exec"])
async def test_users_without_permission_for_transactions_are_served(wide, admin, call, right):
    admin.execute_command("ACL", "SETUSER", "worker", right)
    router = make(wide, *range(20), 5000)
    for times in (1, 2):
        outcomes = await asked(router, call)
        assert {outcome.value for tenant, outcome in outcomes.items() if tenant != "t5000"} == {times}
        assert "out of range" in str(outcomes["t5000"].error)
    assert counts(admin) == dict.fromkeys(range(20), 2)
    await router.aclose()


async def test_requests_longer_than_one_write_are_complete(wide, admin, call):
    router = make(wide, *range(10))
    for size in (3_000, 7_000, 100_000):
        outcomes = await asked(router, call, Command("SET", "n", 1, "PX", 100_000 + size))
        assert all(outcome.ok for outcome in outcomes.values())
        text = "x" * size
        outcomes = await asked(router, call, Command("ECHO", text))
        assert {outcome.value for outcome in outcomes.values()} == {text}
        script = Script(f"--{text}\nreturn redis.call('INCR', KEYS[1])", ["n"])
        assert {outcome.value for outcome in (await asked(router, call, script)).values()} == {2}
    await router.aclose()


async def test_refused_command_of_one_tenant_does_not_affect_others(wide, admin, call):
    """The user may write to one key only, which the scripts of the others do not name."""
    router = make(wide, *range(1, 30))
    admin.execute_command("ACL", "SETUSER", "worker", "resetkeys", "~other")
    outcomes = await asked(router, call, Command("INCR", "n"))
    assert {type(outcome.error) for outcome in outcomes.values()} == {redis.exceptions.NoPermissionError}
    assert counts(admin) == {}
    outcomes = await asked(router, call, Command("INCR", "other"))
    assert {outcome.value for outcome in outcomes.values()} == {1}
    await router.aclose()


async def test_users_without_discard_are_served(wide, admin, call):
    """They can not discard a transaction, so they can not use connections on which MULTI is pre-opened."""
    router = make(wide, *range(20))
    for times in (1, 2):
        assert {outcome.value for outcome in (await asked(router, call)).values()} == {times}
    admin.execute_command("ACL", "SETUSER", "worker", "-discard")  # idle connections have MULTI pre-opened
    for times in (3, 4, 5):
        assert {outcome.value for outcome in (await asked(router, call)).values()} == {times}
    assert counts(admin) == dict.fromkeys(range(20), 5)
    await router.aclose()


async def test_long_script_is_sent_once(wide, admin, call):
    router = make(wide, *range(60))
    script = Script(f"--{'x' * 7_000}\nreturn redis.call('INCR', KEYS[1])", ["n"])
    with count_commands() as counted:
        outcomes = await asked(router, call, script)
    assert {outcome.value for outcome in outcomes.values()} == {1}
    assert counted.names.count("EVAL") == 1
    assert counted.names.count("EVALSHA") == 59
    assert counted.trips <= 8
    admin.script_flush()
    assert {outcome.value for outcome in (await asked(router, call, script)).values()} == {2}
    await router.aclose()


@pytest.mark.parametrize("bad", [{"a": 1}, "\ud800"], ids=["no word", "no UTF-8"])
async def test_tenants_that_failed_before_an_error_keep_their_own_error(wide, admin, call, bad):
    """A tenant whose number isn't there, one that was removed, and a command that can't be packed."""
    router = make(wide, *range(8), 5000)
    jobs = router._jobs(None, allow_switch=False)
    router.remove("t3")
    arguments = {"policy": "collect", "timeout": 5, "concurrency": 8}
    step = Command("SET", "k", bad)
    async with asyncio.timeout(10):
        if not call.is_async:
            outcomes = await asyncio.to_thread(call_all, jobs, step, **arguments)
        else:
            outcomes = await acall_all(jobs, step, **arguments)
    kinds = {tenant: type(outcome.error) for tenant, outcome in outcomes.items()}
    assert kinds.pop("t3") is UnknownTenantError
    assert kinds.pop("t5000") in (redis.ResponseError, redis.DataError, UnicodeEncodeError)
    assert set(kinds.values()) <= {redis.DataError, UnicodeEncodeError}
    assert len(kinds) == 7
    await router.aclose()


async def test_silent_server_is_waited_for_once_without_permission_for_transactions(wide, admin, monkeypatch, call):
    admin.execute_command("ACL", "SETUSER", "worker", "-multi")
    with ChaosProxy(wide.host, wide.port) as proxy:
        own = {"host": "127.0.0.1", "port": proxy.port, "username": "worker", "password": "pw", "breaker": None}
        router = DatabaseRouter({f"t{n}": RedisDatabase(**own, db=n) for n in range(16)}, budget=Budget())
        begin, writes = ReplyReader.begin, iter(range(1, 10_000))

        def silenced(self, round_trip):
            if next(writes) == 6:
                proxy.swallow()
            return begin(self, round_trip)

        monkeypatch.setattr(ReplyReader, "begin", silenced)
        began = time.monotonic()
        arguments = {"timeout": 0.5, "on_error": "collect"}
        outcomes = await call(router, "fan_out", Command("DBSIZE"), **arguments)
        assert time.monotonic() - began < 2.5
        failed = [outcome for outcome in outcomes.values() if not outcome.ok]
        assert len(failed) > 10
        assert {type(outcome.error) for outcome in failed} == {redis.TimeoutError}
        await router.aclose()


@pytest.mark.parametrize("work", ["scan", "command"])
async def test_connection_closed_by_another_client_is_not_silently_replaced(wide, admin, monkeypatch, work):
    """It would be in another database, and in no transaction."""
    router = make(wide, 3, 5)
    for number in (0, 3, 5):
        admin.execute_command("SELECT", number)
        admin.mset({f"of-{number}:{key}": 1 for key in range(40)})
    exchange, round_trips = AsyncLease.exchange, iter(range(1, 10_000))

    async def cut(lease, round_trip):
        if next(round_trips) == 2:
            await lease._connection.disconnect()
        return await exchange(lease, round_trip)

    monkeypatch.setattr(AsyncLease, "exchange", cut)
    if work == "scan":
        found = {(tenant, key.split(":")[0]) async for tenant, key in router.ascan_keys(count=5)}
        assert found == {("t3", "of-3"), ("t5", "of-5")}
    else:
        outcomes = await router.afan_out(Command("INCR", "n"), on_error="collect")
        assert {type(outcome.error) for outcome in outcomes.values()} == {redis.ConnectionError}
        assert counts(admin) == {}
    await router.aclose()
