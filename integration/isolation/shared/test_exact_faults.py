"""Faults at every place there is, one by one: whoever has the connection next is answered by its own database."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from integration.isolation.shared import operations
from integration.isolation.shared.batches import batch
from integration.isolation.shared.battery import Lines
from integration.isolation.shared.spots import named
from integration.isolation.shared.stage import Stage
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
    operations.walk,
    operations.ask_all,
    operations.pop,
    batch,
]
REPLIES = 40
"""More replies than most operations have."""
MODES = pytest.mark.parametrize(
    ("awaits", "crowded"), [(False, False), (True, False), (True, True)], ids=["sync", "async", "together"]
)
CROWDED = pytest.mark.parametrize("crowded", [False, True], ids=["alone", "together"])
EACH = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)

pytestmark = [pytest.mark.timeout(120), *LEFT_BEHIND]


def then(stage: Stage, *, awaits: bool) -> None:
    """Check who comes next: first on the connection that was left, then all."""
    for spot in (stage.plain[1], stage.plain[0], stage.plain[2]):
        stage.ask(spot, operations.read, awaits=awaits)


@MODES
@EACH
def test_a_connection_cut_at_any_reply(stage: Stage, operation: Any, awaits: bool, crowded: bool) -> None:
    stage.fresh_connections(crowded=crowded)
    for reply in range(REPLIES):
        for at in (0, 1, 3):
            stage.proxy.arm(cut=(reply, at))
            stage.ask(stage.plain[0], operation, awaits=awaits)
            reached = stage.proxy.passed > reply
            stage.proxy.release()
            then(stage, awaits=awaits)
        if not reached:
            break
    assert stage.wrong() == []
    assert stage.ledger.lost["ConnectionError"] or operation in (batch, operations.walk)  # which begins again
    assert all(stage.answered(spot, awaits=awaits) for spot in stage.plain)


@MODES
@EACH
def test_a_reply_that_comes_too_late(hasty_stage: Stage, operation: Any, awaits: bool, crowded: bool) -> None:
    """The caller has given up; the reply comes as the next one expects its own."""
    stage = hasty_stage
    stage.fresh_connections(crowded=crowded)
    for reply in (0, 1, 2, 4, 7):
        stage.proxy.arm(hold=reply)
        stage.ask(stage.plain[0], operation, awaits=awaits)
        reached = stage.proxy.passed > reply
        stage.ask(stage.plain[1], operations.read, awaits=awaits)  # still slow: it may get nothing, or its own
        stage.proxy.release()
        then(stage, awaits=awaits)
        if not reached:
            break
    assert stage.wrong() == []
    assert stage.ledger.lost["TimeoutError"]


@CROWDED
@EACH
def test_a_task_cancelled_as_it_waits_for_any_reply(stage: Stage, operation: Any, crowded: bool) -> None:
    stage.fresh_connections(crowded=crowded)
    for reply in range(REPLIES):
        stage.proxy.arm(hold=reply)
        stage.loop.run_until_complete(stage.cancelled(stage.plain[0], operation, lambda: stage.proxy.holding > 0))
        reached = stage.proxy.passed > reply
        follow_up(stage)
        if not reached:
            break
    assert stage.wrong() == []
    assert all(stage.answered(spot, awaits=True) for spot in stage.plain)


def follow_up(stage: Stage) -> None:
    """Ask for the next tenant while what was held back is still on its way; what else is asked for comes at once."""

    async def ask() -> None:
        asking = asyncio.ensure_future(stage.clerk(stage.plain[1], operations.read, awaits=True).operate())
        for _ in range(10):  # what it sends makes the proxy pass on what it holds
            await asyncio.sleep(0)
        stage.proxy.release()
        await asking

    stage.loop.run_until_complete(ask())
    then(stage, awaits=True)


@CROWDED
@EACH
def test_a_task_cancelled_at_any_step(stage: Stage, operation: Any, crowded: bool) -> None:
    stage.fresh_connections(crowded=crowded)
    for step in range(30):
        stage.proxy.arm(hold=0)
        stage.loop.run_until_complete(stage.cancelled(stage.plain[0], operation, lambda: True, step))
        follow_up(stage)
    assert stage.wrong() == []
    assert all(stage.answered(spot, awaits=True) for spot in stage.plain)


async def long_scan(clerk: Any, spot: Any) -> None:
    """Several commands on one connection that is held."""
    keys = [key async for key in clerk.database.ascan_keys(count=2)]
    clerk.compare("SCAN", set(), named(" ".join(keys)) - {spot.tenant})


@pytest.mark.parametrize("reply", range(8))
def test_a_task_cancelled_after_its_connection_was_made_anew(persistent_stage: Stage, reply: int) -> None:
    """A connection that is held breaks and is made again; it still knows what it owes."""
    stage = persistent_stage
    for cut in range(4):
        stage.fresh_connections()
        stage.proxy.arm(cut=(cut, 1), hold=cut + reply + 1)
        stage.loop.run_until_complete(stage.cancelled(stage.plain[0], long_scan, lambda: stage.proxy.holding > 0))
        follow_up(stage)
    assert stage.wrong() == []


@EACH
def test_an_interrupt_at_any_line(stage: Stage, operation: Any) -> None:
    """As a signal handler may raise one."""
    stage.fresh_connections()
    lines = Lines(stage)
    line, step = 0, 3 if operation is operations.read else 11
    while lines.ask(0, operation, line):
        lines.ask(1, operations.read)
        stage.proxy.release()
        line += step
    assert stage.wrong() == []
    assert stage.answered(stage.plain[0], awaits=False)
