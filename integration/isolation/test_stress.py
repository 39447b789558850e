"""Isolation under load: at least 200,000 checked operations, none of which touched another tenant's keyspace."""

from __future__ import annotations

import itertools
import multiprocessing
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from integration.isolation.keyspaces import Plot, found_hits, make_router, seed, strays
from integration.isolation.worker import Report, work
from integration.isolation.workloads import run_all
from tenantlimpyd._registry.placement import Placement
from tests.support.chaos_proxy import ChaosProxy
from tests.support.servers import ServerHandle

Servers = Callable[..., list[ServerHandle]]

PROCESSES = 2
PLAN = {"threads": 65_000, "tasks": 15_000, "generators": 15_000, "executors": 5_000, "walks": 5_000, "torn": 3_000}


def plots_on(servers: list[ServerHandle]) -> list[Plot]:
    """Return tenants by server, by database, and by prefix in one database."""
    plots = []
    for number, server in enumerate(servers):
        settings = server.settings
        plots += [Plot(f"s{number}d{db}", settings, settings, db) for db in (0, 1, 7)]
        plots += [Plot(f"s{number}p{letter}", settings, settings, 3, f"{letter}:") for letter in "ab"]
    return plots


@contextmanager
def scissors(proxies: list[ChaosProxy], chooser: random.Random) -> Iterator[None]:
    """Cut connections all the time: in mid-reply, and with RST."""
    done = threading.Event()

    def cut() -> None:
        while not done.wait(0.005):
            proxy = chooser.choice(proxies)
            if chooser.random() < 0.05:
                proxy.reset()
            else:
                proxy.disturb(cut_reply_after=chooser.randrange(1, 400))

    thread = threading.Thread(target=cut)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.timeout(300)
def test_isolation_under_load(servers: Servers, capsys: pytest.CaptureFixture[str]) -> None:
    handles = servers(2)
    plots = plots_on(handles)
    proxies = [handle.proxy() for handle in handles]
    torn = [
        Plot(f"torn{number}d{db}", handle.settings_through(proxy), handle.settings, db)
        for number, (handle, proxy) in enumerate(zip(handles, proxies, strict=True))
        for db in (11, 12, 13)
    ]
    seed(plots + torn)
    number = random.randrange(2**32)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool, scissors(proxies, random.Random(number)):
        running = [pool.submit(work, plots, torn, PLAN, number + each) for each in range(PROCESSES)]
        reports: list[Report] = [future.result() for future in running]

    checked = sum((Counter(report[0]) for report in reports), Counter())
    hits = sum((Counter(report[1]) for report in reports), Counter())
    astray = list(itertools.chain(*(report[2] for report in reports)))
    lost = sum(report[3] for report in reports)
    astray += strays(plots + torn)
    with capsys.disabled():
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(checked.items()))
        print(f"\nisolation: {checked.total():,} checked operations ({kinds}), {lost:,} lost, {len(astray)} strays")
    assert astray == []
    assert checked.total() >= 200_000
    for kind, operations in PLAN.items():
        assert checked[kind] >= PROCESSES * operations
    assert lost, "no connection was cut in mid-reply: the proxies did nothing"
    # Every write that was confirmed is there. Those of torn connections and cancelled tasks may be there unconfirmed.
    counted = found_hits(plots)
    assert counted.keys() == {plot.tenant for plot in plots}
    for tenant, count in (counted + found_hits(torn)).items():
        assert count >= hits[tenant]


class Lying(dict[str, Placement]):
    """A router's map of tenants that gives another tenant's database once in seven times."""

    calls = itertools.count(1)

    def get(self, tenant: str, default: Any = None) -> Any:
        right = super().get(tenant, default)
        if right is None or next(self.calls) % 7:
            return right
        wrong = next(other for other in self.values() if other.tenant != tenant)
        return Placement(wrong.database, right.host, tenant)


@pytest.mark.parametrize("kind", ["threads", "tasks", "generators", "executors", "walks"])
def test_the_check_can_fail(servers: Servers, kind: str) -> None:
    """With a router that is wrong once in a while, the same workloads report it: the answers, and the look at the servers."""
    plots = plots_on(servers(1))
    tenants = [plot.tenant for plot in plots]
    seed(plots)
    with make_router(plots) as router:
        assert run_all(router, {kind: 1000}, tenants, 1).strays == []
        assert strays(plots) == []
        router._catalog.placements = Lying(router._catalog.placements)
        # It would notice by itself: an object's placement is not the one it knows.
        router._check_placement = router._still = lambda _: None
        reported = run_all(router, {kind: 1000}, tenants, 2).strays
        assert [stray for stray in reported if " gave " in stray]
    if kind != "walks":  # they hardly write
        assert strays(plots)
