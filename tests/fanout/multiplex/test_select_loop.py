"""Scans and fan-out commands in one thread: partial writes and reads, deadlines, and cleanup."""

from __future__ import annotations

import asyncio
import errno
import gc
import signal
import threading
import time

import pytest
import redis

from tenantlimpyd import Budget
from tenantlimpyd._fanout.multiplex import lease, select_loop, worker_state
from tenantlimpyd._fanout.multiplex.lease import Lease
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.operations import Command
from tenantlimpyd.router import DatabaseRouter
from tests.support.chaos_proxy import ChaosProxy
from tests.support.fan_out_fixtures import filled
from tests.support.tls import Authority
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

MANY, KEYS = 40, 3000


@pytest.fixture(scope="module")
def wide():
    """A server of 40 databases with a key each; database 0 has 3,000."""
    with filled(MANY, KEYS) as server:
        yield server


def router_of(settings, *numbers, **arguments):
    return DatabaseRouter(
        {f"t{number}": RedisDatabase(**settings, db=number) for number in numbers or range(MANY)},
        budget=Budget(),
        **arguments,
    )


def open_and_idle(router):
    pool_stats = router.pool_stats().values()
    return sum(each.open for each in pool_stats), sum(each.idle for each in pool_stats)


def scanned(misbehaving, answer, *, once=False):
    """Return a server that says OK to everything but a scan, which may end the connection, and a router with a tenant on it."""

    def answers(peer, _stop):
        while data := peer.recv(65536):
            if b"SCAN" in data:
                peer.sendall(answer(data))
                if once:
                    return
            else:
                peer.sendall(b"+OK\r\n" * max(1, data.count(b"*")))

    server = misbehaving(answers)
    database = RedisDatabase(host="127.0.0.1", port=server.port, protocol=2, breaker=None, driver_info=None)
    return server, DatabaseRouter({"t": database}, budget=Budget())


async def test_partially_sent_requests_are_completed(wide, call):
    """The buffers of the server and the client are full long before everything is written."""
    router = router_of(wide.settings, *range(1, MANY))
    match = "key" + "*" * 400_000  # 16 MB for all of them
    found = await call.list(call.form(router, "scan_keys")(match=match))
    assert sorted(found) == sorted((f"t{number}", "key") for number in range(1, MANY))
    await router.aclose()


async def test_server_that_stops_reading_fails_by_its_deadline(misbehaving, call):
    def reads_little(peer, stop):
        while b"SCAN" not in (data := peer.recv(4096)):
            peer.sendall(b"+OK\r\n" * max(1, data.count(b"*")))
        stop.wait(10)

    server = misbehaving(reads_little)
    router = router_of({"host": "127.0.0.1", "port": server.port, "protocol": 2, "driver_info": None})
    arguments = {"match": "key" + "*" * 400_000, "timeout": 0.3, "on_error": "collect"}
    scan = call.form(router, "scan_keys")(**arguments)
    assert await call.list(scan) == []
    assert len(scan.outcomes) == MANY
    assert {type(outcome.error) for outcome in scan.outcomes.values()} == {redis.TimeoutError}
    assert open_and_idle(router) == (0, 0)
    await router.aclose()


async def test_scan_reads_pages_over_tls(tmp_path, wide, call):
    """A page is in several records, of which a readable socket announces the first only."""
    authority = Authority(tmp_path)
    with ChaosProxy(wide.host, wide.port, authority.server_context()) as proxy:
        router = router_of({"host": "127.0.0.1", "port": proxy.port, **authority.client_settings}, 0, 1)
        for _ in range(2):
            found = [key async for _, page in call.each(call.form(router, "scan_pages")(count=5000)) for key in page]
            assert len(found) == KEYS + 1
        assert proxy.accepted <= 2
        await router.aclose()


async def test_keys_that_are_not_utf_8_have_surrogates(flushed_server, call):
    raw = [b"caf\xe9", b"\xff\xfe", "naïve".encode(), b"nul\0l", b"\xf0\x9f\x98"]
    router = DatabaseRouter({
        "plain": RedisDatabase(**flushed_server.settings, db=1),
        "one": RedisDatabase(**flushed_server.settings, db=2, key_prefix="é:"),
        "two": RedisDatabase(**flushed_server.settings, db=2, key_prefix="î:"),
    })  # fmt: skip
    for db, prefixes in ((1, [""]), (2, ["é:", "î:"])):
        with redis.Redis(**flushed_server.settings, db=db) as client:
            client.mset({prefix.encode() + key: 1 for prefix in prefixes for key in raw})
    found = await call.list(call.form(router, "scan_keys")())
    names = [key.decode("utf-8", "surrogateescape") for key in raw]
    assert sorted(found) == sorted((tenant, name) for tenant in ("plain", "one", "two") for name in names)
    assert sorted(router.scan_keys(match="caf?")) == [(tenant, names[0]) for tenant in ("one", "plain", "two")]
    await router.aclose()


def test_slow_consumer_does_not_consume_deadline(wide):
    """Neither while a reply is pending, nor while a connection is being opened."""
    with ChaosProxy(wide.host, wide.port) as proxy:
        router = router_of({"host": "127.0.0.1", "port": proxy.port}, 0)
        router.add("other", RedisDatabase(**wide.settings, db=1))
        scan = router.scan_pages(count=100, timeout=0.5, on_error="collect")
        for seen, _ in enumerate(scan):
            if seen in {0, 5, 10}:
                time.sleep(0.6)
        assert all(outcome.ok for outcome in scan.outcomes.values()), scan.outcomes
        assert max(outcome.seconds for outcome in scan.outcomes.values()) < 0.5
        router.close()


def test_slow_consumer_does_not_consume_the_connect_timeout(wide, misbehaving):
    hanging = misbehaving(lambda _peer, stop: stop.wait(10))
    router = router_of(wide.settings, 1)
    router.add("hangs", RedisDatabase(host="127.0.0.1", port=hanging.port))
    scan = router.scan_pages(timeout=0.3, on_error="collect")
    assert next(scan)[0] == "t1"
    time.sleep(0.5)
    assert list(scan) == []
    assert "not finished within 0.3 s" in str(scan.outcomes["hangs"].error)
    router.close()


@pytest.mark.parametrize("late", ["during the scan", "after the scan"])
def test_hanging_connect_thread_is_abandoned(wide, monkeypatch, late):
    """A name lookup has no timeout. A connection that it opens later is released to its pool."""
    release, hung, connect = threading.Event(), threading.Event(), Lease.connect

    def hangs(lease, **arguments):
        if not hung.is_set():
            hung.set()
            release.wait(20)
            monkeypatch.undo()
            from tenantlimpyd._connections.deadline import _current

            _current.set(None)
        return connect(lease, **arguments)

    monkeypatch.setattr(Lease, "connect", hangs)
    router = router_of(wide.settings, 1)
    scan = router.scan_keys(timeout=0.2, on_error="collect")
    began = time.monotonic()
    if late == "after the scan":
        assert list(scan) == []
        release.set()
    else:
        with pytest.raises(StopIteration):
            next(scan)
        release.set()
    assert time.monotonic() - began < 3
    assert isinstance(scan.outcomes["t1"].error, redis.TimeoutError)
    eventually(lambda: open_and_idle(router) == (1, 1))
    assert list(router.scan_keys()) == [("t1", "key")]
    assert open_and_idle(router) == (1, 1)
    router.close()


def test_leaving_a_scan_closes_only_connections_that_await_a_reply(wide):
    router = router_of(wide.settings, 0)
    scan = router.scan_pages(count=10)
    next(scan)  # the next page has been requested
    scan.close()
    assert open_and_idle(router) == (0, 0)
    for _ in router.scan_pages(match="nothing", tenants=["t0"]):
        pass
    assert open_and_idle(router) == (1, 1)
    router.close()


def test_interrupt_leaves_no_connection_and_no_thread(wide, misbehaving, monkeypatch):
    """The signal is raised while the scan waits for all servers."""
    hanging = misbehaving(lambda _peer, stop: stop.wait(10))
    router = router_of(wide.settings, 1, 2)
    router.add("hangs", RedisDatabase(host="127.0.0.1", port=hanging.port))

    class InterruptError(Exception):
        pass

    def interrupt(_number, _frame):
        raise InterruptError

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        scan = router.scan_keys()
        found = {next(scan), next(scan)}
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(InterruptError):
            next(scan)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert found == {("t1", "key"), ("t2", "key")}
    eventually(lambda: all(pool_stats.open == pool_stats.idle for pool_stats in router.pool_stats().values()))
    assert set(router.scan_keys(tenants=["t1", "t2"])) == found
    router.close()


def test_connected_scan_uses_no_thread(wide, no_thread_is_left):
    router = router_of(wide.settings)
    scan = router.scan_pages(count=100)
    found = len(next(scan)[1])
    eventually(lambda: no_thread_is_left() == [])
    assert found + sum(len(page) for _, page in scan) == KEYS + MANY - 1
    router.close()


def test_next_page_is_requested_before_the_consumer_gets_the_current_one(wide):
    """The server works while the consumer does; at most one page of a database is buffered."""
    router = router_of(wide.settings, 0)
    with redis.Redis(**wide.settings) as client:
        client.config_resetstat()
        scan = router.scan_pages(count=50)
        for seen in range(1, 20):
            next(scan)
            eventually(lambda asked=seen + 1: client.info("commandstats")["cmdstat_scan"]["calls"] == asked)
    scan.close()
    router.close()


def test_abandoned_scan_releases_its_connections(wide):
    router = router_of(wide.settings, 0)
    scan = router.scan_pages(count=10)
    next(scan)
    del scan
    gc.collect()
    assert open_and_idle(router) == (0, 0)
    router.close()


def test_unrequested_data_closes_the_connection(misbehaving):
    """A surplus reply in the same packet as the last one would be taken for a reply to the next user."""
    reply = b"*2\r\n$1\r\n0\r\n*1\r\n$3\r\nkey\r\n"
    info = b"$5\r\nx:1\r\n\r\n"

    _, router = scanned(misbehaving, lambda _data: info * 2 + reply + info * 2 + b"+OK\r\n")
    scan = router.scan_keys(on_error="collect")
    assert list(scan) == []
    assert "more than was requested" in str(scan.outcomes["t"].error)
    assert open_and_idle(router) == (0, 0)
    router.close()


async def test_connection_closed_within_a_page_fails_its_tenant(misbehaving, call):
    server, router = scanned(misbehaving, lambda _data: b"*2\r\n$1\r\n0\r\n*100\r\n$3\r\nkey\r\n", once=True)
    scan = call.form(router, "scan_pages")(on_error="collect")
    assert await call.list(scan) == []
    error = scan.outcomes["t"].error
    assert type(error) is redis.ConnectionError
    assert "the server closed the connection" in str(error)
    assert server.accepted == 4  # three more attempts
    assert open_and_idle(router) == (0, 0)
    await router.aclose()


def test_surplus_reply_is_not_taken_for_a_page(misbehaving):
    """It arrives between two round trips of a worker, and would be taken for the first reply of the next."""
    info = b"$5\r\nx:1\r\n\r\n"
    page = b"*2\r\n$1\r\n7\r\n*1\r\n$3\r\nkey\r\n"

    _, router = scanned(misbehaving, lambda data: info * data.count(b"INFO") + page + b"+XY\r\n")
    scan = router.scan_keys(on_error="collect")
    assert list(scan) == []
    assert not scan.outcomes["t"].ok
    router.close()


async def test_reply_to_an_unsent_request_closes_the_connection(misbehaving, call):
    """Otherwise a connection with an unfinished long command would be given to another caller."""

    def answers(peer, stop):
        while data := peer.recv(4096):
            if b"EVIL" in data:
                peer.sendall(b"+OK\r\n" if b"SELECT" not in data else b"+OK\r\n+OK\r\n")
                stop.wait(10)
                return
            peer.sendall(b"+OK\r\n" * max(1, data.count(b"*") - (b"EVIL" in data)))

    server = misbehaving(answers)
    database = RedisDatabase(
        host="127.0.0.1", port=server.port, protocol=2, breaker=None, driver_info=None, socket_timeout=0.5
    )
    router = DatabaseRouter({"t": database}, budget=Budget())
    step = Command("SET", "EVIL", "x" * 30_000_000)
    outcomes = await call(router, "fan_out", step, on_error="collect")
    assert not outcomes["t"].ok
    assert open_and_idle(router) == (0, 0)
    await router.aclose()


@pytest.mark.parametrize("seconds", [None, 5.0])
async def test_timeout_of_the_operating_system_is_a_lost_connection(wide, monkeypatch, seconds):
    """Raised when sent data is not acknowledged; asyncio raises the same class for its own timeouts."""
    router = router_of({**wide.settings, "socket_timeout": seconds}, 1)
    found, asked = lease.stream_of, iter(range(100))

    def stream_of(connection):
        stream = found(connection)
        if next(asked) == 0:
            stream.set_exception(TimeoutError(errno.ETIMEDOUT, "Connection timed out"))
        return stream

    monkeypatch.setattr(lease, "stream_of", stream_of)
    scan = router.ascan_keys(on_error="collect")
    assert [item async for item in scan] == [("t1", "key")]  # at the second attempt
    await router.aclose()


def test_tenants_fail_if_no_connect_thread_can_be_started(wide, monkeypatch):
    router = router_of(wide.settings, 1, 2)

    def start(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    scan = router.scan_keys(on_error="collect")
    assert list(scan) == []
    monkeypatch.undo()
    assert [str(outcome.error) for outcome in scan.outcomes.values()] == ["can't start new thread"] * 2
    assert len(list(router.scan_keys())) == 2
    router.close()


def test_scan_inside_a_fan_out_keeps_its_deadline(misbehaving, wide, no_thread_is_left):
    """The deadline of a fan-out applies to scans inside its functions."""
    hanging = misbehaving(lambda _peer, stop: stop.wait(10))
    router = router_of(wide.settings, 1)
    router.add("hangs", RedisDatabase(host="127.0.0.1", port=hanging.port, socket_timeout=None))
    began = time.monotonic()
    outcomes = router.fan_out(lambda _: list(router.scan_keys()), tenants=["t1"], timeout=0.3, on_error="collect")
    assert isinstance(outcomes["t1"].error, redis.TimeoutError)
    eventually(lambda: no_thread_is_left() == [])
    assert time.monotonic() - began < 2
    router.close()


def test_finished_scan_has_no_reference_cycle(wide):
    """The objects of a scan refer to each other and hold buffers, which should be freed at once."""
    router = router_of(wide.settings, 0, 1, 2)
    list(router.scan_keys(count=100))
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            list(router.scan_keys(count=100))
            next(router.scan_keys(count=100))
        kinds = [each for each in gc.get_objects() if type(each) in (select_loop.SelectLoop, worker_state.WorkerState)]
        assert kinds == []
    finally:
        gc.enable()
    router.close()


@pytest.mark.parametrize("selector", ["SelectSelector", "PollSelector"])
def test_scan_works_with_every_selector(wide, monkeypatch, selector):
    """Other operating systems have other selectors."""
    monkeypatch.setattr(select_loop.selectors, "DefaultSelector", getattr(select_loop.selectors, selector))
    router = router_of(wide.settings)
    assert len(set(router.scan_keys(count=100))) == KEYS + MANY - 1
    router.close()


def test_idle_connection_is_used_without_a_thread(wide, monkeypatch):
    router = router_of(wide.settings, 1, 2)
    assert len(list(router.scan_keys())) == 2
    monkeypatch.setattr(threading.Thread, "start", None)
    assert len(list(router.scan_keys())) == 2
    assert len(router.fan_out(Command("PING"))) == 2
    router.close()


def test_idle_connection_closed_by_the_server_is_replaced(wide):
    router = router_of(wide.settings, 1, 2)
    assert len(list(router.scan_keys())) == 2
    with redis.Redis(**wide.settings) as client:
        client.client_kill_filter(_type="normal", skipme=True)
    assert len(list(router.scan_keys())) == 2
    assert open_and_idle(router) == (1, 1)
    router.close()


def test_worker_that_ends_with_unfinished_tenants_is_an_error(wide, monkeypatch):
    """A scan must not wait forever for work that no worker does."""
    monkeypatch.setattr(select_loop.SelectLoop, "_start_workers", lambda run: setattr(run, "_more", False))
    router = router_of(wide.settings, 1)
    with pytest.raises(RuntimeError, match="a bug"):
        list(router.scan_keys())
    monkeypatch.undo()
    router.close()


async def test_concurrent_scans_are_complete(wide):
    """Each has its own selector, and they share the pool."""
    router = router_of(wide.settings)

    def scan():
        return len(set(router.scan_keys(count=50)))

    counts = await asyncio.gather(*(asyncio.to_thread(scan) for _ in range(6)))
    assert counts == [KEYS + MANY - 1] * 6
    sizes = await asyncio.gather(*(asyncio.to_thread(router.fan_out, Command("DBSIZE")) for _ in range(6)))
    assert {outcome.value for each in sizes for outcome in each.values()} == {1, KEYS}
    opened, idle = open_and_idle(router)
    assert opened == idle
    router.close()
