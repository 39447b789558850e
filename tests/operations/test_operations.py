"""Several operations at once, whose steps share round trips."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.operations import Batch, Command, Script, Transaction, together, twins
from tenantlimpyd.testing import count_commands

ADD = "return redis.call('INCRBY', KEYS[1], ARGV[1])"


@pytest.fixture
async def runner(flushed_server: Any) -> AsyncIterator[RedisDatabase]:
    database = RedisDatabase(**flushed_server.settings, db=0)
    database.connection.script_flush()
    yield database
    await database.aclose()
    database.close()


@pytest.fixture(params=["sync", "async"])
def run(request, runner):
    async def run(operation):
        return await runner.arun(operation) if request.param == "async" else runner.run(operation)

    return run


def steps(*wanted):
    """An operation of these steps; its result is the list of their replies."""
    replies = []
    for step in wanted:
        reply = yield step
        replies.append(reply)
    return replies


async def test_a_thousand_operations_of_two_steps_take_two_round_trips(run):
    with count_commands() as sent:
        results = await run(together(steps(Command("SET", f"k{n}", n), Command("INCR", f"k{n}")) for n in range(1000)))
    assert results == [[True, n + 1] for n in range(1000)]
    assert (sent.trips, sent.commands) == (2, 2000)


async def test_short_operations_finish_before_long_ones(run):
    lengths = [0, 3, 1, 0, 2]
    with count_commands() as sent:
        results = await run(together(steps(*[Command("INCR", f"k{n}")] * n) for n in lengths))
    assert results == [list(range(1, n + 1)) for n in lengths]
    assert (sent.trips, sent.commands) == (3, 6)


async def test_no_operations_take_no_round_trip(run):
    with count_commands() as sent:
        assert await run(together([])) == []
        assert await run(together([steps(), steps()])) == [[], []]
    assert sent.trips == 0


async def test_every_kind_of_step_gets_its_own_reply(run, runner):
    with count_commands() as sent:
        results = await run(
            together(
                [
                    steps(Command("SET", "a", 1)),
                    steps(Script(ADD, ["a"], [4])),
                    steps(Transaction([Command("INCR", "a"), Script(ADD, ["a"], [10]), Command("GET", "a")])),
                    steps(Batch([Command("INCR", "a"), Transaction([Command("HSET", "h", "f", 1)])])),
                    steps(Batch([])),
                    steps(Transaction([])),
                    steps(Command("HGETALL", "h"), Script(ADD, ["a"], [1])),
                ]
            )
        )
    assert results == [[True], [5], [[6, 16, "16"]], [[17, [1]]], [[]], [[]], [{"f": "1"}, 18]]
    assert sent.trips == 2
    assert sent.names.count("MULTI") == sent.names.count("EXEC") == 3
    assert runner.connection.get("a") == "18"


async def test_error_of_one_operation_does_not_affect_others(run, runner):
    runner.connection.set("text", "x")

    def failing():
        yield Command("PING")
        raise LookupError("mine")

    def recovering():
        try:
            yield Command("INCR", "text")
        except ResponseError:
            return (yield Command("STRLEN", "text"))

    def wrong_at_once():
        raise KeyError("first")
        yield

    results = await run(
        together(
            [
                steps(Command("INCR", "text")),
                failing(),
                recovering(),
                wrong_at_once(),
                steps(Command("INCR", "n"), Command("INCR", "n")),
                steps(Script("return redis.error_reply('MINE refused')")),
                steps(Script("this is no Lua")),
                steps(Batch([Command("INCR", "text"), Command("INCR", "m")])),
                steps(Transaction([Command("INCR", "text"), Command("INCR", "m")])),
                steps(Transaction([Command("NOSUCH"), Command("INCR", "m")])),
            ]
        )
    )
    kinds = [type(each) for each in results]
    assert kinds == [
        ResponseError, LookupError, int, KeyError, list, ResponseError, ResponseError, list, list, ResponseError,
    ]  # fmt: skip
    assert (results[2], results[4]) == (1, [1, 2])
    for (replies,), number in ((results[7], 1), (results[8], 2)):
        assert isinstance(replies[0], ResponseError)
        assert replies[1] == number
    assert runner.connection.get("m") == "2"  # the refused transaction did nothing


async def test_transaction_returns_errors_and_raises_if_aborted(run, runner):
    runner.connection.set("text", "x")
    replies = (await run(steps(Transaction([Command("INCR", "text"), Command("INCR", "m")]))))[0]
    assert [type(each) for each in replies] == [ResponseError, int]
    with pytest.raises(ResponseError, match="NOSUCH"):
        await run(steps(Transaction([Command("NOSUCH"), Command("INCR", "m")])))
    assert runner.connection.get("m") == "1"


async def test_failed_connection_fails_all_operations(flushed_server):
    database = RedisDatabase(**{**flushed_server.settings, "port": 1, "retry": Retry(NoBackoff(), 0)})
    closed = []

    def operation(number):
        try:
            yield Command("PING")
        finally:
            closed.append(number)

    with pytest.raises(redis.ConnectionError):
        database.run(together(operation(n) for n in range(3)))
    with pytest.raises(redis.ConnectionError):
        await database.arun(together(operation(n) for n in range(3)))
    assert sorted(closed) == [0, 0, 1, 1, 2, 2]
    await database.aclose()
    database.close()


async def test_operations_of_one_batch_can_be_nested(run):
    def nested(start):
        return (yield from together(steps(Command("INCR", f"n{start + n}")) for n in range(3)))

    with count_commands() as sent:
        assert await run(together(nested(3 * n) for n in range(3))) == [[[1]] * 3] * 3
    assert (sent.trips, sent.commands) == (1, 9)


async def test_script_is_sent_by_digest_and_with_its_source_where_it_is_unknown(run, runner):
    with count_commands() as sent:
        assert await run(steps(Script(ADD, ["a"], [1]))) == [1]
    assert sent.names == ["EVALSHA", "EVAL"]
    with count_commands() as sent:
        assert await run(steps(Script(ADD, ["a"], [1]))) == [2]
    assert sent.names == ["EVALSHA"]
    runner.connection.script_flush()
    with count_commands() as sent:
        assert await run(steps(Batch([Script(ADD, ["a"], [1])] * 3))) == [[3, 4, 5]]
    assert (sent.trips, sent.names) == (1, ["EVAL", "EVALSHA", "EVALSHA"])


async def test_operation_may_handle_an_error_and_go_on(run, runner):
    runner.connection.set("text", "x")

    def operation():
        try:
            yield Command("INCR", "text")
        except ResponseError:
            yield Command("DEL", "text")
        return (yield Command("INCR", "text"))

    assert await run(operation()) == 1


async def test_twins_resolve_their_operation_once_when_called(runner):
    class Thing:
        resolved = 0

        def _resolve(self):
            self.resolved += 1
            return runner

        def _add(self, amount, *, times=1):
            """Add to the key."""
            total = 0
            for _ in range(times):
                total = yield Command("INCRBY", "k", amount)
            return total

        add, aadd = twins(_add)

    thing = Thing()
    assert thing.add(2, times=3) == 6
    assert thing.resolved == 1
    coroutine = thing.aadd(1)
    assert thing.resolved == 2
    assert await coroutine == 7
    assert thing.resolved == 2
    assert (Thing.add.__name__, Thing.aadd.__name__) == ("add", "aadd")
    assert Thing.aadd.__qualname__.endswith("Thing.aadd")
    assert Thing.add.__doc__ == Thing.aadd.__doc__ == "Add to the key."


def test_steps_show_no_values():
    secret = "hunter2"
    assert repr(Command("SET", "key", secret)) == "<Command SET of 2 arguments>"
    assert secret not in repr(Command("AUTH", secret))
