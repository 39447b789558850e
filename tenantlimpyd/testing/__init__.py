"""Help for the tests of applications that use tenantlimpyd.

Installing the package registers a pytest plugin (:mod:`tenantlimpyd.testing.plugin`) with the fixtures
``tenantlimpyd_server``, ``tenant_router``, ``tenant_ids`` and ``tenant_leak_detector``. It starts a server only when a
test uses one of the first two. :func:`count_commands` measures the cost of a piece of code in commands and round trips.
"""

from __future__ import annotations

from tenantlimpyd.testing.counting import CommandCounter, count_commands

__all__ = ["CommandCounter", "count_commands"]
