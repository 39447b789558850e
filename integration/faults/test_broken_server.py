"""A server breaks during scans and fan-outs: healthy tenants complete, broken ones are named, nothing hangs or is left open."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import pytest

from integration.faults.broken_server import FAULTS, KEYS, SLACK, TIMEOUT, Deployment, Fault, Leftovers
from tenantlimpyd import RedisDatabase
from tenantlimpyd.exceptions import FanOutError
from tests.support.servers import ServerHandle

Servers = Callable[..., list[ServerHandle]]

pytestmark = pytest.mark.timeout(90)

MANY = 20
"""Commands of one tenant in a fan-out: time for a fault to come in between."""


@pytest.fixture
def deployment(servers: Servers) -> Iterator[Deployment]:
    *healthy, breaking = servers(3)
    deployment = Deployment(healthy, breaking)
    deployment.seed()
    yield deployment
    deployment.router.close()


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest) -> Fault:
    return FAULTS[request.param]


def test_scan_completes_healthy_tenants_and_names_broken_ones(deployment: Deployment, fault: Fault) -> None:
    leftovers = Leftovers()
    seen: dict[str, set[str]] = defaultdict(set)
    broken_at = 0.0
    with deployment.router.scan_pages(count=10, timeout=TIMEOUT, on_error="collect") as scan:
        for tenant, page in scan:
            seen[tenant].update(page)
            if not broken_at and all(seen[each] for each in deployment.broken):
                fault.begin(deployment.breaking, deployment.proxy)
                broken_at = time.monotonic()
        took = time.monotonic() - broken_at
    assert broken_at
    assert took < TIMEOUT + SLACK + 3  # what is healthy may take its own time; it never waits for the broken
    deployment.check_outcomes(scan.outcomes)
    for tenant in deployment.healthy:
        assert seen[tenant] == deployment.keys_of(tenant)
    for tenant in deployment.broken:
        assert seen[tenant] < deployment.keys_of(tenant)
    deployment.router.close()
    leftovers.check()
    works_again(deployment, fault)


async def test_async_scan_completes_healthy_tenants_and_names_broken_ones(deployment: Deployment, fault: Fault) -> None:
    leftovers = Leftovers()
    seen: dict[str, set[str]] = defaultdict(set)
    broken_at = 0.0
    async with deployment.router.ascan_pages(count=10, timeout=TIMEOUT, on_error="collect") as scan:
        async for tenant, page in scan:
            seen[tenant].update(page)
            if not broken_at and all(seen[each] for each in deployment.broken):
                fault.begin(deployment.breaking, deployment.proxy)
                broken_at = time.monotonic()
        took = time.monotonic() - broken_at
    assert broken_at
    assert took < TIMEOUT + SLACK + 3
    deployment.check_outcomes(scan.outcomes)
    for tenant in deployment.healthy:
        assert seen[tenant] == deployment.keys_of(tenant)
    await deployment.router.aclose()
    await leftovers.acheck()
    fault.end(deployment.breaking, deployment.proxy)
    deployment.seed()
    await deployment.arecover()
    outcomes = await deployment.router.afan_out(lambda database: database.aconnection.get("nothing"))
    assert all(outcome.ok for outcome in outcomes.values())
    await deployment.router.aclose()


def test_fan_out_completes_healthy_tenants_and_names_broken_ones(deployment: Deployment, fault: Fault) -> None:
    leftovers = Leftovers()

    def work(database: RedisDatabase) -> int:
        for number in range(MANY):
            database.connection.set("visited", number)
            if deployment.router.current_tenant() == deployment.broken[0] and number == MANY // 2:
                fault.begin(deployment.breaking, deployment.proxy)
            elif deployment.router.current_tenant() in deployment.broken:
                time.sleep(0.02)  # so that it is not through before the fault
        return database.connection.dbsize()

    started = time.monotonic()
    outcomes = deployment.router.fan_out(work, timeout=TIMEOUT, on_error="collect")
    assert time.monotonic() - started < TIMEOUT + SLACK
    deployment.check_outcomes(outcomes)
    assert {outcomes[tenant].value for tenant in deployment.healthy} == {KEYS + 1}
    with pytest.raises(FanOutError) as raised:
        deployment.router.fan_out(lambda database: database.connection.dbsize(), timeout=TIMEOUT)
    assert {error.tenant for error in raised.value.exceptions} == set(deployment.broken)
    deployment.router.close()
    leftovers.check()
    works_again(deployment, fault)


async def test_async_fan_out_completes_healthy_tenants_and_names_broken_ones(
    deployment: Deployment, fault: Fault
) -> None:
    leftovers = Leftovers()

    async def work(database: RedisDatabase) -> int:
        for number in range(MANY):
            await database.aconnection.set("visited", number)
            if deployment.router.current_tenant() == deployment.broken[0] and number == MANY // 2:
                fault.begin(deployment.breaking, deployment.proxy)
        for _ in range(MANY if deployment.router.current_tenant() in deployment.broken else 0):
            await database.aconnection.get("visited")
        return await database.aconnection.dbsize()

    started = time.monotonic()
    outcomes = await deployment.router.afan_out(work, timeout=TIMEOUT, on_error="collect")
    assert time.monotonic() - started < TIMEOUT + SLACK
    for tenant in deployment.healthy:
        assert outcomes[tenant].value == KEYS + 1
    assert not outcomes[deployment.broken[0]].ok
    with pytest.raises(FanOutError) as raised:
        await deployment.router.afan_out(lambda database: database.aconnection.dbsize(), timeout=TIMEOUT)
    assert {error.tenant for error in raised.value.exceptions} == set(deployment.broken)
    await deployment.router.aclose()
    await leftovers.acheck()
    fault.end(deployment.breaking, deployment.proxy)
    await deployment.arecover()
    assert all(outcome.ok for outcome in (await deployment.router.afan_out(lambda d: d.aconnection.dbsize())).values())
    await deployment.router.aclose()


def works_again(deployment: Deployment, fault: Fault) -> None:
    """End the fault, and raise unless the same router finds everything again."""
    fault.end(deployment.breaking, deployment.proxy)
    deployment.seed()
    deployment.recover()
    assert all(
        outcome.ok for outcome in deployment.router.fan_out(lambda database: database.connection.ping()).values()
    )
    found: dict[str, set[str]] = defaultdict(set)
    for tenant, key in deployment.router.scan_keys(match="*:*"):
        found[tenant].add(key)
    assert found == {tenant: deployment.keys_of(tenant) for tenant in deployment.router.tenants()}
    assert deployment.router.check() == []


def test_scan_of_a_restarted_server_is_complete_or_names_its_tenants(servers: Servers) -> None:
    """Its tenants are complete or failed, never silently incomplete, although the restart invalidated its cursors."""
    healthy = servers(2)
    (breaking,) = servers(1, options={"appendonly": True, "appendfsync": "always"})
    deployment = Deployment(healthy, breaking)
    deployment.seed()
    leftovers = Leftovers()
    seen: dict[str, set[str]] = defaultdict(set)
    restarted = False
    with deployment.router.scan_pages(count=10, timeout=20, on_error="collect") as scan:
        for tenant, page in scan:
            seen[tenant].update(page)
            if not restarted and all(len(seen[each]) > 200 for each in deployment.broken):
                breaking.restart()
                restarted = True
    assert restarted
    for tenant in deployment.healthy:
        assert scan.outcomes[tenant].ok
        assert seen[tenant] == deployment.keys_of(tenant)
    for tenant in deployment.broken:
        missing = len(deployment.keys_of(tenant) - seen[tenant])
        assert not scan.outcomes[tenant].ok or missing == 0, (
            f"{tenant} is said to be complete, and lacks {missing} keys"
        )
    deployment.router.close()
    leftovers.check()
    deployment.recover()
    assert all(
        outcome.ok for outcome in deployment.router.fan_out(lambda database: database.connection.ping()).values()
    )
    for tenant in deployment.router.tenants():
        assert set(deployment.router.database_for(tenant).scan_keys()) == deployment.keys_of(tenant)
    deployment.router.close()


def test_leaving_a_scan_while_a_server_is_paused_leaves_nothing(deployment: Deployment) -> None:
    leftovers = Leftovers()
    deployment.breaking.pause()
    scan = deployment.router.scan_keys(on_error="collect")
    assert next(scan)[0] in deployment.healthy
    started = time.monotonic()
    scan.close()
    assert time.monotonic() - started < 2
    deployment.router.close()
    leftovers.check()


async def test_leaving_an_async_scan_while_a_server_is_paused_leaves_nothing(deployment: Deployment) -> None:
    leftovers = Leftovers()
    deployment.breaking.pause()
    scan = deployment.router.ascan_keys(on_error="collect")
    assert (await anext(scan))[0] in deployment.healthy
    started = time.monotonic()
    await scan.aclose()
    assert time.monotonic() - started < 2
    await deployment.router.aclose()
    await leftovers.acheck()


def test_check_names_tenants_of_broken_servers(deployment: Deployment, fault: Fault) -> None:
    fault.begin(deployment.breaking, deployment.proxy)
    started = time.monotonic()
    problems = [str(problem) for problem in deployment.router.check(timeout=TIMEOUT)]
    assert time.monotonic() - started < TIMEOUT + SLACK
    for tenant in deployment.broken:
        assert any(tenant in problem for problem in problems)
    for tenant in deployment.healthy:
        assert not any(tenant in problem for problem in problems)
    fault.end(deployment.breaking, deployment.proxy)
    deployment.recover()
    assert deployment.router.check() == []
