"""Invariant 11, counted: a write that is cut at any reply ran once if it returned, and at most once if it raised."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import redis

from tenantlimpyd import RedisDatabase
from tenantlimpyd._connections.select_replies import EndpointCapabilities, TransactionReplies
from tenantlimpyd.exceptions import UNKNOWN_OUTCOME
from tests.support.reply_proxy import ExactProxy

REPLIES = 24
"""More than a handshake, a preparation and a write have."""


@pytest.fixture
def proxy(flushed_server):
    with ExactProxy("127.0.0.1", flushed_server.port) as proxy:
        yield proxy


@pytest.fixture
async def databases(proxy):
    settings = {"host": "127.0.0.1", "port": proxy.port, "breaker": None, "socket_timeout": 5}
    async with RedisDatabase(**settings, db=1) as one, RedisDatabase(**settings, db=2) as other:
        yield one, other


async def single(client, call):
    reply = client.incr("n")
    return await call.result(reply)


async def pipeline(client, call):
    reply = client.pipeline(transaction=False).get("x").incr("n").get("y").execute()
    return await call.result(reply)


async def transaction(client, call):
    reply = client.pipeline(transaction=True).get("x").incr("n").execute()
    return await call.result(reply)


async def script(client, call):
    reply = client.eval("return redis.call('INCR', KEYS[1])", 1, "n")
    return await call.result(reply)


STATES = ["fresh", "same database", "other database", "pre-opened"]


async def prepare(state, databases, call):
    one, other = databases
    for database in databases:
        await database.aclose()
        database.close()

    async def use(database):
        client = call.client(database)
        return await call.result(client.incr("warm"))

    if state == "same database":
        await use(one)
    elif state == "other database":
        await use(other)
    elif state == "pre-opened":
        for _ in range(2):
            await use(one)
            await use(other)


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("operation", [single, pipeline, transaction, script])
async def test_write_cut_at_any_reply_runs_at_most_once(proxy, databases, flushed_server, call, state, operation):
    with redis.Redis(host="127.0.0.1", port=flushed_server.port, db=1, decode_responses=True) as straight:
        failed = 0
        for reply in range(REPLIES):
            proxy.release()
            await prepare(state, databases, call)
            straight.delete("n")
            one = databases[0]
            client = call.client(one)
            proxy.arm(cut=(reply, 1))
            error = None
            try:
                await operation(client, call)
            except redis.RedisError as raised:
                error = raised
            reached = proxy.passed > reply
            proxy.release()
            count = int(straight.get("n") or 0)
            if error is None:
                assert count == 1, f"acknowledged, and run {count} times; cut at reply {reply}"
            else:
                failed += 1
                assert count <= 1, f"failed, and run {count} times; cut at reply {reply}: {error!r}"
                assert count == 0 or UNKNOWN_OUTCOME in getattr(error, "__notes__", ())
            if not reached:
                break
        else:
            pytest.fail("the operation has more replies than this test cuts")
        assert failed


@pytest.mark.parametrize("right", ["exec", "discard", "multi"])
@pytest.mark.parametrize("when", ["before", "while connected"])
async def test_user_without_permission_for_transactions_loses_no_write(flushed_server, call, right, when):
    with redis.Redis(**{**flushed_server.settings, "db": 0}) as admin:
        name = f"no-{right}"
        admin.execute_command("ACL", "SETUSER", name, "reset", "on", ">x", "~*", "&*", "+@all")
        settings = {**flushed_server.settings, "username": name, "password": "x"}
        async with RedisDatabase(**settings, db=1) as one, RedisDatabase(**settings, db=2) as other:

            async def check(rounds):
                for value in range(rounds):
                    for database in (one, other):
                        client = call.client(database)
                        text = f"{database.settings.db}-{value}"
                        for reply in (client.set("k", text), client.get("k"), client.incr("n")):
                            reply = await call.result(reply)  # noqa: PLW2901
                        got = await call.result(client.get("k"))
                        assert got == text

            if when == "while connected":
                await check(3)
            admin.execute_command("ACL", "SETUSER", name, f"-{right}")
            await check(20)
            expected = "23" if when == "while connected" else "20"
            assert one.connection.get("n") == other.connection.get("n") == expected
        admin.execute_command("ACL", "DELUSER", name)


def test_server_without_free_memory_gets_commands_outside_a_transaction():
    """Redis up to 7.2 at maxmemory refuses every command after MULTI; these are its replies to SELECT, GET, EXEC and MULTI."""
    full = redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
    aborted = redis.exceptions.ExecAbortError("Transaction discarded because of previous errors.")
    state = SimpleNamespace(
        multi_open=True, multi_proven=True, altered=False, selected=1, db=2, capabilities=EndpointCapabilities()
    )
    replies = TransactionReplies([("GET", "k")], (), 1, selects=True)
    assert (
        replies.settle(state, [full, full, aborted, b"OK"]) is False
    )  # no command ran, so it is sent again outside a transaction
    assert state.selected == 1
    assert state.capabilities.may_use_multi
