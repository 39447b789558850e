"""Servers that become silent: all tenants that wait for them fail after one timeout, and none is forgotten."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
import redis

from tenantlimpyd._scan.scan import ScanRequest, _ScanProgress
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.operations import Command
from tenantlimpyd.router import DatabaseRouter
from tests.support.chaos_proxy import ChaosProxy
from tests.support.fan_out_fixtures import filled

pytestmark = pytest.mark.slow

MANY = 300


@pytest.fixture(scope="module")
def wide():
    """A server of 300 databases, with a key each; database 0 has 200."""
    with filled(MANY, 200) as server:
        yield server


@pytest.fixture
def proxy(wide):
    with ChaosProxy(wide.host, wide.port) as proxy:
        yield proxy


async def router_of(proxy, call):
    """Return a router with one connection over a slow network, where few databases share a round trip."""
    router = DatabaseRouter(
        {f"t{n}": RedisDatabase(host="127.0.0.1", port=proxy.port, db=n, breaker=None) for n in range(MANY)}
    )
    database = router.database_for("t0")
    assert await call.result(call.client(database).ping())
    proxy.disturb(latency=0.06)
    return router


@pytest.mark.parametrize("seconds", [0.4, None])
async def test_scan_waits_once_for_a_server_that_becomes_silent(proxy, call, seconds, monkeypatch):
    """Not once for each write: hundreds of tenants, a few of which share a round trip on a slow network."""
    if seconds is None:
        for module in ("_fanout.multiplex.worker", "_scan.scan_worker"):
            monkeypatch.setattr(f"tenantlimpyd.{module}.ANSWER_SECONDS", 0.4, raising=False)
    router = await router_of(proxy, call)
    arguments = {"timeout": seconds, "on_error": "collect"}
    silent = False
    scan = call.form(router, "scan_pages")(**arguments)
    async for _ in call.each(scan):
        if not silent:
            proxy.swallow()
            silent = True
    assert silent
    ends = [outcome for outcome in scan.outcomes.values() if not outcome.ok]
    assert len(ends) >= MANY // 2
    assert {type(outcome.error) for outcome in ends} == {redis.TimeoutError}
    assert proxy.accepted == 1  # that one was waited for; there was no other attempt
    proxy.heal()
    assert len(set(router.scan_keys())) == MANY + 199
    await router.aclose()


async def test_fan_out_command_waits_once_for_a_server_that_becomes_silent(wide, proxy, call):
    router = await router_of(proxy, call)
    with redis.Redis(**wide.settings) as client:
        client.config_resetstat()

        def cut():
            ends = time.monotonic() + 10
            while client.info("commandstats").get("cmdstat_dbsize", {"calls": 0})["calls"] < 32:
                assert time.monotonic() < ends
                time.sleep(0.005)
            proxy.swallow()

        cutting = threading.Thread(target=cut)
        cutting.start()
        arguments = {"timeout": 1.0, "on_error": "collect"}
        outcomes = await call(router, "fan_out", Command("DBSIZE"), **arguments)
        await asyncio.to_thread(cutting.join)
    ends = [outcome for outcome in outcomes.values() if not outcome.ok]
    assert len(ends) >= MANY // 3
    assert {type(outcome.error) for outcome in ends} == {redis.TimeoutError}
    assert proxy.accepted <= 2  # the first requests had used part of their time before
    await router.aclose()


def worker_of(router, timeout=None, count=None):
    order = ScanRequest(router._jobs(None, allow_switch=False), None, count, None, "collect", timeout, 4)
    plan = _ScanProgress(order).plan()
    worker = plan.pick()
    sources = [worker.group.make(planned) for planned in worker.group.pending]
    worker.group.make = lambda planned: planned
    worker.group.pending.clear()
    worker.group.pending.extend(sources)
    return sources, plan, worker


def test_only_requests_unanswered_since_the_last_reply_fail(wide):
    router = DatabaseRouter({f"t{n}": RedisDatabase(**wide.settings, db=n) for n in range(3)})
    (fresh, large, nearly), _, worker = worker_of(router, timeout=1.0)
    worker.group.pending.clear()
    worker.group.pending.append(fresh)
    worker.group.started.extend([large, nearly])
    nearly.seconds = 0.7
    for _ in range(3):
        worker.record_answer()
        assert worker.take_unreachable_work(0.2, hopeless=True) == []  # the server has replied, so it is tried again
    assert worker.take_unreachable_work(0.2, hopeless=True) == [nearly]
    assert list(worker.group.started) == [large]
    assert worker.take_unreachable_work(0.2, hopeless=False) == []
    assert worker.take_unreachable_work(0.4, hopeless=False) == [fresh, large]
    assert not worker.group.pending
    assert not worker.group.started
    router.close()


def test_server_that_never_replied_is_not_tried_again(wide):
    router = DatabaseRouter({f"t{n}": RedisDatabase(**wide.settings, db=n) for n in range(3)})
    sources, _, worker = worker_of(router, timeout=1.0)
    assert worker.take_unreachable_work(0.01, hopeless=False) == []
    assert worker.take_unreachable_work(0.01, hopeless=True) == sources
    router.close()
