"""A server breaks while all tenants are asked: the healthy complete, the broken are named, nothing hangs or is left."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import pytest

from integration.faults.fleet import FAULTS, KEYS, SLACK, TIMEOUT, BulkOperations, Fault, Leftovers
from tenantlimpyd import RedisDatabase
from tenantlimpyd.exceptions import FanOutError
from tests.support.servers import ServerHandle

Servers = Callable[..., list[ServerHandle]]

pytestmark = pytest.mark.timeout(90)

MANY = 20
"""Commands of one tenant in a fan-out: time for a fault to come in between."""


@pytest.fixture
def fleet(servers: Servers) -> Iterator[BulkOperations]:
    *healthy, breaking = servers(3)
    fleet = BulkOperations(healthy, breaking)
    fleet.seed()
    yield fleet
    fleet.router.close()


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest) -> Fault:
    return FAULTS[request.param]


def test_a_walk(fleet: BulkOperations, fault: Fault) -> None:
    leftovers = Leftovers()
    seen: dict[str, set[str]] = defaultdict(set)
    broken_at = 0.0
    with fleet.router.scan_pages(count=10, timeout=TIMEOUT, on_error="collect") as walk:
        for tenant, page in walk:
            seen[tenant].update(page)
            if not broken_at and all(seen[each] for each in fleet.broken):
                fault.begin(fleet.breaking, fleet.proxy)
                broken_at = time.monotonic()
        took = time.monotonic() - broken_at
    assert broken_at
    assert took < TIMEOUT + SLACK + 3  # what is healthy may take its own time; it never waits for the broken
    fleet.check_outcomes(walk.outcomes)
    for tenant in fleet.healthy:
        assert seen[tenant] == fleet.keys_of(tenant)
    for tenant in fleet.broken:
        assert seen[tenant] < fleet.keys_of(tenant)
    fleet.router.close()
    leftovers.check()
    works_again(fleet, fault)


async def test_an_asyncio_walk(fleet: BulkOperations, fault: Fault) -> None:
    leftovers = Leftovers()
    seen: dict[str, set[str]] = defaultdict(set)
    broken_at = 0.0
    async with fleet.router.ascan_pages(count=10, timeout=TIMEOUT, on_error="collect") as walk:
        async for tenant, page in walk:
            seen[tenant].update(page)
            if not broken_at and all(seen[each] for each in fleet.broken):
                fault.begin(fleet.breaking, fleet.proxy)
                broken_at = time.monotonic()
        took = time.monotonic() - broken_at
    assert broken_at
    assert took < TIMEOUT + SLACK + 3
    fleet.check_outcomes(walk.outcomes)
    for tenant in fleet.healthy:
        assert seen[tenant] == fleet.keys_of(tenant)
    await fleet.router.aclose()
    await leftovers.acheck()
    fault.end(fleet.breaking, fleet.proxy)
    fleet.seed()
    await fleet.arecover()
    outcomes = await fleet.router.afan_out(lambda database: database.aconnection.get("nothing"))
    assert all(outcome.ok for outcome in outcomes.values())
    await fleet.router.aclose()


def test_a_fan_out(fleet: BulkOperations, fault: Fault) -> None:
    leftovers = Leftovers()

    def work(database: RedisDatabase) -> int:
        for number in range(MANY):
            database.connection.set("visited", number)
            if fleet.router.current_tenant() == fleet.broken[0] and number == MANY // 2:
                fault.begin(fleet.breaking, fleet.proxy)
            elif fleet.router.current_tenant() in fleet.broken:
                time.sleep(0.02)  # so that it is not through before the fault
        return database.connection.dbsize()

    started = time.monotonic()
    outcomes = fleet.router.fan_out(work, timeout=TIMEOUT, on_error="collect")
    assert time.monotonic() - started < TIMEOUT + SLACK
    fleet.check_outcomes(outcomes)
    assert {outcomes[tenant].value for tenant in fleet.healthy} == {KEYS + 1}
    with pytest.raises(FanOutError) as raised:
        fleet.router.fan_out(lambda database: database.connection.dbsize(), timeout=TIMEOUT)
    assert {error.tenant for error in raised.value.exceptions} == set(fleet.broken)
    fleet.router.close()
    leftovers.check()
    works_again(fleet, fault)


async def test_an_asyncio_fan_out(fleet: BulkOperations, fault: Fault) -> None:
    leftovers = Leftovers()

    async def work(database: RedisDatabase) -> int:
        for number in range(MANY):
            await database.aconnection.set("visited", number)
            if fleet.router.current_tenant() == fleet.broken[0] and number == MANY // 2:
                fault.begin(fleet.breaking, fleet.proxy)
        for _ in range(MANY if fleet.router.current_tenant() in fleet.broken else 0):
            await database.aconnection.get("visited")
        return await database.aconnection.dbsize()

    started = time.monotonic()
    outcomes = await fleet.router.afan_out(work, timeout=TIMEOUT, on_error="collect")
    assert time.monotonic() - started < TIMEOUT + SLACK
    for tenant in fleet.healthy:
        assert outcomes[tenant].value == KEYS + 1
    assert not outcomes[fleet.broken[0]].ok
    with pytest.raises(FanOutError) as raised:
        await fleet.router.afan_out(lambda database: database.aconnection.dbsize(), timeout=TIMEOUT)
    assert {error.tenant for error in raised.value.exceptions} == set(fleet.broken)
    await fleet.router.aclose()
    await leftovers.acheck()
    fault.end(fleet.breaking, fleet.proxy)
    await fleet.arecover()
    assert all(outcome.ok for outcome in (await fleet.router.afan_out(lambda d: d.aconnection.dbsize())).values())
    await fleet.router.aclose()


def works_again(fleet: BulkOperations, fault: Fault) -> None:
    """End the fault, and raise unless the same router finds everything again."""
    fault.end(fleet.breaking, fleet.proxy)
    fleet.seed()
    fleet.recover()
    assert all(outcome.ok for outcome in fleet.router.fan_out(lambda database: database.connection.ping()).values())
    found: dict[str, set[str]] = defaultdict(set)
    for tenant, key in fleet.router.scan_keys(match="*:*"):
        found[tenant].add(key)
    assert found == {tenant: fleet.keys_of(tenant) for tenant in fleet.router.tenants()}
    assert fleet.router.check() == []


def test_a_server_restarted_during_a_walk(servers: Servers) -> None:
    """Its tenants are complete, or named: never silently incomplete, though its cursors mean nothing to the new process."""
    healthy = servers(2)
    (breaking,) = servers(1, options={"appendonly": True, "appendfsync": "always"})
    fleet = BulkOperations(healthy, breaking)
    fleet.seed()
    leftovers = Leftovers()
    seen: dict[str, set[str]] = defaultdict(set)
    restarted = False
    with fleet.router.scan_pages(count=10, timeout=20, on_error="collect") as walk:
        for tenant, page in walk:
            seen[tenant].update(page)
            if not restarted and all(len(seen[each]) > 200 for each in fleet.broken):
                breaking.restart()
                restarted = True
    assert restarted
    for tenant in fleet.healthy:
        assert walk.outcomes[tenant].ok
        assert seen[tenant] == fleet.keys_of(tenant)
    for tenant in fleet.broken:
        missing = len(fleet.keys_of(tenant) - seen[tenant])
        assert not walk.outcomes[tenant].ok or missing == 0, (
            f"{tenant} is said to be complete, and lacks {missing} keys"
        )
    fleet.router.close()
    leftovers.check()
    fleet.recover()
    assert all(outcome.ok for outcome in fleet.router.fan_out(lambda database: database.connection.ping()).values())
    for tenant in fleet.router.tenants():
        assert set(fleet.router.database_for(tenant).scan_keys()) == fleet.keys_of(tenant)
    fleet.router.close()


def test_a_walk_that_is_left_while_a_server_is_paused(fleet: BulkOperations) -> None:
    leftovers = Leftovers()
    fleet.breaking.pause()
    walk = fleet.router.scan_keys(on_error="collect")
    assert next(walk)[0] in fleet.healthy
    started = time.monotonic()
    walk.close()
    assert time.monotonic() - started < 2
    fleet.router.close()
    leftovers.check()


async def test_an_asyncio_walk_that_is_left_while_a_server_is_paused(fleet: BulkOperations) -> None:
    leftovers = Leftovers()
    fleet.breaking.pause()
    walk = fleet.router.ascan_keys(on_error="collect")
    assert (await anext(walk))[0] in fleet.healthy
    started = time.monotonic()
    await walk.aclose()
    assert time.monotonic() - started < 2
    await fleet.router.aclose()
    await leftovers.acheck()


def test_check_names_the_broken(fleet: BulkOperations, fault: Fault) -> None:
    fault.begin(fleet.breaking, fleet.proxy)
    started = time.monotonic()
    problems = [str(problem) for problem in fleet.router.check(timeout=TIMEOUT)]
    assert time.monotonic() - started < TIMEOUT + SLACK
    for tenant in fleet.broken:
        assert any(tenant in problem for problem in problems)
    for tenant in fleet.healthy:
        assert not any(tenant in problem for problem in problems)
    fault.end(fleet.breaking, fleet.proxy)
    fleet.recover()
    assert fleet.router.check() == []
