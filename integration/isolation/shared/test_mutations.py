"""Guards switched off one at a time: the scenarios, which pass with all guards, detect each one that is missing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from integration.isolation.shared.harness import Harness
from integration.isolation.shared.mutations import MUTATIONS, swap
from integration.isolation.shared.scenarios import SCENARIOS
from tenantlimpyd._fanout.multiplex.lease import Lease
from tests.support.interruption import LEFT_BEHIND

pytestmark = [pytest.mark.timeout(120), *LEFT_BEHIND]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_with_all_guards_nothing_goes_astray(impatient_harness: Harness, scenario: str) -> None:
    impatient_harness.fresh_connections()
    SCENARIOS[scenario](impatient_harness)
    assert impatient_harness.wrong() == []
    assert impatient_harness.ledger.checked
    assert all(
        impatient_harness.answered(site, awaits=awaits) for site in impatient_harness.plain for awaits in (False, True)
    )


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_without_one_of_them_something_does(
    impatient_harness: Harness, monkeypatch: pytest.MonkeyPatch, mutation: Callable[[pytest.MonkeyPatch], None]
) -> None:
    impatient_harness.fresh_connections()
    with monkeypatch.context() as patch:
        mutation(patch)
        SCENARIOS[MUTATIONS[mutation]](impatient_harness)
    assert impatient_harness.strays()


def test_what_can_not_be_called_as_what_it_replaces_is_no_mutation(monkeypatch: pytest.MonkeyPatch) -> None:
    give_back = Lease.give_back
    with pytest.raises(TypeError):
        swap(monkeypatch, Lease, "give_back", lambda self: None)
    with pytest.raises(AttributeError):
        swap(monkeypatch, Lease, "given_back", lambda self, db: None)
    assert Lease.give_back is give_back
