"""The soak: every reply on shared connections is the tenant's own, whatever faults happen."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from integration.isolation.shared.fault_injector import FaultInjector
from integration.isolation.shared.keyspace_check import check_keyspaces
from integration.isolation.shared.ledger import Ledger
from integration.isolation.shared.sites import LIMITED, make_sites, seed
from integration.isolation.shared.soak_process import SoakPlan, work
from tests.support.servers import ServerHandle

Servers = Callable[..., list[ServerHandle]]

OPERATIONS = int(os.environ.get("TENANTLIMPYD_TEST_SOAK_OPERATIONS", "200000"))
SEED = os.environ.get("TENANTLIMPYD_TEST_SOAK_SEED")
PROCESSES = 2
KEPT = {"appendonly": True, "appendfsync": "no", "auto_aof_rewrite_percentage": 0}
"""Settings by which acknowledged writes survive a killed server."""


@pytest.mark.timeout(300 + OPERATIONS // 500)
def test_isolation_on_shared_connections(servers: Servers, capsys: pytest.CaptureFixture[str]) -> None:
    number = int(SEED) if SEED else random.randrange(2**32)
    chooser = random.Random(number)
    (steady,) = servers(1, options=KEPT)
    (shaky,) = servers(1, options=KEPT, acl=[f"user {LIMITED} on >pw ~* &* +@all"])
    proxy = shaky.proxy()
    sites = make_sites(steady.settings, shaky.settings, shaky.settings_through(proxy))
    seed(sites)
    injector = FaultInjector(steady, shaky, proxy, chooser)
    plans = [
        SoakPlan(f"p{each}", OPERATIONS // PROCESSES, 60 + OPERATIONS / 1000, chooser.randrange(2**32))
        for each in range(PROCESSES)
    ]
    started = time.monotonic()
    whole = Ledger()
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool, injector.running():
        for running in [pool.submit(work, sites, plan) for plan in plans]:
            whole.add(running.result())
    seconds = time.monotonic() - started
    strays = whole.strays + check_keyspaces(sites, whole)
    with capsys.disabled():
        print(_line(number, whole, injector.faults, strays, seconds, len(sites)))
    acknowledged = sum(len(mark.acknowledged) for mark in whole.marks.values())
    assert whole.broken == []
    assert whole.executed["acknowledged"] == acknowledged > OPERATIONS // 100
    assert whole.lost["interrupted"] > OPERATIONS // 2000
    assert strays == []
    assert whole.checked.total() >= OPERATIONS
    assert len(injector.faults) >= 8, "the injector was too good"


def _line(number: int, whole: Ledger, faults: Counter[str], strays: list[str], seconds: float, sites: int) -> str:
    return (
        f"\nsoak: {whole.checked.total():,} checked replies of {sites:,} databases in {seconds:.0f} s, seed {number}: "
        f"{len(strays)} strays ({_listed(whole.checked)}); without an answer {whole.lost.total():,} "
        f"({_listed(whole.lost)}); faults {faults.total():,} ({_listed(faults)}); counted commands: "
        f"{sum(len(mark.acknowledged) for mark in whole.marks.values()):,} acknowledged, which ran "
        f"{whole.executed['acknowledged']:,} times; "
        f"{sum(mark.attempted - len(mark.acknowledged) for mark in whole.marks.values()):,} others, which ran "
        f"{whole.executed['failed']:,} times"
    )


def _listed(counts: Counter[Any]) -> str:
    return ", ".join(f"{what} {count:,}" for what, count in counts.most_common())
