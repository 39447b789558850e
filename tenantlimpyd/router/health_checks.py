"""Asking all servers of a router what and how they are."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs

from tenantlimpyd._connections.breaker import bypass_breaker
from tenantlimpyd._connections.endpoint import Endpoint
from tenantlimpyd._fanout.functions import afan_out, fan_out
from tenantlimpyd._fanout.outcomes import Job, Outcome, checked_seconds
from tenantlimpyd.router.bulk import DEFAULT_CONCURRENCY
from tenantlimpyd.router.checks import Problem, ServerFacts, facts, problems
from tenantlimpyd.router.health import HealthReport, ping, report, servers_of

if TYPE_CHECKING:
    import contextlib

    from tenantlimpyd.database import RedisDatabase

__all__ = ["HealthChecks"]


class _FactsCollector:
    """Asks the servers of databases for facts. What does not depend on the database is asked once for each server and user."""

    def __init__(self) -> None:
        self._refusals: dict[Endpoint, str | None] = {}

    def facts(self, database: RedisDatabase) -> ServerFacts:
        """Return the facts of a database's server."""
        found, server = database.run(facts()), database.server
        if server not in self._refusals:
            self._refusals[server] = server.transaction_refusal()
        return attrs.evolve(found, transaction_refusal=self._refusals[server])

    async def afacts(self, database: RedisDatabase) -> ServerFacts:
        """Return the facts of a database's server, awaiting."""
        found, server = await database.arun(facts()), database.server
        if server not in self._refusals:
            self._refusals[server] = await server.atransaction_refusal()
        return attrs.evolve(found, transaction_refusal=self._refusals[server])


def _ping(database: RedisDatabase) -> Any:
    with bypass_breaker():
        return database.run(ping())


async def _aping(database: RedisDatabase) -> Any:
    with bypass_breaker():
        return await database.arun(ping())


class HealthChecks:
    """The part of a router that asks servers about themselves."""

    if TYPE_CHECKING:

        def _jobs(self, tenants: Iterable[str] | None, *, allow_switch: bool) -> list[Job]: ...
        async def _ajobs(self, tenants: Iterable[str] | None, *, allow_switch: bool) -> list[Job]: ...
        def _entering(self, tenant: str) -> contextlib.AbstractContextManager[Any]: ...

    def _probing(self, timeout: float) -> dict[str, Any]:
        return {
            "entering": self._entering,
            "policy": "collect",
            "timeout": checked_seconds(timeout),
            "concurrency": DEFAULT_CONCURRENCY,
        }

    def _probe(self, *, tenants: Iterable[str] | None = None, timeout: float = 5.0) -> dict[str, Outcome[ServerFacts]]:
        """Ask each tenant's server what it is.

        Args:
            tenants: tenant ids; None: all.
            timeout: seconds for each tenant.
        """
        return fan_out(self._jobs(tenants, allow_switch=False), _FactsCollector().facts, **self._probing(timeout))

    async def _aprobe(
        self,
        *,
        tenants: Iterable[str] | None = None,
        timeout: float = 5.0,  # noqa: ASYNC109 - for each tenant
    ) -> dict[str, Outcome[ServerFacts]]:
        """Ask as :meth:`probe`, awaiting."""
        jobs = await self._ajobs(tenants, allow_switch=False)
        return await afan_out(jobs, _FactsCollector().afacts, **self._probing(timeout))

    def check(self, *, tenants: Iterable[str] | None = None, timeout: float = 5.0) -> list[Problem]:
        """Ask all servers whether they can be reached, whether two tenants share keys under different names of a server, and
        whether commands may share a write with their SELECT (:doc:`/security`).

        Args:
            tenants: tenant ids; None: all.
            timeout: seconds for each tenant.

        Returns:
            What is wrong; empty when all is well.
        """
        jobs = self._jobs(tenants, allow_switch=False)
        return problems(jobs, fan_out(jobs, _FactsCollector().facts, **self._probing(timeout)))

    async def acheck(
        self,
        *,
        tenants: Iterable[str] | None = None,
        timeout: float = 5.0,  # noqa: ASYNC109 - for each tenant
    ) -> list[Problem]:
        """Check as :meth:`check`, awaiting."""
        jobs = await self._ajobs(tenants, allow_switch=False)
        return problems(jobs, await afan_out(jobs, _FactsCollector().afacts, **self._probing(timeout)))

    def health(self, *, tenants: Iterable[str] | None = None, timeout: float = 2.0) -> HealthReport:
        """Ask each server, not each tenant, for a sign of life: those too whose breakers are open, since what they knew may be
        past. What is found is told to the breakers: one that answers is used again at once.

        Inside a request, its tenant doesn't matter: nothing of a tenant is read.

        Args:
            tenants: the ids of those whose servers are asked; None: all that the router knows.
            timeout: seconds for each server.

        Returns:
            How each server was, and which tenants that concerns.

        Raises:
            UnknownTenantError, InvalidTenantError: an id in ``tenants``.
        """
        began = time.monotonic()
        together = servers_of(self._jobs(tenants, allow_switch=True))
        jobs = [jobs[0] for jobs in together.values()]
        return report(together, fan_out(jobs, _ping, **self._probing(timeout)), began)

    async def ahealth(
        self,
        *,
        tenants: Iterable[str] | None = None,
        timeout: float = 2.0,  # noqa: ASYNC109 - for each server
    ) -> HealthReport:
        """Ask as :meth:`health`, awaiting."""
        began = time.monotonic()
        together = servers_of(await self._ajobs(tenants, allow_switch=True))
        jobs = [jobs[0] for jobs in together.values()]
        return report(together, await afan_out(jobs, _aping, **self._probing(timeout)), began)
