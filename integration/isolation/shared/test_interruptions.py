"""An interrupt at each step of an operation, in redis-py and in our code: no strays, no lost permits.

A full run takes each step (``TENANTLIMPYD_TEST_EVERY_STEP=1``); else a random one of several neighbours is taken, so that
many runs cover all of them.
"""

from __future__ import annotations

import gc
import os
import random
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from integration.isolation.shared import operations
from integration.isolation.shared.batches import batch
from integration.isolation.shared.harness import Harness, make_harness
from integration.isolation.shared.scenarios import InterruptedRuns
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
    operations.scan_tenants: 41,
    operations.command_for_all: 41,
    operations.pop: 17,
    batch: 61,
}
"""The distance between the steps that a short run interrupts."""

pytestmark = [pytest.mark.timeout(3000 if EVERY else 120), *LEFT_BEHIND]


@pytest.fixture
def harness(limiting_server: ServerHandle) -> Iterator[Harness]:
    """A harness whose router has few permits, so that lost ones are missed."""
    budget = Budget(total=PERMITS * 2, per_server=PERMITS, per_tenant=PERMITS, dedicated=PERMITS, on_full="raise")
    with make_harness(limiting_server, budget=budget) as harness:
        yield harness


@pytest.mark.parametrize("operation", STRIDES, ids=lambda operation: operation.__name__)
def test_an_interrupt_at_each_step(
    harness: Harness, operation: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # pytest's keeps the frames, and with them connections
    stride = 1 if EVERY else STRIDES[operation]
    runs = InterruptedRuns(harness)
    step, taken = random.randrange(stride), 0
    while runs.ask(0, operation, step):
        taken += 1
        runs.ask(1, operations.read)
        harness.proxy.release()
        if taken % 50 == 0:
            gc.collect()  # sockets of interrupted code stay open until then
        step += stride
    with capsys.disabled():
        print(f"\n{operation.__name__}: {taken} of {step} steps interrupted")
    assert taken > 10
    assert harness.wrong() == []
    assert harness.lost_permits() == 0
    assert all_permits_can_be_had(harness)


def all_permits_can_be_had(harness: Harness) -> bool:
    """Return whether as many connections can be held at once as the budget allows."""
    client = harness.router.database_for(harness.plain[0].tenant).connection
    pipelines = [client.pipeline() for _ in range(PERMITS)]
    try:
        return all(pipeline.watch("last") for pipeline in pipelines)
    finally:
        for pipeline in pipelines:
            pipeline.reset()
