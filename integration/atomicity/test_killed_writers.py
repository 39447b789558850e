"""Processes write the same objects while others are killed: every index entry has its value, every value its entry."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from integration.atomicity.audit import Audit, audit
from integration.atomicity.killed_workers import GRACE, Orders, Report
from tests.support.servers import ServerHandle

SECONDS = float(os.environ.get("TENANTLIMPYD_ATOMICITY_SECONDS", "7"))
"""How long they write; longer finds more."""
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(SECONDS * 2 + 90)


def worked(orders: Orders) -> Report:
    """Let a crew work in a session of its own, which ends with this call whatever happens."""
    command = [sys.executable, "-m", "integration.atomicity.killed_workers", json.dumps(attrs.asdict(orders))]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        printed, _ = process.communicate(timeout=orders.seconds + GRACE + 30)
    finally:
        # Those of the session that are left, if any: it is this call's own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == 0, printed
    return Report(**json.loads(printed))


def found(server: ServerHandle, db: int) -> Audit:
    with server.client(db=db, decode_responses=True) as client:
        return audit(client)


def test_indexes_and_values_agree_after_writers_were_killed(
    server: ServerHandle, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = random.randrange(2**32)
    ours = worked(Orders("tenantlimpyd", server.settings, 1, seed, SECONDS))
    of_ours = found(server, 1)
    # The same work done by limpyd, for its figures. A worker of it that dies leaves locks behind, for which others wait.
    theirs = worked(Orders("limpyd", server.settings, 2, seed, min(SECONDS, 3.0)))
    of_theirs = found(server, 2)
    with capsys.disabled():
        for name, report, result in (("tenantlimpyd", ours, of_ours), ("limpyd", theirs, of_theirs)):
            print(f"\n  {name}: {report.killed} killed, {report.operations} operations by others, {result}")
    assert ours.errors == [], f"seed {seed}"
    assert (of_ours.stale, of_ours.missing, of_ours.owners, of_ours.orphans) == ([], [], [], []), f"seed {seed}"
    # There was something to see, on however slow a machine.
    assert ours.killed > 2 * SECONDS
    assert ours.operations > 10 * SECONDS
    assert of_ours.entries > 0
