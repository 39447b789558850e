"""A server breaks in the middle of a walk over tenants of every size: no key that stays is missed without a word.

Every key present throughout is delivered, or its tenant is said to have failed; nobody is given another's keys; nothing
takes longer than its deadline; and no thread, task, socket or connection is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from integration.faults.estate import COUNT, Estate
from integration.faults.fleet import Leftovers
from integration.faults.mishaps import AWAY, MISHAPS, Mishap
from integration.faults.resuming import resumed
from integration.faults.walking import Form, Mode, Taken, walked
from tenantlimpyd.operations import Command
from tests.support.servers import ServerHandle

Servers = Callable[..., list[ServerHandle]]

pytestmark = pytest.mark.timeout(90)

ENOUGH = 200
"""Keys of each large tenant that the consumer has had when it happens: a tenth of the smallest of them, at most."""
KEPT = {"appendonly": True, "appendfsync": "always"}
MODES = pytest.mark.parametrize("mode", ["sync", "async"])


@pytest.fixture
def mishap(request: pytest.FixtureRequest) -> Mishap:
    return MISHAPS[request.param]


@pytest.fixture
def estate(servers: Servers, mishap: Mishap) -> Iterator[Estate]:
    healthy = servers(2)
    (breaking,) = servers(1, options=KEPT) if mishap.keeps else servers(1)
    estate = Estate(healthy, breaking)
    yield estate
    estate.router.close()


def befall(estate: Estate, mishap: Mishap) -> Callable[[Taken], None]:
    """Return what lets it happen, once sure that the walk is in the middle of the large databases."""

    def happen(taken: Taken) -> None:
        for tenant in estate.large:
            assert 0 < len(taken.seen[tenant]) < len(estate.keys_of(tenant)), f"not in the middle of {tenant}"
        mishap.begin(estate.breaking, estate.proxy)

    return happen


async def nothing_left(estate: Estate, leftovers: Leftovers, mode: Mode) -> None:
    estate.check_nothing_in_use()
    if mode == "sync":
        estate.router.close()
        leftovers.check()
    else:
        await estate.router.aclose()
        await leftovers.acheck()


def check_ends(estate: Estate, mishap: Mishap, taken: Taken) -> None:
    """Raise unless what the walk was in the middle of ended as such a mishap lets expect."""
    outcomes = [taken.walk.outcomes[tenant] for tenant in estate.large]
    if mishap.ends == "whole":
        assert [(outcome.ok, outcome.restarts) for outcome in outcomes] == [(True, 0)] * len(outcomes), outcomes
    elif mishap.ends == "failed":
        assert not any(outcome.ok for outcome in outcomes), outcomes
    if mishap.restarts:
        assert all(outcome.restarts or outcome.interrupted for outcome in outcomes), outcomes


@pytest.mark.parametrize("mishap", MISHAPS, indirect=True)
@pytest.mark.parametrize(("mode", "form"), [("sync", "keys"), ("async", "pages")])
async def test_a_walk(estate: Estate, mishap: Mishap, mode: Mode, form: Form) -> None:
    leftovers = Leftovers()
    taken = await walked(
        estate.router, mode, form, (estate.large, ENOUGH), befall(estate, mishap), timeout=mishap.timeout
    )
    estate.check(taken.seen, taken.walk.outcomes, mishap.timeout, lost=mishap.loses)
    check_ends(estate, mishap, taken)
    assert taken.took < mishap.within
    assert taken.walk.complete == all(outcome.ok for outcome in taken.walk.outcomes.values())
    await nothing_left(estate, leftovers, mode)


@pytest.mark.parametrize("mishap", ["restarted", "reset", "paused briefly", "killed"], indirect=True)
@pytest.mark.parametrize(("mode", "form"), [("sync", "pages"), ("async", "keys")])
async def test_each_key_once(estate: Estate, mishap: Mishap, mode: Mode, form: Form) -> None:
    leftovers = Leftovers()
    taken = await walked(
        estate.router, mode, form, (estate.large, ENOUGH), befall(estate, mishap), timeout=mishap.timeout, unique=True
    )
    estate.check(taken.seen, taken.walk.outcomes, mishap.timeout)
    check_ends(estate, mishap, taken)
    assert taken.keys == sum(map(len, taken.seen.values()))
    assert taken.walk.exact
    for tenant, outcome in taken.walk.outcomes.items():
        assert outcome.value == (len(taken.seen[tenant]) if outcome.ok else None)
    await nothing_left(estate, leftovers, mode)


@pytest.mark.parametrize(
    ("mishap", "mode"),
    [("restarted", "sync"), ("restarted", "async"), ("paused", "sync"), ("reset", "async")],
    indirect=["mishap"],
)
async def test_a_walk_that_is_left_when_it_happens_and_goes_on_in_another_process(
    estate: Estate, mishap: Mishap, mode: Mode
) -> None:
    leftovers = Leftovers()
    tokens = []

    def happen(taken: Taken) -> bool:
        befall(estate, mishap)(taken)
        tokens.append(taken.walk.token())
        return True

    taken = await walked(estate.router, mode, "pages", (estate.large, ENOUGH), happen)
    await nothing_left(estate, leftovers, mode)
    mishap.end(estate.breaking, estate.proxy)
    through = {tenant for tenant, outcome in taken.walk.outcomes.items() if outcome.ok}
    rest = resumed(estate.settings, tokens[0], "async" if mode == "sync" else "sync", count=COUNT)
    assert rest["outcomes"].keys() == estate.settings.keys() - through
    assert all(ok for ok, _ in rest["outcomes"].values())
    for tenant in estate.settings:
        again = set(rest["found"].get(tenant, ()))
        assert taken.seen[tenant] | again == estate.keys_of(tenant)
        if tenant in estate.large:  # by another process they are scanned anew, by the same one they go on
            assert (again == estate.keys_of(tenant)) == mishap.restarts, tenant
            assert rest["outcomes"][tenant][1] == mishap.restarts


@pytest.mark.parametrize(("mishap", "mode"), [("killed", "sync"), ("a black hole", "async")], indirect=["mishap"])
async def test_what_has_failed_is_made_good_by_another_process(servers: Servers, mishap: Mishap, mode: Mode) -> None:
    """The token of a walk that is through, of which some tenants have failed."""
    *healthy, breaking = *servers(2), *servers(1, options=KEPT)
    estate = Estate(healthy, breaking)
    leftovers = Leftovers()
    taken = await walked(
        estate.router, mode, "keys", (estate.large, ENOUGH), befall(estate, mishap), timeout=mishap.timeout
    )
    failed = {tenant for tenant, outcome in taken.walk.outcomes.items() if not outcome.ok}
    assert failed >= set(estate.large)
    await nothing_left(estate, leftovers, mode)
    mishap.end(estate.breaking, estate.proxy)
    rest = resumed(estate.settings, taken.walk.token(), mode, count=COUNT)
    assert rest["outcomes"].keys() == failed
    for tenant in estate.settings:
        assert taken.seen[tenant] | set(rest["found"].get(tenant, ())) == estate.keys_of(tenant)


@pytest.mark.parametrize("mishap", ["killed", "paused", "reset"], indirect=True)
@MODES
async def test_all_are_counted_meanwhile(estate: Estate, mishap: Mishap, mode: Mode) -> None:
    """A command for all tenants as it happens, by the same router, in the middle of a walk."""
    leftovers = Leftovers()
    sizes = []
    timeout = mishap.timeout if mishap.ends == "failed" else AWAY + 5

    def happen(taken: Taken) -> None:
        befall(estate, mishap)(taken)
        sizes.append(estate.router.fan_out(Command("DBSIZE"), on_error="collect", timeout=timeout))

    if mode == "sync":
        taken = await walked(estate.router, mode, "pages", (estate.large, ENOUGH), happen, timeout=mishap.timeout)
    else:
        taken = await walked(
            estate.router, mode, "pages", (estate.large, ENOUGH), befall(estate, mishap), timeout=mishap.timeout
        )
        sizes.append(await estate.router.afan_out(Command("DBSIZE"), on_error="collect", timeout=timeout))
    estate.check(taken.seen, taken.walk.outcomes, mishap.timeout)
    estate.check_sizes(sizes[0], timeout)
    if mishap.ends == "failed":
        assert {tenant for tenant, outcome in sizes[0].items() if not outcome.ok} == set(estate.broken)
    await nothing_left(estate, leftovers, mode)
    mishap.end(estate.breaking, estate.proxy)
