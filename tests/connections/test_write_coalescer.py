"""Commands of many tasks are written together. A deferred command is sent once or never, and gets only its own reply."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import redis
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from tenantlimpyd._connections import connection_async
from tenantlimpyd._connections.budget import Budget
from tenantlimpyd._connections.connection_async import AsyncSharedConnection
from tenantlimpyd._connections.redis_internals import has_unread_data
from tenantlimpyd._connections.write_coalescer import WriteCoalescer
from tenantlimpyd.testing import count_commands
from tests.connections.test_fork import in_child
from tests.support.waiting import aeventually

ONCE, TWICE = Retry(NoBackoff(), 0), Retry(NoBackoff(), 1)
STALE = {
    "read here": b"$5\r\nstale\r\n",
    "read elsewhere": b"+OK\r\n$5\r\nstale\r\n",
    "write here": b":99\r\n",
    "write elsewhere": b"+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:99\r\n+OK\r\n",
    "pipeline": b"$5\r\nstale\r\n:99\r\n",
}
"""For each way of asking, what would be taken for its replies."""
EACH = pytest.mark.parametrize("way", STALE)


class Pair:
    """Two databases, ``here`` and ``there``, that share one connection; another connection is in use."""

    def __init__(self, opened, raw, retry):
        budget = Budget(per_server=2)
        self.there, self.here = (opened(db=db, budget=budget, retry=retry) for db in (1, 2))
        self.raw = raw
        self.pool = self.here.aconnection.connection_pool
        for db in (1, 2):
            raw.select(db)
            raw.mset({"n": 0, "whose": db})

    async def prepare(self, way):
        """Prepare a new connection so that the next command ``here`` is sent in that way."""
        await self.pool.aclose()
        await self.there.aconnection.get("whose")
        if way != "read elsewhere":
            await self.here.aconnection.get("whose")
        if way == "write elsewhere":
            await self.here.aconnection.incr("n")
            await self.there.aconnection.incr("n")
        self.before = self.writes

    @property
    def writes(self):
        """The number of writes ``here``."""
        return int(self.raw.get("n"))

    async def ask(self, way):
        """Send one command, or a pipeline; return its replies."""
        client = self.here.aconnection
        if way == "pipeline":
            return await client.pipeline(transaction=False).get("whose").incr("n").execute()
        return await (client.incr("n") if way.startswith("write") else client.get("whose"))

    def right(self, way):
        """Return the correct replies."""
        if way == "pipeline":
            return ["2", self.before + 1]
        return self.before + 1 if way.startswith("write") else "2"

    async def check(self, way, asked):
        """Check that the next callers get their own replies, and that the write ran once or not at all."""
        for database, whose in ((self.there, "1"), (self.here, "2"), (self.there, "1")):
            assert await database.aconnection.get("whose") == whose
        assert self.writes == self.before + (asked and not way.startswith("read"))


@pytest.fixture
async def paired(opened, raw):
    async with contextlib.AsyncExitStack() as ending:

        async def make(way, retry=ONCE):
            pair = Pair(opened, raw, retry)
            held = await pair.pool.get_connection()
            ending.push_async_callback(pair.here.aclose)
            ending.push_async_callback(pair.pool.release, held)
            await pair.prepare(way)
            return pair

        yield make


@pytest.fixture
def steps(monkeypatch):
    """Note what outboxes do: ("keep", connection), ("post", connection)."""
    taken = []
    keep, flush_unsent = WriteCoalescer.keep, AsyncSharedConnection.flush_unsent

    def kept(self, connection, packed):
        taken.append(("keep", connection))
        keep(self, connection, packed)

    def posted(self):
        taken.append(("flush_unsent", self))
        flush_unsent(self)

    monkeypatch.setattr(WriteCoalescer, "keep", kept)
    monkeypatch.setattr(AsyncSharedConnection, "flush_unsent", posted)
    return taken


@pytest.fixture
def meanwhile(monkeypatch):
    """Call a function with the connection, once, after a command was deferred and before it is sent."""

    def set_up(work):
        send, works = WriteCoalescer.send, [work]

        def sent(self):
            if works:
                works.pop()(self._kept[0])
            send(self)

        monkeypatch.setattr(WriteCoalescer, "send", sent)
        return works

    return set_up


@pytest.fixture
async def several(opened):
    """Make databases that share connections, of which there is one for each."""
    made = []

    async def make(count):
        budget = Budget(per_server=count)
        made.extend(opened(db=db, budget=budget) for db in range(1, count + 1))
        await asyncio.gather(*(each.aconnection.set("whose", str(each.settings.db)) for each in made))
        return made

    yield make
    await made[0].aclose()


async def test_commands_of_many_tasks_are_written_together(several, steps):
    databases = await several(8)
    steps.clear()

    async def ask(database):
        return [await database.aconnection.get("whose") for _ in range(5)]

    found = await asyncio.gather(*map(ask, databases))
    assert found == [[str(db)] * 5 for db in range(1, 9)]
    # The first one is alone as it sends.
    assert [step for step, _ in steps[:14]] == ["keep"] * 7 + ["flush_unsent"] * 7
    assert [connection for _, connection in steps[:7]] == [connection for _, connection in steps[7:14]]
    assert len({connection for _, connection in steps[:7]}) == 7


async def test_command_of_a_single_task_is_sent_at_once(several, steps):
    databases = await several(3)
    steps.clear()
    for each in databases * 2:
        await each.aconnection.incr("n")
        await each.aconnection.get("n")
        await each.aconnection.pipeline(transaction=False).incr("n").execute()
    assert steps == []


@EACH
async def test_every_kind_of_command_is_deferred_and_gets_its_reply(paired, steps, way):
    pair = await paired(way)
    steps.clear()
    assert await pair.ask(way) == pair.right(way)
    assert [step for step, _ in steps] == ["keep", "flush_unsent"]
    await pair.check(way, asked=True)


async def test_long_command_is_not_deferred(paired, steps):
    pair = await paired("write here")
    steps.clear()
    await pair.here.aconnection.set("long", "v" * 10_000)
    assert steps == []
    assert await pair.here.aconnection.strlen("long") == 10_000


@EACH
async def test_deferred_command_that_is_cancelled_leaves_no_reply_to_others(paired, meanwhile, way):
    pair = await paired(way)
    task = asyncio.ensure_future(pair.ask(way))
    works = meanwhile(lambda _: task.cancel())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert works == []
    # It was sent: a cancelled task runs after the write coalescer. Its connection is closed.
    await pair.check(way, asked=True)


@EACH
async def test_deferred_command_on_a_closed_connection_is_not_sent(paired, meanwhile, way):
    pair = await paired(way, TWICE)

    def close(connection):
        connection._reset_state()
        connection._close()

    works = meanwhile(close)
    assert await pair.ask(way) == pair.right(way)  # at the second attempt
    assert works == []
    await pair.check(way, asked=True)


@pytest.mark.parametrize("without", [None, "look", "refusal"])
@EACH
@pytest.mark.invariant(8)
async def test_data_received_before_a_command_was_sent_is_not_its_reply(paired, meanwhile, monkeypatch, way, without):
    """Either of the two checks alone would not be enough."""
    pair = await paired(way)

    async def refuse(_):
        pass

    if without == "look":
        monkeypatch.setattr(connection_async, "has_unread_data", lambda _: False)
    elif without == "refusal":
        monkeypatch.setattr(AsyncSharedConnection, "_refuse", refuse)
    works = meanwhile(lambda connection: connection._reader.feed_data(STALE[way]))
    if without is None:
        with pytest.raises(redis.ConnectionError, match="not requested"):
            await pair.ask(way)
        await pair.check(way, asked=False)
    else:
        answer = await pair.ask(way)
        assert answer == (["stale", 99] if way == "pipeline" else 99 if way.startswith("write") else "stale")
    assert works == []


@pytest.mark.parametrize("came", [b"-ERR stale\r\n", b">2\r\n+note\r\n+told\r\n", b"$5\r\nsta", b"end", b"error"])
@EACH
async def test_command_is_sent_once_over_another_connection_after_unexpected_data(paired, meanwhile, way, came):
    pair = await paired(way, TWICE)
    writers = []

    def come(connection):
        writers.append(connection._writer)
        if came == b"end":
            connection._reader.feed_eof()
        elif came == b"error":
            connection._reader.set_exception(ConnectionResetError("reset"))
        else:
            connection._reader.feed_data(came)

    meanwhile(come)
    assert await pair.ask(way) == pair.right(way)
    assert writers[0].is_closing()
    await pair.check(way, asked=True)


@EACH
async def test_failing_write_of_deferred_commands_closes_the_connection(paired, meanwhile, monkeypatch, way):
    """Behave as a closed transport of uvloop."""
    pair = await paired(way)

    def fail(_):
        raise RuntimeError("the handler is closed")

    works = meanwhile(lambda connection: monkeypatch.setattr(connection._writer, "write", fail))
    with pytest.raises(redis.ConnectionError, match="the handler is closed"):
        await pair.ask(way)
    assert works == []
    await pair.check(way, asked=False)


@EACH
async def test_forked_child_does_not_send_deferred_commands_of_its_parent(paired, meanwhile, way):
    pair = await paired(way)
    told, send = [], WriteCoalescer.send

    def fork(connection):
        write_coalescer = connection.write_coalescer
        told.append(in_child(lambda: [send(write_coalescer), len(write_coalescer._kept)]))

    meanwhile(fork)
    assert await pair.ask(way) == pair.right(way)
    assert told == ["[None, 0]"]
    await pair.check(way, asked=True)


async def test_interrupt_during_one_send_does_not_affect_other_connections(several, monkeypatch):
    class Interrupt(BaseException):
        pass

    clients = [each.aconnection for each in await several(4)]
    send, interrupted = WriteCoalescer.send, []

    def interrupt(_):
        raise Interrupt

    def sent(self):
        if interrupted:
            send(self)
            return
        with monkeypatch.context() as patch, pytest.raises(Interrupt):
            patch.setattr(AsyncSharedConnection, "flush_unsent", interrupt)
            send(self)
        interrupted.append(len(self._kept))

    monkeypatch.setattr(WriteCoalescer, "send", sent)
    assert await asyncio.wait_for(asyncio.gather(*(client.incr("n") for client in clients)), 5) == [1, 1, 1, 1]
    assert interrupted == [3]


@pytest.mark.parametrize("stale", [b"", b"$5\r\nstale\r\n"])
async def test_second_command_before_the_first_reply_is_sent_in_order(paired, stale):
    pair = await paired("read here")
    connection = await pair.here.aconnection.connection_pool.get_connection()
    await connection.send_command("GET", "whose")
    assert connection.unsent
    connection._reader.feed_data(stale)
    if stale:
        with pytest.raises(redis.ConnectionError, match="not requested"):
            await connection.send_command("INCR", "n")
    else:
        await connection.send_command("INCR", "n")
        assert [await connection.read_response() for _ in range(2)] == ["2", pair.before + 1]
        pair.before += 1
    await pair.pool.release(connection)
    await pair.check("write here", asked=False)


@pytest.mark.parametrize("piped", [False, True], ids=["command", "pipeline"])
async def test_command_before_the_last_reply_was_read_is_not_deferred(paired, steps, piped):
    pair = await paired("read here")
    connection = await pair.here.aconnection.connection_pool.get_connection()
    await connection.send_command("GET", "whose")
    await aeventually(lambda: has_unread_data(connection._reader))
    steps.clear()
    if piped:
        await connection.send_packed_command(connection.pack_commands([("INCR", "n")]))
    else:
        await connection.send_command("INCR", "n")
    assert steps == []
    assert [await connection.read_response() for _ in range(2)] == ["2", pair.before + 1]
    await pair.pool.release(connection)


async def test_connection_that_may_receive_push_data_defers_no_command(opened, steps):
    """Pub/sub, and redis-py's maintenance notifications."""
    told = MaintNotificationsConfig(enabled="auto")
    database = opened(db=1, protocol=3, maint_notifications_config=told, budget=Budget(per_server=4))
    await asyncio.gather(*(database.aconnection.incr("n") for _ in range(4)))
    other = opened(db=1, budget=Budget(per_server=4))
    async with other.aconnection.pubsub() as one, other.aconnection.pubsub() as two:
        await asyncio.gather(one.subscribe("news"), two.subscribe("news"))
        assert (await one.get_message(timeout=5))["type"] == "subscribe"
    assert steps == []
    await database.aclose()
    await other.aclose()


async def test_deferred_commands_are_counted(several, steps):
    """The counter patches redis-py's method, which sends each command at once."""
    databases = await several(4)
    steps.clear()
    with count_commands(*databases) as counted:
        await asyncio.gather(*(each.aconnection.incr("n") for each in databases))
    assert counted.names == ["INCRBY"] * 4
    assert steps == []
    await asyncio.gather(*(each.aconnection.incr("n") for each in databases))
    assert [step for step, _ in steps] == ["keep"] * 3 + ["flush_unsent"] * 3
