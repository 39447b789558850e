"""For the tests of applications that use tenantlimpyd.

Installing the package registers a pytest plugin (:mod:`tenantlimpyd.testing.plugin`) with the fixtures
``tenantlimpyd_server``, ``tenant_router``, ``tenant_ids`` and ``tenant_leak_detector``. It starts a server only when a
test asks for one of the first two. :func:`count_commands` guards what a piece of code costs by counting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenantlimpyd.testing.counting import CommandCounter, count_commands

__all__ = ["CommandCounter", "count_commands"]


def __getattr__(name: str) -> Any:
    # The plugin is loaded by every pytest run on the machine's environment; redis-py is loaded by those that use it.
    if name in __all__:
        from tenantlimpyd.testing import counting

        return getattr(counting, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
