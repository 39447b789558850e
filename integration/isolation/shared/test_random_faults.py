"""Random programs of commands and faults: after each step, every tenant gets replies of its own database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integration.isolation.shared import operations
from integration.isolation.shared.batches import batch
from integration.isolation.shared.harness import Harness
from integration.isolation.shared.scenarios import NEVER, InterruptedRuns, revoked
from tests.support.interruption import LEFT_BEHIND

pytestmark = [pytest.mark.timeout(180), *LEFT_BEHIND]

ASKED = {
    operation.__name__: operation
    for operation in (
        operations.single,
        operations.write,
        operations.mistake,
        operations.script,
        operations.optimism,
        operations.own_pipeline,
        operations.models,
        operations.scan,
        batch,
    )
}
TENANTS = st.integers(0, 5)  # the last one has no database, the two before have rights that arrived and go
ASK = (TENANTS, st.sampled_from(sorted(ASKED)))
REPLY = st.integers(0, 9)
STEPS = st.one_of(
    st.tuples(st.just("ask"), *ASK, st.booleans()),
    st.tuples(st.just("cut"), *ASK, st.booleans(), REPLY, st.sampled_from([0, 1, 2, 4, 9])),
    st.tuples(st.just("late"), *ASK, st.booleans(), REPLY),
    st.tuples(st.just("cancel"), *ASK, REPLY, st.integers(0, 12)),
    st.tuples(st.just("interrupt"), *ASK, st.integers(0, 900)),
    st.tuples(st.just("revoke"), *ASK, st.booleans(), st.sampled_from(["select", "multi", "exec", "discard", "get"])),
    st.tuples(st.just("kill clients")),
    st.tuples(st.just("open"), TENANTS),
    st.tuples(st.just("go on"), st.integers(0, 3)),
    st.tuples(st.just("leave"), st.integers(0, 3)),
)
PROGRAMS = st.lists(st.tuples(STEPS, TENANTS, st.booleans()), min_size=1, max_size=12)


class Machine:
    """Runs programs. Pipelines that watch stay open between steps and hold a connection each."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.open: list[tuple[int, Any]] = []

    def run(self, program: list[Any]) -> None:
        for (what, *how), then, awaits in program:
            getattr(self, f"do_{what.replace(' ', '_')}")(*how)
            self.harness.proxy.release()
            self.ask(then, "single", awaits)
            assert self.harness.ledger.strays == []
        while self.open:
            self.do_leave(0)
        for site in self.harness.plain:
            for awaits in (False, True):
                assert self.harness.answered(site, awaits=awaits)
        assert self.harness.wrong() == []

    def ask(self, tenant: int, operation: str, awaits: bool) -> None:
        self.harness.ask(self.harness.sites[tenant], ASKED[operation], awaits=awaits)

    do_ask = ask

    def do_cut(self, tenant: int, operation: str, awaits: bool, reply: int, after: int) -> None:
        self.harness.proxy.arm(cut=(reply, after))
        self.ask(tenant, operation, awaits)

    def do_late(self, tenant: int, operation: str, awaits: bool, reply: int) -> None:
        self.harness.proxy.arm(hold=reply)
        self.ask(tenant, operation, awaits)
        self.ask((tenant + 1) % 3, "single", awaits)

    def do_cancel(self, tenant: int, operation: str, reply: int, steps: int) -> None:
        harness = self.harness
        harness.proxy.arm(hold=reply)
        ready: Callable[[], bool] = (lambda: harness.proxy.holding > 0) if steps == 0 else (lambda: True)
        harness.loop.run_until_complete(harness.cancelled(harness.sites[tenant], ASKED[operation], ready, steps))
        self.ask((tenant + 1) % 3, "single", True)

    def do_interrupt(self, tenant: int, operation: str, line: int) -> None:
        runs = InterruptedRuns(self.harness)
        runs.ask(tenant, ASKED[operation], line)
        runs.ask((tenant + 1) % 3, operations.single, NEVER)

    def do_revoke(self, tenant: int, operation: str, awaits: bool, right: str) -> None:
        with revoked(self.harness, right):
            self.ask(tenant, operation, awaits)

    def do_kill_clients(self) -> None:
        with self.harness.server.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)

    # Connections that are held

    def do_open(self, tenant: int) -> None:
        site = self.harness.sites[tenant]
        pipeline = self.harness.router.database_for(site.tenant).connection.pipeline()
        self.open.append((tenant, pipeline))
        self._checked(tenant, lambda worker: worker.compare("WATCH", True, pipeline.watch("last")))

    def do_go_on(self, number: int) -> None:
        if number < len(self.open):
            tenant, pipeline = self.open[number]

            def echo(worker: Any) -> None:
                text = worker.fresh()
                answer = pipeline.echo(text)
                if answer is not pipeline:  # queued: it watches no more, its connection was lost
                    worker.compare("ECHO under WATCH", text, answer)

            self._checked(tenant, echo)

    def do_leave(self, number: int) -> None:
        if number < len(self.open):
            _, pipeline = self.open.pop(number)
            pipeline.reset()

    def _checked(self, tenant: int, work: Callable[[Any], None]) -> None:
        worker = self.harness.worker(self.harness.sites[tenant], operations.single, awaits=False)
        worker.site, worker.kind = self.harness.sites[tenant], "held"
        try:
            work(worker)
        except redis.WatchError:
            pass
        except redis.RedisError as error:
            worker.fail(error)


@given(PROGRAMS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_faults(impatient_harness: Harness, program: list[Any]) -> None:
    impatient_harness.wipe()
    impatient_harness.fresh_connections()
    Machine(impatient_harness).run(program)
