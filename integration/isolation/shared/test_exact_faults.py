"""Faults at every possible place, one by one: the next borrower of the connection gets replies of its own database."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from integration.isolation.shared import operations
from integration.isolation.shared.batches import batch
from integration.isolation.shared.harness import Harness
from integration.isolation.shared.sites import named
from tests.support.interruption import LEFT_BEHIND

OPERATIONS = [
    operations.read,
    operations.write,
    operations.mistake,
    operations.script,
    operations.optimism,
    operations.own_pipeline,
    operations.models,
    operations.scan,
    operations.scan_tenants,
    operations.command_for_all,
    operations.pop,
    batch,
]
REPLIES = 40
"""More replies than most operations have."""
MODES = pytest.mark.parametrize(
    ("awaits", "busy"), [(False, False), (True, False), (True, True)], ids=["sync", "async", "together"]
)
BUSY = pytest.mark.parametrize("busy", [False, True], ids=["alone", "together"])
EACH = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)

pytestmark = [pytest.mark.timeout(120), *LEFT_BEHIND]


def then(harness: Harness, *, awaits: bool) -> None:
    """Check the next borrower of the connection, then all tenants."""
    for site in (harness.plain[1], harness.plain[0], harness.plain[2]):
        harness.ask(site, operations.read, awaits=awaits)


@MODES
@EACH
def test_a_connection_cut_at_any_reply(harness: Harness, operation: Any, awaits: bool, busy: bool) -> None:
    harness.fresh_connections(busy=busy)
    for reply in range(REPLIES):
        for at in (0, 1, 3):
            harness.proxy.arm(cut=(reply, at))
            harness.ask(harness.plain[0], operation, awaits=awaits)
            reached = harness.proxy.passed > reply
            harness.proxy.release()
            then(harness, awaits=awaits)
        if not reached:
            break
    assert harness.wrong() == []
    assert harness.ledger.lost["ConnectionError"] or operation in (batch, operations.scan_tenants)  # which begins again
    assert all(harness.answered(site, awaits=awaits) for site in harness.plain)


@MODES
@EACH
def test_a_reply_that_comes_too_late(impatient_harness: Harness, operation: Any, awaits: bool, busy: bool) -> None:
    """A reply arrives after its timeout, while the next borrower waits for its own."""
    harness = impatient_harness
    harness.fresh_connections(busy=busy)
    for reply in (0, 1, 2, 4, 7):
        harness.proxy.arm(hold=reply)
        harness.ask(harness.plain[0], operation, awaits=awaits)
        reached = harness.proxy.passed > reply
        harness.ask(harness.plain[1], operations.read, awaits=awaits)  # still slow: it may get nothing, or its own
        harness.proxy.release()
        then(harness, awaits=awaits)
        if not reached:
            break
    assert harness.wrong() == []
    assert harness.ledger.lost["TimeoutError"]


@BUSY
@EACH
def test_a_task_cancelled_as_it_waits_for_any_reply(harness: Harness, operation: Any, busy: bool) -> None:
    harness.fresh_connections(busy=busy)
    for reply in range(REPLIES):
        harness.proxy.arm(hold=reply)
        harness.loop.run_until_complete(
            harness.cancelled(harness.plain[0], operation, lambda: harness.proxy.holding > 0)
        )
        reached = harness.proxy.passed > reply
        follow_up(harness)
        if not reached:
            break
    assert harness.wrong() == []
    assert all(harness.answered(site, awaits=True) for site in harness.plain)
    assert harness.lost_permits() == 0


def follow_up(harness: Harness) -> None:
    """Read for the next tenant while a reply is still held back; later replies are passed on at once."""

    async def ask() -> None:
        asking = asyncio.ensure_future(harness.worker(harness.plain[1], operations.read, awaits=True).operate())
        for _ in range(10):  # what it sends makes the proxy pass on what it holds
            await asyncio.sleep(0)
        harness.proxy.release()
        await asking

    harness.loop.run_until_complete(ask())
    then(harness, awaits=True)


@BUSY
@EACH
def test_a_task_cancelled_at_any_step(harness: Harness, operation: Any, busy: bool) -> None:
    harness.fresh_connections(busy=busy)
    for step in range(30):
        harness.proxy.arm(hold=0)
        harness.loop.run_until_complete(harness.cancelled(harness.plain[0], operation, lambda: True, step))
        follow_up(harness)
    assert harness.wrong() == []
    assert all(harness.answered(site, awaits=True) for site in harness.plain)
    assert harness.lost_permits() == 0


async def long_scan(worker: Any, site: Any) -> None:
    """Several commands on one pinned connection."""
    keys = [key async for key in worker.database.ascan_keys(count=2)]
    worker.compare("SCAN", set(), named(" ".join(keys)) - {site.tenant})


@pytest.mark.parametrize("reply", range(8))
def test_a_task_cancelled_after_its_connection_was_reconnected(retrying_harness: Harness, reply: int) -> None:
    """A pinned connection is lost and reconnected: its pending replies are still counted."""
    harness = retrying_harness
    for cut in range(4):
        harness.fresh_connections()
        harness.proxy.arm(cut=(cut, 1), hold=cut + reply + 1)
        harness.loop.run_until_complete(
            harness.cancelled(harness.plain[0], long_scan, lambda: harness.proxy.holding > 0)
        )
        follow_up(harness)
    assert harness.wrong() == []
