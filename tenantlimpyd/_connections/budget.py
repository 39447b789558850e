"""How many connections there may be, and what happens when there are none left."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from tenantlimpyd.exceptions import ConfigurationError, shown

__all__ = ["Budget", "PoolStats", "checked_budget"]


@attrs.frozen(eq=False, kw_only=True)
class Budget:
    """Bounds for connections, shared by all databases it is given to: ``DatabaseRouter(..., budget=Budget(total=200))``.

    Two budgets with the same numbers are two budgets. Databases that are given none share one, with the numbers below.

    Attributes:
        per_server: connections to one server with one set of credentials and settings, whatever the tenants. A database's
            own ``max_connections`` counts where it is lower.
        total: connections in all, of all servers, those of ``apart`` included.
        per_tenant: connections that one database may use at once, so that one tenant can't take all of a server's; None:
            three quarters of ``per_server``, rounded up.
        dedicated: further connections to one server for what keeps one to itself: commands that block, pub/sub and MONITOR.
        idle: seconds after which a connection that nobody used is closed, looked at when others are used; None: never.
        on_full: ``"wait"`` for a connection to come back, first come, first served; or ``"raise"``.
        timeout: seconds to wait, before ``redis.exceptions.MaxConnectionsError``.

    Raises:
        ConfigurationError: a number that makes no sense; all mistakes at once.
    """

    per_server: int = 64
    total: int = 1024
    per_tenant: int | None = None
    dedicated: int = 256
    idle: float | None = 300.0
    on_full: Literal["wait", "raise"] = "wait"
    timeout: float = 10.0

    def __attrs_post_init__(self) -> None:
        problems = [
            f"{name} must be a whole number of connections, at least 1, not {shown(value)}"
            for name in ("per_server", "total", "per_tenant", "dedicated")
            if (value := getattr(self, name)) is not None or name != "per_tenant"
            if not _is_number(value, int) or value < 1
        ]
        problems += [
            f"{name} must be a number of seconds, more than 0, not {shown(value)}"
            for name in ("idle", "timeout")
            if (value := getattr(self, name)) is not None or name != "idle"
            if not _is_number(value, int | float) or not 0 < value < 1e9
        ]
        if self.on_full not in ("wait", "raise"):
            problems.append(f"on_full must be 'wait' or 'raise', not {shown(self.on_full)}")
        if problems:
            raise ConfigurationError([f"budget: {problem}" for problem in problems])

    def share(self, connections: int) -> int:
        """Return how many of so many connections one database may use at once."""
        return min(connections, -(-connections * 3 // 4) if self.per_tenant is None else self.per_tenant)


def checked_budget(budget: object) -> Budget | None:
    """Return a budget.

    Raises:
        ConfigurationError: it is neither one nor None.
    """
    if budget is not None and not isinstance(budget, Budget):
        raise ConfigurationError(f"budget must be a tenantlimpyd.Budget(...), not {shown(budget)}")
    return budget


def _is_number(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


@attrs.frozen
class PoolStats:
    """What connections there are to a server at this moment, blocking and asyncio together.

    Attributes:
        open: all of them.
        idle: those that nobody uses.
        in_use: those that are checked out.
        waiting: threads and tasks that wait for one.
        dedicated: those of ``open`` that are for commands that block, pub/sub and MONITOR.
    """

    open: int = 0
    idle: int = 0
    in_use: int = 0
    waiting: int = 0
    dedicated: int = 0

    def __add__(self, other: PoolStats) -> PoolStats:
        return PoolStats(*map(sum, zip(attrs.astuple(self), attrs.astuple(other), strict=True)))
