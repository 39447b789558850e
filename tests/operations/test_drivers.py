"""Operations and the sync and async drivers, which exchange the same commands."""

from __future__ import annotations

import asyncio
import inspect

import pytest
import redis
from redis.client import NEVER_DECODE

from tenantlimpyd.operations import Batch, Command, Script, Transaction, together, twins
from tenantlimpyd.testing import count_commands
from tests.support.waiting import aeventually

WRITE = "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])"


@pytest.fixture(params=["sync", "async"])
def run(request, database):
    """Run an operation in sync or async."""

    def go(operation):
        if request.param == "sync":
            return database.run(operation)

        async def main():
            try:
                return await database.arun(operation)
            finally:
                await database.aclose()

        return asyncio.run(main())

    return go


def one(step):
    return (yield step)


def test_command_returns_its_reply(run, database):
    assert run(one(Command("SET", "k", "v"))) is True
    assert run(one(Command("GET", "k"))) == "v"
    assert run(one(Command("GET", "k", **{NEVER_DECODE: True}))) == b"v"


def test_operation_without_steps_returns_its_value(run):
    def nothing():
        return 5
        yield

    assert run(nothing()) == 5


def test_error_is_raised_inside_the_operation(run, database):
    database.connection.set("text", "x")

    def careful():
        try:
            yield Command("LPUSH", "text", 1)
        except redis.ResponseError as error:
            return str(error), (yield Command("GET", "text"))

    message, value = run(careful())
    assert "WRONGTYPE" in message
    assert value == "x"
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        run(one(Command("LPUSH", "text", 1)))


def test_error_of_an_operation_propagates(run):
    def failing():
        yield Command("PING")
        raise LookupError("here")

    with pytest.raises(LookupError, match="here"):
        run(failing())


def test_script_is_sent_by_digest_and_by_source_when_the_server_does_not_have_it(run, database):
    script = Script(f"-- {id(run)}\n" + WRITE, ["k"], ["v"])
    with count_commands() as sent:
        assert run(one(script)) == "v"
    assert sent.names == ["EVALSHA", "EVAL"]
    with count_commands() as sent:
        assert run(one(script)) == "v"
    assert sent.names == ["EVALSHA"]


def test_failing_script_raises(run):
    with pytest.raises(redis.ResponseError):
        run(one(Script("return redis.error_reply('no')")))


def test_batch_takes_one_round_trip_and_returns_errors_as_values(run, database):
    database.connection.set("text", "x")
    script = Script(WRITE, ["s"], ["1"])
    with count_commands() as sent:
        replies = run(
            one(Batch([Command("GET", "text"), Command("LPUSH", "text", 1), script, script, Command("EXISTS", "s")]))
        )
    assert sent.trips == 1
    assert replies[0] == "x"
    assert isinstance(replies[1], redis.ResponseError)
    assert replies[2:] == ["1", "1", 1]


def test_empty_batch_returns_no_replies(run):
    assert run(one(Batch([]))) == []


def test_transaction_returns_converted_replies(run, database):
    replies = run(
        one(
            Transaction(
                [
                    Command("HSET", "h", "a", 1),
                    Command("HGETALL", "h"),
                    Command("SADD", "s", "x"),
                    Command("SMEMBERS", "s"),
                    Command("LPUSH", "h", 1),
                    Script(WRITE, ["k"], ["v"]),
                ]
            )
        )
    )
    assert replies[:4] == [1, {"a": "1"}, 1, {"x"}]
    assert isinstance(replies[4], redis.ResponseError)
    assert replies[5] == "v"


def test_transaction_refused_by_the_server_changes_nothing(run, database):
    with pytest.raises(redis.ResponseError, match="unknown command"):
        run(one(Transaction([Command("SET", "k", 1), Command("NONSENSE")])))
    assert database.connection.exists("k") == 0


def test_transactions_in_a_batch_are_separate(run, database):
    replies = run(
        one(
            Batch(
                [
                    Command("SET", "a", 1),
                    Transaction([Command("INCR", "a"), Command("INCR", "a")]),
                    Transaction([Command("NONSENSE")]),
                    Command("GET", "a"),
                ]
            )
        )
    )
    assert replies[0] is True
    assert replies[1] == [2, 3]
    assert isinstance(replies[2], redis.ResponseError)
    assert replies[3] == "3"


def test_operations_run_together_share_round_trips(run, database):
    def two_steps(name, value):
        yield Command("SET", name, value)
        got = yield Command("GET", name)
        return name, got

    def short():
        return "short"
        yield

    def failing():
        yield Command("PING")
        raise LookupError

    def of_batch():
        replies = yield Batch([Command("SET", "b", 1), Command("GET", "b")])
        return replies

    def forgiving():  # without commands that the server refuses to queue, which may take another round trip
        try:
            yield Command("INCR", "text")
        except redis.ResponseError:
            return (yield Command("PING"))

    database.connection.set("text", "x")
    with count_commands() as sent:
        results = run(together([two_steps("x", 1), short(), two_steps("y", 2), failing(), of_batch(), forgiving()]))
    assert sent.trips == 2, sent.wire
    assert results[:3] == [("x", "1"), "short", ("y", "2")]
    assert isinstance(results[3], LookupError)
    assert results[4] == [True, "1"]
    assert results[5]


def test_together_without_operations_is_empty(run):
    assert run(together([])) == []


class Counter:
    """A thing with an operation."""

    def __init__(self, database):
        self._database = database
        self.resolved = 0

    def _resolve(self):
        self.resolved += 1
        return self._database

    def _add(self, amount: int = 1):
        """Add to it."""
        yield Command("INCRBY", "counter", amount)
        return int((yield Command("GET", "counter")))

    add, aadd = twins(_add)


async def test_twins_have_a_sync_and_an_async_form(database):
    counter = Counter(database)
    assert counter.add() == 1
    assert await counter.aadd(amount=4) == 5
    assert counter.resolved == 2
    assert (counter.add.__name__, counter.aadd.__name__) == ("add", "aadd")
    assert Counter.aadd.__qualname__ == "Counter.aadd"
    assert Counter.add.__doc__ == Counter.aadd.__doc__ == "Add to it."
    await database.aclose()


async def test_async_form_resolves_its_database_when_called(database):
    counter = Counter(database)
    coroutine = counter.aadd()
    assert counter.resolved == 1
    assert inspect.iscoroutine(coroutine)
    assert await coroutine == 1
    assert counter.resolved == 1
    await database.aclose()


async def test_operation_can_clean_up_when_it_is_cancelled(database):
    cleaned = []

    def waiting():
        try:
            yield Command("BLPOP", "queue", 30)
        finally:
            cleaned.append(True)

    task = asyncio.create_task(database.arun(waiting()))
    await aeventually(lambda: database.server.pool_stats().in_use)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == [True]
    await database.aclose()


def test_failing_connection_is_raised_not_collected():
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    from tenantlimpyd.database import RedisDatabase

    dead = RedisDatabase(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0))
    for step in (Command("PING"), Batch([Command("PING")]), Transaction([Command("PING")]), Script("return 1")):
        with pytest.raises(redis.ConnectionError):
            dead.run(one(step))


def test_reprs_show_no_values():
    assert repr(Command("SET", "k", "hunter2")) == "<Command SET of 2 arguments>"
