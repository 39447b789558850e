"""Fixtures of the tests of faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integration.faults.sentinel_group import Group, sentinel_group
from tests.support.servers import ServerSource


@pytest.fixture
def group(server_source: ServerSource) -> Iterator[Group]:
    with sentinel_group(server_source) as group:
        yield group
