"""Asking all servers of a router what and how they are."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tenantlimpyd._connections.breaker import bypass_breaker
from tenantlimpyd._fanout.functions import afan_out, fan_out
from tenantlimpyd._fanout.outcomes import Job, Outcome, checked_seconds
from tenantlimpyd.router.bulk import DEFAULT_CONCURRENCY
from tenantlimpyd.router.checks import Problem, ServerFacts, facts, problems
from tenantlimpyd.router.health import HealthReport, ping, report, servers_of

if TYPE_CHECKING:
    import contextlib

    from tenantlimpyd.database import RedisDatabase

__all__ = ["HealthChecks"]


def _facts(database: RedisDatabase) -> ServerFacts:
    return database.run(facts())


async def _afacts(database: RedisDatabase) -> ServerFacts:
    return await database.arun(facts())


def _ping(database: RedisDatabase) -> Any:
    with bypass_breaker():
        return database.run(ping())


async def _aping(database: RedisDatabase) -> Any:
    with bypass_breaker():
        return await database.arun(ping())


class HealthChecks:
    """The part of a router that asks servers about themselves."""

    if TYPE_CHECKING:

        def jobs(self, tenants: Iterable[str] | None, *, allow_switch: bool) -> list[Job]: ...
        async def ajobs(self, tenants: Iterable[str] | None, *, allow_switch: bool) -> list[Job]: ...
        def entering(self, tenant: str) -> contextlib.AbstractContextManager[Any]: ...

    def _probing(self, timeout: float) -> dict[str, Any]:
        return {
            "entering": self.entering,
            "policy": "collect",
            "timeout": checked_seconds(timeout),
            "concurrency": DEFAULT_CONCURRENCY,
        }

    def probe(self, *, tenants: Iterable[str] | None = None, timeout: float = 5.0) -> dict[str, Outcome[ServerFacts]]:
        """Ask each tenant's server what it is.

        Args:
            tenants: tenant ids; None: all.
            timeout: seconds for each tenant.
        """
        return fan_out(self.jobs(tenants, allow_switch=False), _facts, **self._probing(timeout))

    async def aprobe(
        self,
        *,
        tenants: Iterable[str] | None = None,
        timeout: float = 5.0,  # noqa: ASYNC109 - for each tenant
    ) -> dict[str, Outcome[ServerFacts]]:
        """Ask as :meth:`probe`, awaiting."""
        return await afan_out(await self.ajobs(tenants, allow_switch=False), _afacts, **self._probing(timeout))

    def check(self, *, tenants: Iterable[str] | None = None, timeout: float = 5.0) -> list[Problem]:
        """Ask all servers whether they can be reached, and whether two tenants share keys under different names of a server.

        Args:
            tenants: tenant ids; None: all.
            timeout: seconds for each tenant.

        Returns:
            What is wrong; empty when all is well.
        """
        jobs = self.jobs(tenants, allow_switch=False)
        return problems(jobs, fan_out(jobs, _facts, **self._probing(timeout)))

    async def acheck(
        self,
        *,
        tenants: Iterable[str] | None = None,
        timeout: float = 5.0,  # noqa: ASYNC109 - for each tenant
    ) -> list[Problem]:
        """Check as :meth:`check`, awaiting."""
        jobs = await self.ajobs(tenants, allow_switch=False)
        return problems(jobs, await afan_out(jobs, _afacts, **self._probing(timeout)))

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
        together = servers_of(self.jobs(tenants, allow_switch=True))
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
        together = servers_of(await self.ajobs(tenants, allow_switch=True))
        jobs = [jobs[0] for jobs in together.values()]
        return report(together, await afan_out(jobs, _aping, **self._probing(timeout)), began)
