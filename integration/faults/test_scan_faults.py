"""A server breaks during a scan of tenants of every size: no key is missed without an error.

Every key present throughout is delivered, or its tenant is said to have failed; nobody is given another's keys; nothing
takes longer than its deadline; and no thread, task, socket or connection is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from integration.faults.broken_server import Leftovers
from integration.faults.resumed_scan import resumed
from integration.faults.scanning import Form, Mode, ScanProgress, run_scan
from integration.faults.server_faults import AWAY, SERVER_FAULTS, ServerFault
from integration.faults.tenants import COUNT, LargeDeployment
from tenantlimpyd.operations import Command
from tests.support.servers import ServerHandle

Servers = Callable[..., list[ServerHandle]]

pytestmark = pytest.mark.timeout(90)

ENOUGH = 200
"""Keys of each large tenant that the consumer has had when it happens: a tenth of the smallest of them, at most."""
KEPT = {"appendonly": True, "appendfsync": "always"}
MODES = pytest.mark.parametrize("mode", ["sync", "async"])


@pytest.fixture
def fault(request: pytest.FixtureRequest) -> ServerFault:
    return SERVER_FAULTS[request.param]


@pytest.fixture
def deployment(servers: Servers, fault: ServerFault) -> Iterator[LargeDeployment]:
    healthy = servers(2)
    (breaking,) = servers(1, options=KEPT) if fault.keeps else servers(1)
    deployment = LargeDeployment(healthy, breaking)
    yield deployment
    deployment.router.close()


def befall(deployment: LargeDeployment, fault: ServerFault) -> Callable[[ScanProgress], None]:
    """Return what lets it happen, once sure that the scan is in the middle of the large databases."""

    def happen(taken: ScanProgress) -> None:
        for tenant in deployment.large:
            assert 0 < len(taken.seen[tenant]) < len(deployment.keys_of(tenant)), f"not in the middle of {tenant}"
        fault.begin(deployment.breaking, deployment.proxy)

    return happen


async def nothing_left(deployment: LargeDeployment, leftovers: Leftovers, mode: Mode) -> None:
    deployment.check_nothing_in_use()
    if mode == "sync":
        deployment.router.close()
        leftovers.check()
    else:
        await deployment.router.aclose()
        await leftovers.acheck()


def check_ends(deployment: LargeDeployment, fault: ServerFault, taken: ScanProgress) -> None:
    """Raise unless what the scan was in the middle of ended as such a fault lets expect."""
    outcomes = [taken.scan.outcomes[tenant] for tenant in deployment.large]
    if fault.ends == "whole":
        assert [(outcome.ok, outcome.restarts) for outcome in outcomes] == [(True, 0)] * len(outcomes), outcomes
    elif fault.ends == "failed":
        assert not any(outcome.ok for outcome in outcomes), outcomes
    if fault.restarts:
        assert all(outcome.restarts or outcome.interrupted for outcome in outcomes), outcomes


@pytest.mark.parametrize("fault", SERVER_FAULTS, indirect=True)
@pytest.mark.parametrize(("mode", "form"), [("sync", "keys"), ("async", "pages")])
async def test_scan_delivers_each_key_or_names_its_tenant(
    deployment: LargeDeployment, fault: ServerFault, mode: Mode, form: Form
) -> None:
    leftovers = Leftovers()
    taken = await run_scan(
        deployment.router, mode, form, (deployment.large, ENOUGH), befall(deployment, fault), timeout=fault.timeout
    )
    deployment.check(taken.seen, taken.scan.outcomes, fault.timeout, lost=fault.loses)
    check_ends(deployment, fault, taken)
    assert taken.took < fault.within
    assert taken.scan.complete == all(outcome.ok for outcome in taken.scan.outcomes.values())
    await nothing_left(deployment, leftovers, mode)


@pytest.mark.parametrize("fault", ["restarted", "reset", "paused briefly", "killed"], indirect=True)
@pytest.mark.parametrize(("mode", "form"), [("sync", "pages"), ("async", "keys")])
async def test_unique_scan_delivers_each_key_once(
    deployment: LargeDeployment, fault: ServerFault, mode: Mode, form: Form
) -> None:
    leftovers = Leftovers()
    taken = await run_scan(
        deployment.router,
        mode,
        form,
        (deployment.large, ENOUGH),
        befall(deployment, fault),
        timeout=fault.timeout,
        unique=True,
    )
    deployment.check(taken.seen, taken.scan.outcomes, fault.timeout)
    check_ends(deployment, fault, taken)
    assert taken.keys == sum(map(len, taken.seen.values()))
    assert taken.scan.exact
    for tenant, outcome in taken.scan.outcomes.items():
        assert outcome.value == (len(taken.seen[tenant]) if outcome.ok else None)
    await nothing_left(deployment, leftovers, mode)


@pytest.mark.parametrize(
    ("fault", "mode"),
    [("restarted", "sync"), ("restarted", "async"), ("paused", "sync"), ("reset", "async")],
    indirect=["fault"],
)
async def test_scan_left_during_a_fault_is_resumed_by_another_process(
    deployment: LargeDeployment, fault: ServerFault, mode: Mode
) -> None:
    leftovers = Leftovers()
    tokens = []

    def happen(taken: ScanProgress) -> bool:
        befall(deployment, fault)(taken)
        tokens.append(taken.scan.token())
        return True

    taken = await run_scan(deployment.router, mode, "pages", (deployment.large, ENOUGH), happen)
    await nothing_left(deployment, leftovers, mode)
    fault.end(deployment.breaking, deployment.proxy)
    through = {tenant for tenant, outcome in taken.scan.outcomes.items() if outcome.ok}
    rest = resumed(deployment.settings, tokens[0], "async" if mode == "sync" else "sync", count=COUNT)
    assert rest["outcomes"].keys() == deployment.settings.keys() - through
    assert all(ok for ok, _ in rest["outcomes"].values())
    for tenant in deployment.settings:
        again = set(rest["found"].get(tenant, ()))
        assert taken.seen[tenant] | again == deployment.keys_of(tenant)
        if tenant in deployment.large:  # by another process they are scanned again, by the same one they go on
            assert (again == deployment.keys_of(tenant)) == fault.restarts, tenant
            assert rest["outcomes"][tenant][1] == fault.restarts


@pytest.mark.parametrize(("fault", "mode"), [("killed", "sync"), ("a black hole", "async")], indirect=["fault"])
async def test_failed_tenants_are_resumed_by_another_process(servers: Servers, fault: ServerFault, mode: Mode) -> None:
    """The token of a scan that is through, of which some tenants have failed."""
    *healthy, breaking = *servers(2), *servers(1, options=KEPT)
    deployment = LargeDeployment(healthy, breaking)
    leftovers = Leftovers()
    taken = await run_scan(
        deployment.router, mode, "keys", (deployment.large, ENOUGH), befall(deployment, fault), timeout=fault.timeout
    )
    failed = {tenant for tenant, outcome in taken.scan.outcomes.items() if not outcome.ok}
    assert failed >= set(deployment.large)
    await nothing_left(deployment, leftovers, mode)
    fault.end(deployment.breaking, deployment.proxy)
    rest = resumed(deployment.settings, taken.scan.token(), mode, count=COUNT)
    assert rest["outcomes"].keys() == failed
    for tenant in deployment.settings:
        assert taken.seen[tenant] | set(rest["found"].get(tenant, ())) == deployment.keys_of(tenant)


@pytest.mark.parametrize("fault", ["killed", "paused", "reset"], indirect=True)
@MODES
async def test_fan_out_command_during_a_scan_counts_all_tenants(
    deployment: LargeDeployment, fault: ServerFault, mode: Mode
) -> None:
    """A command for all tenants as it happens, by the same router, in the middle of a scan."""
    leftovers = Leftovers()
    sizes = []
    timeout = fault.timeout if fault.ends == "failed" else AWAY + 5

    def happen(taken: ScanProgress) -> None:
        befall(deployment, fault)(taken)
        sizes.append(deployment.router.fan_out(Command("DBSIZE"), on_error="collect", timeout=timeout))

    if mode == "sync":
        taken = await run_scan(
            deployment.router, mode, "pages", (deployment.large, ENOUGH), happen, timeout=fault.timeout
        )
    else:
        taken = await run_scan(
            deployment.router,
            mode,
            "pages",
            (deployment.large, ENOUGH),
            befall(deployment, fault),
            timeout=fault.timeout,
        )
        sizes.append(await deployment.router.afan_out(Command("DBSIZE"), on_error="collect", timeout=timeout))
    deployment.check(taken.seen, taken.scan.outcomes, fault.timeout)
    deployment.check_sizes(sizes[0], timeout)
    if fault.ends == "failed":
        assert {tenant for tenant, outcome in sizes[0].items() if not outcome.ok} == set(deployment.broken)
    await nothing_left(deployment, leftovers, mode)
    fault.end(deployment.breaking, deployment.proxy)
