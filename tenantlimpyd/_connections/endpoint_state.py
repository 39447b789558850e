"""What the pools of an endpoint share: its limiters, its circuit breaker, and what connections have found out."""

from __future__ import annotations

from tenantlimpyd._connections.breaker import CircuitBreaker
from tenantlimpyd._connections.limiter import BudgetLimiter, ConnectionLimiter
from tenantlimpyd._connections.select_replies import EndpointCapabilities

__all__ = ["EndpointState"]


class EndpointState:
    """The state that the pools of an endpoint share. Pools refer to it and not to the endpoint, which can be freed first.

    Attributes:
        name: ``host:port``, the path of a unix socket, or a master and its sentinels.
        budget_limiter: the limiter of the budget.
        users: the number of databases that use the endpoint.
        capabilities: what its connections have found out about the server.
        breaker: the circuit breaker; None if there is none.
        asked: the states of endpoints that are asked where the server is: those of sentinels.
        shared: the limiter of connections that switch between databases.
        dedicated: the limiter of connections for blocking commands, pub/sub and MONITOR.
    """

    def __init__(
        self, name: str, budget_limiter: BudgetLimiter, most: int | None, breaker: CircuitBreaker | None
    ) -> None:
        budget = budget_limiter.budget
        self.name = name
        self.budget_limiter = budget_limiter
        self.users = 0
        self.capabilities = EndpointCapabilities()
        self.breaker = breaker
        self.asked: tuple[EndpointState, ...] = ()
        self.shared = ConnectionLimiter(budget_limiter, name, min(budget.per_server, most or budget.per_server))
        self.dedicated = ConnectionLimiter(budget_limiter, name, min(budget.dedicated, most or budget.dedicated))

    def leave(self) -> bool:
        """Unregister a database, and close idle connections after the last one. The caller holds the lock."""
        self.users -= 1
        if not self.users:
            self.close_idle()
            for each in self.asked:
                each.budget_limiter.defer_cleanup(each.close_idle)
        return not self.users

    def close_unused(self) -> None:
        """Close idle connections if no database uses the endpoint."""
        with self.budget_limiter.lock:
            if not self.users:
                self.close_idle()

    def clear(self) -> None:
        """Close all idle connections."""
        with self.budget_limiter.lock:
            self.close_idle()

    def close_idle(self) -> None:
        """Close all idle connections. The caller holds the lock."""
        self.shared.close_idle()
        self.dedicated.close_idle()
