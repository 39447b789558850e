"""A failover during scans: by command, after the master was killed, and after it became silent.

A blocking scan and an asyncio one are in the middle of it when it happens, each of a router of its own. What stays throughout
is delivered, or its tenant is said to have failed; scans that are begun again are told; nothing takes longer than its deadline;
and nothing is left, in this process or on any of the servers.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Literal

import attrs
import pytest
import redis
import structlog
from structlog.testing import capture_logs

from integration.faults.broken_server import Leftovers
from integration.faults.resumed_scan import resumed
from integration.faults.scanning import Mode, ScanProgress, run_scan
from integration.faults.sentinel_group import MASTER, Group, clients_of, role, until
from integration.faults.tenants import COUNT, SLACK
from tenantlimpyd import DatabaseRouter, RedisDatabase
from tenantlimpyd.operations import Command

pytestmark = pytest.mark.timeout(120)

LARGE = {"large-0": 6000, "large-1": 6000}
SMALL = {f"small-{number}": 5 for number in range(10)}
TENANTS = LARGE | SMALL
ENOUGH = 500
"""Keys of each large tenant that the consumers have had when it happens."""
CHANGING = 50
"""Keys of each large tenant that are replaced by others as it happens."""
MODES: tuple[Mode, ...] = ("sync", "async")


def told_by_sentinels(group: Group) -> None:
    """Let the two change roles. Some ten seconds later the sentinels tell the old master so, and end its connections."""
    group.fail_over()
    until(lambda: role(group.master) == "slave")


def told_at_once(group: Group) -> None:
    """Let the two change roles. The old master learns it at once and keeps connections: scans have to notice by themselves."""
    group.fail_over()
    with group.master.client() as client:
        client.replicaof(group.replica.host, group.replica.port)


def killed(group: Group) -> None:
    group.master.kill()
    group.wait_for_the_next()


def paused(group: Group) -> None:
    group.master.pause()
    group.wait_for_the_next()


@attrs.frozen
class Way:
    """How the failover happens.

    Attributes:
        begin: lets it happen; the scans go on when it returns.
        ends: what becomes of tenants that the scans are in the middle of: ``again``, they are complete after a new scan;
            ``failed``; or ``either``.
        timeout: seconds each tenant has.
        silence: seconds after which a connection gives up on a server that does not answer.
        stays: nobody ends connections to the old master.
    """

    begin: Callable[[Group], object]
    ends: Literal["again", "failed", "either"] = "again"
    timeout: float = 20.0
    silence: float = 1.0
    stays: bool = False


WAYS = {
    "by command": Way(told_by_sentinels, timeout=40.0),
    "by command, connections stay": Way(told_at_once, stays=True),
    "killed": Way(killed),
    "killed, and scans go on meanwhile": Way(lambda group: group.master.kill(), "either"),
    "paused": Way(paused, "failed"),
    "paused, and scans go on until their deadline": Way(
        lambda group: group.master.pause(), "failed", timeout=2.0, silence=10.0
    ),
}


def keys_of(tenant: str) -> set[str]:
    """Return the keys it has at first."""
    return {f"{tenant}:{number}" for number in range(TENANTS[tenant])}


def new_keys_of(tenant: str) -> set[str]:
    """Return the keys that come as it happens."""
    return {f"{tenant}:new-{number}" for number in range(CHANGING if tenant in LARGE else 0)}


def old_keys_of(tenant: str) -> set[str]:
    """Return the keys that go as it happens."""
    return {f"{tenant}:{number}" for number in range(CHANGING if tenant in LARGE else 0)}


def seed(group: Group) -> None:
    for db, tenant in enumerate(TENANTS):
        with group.master.client(db=db) as client:
            client.mset(dict.fromkeys(keys_of(tenant), 1))
            assert client.wait(1, 5000) == 1
    assert role(group.replica) == "slave"


def change(group: Group) -> None:
    """Let keys come and go, on both servers."""
    for db, tenant in enumerate(LARGE):
        with group.master.client(db=db) as client:
            assert client.delete(*old_keys_of(tenant)) == CHANGING
            client.mset(dict.fromkeys(new_keys_of(tenant), 1))
            assert client.wait(1, 5000) == 1


class LargeDeployment:
    """A router for each mode, to the same tenants by their sentinels, and what their scans have had."""

    def __init__(self, group: Group, way: Way) -> None:
        where = {"sentinel": {"master": MASTER, "hosts": group.hosts}, "socket_timeout": way.silence}
        self.settings: dict[str, dict[str, Any]] = {tenant: {**where, "db": db} for db, tenant in enumerate(TENANTS)}
        self.routers = {
            mode: DatabaseRouter({tenant: RedisDatabase(**each) for tenant, each in self.settings.items()})
            for mode in MODES
        }
        self.group = group
        self.way = way
        self.taken: dict[Mode, ScanProgress] = {}

    async def scan(self) -> None:
        """Scan in both modes; it happens when both are in the middle."""
        middle: list[ScanProgress] = []

        def befall() -> None:
            for taken in middle:
                assert all(0 < len(taken.seen[tenant]) < LARGE[tenant] for tenant in LARGE)
            assert len(clients_of(self.group.master)) >= len(MODES)  # so who is left would be seen there, too
            change(self.group)
            self.way.begin(self.group)

        both = threading.Barrier(len(MODES), befall, timeout=60)

        def happen(taken: ScanProgress) -> None:
            middle.append(taken)
            both.wait()  # where it cannot happen, one of the two raises why, and the other that the barrier is broken

        async def one(mode: Mode) -> ScanProgress:
            arguments = {"timeout": self.way.timeout}
            return await run_scan(self.routers[mode], mode, "pages", (LARGE, ENOUGH), happen, **arguments)

        scans = asyncio.to_thread(lambda: asyncio.run(one("sync"))), one("async")
        ended = dict(zip(MODES, await asyncio.gather(*scans, return_exceptions=True), strict=True))
        if errors := [each for each in ended.values() if isinstance(each, BaseException)]:
            raise BaseExceptionGroup("scans", errors)
        self.taken = {mode: each for mode, each in ended.items() if isinstance(each, ScanProgress)}

    def check(self, mode: Mode) -> None:
        """Raise unless all keys that stayed were delivered, or their tenants have failed within their deadline."""
        taken = self.taken[mode]
        outcomes = taken.scan.outcomes
        assert taken.took < self.way.timeout + SLACK
        assert outcomes.keys() == TENANTS.keys()
        assert taken.scan.complete == all(outcome.ok for outcome in outcomes.values())
        for tenant, outcome in outcomes.items():
            assert taken.seen[tenant] <= keys_of(tenant) | new_keys_of(tenant)
            if outcome.ok:
                lost = keys_of(tenant) - old_keys_of(tenant) - taken.seen[tenant]
                assert not lost, f"{tenant} is said to be complete, and lacks {len(lost)} keys"
            else:
                assert isinstance(outcome.error, redis.ConnectionError | redis.TimeoutError)
                assert outcome.error.tenant == tenant
                assert outcome.seconds < self.way.timeout + SLACK
        for tenant in LARGE:
            outcome = outcomes[tenant]
            assert outcome.restarts or not outcome.ok, outcome
            if self.way.ends != "either":
                assert outcome.ok == (self.way.ends == "again"), outcome
        for pool_stats in self.routers[mode].pool_stats().values():
            assert (pool_stats.in_use, pool_stats.waiting) == (0, 0)

    def check_told(self, events: list[Any]) -> None:
        """Raise unless each scan that was begun again is in the log, and no other, and so is the new master."""
        restarts = Counter[int]()
        for taken in self.taken.values():
            for db, tenant in enumerate(TENANTS):
                restarts[db] += taken.scan.outcomes[tenant].restarts
        told = [event for event in events if event["event"] == "scan_restarted"]
        assert Counter(event["db"] for event in told) == +restarts
        assert {event["reason"] for event in told} <= {"run id", "role"}
        moved = {event["address"] for event in events if event["event"] == "master_changed"}
        next_master = self.group.replica
        if moved or (self.way.ends == "again" and not self.way.stays):
            assert moved == {f"{next_master.host}:{next_master.port}"}

    def check_made_good(self, mode: Mode) -> None:
        """Raise unless another process delivers what is lacking."""
        taken = self.taken[mode]
        failed = {tenant for tenant, outcome in taken.scan.outcomes.items() if not outcome.ok}
        if not failed:
            return
        rest = resumed(self.settings, taken.scan.token(), mode, count=COUNT)
        assert rest["outcomes"].keys() == failed
        assert all(ok for ok, _ in rest["outcomes"].values())
        for tenant in TENANTS:
            found = taken.seen[tenant] | set(rest["found"].get(tenant, ()))
            assert found >= keys_of(tenant) - old_keys_of(tenant)

    async def check_goes_on(self, mode: Mode) -> None:
        """Raise unless all tenants are served by the new master, and nobody is connected to the old one."""
        router, step = self.routers[mode], Command("DBSIZE")
        until(lambda: router.health().ok)  # while there was no master, the servers were not asked for one
        sizes = router.fan_out(step) if mode == "sync" else await router.afan_out(step)
        assert {tenant: outcome.value for tenant, outcome in sizes.items()} == TENANTS


@pytest.fixture
def way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]


@pytest.fixture
def deployment(group: Group, way: Way) -> Iterator[LargeDeployment]:
    seed(group)
    deployment = LargeDeployment(group, way)
    with ExitStack() as stack:
        for router in deployment.routers.values():
            stack.enter_context(router)
        yield deployment


@pytest.mark.parametrize("way", WAYS, indirect=True)
async def test_scans_during_a_failover_are_complete_or_name_their_tenants(
    deployment: LargeDeployment, group: Group, way: Way
) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    leftovers = Leftovers()
    with capture_logs() as events:
        await deployment.scan()
    for mode in MODES:
        deployment.check(mode)
    deployment.check_told(events)

    group.wait_for_the_next()
    await asyncio.gather(*(asyncio.to_thread(deployment.check_made_good, mode) for mode in MODES))
    group.master.revive()
    for mode in MODES:
        await deployment.check_goes_on(mode)
    if not way.stays:
        assert clients_of(group.replica)
        until(lambda: not clients_of(group.master), 5)

    deployment.routers["sync"].close()
    await deployment.routers["async"].aclose()
    await leftovers.acheck()
    for server in group.servers:
        until(lambda server=server: not clients_of(server), 5)
