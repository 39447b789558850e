"""An interrupt at each step of a use, in redis-py and in our code: no stray, no lost permit.

A full run takes each step (``TENANTLIMPYD_TEST_EVERY_STEP=1``); else a random one of several neighbours is taken, so that
many runs cover all of them.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

import pytest

from integration.isolation.shared import operations
from integration.isolation.shared.batches import batch
from integration.isolation.shared.battery import Lines
from integration.isolation.shared.stage import Stage, set_stage
from tenantlimpyd import Budget
from tests.support.interruption import LEFT_BEHIND
from tests.support.servers import ServerHandle

EVERY = bool(os.environ.get("TENANTLIMPYD_TEST_EVERY_STEP"))
PERMITS = 4
STRIDES = {
    operations.single: 1,
    operations.write: 5,
    operations.mistake: 11,
    operations.script: 7,
    operations.optimism: 17,
    operations.own_pipeline: 23,
    operations.models: 41,
    operations.scan: 31,
    operations.walk: 41,
    operations.ask_all: 41,
    operations.pop: 17,
    batch: 61,
}
"""How far apart the steps are that a short run takes."""

pytestmark = [pytest.mark.timeout(3000 if EVERY else 120), *LEFT_BEHIND]


@pytest.fixture
def stage(limiting_server: ServerHandle) -> Iterator[Stage]:
    """One whose router has few permits, so that lost ones are missed."""
    budget = Budget(total=PERMITS * 2, per_server=PERMITS, per_tenant=PERMITS, dedicated=PERMITS, on_full="raise")
    with set_stage(limiting_server, budget=budget) as stage:
        yield stage


@pytest.mark.parametrize("operation", STRIDES, ids=lambda operation: operation.__name__)
def test_an_interrupt_at_each_step(stage: Stage, operation: Any, capsys: pytest.CaptureFixture[str]) -> None:
    stride = 1 if EVERY else STRIDES[operation]
    lines = Lines(stage)
    step, taken = random.randrange(stride), 0
    while lines.ask(0, operation, step):
        taken += 1
        lines.ask(1, operations.read)
        stage.proxy.release()
        step += stride
    with capsys.disabled():
        print(f"\n{operation.__name__}: {taken} of {step} steps interrupted")
    assert taken > 10
    assert stage.wrong() == []
    assert all(stats.in_use == stats.waiting == 0 for stats in stage.router.pool_stats().values())
    assert all_permits_can_be_had(stage)


def all_permits_can_be_had(stage: Stage) -> bool:
    """Hold as many connections at once as the budget allows, with a transaction that watches on each."""
    client = stage.router.database_for(stage.plain[0].tenant).connection
    pipelines = [client.pipeline() for _ in range(PERMITS)]
    try:
        return all(pipeline.watch("last") for pipeline in pipelines)
    finally:
        for pipeline in pipelines:
            pipeline.reset()
