from __future__ import annotations

from collections.abc import Iterator

import pytest

from integration.parity.libraries import LIMPYD, OURS
from integration.parity.recording import Side, Sides
from tests.support.servers import ServerHandle


@pytest.fixture
def sides(server: ServerHandle) -> Iterator[Sides]:
    """Both libraries with the same models, each on an empty database of its own."""
    both = Sides(Side(LIMPYD, server.settings, 1), Side(OURS, server.settings, 2))
    yield both
    for side in both:
        side.close()


@pytest.fixture
def shared(server: ServerHandle) -> Iterator[Sides]:
    """Both libraries with the same models on one and the same database."""
    both = Sides(Side(LIMPYD, server.settings, 3), Side(OURS, server.settings, 3))
    yield both
    for side in both:
        side.close()
