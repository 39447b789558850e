"""Random programs of commands and faults at exact places: after each step, whoever is asked for is answered by its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integration.isolation.shared import operations
from integration.isolation.shared.batches import batch
from integration.isolation.shared.battery import NEVER, Lines, revoked
from integration.isolation.shared.stage import Stage
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
TENANTS = st.integers(0, 5)  # the last one has no database, the two before have rights that come and go
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
    """Runs programs. Pipelines that watch stay open from step to step, each with a connection that it holds."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.open: list[tuple[int, Any]] = []

    def run(self, program: list[Any]) -> None:
        for (what, *how), then, awaits in program:
            getattr(self, f"do_{what.replace(' ', '_')}")(*how)
            self.stage.proxy.release()
            self.ask(then, "single", awaits)
            assert self.stage.ledger.strays == []
        while self.open:
            self.do_leave(0)
        for spot in self.stage.plain:
            for awaits in (False, True):
                assert self.stage.answered(spot, awaits=awaits)
        assert self.stage.wrong() == []

    def ask(self, tenant: int, operation: str, awaits: bool) -> None:
        self.stage.ask(self.stage.spots[tenant], ASKED[operation], awaits=awaits)

    do_ask = ask

    def do_cut(self, tenant: int, operation: str, awaits: bool, reply: int, after: int) -> None:
        self.stage.proxy.arm(cut=(reply, after))
        self.ask(tenant, operation, awaits)

    def do_late(self, tenant: int, operation: str, awaits: bool, reply: int) -> None:
        self.stage.proxy.arm(hold=reply)
        self.ask(tenant, operation, awaits)
        self.ask((tenant + 1) % 3, "single", awaits)

    def do_cancel(self, tenant: int, operation: str, reply: int, steps: int) -> None:
        stage = self.stage
        stage.proxy.arm(hold=reply)
        ready: Callable[[], bool] = (lambda: stage.proxy.holding > 0) if steps == 0 else (lambda: True)
        stage.loop.run_until_complete(stage.cancelled(stage.spots[tenant], ASKED[operation], ready, steps))
        self.ask((tenant + 1) % 3, "single", True)

    def do_interrupt(self, tenant: int, operation: str, line: int) -> None:
        lines = Lines(self.stage)
        lines.ask(tenant, ASKED[operation], line)
        lines.ask((tenant + 1) % 3, operations.single, NEVER)

    def do_revoke(self, tenant: int, operation: str, awaits: bool, right: str) -> None:
        with revoked(self.stage, right):
            self.ask(tenant, operation, awaits)

    def do_kill_clients(self) -> None:
        with self.stage.server.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)

    # Connections that are held

    def do_open(self, tenant: int) -> None:
        spot = self.stage.spots[tenant]
        pipeline = self.stage.router.database_for(spot.tenant).connection.pipeline()
        self.open.append((tenant, pipeline))
        self._checked(tenant, lambda clerk: clerk.compare("WATCH", True, pipeline.watch("last")))

    def do_go_on(self, number: int) -> None:
        if number < len(self.open):
            tenant, pipeline = self.open[number]

            def echo(clerk: Any) -> None:
                text = clerk.fresh()
                answer = pipeline.echo(text)
                if answer is not pipeline:  # queued: it watches no more, its connection was lost
                    clerk.compare("ECHO under WATCH", text, answer)

            self._checked(tenant, echo)

    def do_leave(self, number: int) -> None:
        if number < len(self.open):
            _, pipeline = self.open.pop(number)
            pipeline.reset()

    def _checked(self, tenant: int, work: Callable[[Any], None]) -> None:
        clerk = self.stage.clerk(self.stage.spots[tenant], operations.single, awaits=False)
        clerk.spot, clerk.kind = self.stage.spots[tenant], "held"
        try:
            work(clerk)
        except redis.WatchError:
            pass
        except redis.RedisError as error:
            clerk.fail(error)


@given(PROGRAMS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_faults(hasty_stage: Stage, program: list[Any]) -> None:
    hasty_stage.wipe()
    hasty_stage.fresh_connections()
    Machine(hasty_stage).run(program)
