"""Budgets: the limits of connections, and what happens when they are reached."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from tenantlimpyd.exceptions import ConfigurationError, shown

__all__ = ["Budget", "PoolStats", "checked_budget"]


@attrs.frozen(eq=False, kw_only=True)
class Budget:
    """Limits of connections for all databases that share it: ``DatabaseRouter(..., budget=Budget(total=200))``.

    Two budgets with the same numbers are separate. Databases without a budget share one with the defaults.

    Attributes:
        per_server: shared connections to one server with one set of settings. A database's own ``max_connections`` applies if
            it is lower.
        total: connections to all servers, including dedicated ones.
        per_tenant: connections that one database may use at a time, so that one tenant can't use all of a server's; None for
            three quarters of ``per_server``, rounded up.
        dedicated: further connections to one server for blocking and unknown commands, pub/sub and MONITOR.
        idle: seconds after which an unused connection is closed, checked when other connections are used; None for never.
        on_full: ``"wait"`` for a connection in order of arrival, or ``"raise"``.
        timeout: seconds to wait before ``redis.exceptions.MaxConnectionsError``.

    Raises:
        ConfigurationError: If a value is invalid. The error lists all mistakes.
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
        """Return how many of a number of connections one database may use at a time."""
        return min(connections, -(-connections * 3 // 4) if self.per_tenant is None else self.per_tenant)


def checked_budget(budget: object) -> Budget | None:
    """Return a valid budget or None.

    Raises:
        ConfigurationError: If it is neither.
    """
    if budget is not None and not isinstance(budget, Budget):
        raise ConfigurationError(f"budget must be a tenantlimpyd.Budget(...), not {shown(budget)}")
    return budget


def _is_number(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


@attrs.frozen
class PoolStats:
    """The numbers of connections to a server, sync and async together.

    Attributes:
        open: all connections.
        idle: unused connections.
        in_use: connections that are checked out.
        waiting: threads and tasks that wait for a connection.
        dedicated: the dedicated connections among ``open``.
    """

    open: int = 0
    idle: int = 0
    in_use: int = 0
    waiting: int = 0
    dedicated: int = 0

    def __add__(self, other: PoolStats) -> PoolStats:
        return PoolStats(*map(sum, zip(attrs.astuple(self), attrs.astuple(other), strict=True)))
