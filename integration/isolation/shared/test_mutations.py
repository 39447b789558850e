"""Guards switched off on purpose, one at a time: the drills that pass with all of them in place report each that is gone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from integration.isolation.shared.battery import DRILLS
from integration.isolation.shared.mutations import MUTATIONS, swap
from integration.isolation.shared.stage import Stage
from tenantlimpyd._fanout.multiplex.lease import Lease
from tests.support.interruption import LEFT_BEHIND

pytestmark = [pytest.mark.timeout(120), *LEFT_BEHIND]


@pytest.mark.parametrize("drill", DRILLS)
def test_with_all_guards_nothing_goes_astray(hasty_stage: Stage, drill: str) -> None:
    hasty_stage.fresh_connections()
    DRILLS[drill](hasty_stage)
    assert hasty_stage.wrong() == []
    assert hasty_stage.ledger.checked
    assert all(hasty_stage.answered(spot, awaits=awaits) for spot in hasty_stage.plain for awaits in (False, True))


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_without_one_of_them_something_does(
    hasty_stage: Stage, monkeypatch: pytest.MonkeyPatch, mutation: Callable[[pytest.MonkeyPatch], None]
) -> None:
    hasty_stage.fresh_connections()
    with monkeypatch.context() as patch:
        mutation(patch)
        DRILLS[MUTATIONS[mutation]](hasty_stage)
    assert hasty_stage.astray()


def test_what_can_not_be_called_as_what_it_replaces_is_no_mutation(monkeypatch: pytest.MonkeyPatch) -> None:
    give_back = Lease.give_back
    with pytest.raises(TypeError):
        swap(monkeypatch, Lease, "give_back", lambda self: None)
    with pytest.raises(AttributeError):
        swap(monkeypatch, Lease, "given_back", lambda self, db: None)
    assert Lease.give_back is give_back
