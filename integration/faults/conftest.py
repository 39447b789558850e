"""Fixtures of the tests of faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integration.faults.sentinels import Group, sentinel_group


@pytest.fixture
def group() -> Iterator[Group]:
    with sentinel_group() as group:
        yield group
