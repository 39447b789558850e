"""MULTI is pre-opened only on servers whose transactions passed the probe; elsewhere SELECT is confirmed before a command."""

from __future__ import annotations

import threading

import pytest
import redis

from tenantlimpyd import Budget, DatabaseRouter, RedisDatabase
from tenantlimpyd._connections.transaction_probe import BUSY, FULL, PROBE, refusal
from tenantlimpyd.operations import Command
from tenantlimpyd.testing import count_commands
from tests.support.deviating_server import DeviatingServer
from tests.support.waiting import eventually

KINDS = ["runs the others", "leaves the transaction", "no transactions"]
PASSED = [
    b"OK",
    b"OK",
    b"OK",
    b"QUEUED",
    [b"OK"],
    b"OK",
    redis.ResponseError("wrong number of arguments for 'select' command"),
    redis.exceptions.ExecAbortError("Transaction discarded because of previous errors."),
    redis.ResponseError("DISCARD without MULTI"),
]
DBS = range(1, 5)


def test_replies_of_redis_and_valkey_pass():
    assert len(PASSED) == len(PROBE)
    assert refusal(PASSED) is None
    assert refusal([reply.decode() if isinstance(reply, bytes) else reply for reply in PASSED]) is None


@pytest.mark.parametrize("at", range(len(PROBE)))
@pytest.mark.parametrize("reply", [b"OK", b"QUEUED", [], [b"OK", b"OK"], [redis.ResponseError("no")], None, 1, "other"])
def test_any_other_reply_does_not_pass(at, reply):
    replies = [*PASSED]
    if replies[at] == reply:
        return
    replies[at] = reply
    assert refusal(replies)


@pytest.mark.parametrize("at", range(len(PROBE)))
def test_a_missing_right_does_not_pass(at):
    replies = [*PASSED]
    replies[at] = redis.exceptions.NoPermissionError("this user has no permissions to run the 'exec' command")
    assert "may not send" in refusal(replies)


def test_a_full_server_says_nothing_about_its_transactions():
    replies = [*PASSED]
    replies[3] = redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
    assert refusal(replies) is FULL


@pytest.fixture
def deviating(flushed_server, request):
    with DeviatingServer(flushed_server.port, request.param) as server:
        yield server


@pytest.fixture
async def router(deviating):
    budget = Budget(per_server=1, total=1, dedicated=1, timeout=5)
    settings = {"host": "127.0.0.1", "port": deviating.port, "breaker": None, "budget": budget}
    router = DatabaseRouter({f"t{db}": RedisDatabase(**settings, db=db) for db in DBS})
    yield router
    await router.aclose()
    router.close()


@pytest.fixture
def straight(flushed_server):
    with redis.Redis(**{**flushed_server.settings, "db": 0}, decode_responses=True) as client:
        yield client


def stored(straight):
    """Return all keys and values by database number."""
    found = {}
    for name in straight.info("keyspace"):
        db = int(name[2:])
        straight.execute_command("SELECT", db)
        found[db] = {key: straight.get(key) for key in straight.scan_iter()}
    return found


async def single(call, router, text):
    for db in DBS:
        client = call.client(router.database_for(f"t{db}"))
        assert await call.result(client.set("key", f"{db}{text}")) is True
        assert await call.result(client.get("key")) == f"{db}{text}"


async def pipeline(call, router, text, *, transaction=False):
    for db in DBS:
        pipe = call.client(router.database_for(f"t{db}")).pipeline(transaction=transaction)
        pipe.set("key", f"{db}{text}")
        pipe.get("key")
        assert await call.result(pipe.execute()) == [True, f"{db}{text}"]


async def transaction(call, router, text):
    await pipeline(call, router, text, transaction=True)


async def command_for_all(call, router, text):
    done = await call(router, "fan_out", Command("SET", "key", text))
    assert {outcome.value for outcome in done.values()} == {True}


@pytest.mark.parametrize("deviating", ["runs the others", "leaves the transaction"], indirect=True)
@pytest.mark.parametrize("work", [single, pipeline, command_for_all])
async def test_writes_stay_in_their_database_on_servers_that_deviate(call, router, straight, work):
    for round_ in "ab":
        await work(call, router, round_)
        text = "" if work is command_for_all else None
        assert stored(straight) == {db: {"key": f"{db if text is None else text}{round_}"} for db in DBS}


@pytest.mark.parametrize("deviating", ["no transactions"], indirect=True)
@pytest.mark.parametrize("work", [single, pipeline, command_for_all])
async def test_a_server_without_transactions_is_served(call, router, straight, work):
    for round_ in "ab":
        await work(call, router, round_)
    assert stored(straight).keys() == set(DBS)


@pytest.mark.parametrize("deviating", ["leaves the transaction"], indirect=True)
async def test_a_transaction_of_the_application_works_on_a_server_that_leaves_it_when_refused(call, router, straight):
    await transaction(call, router, "x")
    assert stored(straight) == {db: {"key": f"{db}x"} for db in DBS}


@pytest.mark.parametrize("deviating", KINDS, indirect=True)
async def test_a_refused_select_runs_nothing_on_servers_that_deviate(call, router, deviating, straight):
    await single(call, router, "a")
    router.add("beyond", RedisDatabase(host="127.0.0.1", port=deviating.port, db=5000, breaker=None))
    client = call.client(router.database_for("beyond"))
    with pytest.raises(redis.RedisError):
        await call.result(client.set("key", "stray"))
    outcomes = await call(router, "fan_out", Command("SET", "key", "b"), on_error="collect")
    assert [name for name, outcome in outcomes.items() if not outcome.ok] == ["beyond"]
    assert stored(straight) == {db: {"key": "b"} for db in DBS}


@pytest.mark.parametrize("deviating", ["runs the others"], indirect=True)
async def test_a_server_that_deviates_is_probed_once(call, router, deviating):
    await single(call, router, "a")
    assert deviating.commands.count("MULTI") == PROBE.count(("MULTI",)) + 1
    with count_commands() as counted:
        await single(call, router, "b")
    assert "MULTI" not in {word for trip in counted.wire for word in trip}
    assert len(counted.wire) <= 3 * len(DBS)


async def test_the_probe_costs_no_round_trip(call, flushed_server):
    budget = Budget(per_server=1, total=1, timeout=5)
    one, other = (RedisDatabase(**flushed_server.settings, db=db, budget=budget) for db in (1, 2))
    await call.result(call.client(one).set("key", 1))
    with count_commands() as counted:
        await call.result(call.client(other).set("key", 2))
    words = tuple(command[0] for command in PROBE)
    assert counted.wire == [(*words, "SELECT", "MULTI"), ("SET", "EXEC", "MULTI")]
    with count_commands() as counted:
        await call.result(call.client(one).set("key", 3))
    assert counted.wire == [("SELECT", "SET", "EXEC", "MULTI")]
    for database in (one, other):
        await database.aclose()
        database.close()


async def test_a_server_that_is_busy_with_a_script_is_probed_again(call, flushed_server, straight):
    """BUSY is the reply to most commands while a script runs, and tells nothing about transactions."""
    replies = [*PASSED]
    replies[3] = redis.ResponseError("BUSY Redis is busy running a script. You can only call SCRIPT KILL.")
    assert refusal(replies) is BUSY
    budget = Budget(per_server=1, total=1, timeout=5)
    one, other = (RedisDatabase(**flushed_server.settings, db=db, budget=budget, breaker=None) for db in (1, 2))
    await call.result(call.client(one).set("key", 1))
    straight.config_set("busy-reply-threshold", 20)

    def spin():
        with pytest.raises(redis.RedisError), redis.Redis(**flushed_server.settings) as client:
            client.eval("while true do end", 0)

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        eventually(lambda: is_busy(straight))
        with pytest.raises(redis.RedisError):
            await call.result(call.client(other).set("key", 2))
    finally:
        straight.script_kill()
        thread.join()
        straight.config_set("busy-reply-threshold", 5000)
    for database in (one, other):
        await call.result(call.client(database).set("key", 3))
    with count_commands() as counted:
        for database in (one, other):
            await call.result(call.client(database).set("key", 4))
    assert counted.wire == [("SELECT", "SET", "EXEC", "MULTI")] * 2
    for database in (one, other):
        await database.aclose()
        database.close()


def is_busy(client):
    try:
        client.get("key")
    except redis.ResponseError as error:
        return str(error).startswith("BUSY")
    return False
