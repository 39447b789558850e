"""Databases of one server share its connections, and no command of one is ever carried out in another.

One connection for all of them (``Budget(per_server=1)``), so that each use takes it from one database to the next.
"""

from __future__ import annotations

import asyncio

import pytest
import redis
from redis.backoff import NoBackoff
from redis.client import NEVER_DECODE
from redis.retry import Retry

from tenantlimpyd._connections.budget import Budget
from tenantlimpyd._connections.pool import AsyncPool, Pool
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.testing import count_commands
from tests.support.chaos_proxy import ChaosProxy
from tests.support.waiting import aeventually, open_connections

ONCE = Retry(NoBackoff(), 0)
PASSWORD = "s3cret-password"


@pytest.fixture
def ask(call):
    """Run a function of a client, in sync or async: ``await ask(database, lambda client: client.get("k"))``."""

    async def ask(database, function):
        return await call.result(function(call.client(database)))

    return ask


@pytest.fixture
def narrow(opened):
    """Make databases that share one connection."""
    budget = Budget(per_server=1, timeout=2)

    def make(db, **settings):
        return opened(db=db, budget=budget, **settings)

    return make


@pytest.fixture
async def databases(narrow):
    made = [narrow(db) for db in range(8)]
    yield made
    for database in made:
        await database.aclose()


async def test_many_databases_use_one_connection(databases, ask, flushed_server, client_name, raw):
    for round_ in range(3):
        for database in databases:
            await ask(database, lambda client, text=f"{round_} of {database.settings.db}": client.set("k", text))
    for database in databases:
        assert await ask(database, lambda client: client.get("k")) == f"2 of {database.settings.db}"
        assert await ask(database, lambda client: client.dbsize()) == 1
    assert len(open_connections(flushed_server, client_name)) == 1
    assert {name: each["keys"] for name, each in raw.info("keyspace").items()} == {f"db{n}": 1 for n in range(8)}


async def test_select_takes_no_extra_round_trip(databases, ask):
    for database in databases:
        await ask(database, lambda client: client.set("k", 1))
    with count_commands() as counted:
        for database in databases:
            await ask(database, lambda client: client.set("k", 1))
            await ask(database, lambda client: client.get("k"))
    assert len(counted.wire) == counted.trips == 16
    assert counted.names == ["SET", "GET"] * 8
    assert counted.wire[:2] == [("SELECT", "SET", "EXEC", "MULTI"), ("GET", "EXEC", "MULTI")]


async def test_reads_in_many_databases_take_one_select_each(databases, ask):
    for database in databases:
        await ask(database, lambda client: client.set("k", 1))
    for database in databases * 2:
        await ask(database, lambda client: client.get("k"))
    with count_commands() as counted:
        for database in databases:
            await ask(database, lambda client: client.get("k"))
    assert counted.wire == [("SELECT", "GET")] * 8
    with count_commands() as counted:  # one more round trip opens MULTI for writing again
        for database in databases:
            await ask(database, lambda client: client.set("k", 1))
    assert len(counted.wire) == 9


async def test_pipeline_sends_select_in_the_same_round_trip(databases, call):
    for transaction in (True, False):
        for database in databases:
            await fill(database, call, transaction=transaction)
        with count_commands() as counted:
            for database in databases:
                await fill(database, call, transaction=transaction)
        assert len(counted.wire) == counted.trips == 8
        inside = ("SET", "GET", "LPUSH", "GET")
        assert set(counted.sent) == {("MULTI", *inside, "EXEC") if transaction else inside}


@pytest.mark.parametrize("shape", ["one command", "a pipeline"])
async def test_long_write_is_sent_after_select_was_answered(databases, call, ask, shape):
    """A server reads it in parts, and the permission for SELECT may be revoked in between."""
    first, second = databases[:2]
    for database in (first, second, first):
        await ask(database, lambda client: client.set("k", "short"))
    with count_commands() as counted:
        if shape == "one command":
            await ask(second, lambda client: client.set("k", "long" * 2_000))
        else:
            pipeline = call.client(second).pipeline(transaction=False)
            for number in range(200):
                pipeline.set(f"k{number}", "long enough together")
            done = pipeline.execute()
            assert all(await call.result(done))
    assert len(counted.wire) == 2
    assert counted.wire[0][:2] == ("DISCARD", "SELECT")
    assert "SELECT" not in counted.wire[1]
    assert await ask(first, lambda client: client.get("k")) == "short"


async def fill(database, call, *, transaction):
    client = call.client(database)
    pipeline = client.pipeline(transaction=transaction)
    pipeline.set("k", database.settings.db).get("k").lpush("k", 1).get("k")
    replies = pipeline.execute(raise_on_error=False)
    replies = await call.result(replies)
    assert replies[0] is True
    assert replies[1] == replies[3] == str(database.settings.db)
    assert isinstance(replies[2], redis.ResponseError)


async def test_pipeline_with_commands_refused_by_queueing_gives_every_reply(databases, call):
    for database in databases:
        client = call.client(database)
        pipeline = client.pipeline(transaction=False)
        pipeline.set("k", database.settings.db).execute_command("GET").execute_command("NOSUCH", 1).get("k")
        replies = pipeline.execute(raise_on_error=False)
        replies = await call.result(replies)
        assert replies[0] is True
        assert "wrong number of arguments" in str(replies[1])
        assert "unknown command" in str(replies[2])
        assert replies[3] == str(database.settings.db)


async def test_transaction_with_commands_refused_by_queueing_is_discarded(databases, call, raw):
    for database in databases:
        client = call.client(database)
        pipeline = client.pipeline(transaction=True)
        pipeline.set("k", 1).execute_command("GET")
        with pytest.raises(redis.ResponseError, match="wrong number of arguments"):
            await call.result(pipeline.execute())
    assert raw.info("keyspace") == {}


async def test_errors_equal_those_of_a_dedicated_connection(databases, ask, opened):
    own = opened(db=3, shared=False)
    await ask(own, lambda client: client.set("text", "x"))
    for database in (databases[2], databases[3], databases[4]):
        await ask(database, lambda client: client.set("text", "x"))
        for words in (
            ("GET",),
            ("NOSUCH", "x"),
            ("LPUSH", "text", 1),
            ("EVALSHA", "0" * 40, 0),
            ("EVAL", "nonsense", 0),
            ("INCR", "text"),
            ("MULTI", "x"),
        ):
            await ask(databases[0], lambda client: client.ping())  # so that the database changes
            errors = []
            for each in (own, database):
                with pytest.raises(redis.RedisError) as caught:
                    await ask(each, lambda client, words=words: client.execute_command(*words))
                errors.append((type(caught.value), str(caught.value)))
            assert errors[0] == errors[1]
    if own._used is not None:
        await own.aclose()


async def test_replies_equal_those_of_a_dedicated_connection(databases, ask, opened):
    own = opened(db=7, shared=False)
    database = databases[7]
    await ask(own, lambda client: client.hset("h", mapping={"a": "1", "b": "é"}))
    await ask(own, lambda client: client.zadd("z", {"x": 1.5}))
    await ask(own, lambda client: client.set("s", "9" * 20_000))
    for function in (
        lambda client: client.hgetall("h"),
        lambda client: client.zrange("z", 0, -1, withscores=True),
        lambda client: client.get("s"),
        lambda client: client.get("none"),
        lambda client: client.dump("s"),
        lambda client: client.smembers("none"),
        lambda client: client.eval("return {1, false, 'x', {2}}", 0),
        lambda client: client.config_get("databases"),
        lambda client: client.exists("h", "z"),
        lambda client: client.scan(0),
    ):
        await ask(databases[1], lambda client: client.ping())
        assert await ask(database, function) == await ask(own, function)
    await own.aclose()


async def test_watch_sends_select_in_the_same_round_trip(databases, call):
    for database in databases:
        client = call.client(database)
        other = databases[(database.settings.db + 1) % 8]
        assert other is not database
        async with call.enter(client.pipeline()) as pipeline:
            with count_commands() as counted:
                watched = pipeline.watch("k")
                assert await call.result(watched) is True
            assert len(counted.wire) == 1
            pipeline.multi()
            pipeline.set("k", database.settings.db)
            done = pipeline.execute()
            assert await call.result(done) == [True]
    for database in databases:
        got = call.client(database).get("k")
        assert await call.result(got) == str(database.settings.db)


async def test_change_of_a_watched_key_is_noticed_after_select(opened, narrow, call):
    await call.result(call.client(narrow(1)).ping())
    database = narrow(2)
    client = call.client(database)
    async with call.enter(client.pipeline()) as pipeline:
        await call.result(pipeline.watch("k"))
        opened(db=2, shared=False).connection.set("k", "changed")
        pipeline.multi()
        pipeline.set("k", "mine")
        with pytest.raises(redis.WatchError):
            await call.result(pipeline.execute())
    await database.aclose()


@pytest.mark.invariant(8)
async def test_database_number_out_of_range_never_writes_elsewhere(databases, narrow, ask, raw):
    wrong = narrow(64)
    for _ in range(3):
        for database in databases:
            await ask(database, lambda client: client.set("mine", 1))
            for function in (
                lambda client: client.set("stray", 1),
                lambda client: client.eval("return redis.call('SET', 'stray', 1)", 0),
                lambda client: client.pipeline(transaction=True).set("stray", 1).execute(),
                lambda client: client.pipeline(transaction=False).set("stray", 1).execute(),
                lambda client: client.blpop("stray", 0.1),
            ):
                with pytest.raises(redis.ResponseError, match="out of range"):
                    await ask(wrong, function)
    assert {each["keys"] for each in raw.info("keyspace").values()} == {1}


async def test_database_number_out_of_range_does_not_affect_other_databases(databases, narrow, ask):
    wrong = narrow(1000)
    with pytest.raises(redis.ResponseError, match="out of range"):
        await ask(wrong, lambda client: client.ping())
    for _ in range(2):
        for database in databases:
            await ask(database, lambda client: client.ping())
    with count_commands() as counted:
        for database in databases:
            await ask(database, lambda client: client.ping())
    assert len(counted.wire) == counted.trips == 8


WRITES = [
    lambda client: client.set("stray", 1),
    lambda client: client.eval("return redis.call('SET', KEYS[1], 1)", 1, "stray"),
    lambda client: client.pipeline(transaction=True).set("stray", 1).execute(),
    lambda client: client.pipeline(transaction=False).set("stray", 1).set("stray2", 1).execute(),
    lambda client: client.rpush("stray", 1),
]


@pytest.mark.parametrize("write", WRITES, ids=["command", "script", "transaction", "pipeline", "push"])
@pytest.mark.parametrize(
    "lost", [["-select"], ["-select", "-multi"], ["-select", "-exec"], ["-@connection", "-@transaction"]]
)
@pytest.mark.invariant(8)
async def test_lost_permissions_never_write_elsewhere(narrow, guarded_server, ask, raw, write, lost, flushed_server):
    user = guarded_server("shrinking", "~*", "&*", "+@all")
    settings = {"username": user, "password": PASSWORD, "client_name": None}
    one, other = narrow(1, **settings), narrow(2, **settings)
    for _ in range(2):
        for database in (one, other):
            await ask(database, lambda client: client.set("mine", 1))
    raw.execute_command("ACL", "SETUSER", user, *lost)
    with pytest.raises(redis.RedisError):
        await ask(one, write)
    for db in (0, 1, 2):
        with redis.Redis(**flushed_server.settings, db=db) as client:
            assert client.keys() == ([b"mine"] if db else [])
    raw.execute_command("ACL", "SETUSER", user, "+@all")
    await ask(one, write)  # healthy again
    await ask(other, write)
    for database in (one, other):
        await database.aclose()


async def test_error_of_a_user_without_select_says_so(narrow, guarded_server, ask):
    user = guarded_server("fixed", "~*", "&*", "+@all", "-select")
    settings = {"username": user, "password": PASSWORD, "client_name": None}
    zero, one = narrow(0, **settings), narrow(1, **settings)
    for _ in range(2):
        assert await ask(zero, lambda client: client.set("k", 1))
        with pytest.raises(redis.exceptions.NoPermissionError, match=r"(?i)select"):
            await ask(one, lambda client: client.set("k", 1))
    for database in (zero, one):
        await database.aclose()


async def test_user_without_multi_sends_select_in_a_separate_round_trip(narrow, guarded_server, ask, raw):
    user = guarded_server("plain", "~*", "&*", "+@all", "-multi")
    settings = {"username": user, "password": PASSWORD, "client_name": None}
    databases = [narrow(db, **settings) for db in (1, 2, 3)]
    for _ in range(3):
        for database in databases:
            await ask(database, lambda client, text=str(database.settings.db): client.set("k", text))
    for database in databases:
        assert await ask(database, lambda client: client.get("k")) == str(database.settings.db)
        await database.aclose()


@pytest.mark.invariant(8)
async def test_connections_cut_during_select_never_write_elsewhere(flushed_server, ask, raw):
    budget = Budget(per_server=1)
    with ChaosProxy(flushed_server.host, flushed_server.port) as proxy:
        databases = [
            RedisDatabase(host="127.0.0.1", port=proxy.port, db=db, budget=budget, socket_timeout=2, retry=ONCE)
            for db in range(1, 5)
        ]
        for database in databases * 2:
            await ask(database, lambda client: client.set("k", 1))
        for cut in range(0, 40, 3):
            for database in databases:
                proxy.disturb(cut_reply_after=cut)
                with pytest.raises(redis.ConnectionError):
                    await ask(database, lambda client: client.pipeline().set("k", 2).echo("x" * 100).execute())
                proxy.heal()
                text = f"{cut} of {database.settings.db}"
                await ask(database, lambda client, text=text: client.set("k", text))
            for database in databases:
                assert await ask(database, lambda client: client.get("k")) == f"{cut} of {database.settings.db}"
        for database in databases:
            await database.aclose()
    assert set(raw.info("keyspace")) == {f"db{db}" for db in range(1, 5)}


@pytest.mark.invariant(8)
async def test_tasks_cancelled_during_select_never_write_elsewhere(narrow, raw):
    databases = [narrow(db) for db in range(1, 7)]
    for database in databases * 2:
        await database.aconnection.set("k", str(database.settings.db))

    async def right(database):
        return await database.aconnection.get("k") == str(database.settings.db)

    for steps in range(16):
        tasks = [asyncio.create_task(right(database)) for database in databases]
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(result is True or isinstance(result, asyncio.CancelledError) for result in results)
        assert all(await asyncio.gather(*map(right, databases)))
    pool_stats = databases[0].server.pool_stats()
    assert (pool_stats.in_use, pool_stats.waiting) == (0, 0)
    assert pool_stats.open <= 1
    for database in databases:
        await database.aclose()


async def test_select_is_refused_on_shared_connections_too(databases, ask):
    await ask(databases[1], lambda client: client.ping())
    with pytest.raises(ImplementationError, match="other tenants share this connection"):
        await ask(databases[2], lambda client: client.execute_command("SELECT", 5))


async def test_blocking_commands_run_on_dedicated_connections(databases, call, ask, flushed_server, client_name):
    database, other = databases[1], databases[2]
    blpop = call.concurrently(database.connection.blpop, database.aconnection.blpop, "queue", 20)
    waiting = asyncio.create_task(blpop)
    await aeventually(lambda: any(each["cmd"] == "blpop" for each in open_connections(flushed_server, client_name)))
    assert database.server.pool_stats().dedicated == 1
    await ask(other, lambda client: client.rpush("queue", "of 2"))  # the one shared connection is free
    await ask(database, lambda client: client.rpush("queue", "of 1"))
    assert list(await asyncio.wait_for(waiting, 10)) == ["queue", "of 1"]
    assert await ask(other, lambda client: client.llen("queue")) == 1


async def test_pubsub_and_monitor_run_on_dedicated_connections(databases, call, ask):
    database = databases[3]
    client = call.client(database)
    subscriber = client.pubsub(ignore_subscribe_messages=True)
    await call.result(subscriber.subscribe("channel"))
    pool_stats = database.server.pool_stats()
    assert pool_stats.dedicated == 1
    for each in databases:
        await ask(each, lambda client: client.set("k", 1))
    await call(subscriber, "close")
    assert database.server.pool_stats().dedicated == 0


async def test_altered_connection_is_not_used_for_another_database(databases, ask, client_name):
    await ask(databases[1], lambda client: client.ping())
    await ask(databases[2], lambda client: client.client_setname("renamed"))
    assert await ask(databases[1], lambda client: client.client_getname()) == client_name


async def test_manual_transaction_does_not_block_others(databases, ask):
    await ask(databases[1], lambda client: client.ping())
    await ask(databases[2], lambda client: client.execute_command("MULTI"))
    assert await ask(databases[1], lambda client: client.set("k", "v")) is True
    assert await ask(databases[2], lambda client: client.get("k")) is None


async def test_database_that_is_not_shared_has_its_own_pool(opened, ask, flushed_server, client_name):
    shared = [opened(db=db) for db in (1, 2)]
    own = [opened(db=db, shared=False) for db in (1, 2)]
    assert shared[0].server is shared[1].server
    assert own[0].server is not own[1].server
    for database in (*shared, *own):
        await ask(database, lambda client: client.ping())
    assert len(open_connections(flushed_server, client_name)) == 3
    for database in (*shared, *own):
        await database.aclose()


@pytest.mark.invariant(7)
async def test_other_settings_have_other_connections(opened):
    base = opened(db=1)
    for other in ({"socket_timeout": 7}, {"client_name": "other"}, {"protocol": 2}, {"retry_on_timeout": True}):
        assert opened(db=1, **other).server is not base.server
    assert opened(db=9).server is base.server
    assert opened(db=9, budget=Budget()).server is not base.server


async def test_closing_one_database_keeps_the_connections_of_others(databases, ask, flushed_server, client_name):
    for database in databases:
        await ask(database, lambda client: client.ping())
    before = {entry["id"] for entry in open_connections(flushed_server, client_name)}
    for database in databases[1:]:
        await database.aclose()
        assert {entry["id"] for entry in open_connections(flushed_server, client_name)} == before
    await databases[0].aclose()
    assert open_connections(flushed_server, client_name) == []


@pytest.mark.parametrize("shape", ["read", "write", "write when MULTI is pre-opened"])
@pytest.mark.invariant(8)
async def test_surplus_reply_is_not_given_to_a_command(narrow, ask, monkeypatch, call, shape):
    """If an earlier reply is still unread, no tenant gets it, or another one in its place."""
    databases = [narrow(db, retry=ONCE) for db in (3, 2, 1)]
    for database, whose in zip(databases, "321", strict=True):
        await ask(database, lambda client, whose=whose: client.set("whose", whose))
    if shape != "write when MULTI is pre-opened":
        for _ in range(12):
            await ask(databases[0], lambda client: client.get("whose"))
    pool = (await ask(databases[0], lambda client: client)).connection_pool
    connection = await ask(databases[0], lambda client: client.connection_pool.get_connection())
    asked = b"".join(connection.pack_command("PING"))
    if call.is_async:
        connection._writer.write(asked)
        await pool.release(connection)
    else:
        connection._sock.sendall(asked)
        pool.release(connection)

    async def aready(_):
        return True

    with monkeypatch.context() as patch:  # as if the reply had not been received yet
        patch.setattr(AsyncPool, "_ready", staticmethod(aready))
        patch.setattr(Pool, "_ready", staticmethod(lambda _: True))
        with pytest.raises(redis.ConnectionError, match="out of step"):
            await ask(
                databases[1], lambda client: client.get("whose") if shape == "read" else client.append("whose", "!")
            )
    whose = [await ask(database, lambda client: client.get("whose")) for database in databases]
    assert [each[0] for each in whose] == ["3", "2", "1"]
    for database in databases:
        await database.aclose()


async def test_replies_of_a_pipeline_after_select_are_decoded_separately(databases, call):
    """A reply that is wanted as bytes need not be text; the replies beside it are still decoded."""
    binary = bytes(range(256))
    for database in (databases[1], databases[0], databases[1]):
        client = call.client(database)
        pipeline = client.pipeline(transaction=False)
        pipeline.set("text", "é")
        pipeline.hset("hash", mapping={"ü": "ö"})
        pipeline.set("binary", binary)
        pipeline.execute_command("GET", "binary", **{NEVER_DECODE: True})
        pipeline.get("text")
        pipeline.hgetall("hash")
        replies = await call.result(pipeline.execute())
        assert replies[3:] == [binary, "é", {"ü": "ö"}]
