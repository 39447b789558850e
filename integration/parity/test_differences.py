"""The list of differences is true for limpyd and for tenantlimpyd."""

from __future__ import annotations

import pytest

from integration.parity.differences import DIFFERENCES, Difference
from integration.parity.expected import read
from integration.parity.recording import Sides

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated hmset:DeprecationWarning")


@pytest.mark.parametrize("line", DIFFERENCES, ids=lambda line: f"{line.number} {line.about}")
def test_listed_difference_exists(sides: Sides, line: Difference) -> None:
    assert line.scenario(sides.ours) == line.ours
    assert line.scenario(sides.limpyd) == line.limpyd


def test_each_proof_belongs_to_a_listed_difference() -> None:
    assert {line.number for line in DIFFERENCES} <= {line.number for line in read()}
