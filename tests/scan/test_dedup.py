"""The deduplicator: each key once within its memory, and never a missing key."""

from __future__ import annotations

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tenantlimpyd._scan.dedup import REMEMBERED, KeyDeduplicator, checked_unique

pytestmark = pytest.mark.slow


@given(
    pages=st.lists(st.tuples(st.sampled_from("tu"), st.lists(st.sampled_from("abcdefgh"), max_size=6)), max_size=30),
    most=st.integers(1, 20),
)
def test_each_key_is_returned_once_while_exact(pages, most):
    unique = KeyDeduplicator(most)
    seen, times = set(), {}
    for tenant, keys in pages:
        for key in unique.new(tenant, keys):
            times[tenant, key] = times.get((tenant, key), 0) + 1
        seen |= {(tenant, key) for key in keys}
        assert sum(map(len, unique._seen.values())) <= most
    assert set(times) == seen
    if unique.exact:
        assert set(times.values()) <= {1}


def test_finished_tenant_frees_memory():
    unique = KeyDeduplicator(3)
    assert unique.new("t", ["a", "b", "a"]) == ["a", "b"]
    unique.forget("t")
    assert unique.new("u", ["a", "b", "c"]) == ["a", "b", "c"]
    assert unique.exact
    unique.forget("nobody")


def test_loss_of_exactness_is_logged_once():
    structlog.configure()
    unique = KeyDeduplicator(2)
    with capture_logs() as events:
        unique.new("t", ["a", "b"])
        assert unique.exact
        assert unique.new("t", ["c"]) == ["c"]
        assert unique.new("t", ["c", "a"]) == ["c"]  # keys that it remembers are still returned once
    assert not unique.exact
    assert [event["event"] for event in events] == ["scan_not_exact"]
    assert events[0]["remembered"] == 2


def test_long_keys_count_as_several():
    unique = KeyDeduplicator(10)
    unique.new("t", ["x" * 1000])
    assert not unique.exact


def test_wrong_values_of_unique_are_refused():
    assert [checked_unique(value) for value in (False, True, 7)] == [0, REMEMBERED, 7]
    for value, error in ((0, ValueError), (-1, ValueError), ("1", TypeError), (None, TypeError), (1.5, TypeError)):
        with pytest.raises(error, match="unique must be"):
            checked_unique(value)
