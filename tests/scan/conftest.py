"""Fixtures of the tests of scans of tenants."""

from __future__ import annotations

from tests.support.fan_out_fixtures import broken, client_name, fleet, misbehaving, names_of_broken, no_thread_is_left

__all__ = ["broken", "client_name", "fleet", "misbehaving", "names_of_broken", "no_thread_is_left"]
