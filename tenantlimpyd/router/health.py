"""Which servers are there, whom that concerns, and whether it is enough to be called ready."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

import attrs
import redis

from tenantlimpyd._connections.breaker import State
from tenantlimpyd._connections.settings import server_identity
from tenantlimpyd._fanout.outcomes import Job, Outcome
from tenantlimpyd._operations.steps import Command, Operation
from tenantlimpyd.exceptions import ConfigurationError, shown

__all__ = ["HealthReport", "Readiness", "ReadinessResult", "ServerHealth", "ping", "report", "servers_of"]


@attrs.frozen
class ServerHealth:
    """How one server was, with one set of credentials and settings, when it was asked.

    Attributes:
        server: ``host:port``, the path of a unix socket, or a master and its sentinels.
        ok: whether it answered, and takes these credentials.
        breaker: ``closed``, ``open`` or ``half-open``; None: it has no breaker.
        seconds: how long it took to answer, or to be found away.
        error: the class of what went wrong; None: nothing did.
        tenants: the ids of the tenants that live there, those asked about.
    """

    server: str
    ok: bool
    breaker: State | None
    seconds: float
    error: str | None
    tenants: tuple[str, ...] = attrs.field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON: how many tenants there are, not which."""
        told = attrs.asdict(self, filter=attrs.filters.exclude("tenants"))
        return {**told, "seconds": round(self.seconds, 6), "tenants": len(self.tenants)}


@attrs.frozen
class HealthReport:
    """How all servers were. Nothing secret is in it.

    Attributes:
        servers: each once, in the order of their first tenants.
        seconds: how long asking took.
    """

    servers: tuple[ServerHealth, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether all servers answered."""
        return all(server.ok for server in self.servers)

    @property
    def tenants(self) -> Mapping[str, ServerHealth]:
        """The server's health by tenant id. Computed at each access: keep the result if it is used often."""
        return {tenant: server for server in self.servers for tenant in server.tenants}

    def count(self) -> tuple[int, int]:
        """Return how many tenants can be served, and how many there are."""
        well = sum(len(server.tenants) for server in self.servers if server.ok)
        return well, sum(len(server.tenants) for server in self.servers)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        well, tenants = self.count()
        return {
            "ok": self.ok,
            "tenants": tenants,
            "tenants_ok": well,
            "seconds": round(self.seconds, 6),
            "servers": [server.as_dict() for server in self.servers],
        }


@attrs.frozen
class ReadinessResult:
    """What a :class:`Readiness` makes of a report.

    Attributes:
        ready: whether requests should be sent here.
        reason: a sentence; no tenant or server that was not asked for by name is in it.
        report: what it is about; None: nobody was asked.
    """

    ready: bool
    reason: str
    report: HealthReport | None


@attrs.frozen
class Readiness:
    """How much has to be well for an application to be ready. Made by :meth:`all`, :meth:`quorum`, :meth:`named`, :meth:`none`.

    Attributes:
        at_least: so many tenants (a whole number), or such a part of them (a fraction, up to 1.0).
        tenants: these must be served, whatever the others are; None: any.
        servers: these must answer.
        asks: whether servers are asked at all.
    """

    at_least: int | float = 0
    tenants: tuple[str, ...] | None = None
    servers: tuple[str, ...] = ()
    asks: bool = True

    @classmethod
    def all(cls) -> Readiness:
        """All servers must answer. One dead server takes the application from the tenants of all others: think twice."""
        return cls(at_least=1.0)

    @classmethod
    def quorum(cls, at_least: float) -> Readiness:
        """So many tenants must be served, or such a part of them.

        Args:
            at_least: a whole number of tenants; or a fraction such as ``0.5``, more than 0 and up to ``1.0``.

        Raises:
            ConfigurationError: neither.
        """
        whole = isinstance(at_least, int) and not isinstance(at_least, bool) and at_least >= 1
        part = isinstance(at_least, float) and 0 < at_least <= 1
        if not whole and not part:
            raise ConfigurationError(
                f"a quorum is a number of tenants, or a fraction of them such as 0.5, not {shown(at_least)}"
            )
        return cls(at_least=at_least)

    @classmethod
    def named(cls, *tenants: str, servers: Iterable[str] = ()) -> Readiness:
        """These tenants must be served, and these servers must answer.

        Args:
            *tenants: tenant ids. One that the router doesn't know makes it not ready.
            servers: as reports name them: ``host:port``, the path of a unix socket, or a master and its sentinels.

        Raises:
            ConfigurationError: none is named.
        """
        if isinstance(servers, str):
            raise ConfigurationError(f"servers must be several names, such as [{shown(servers)}], not one")
        wanted = tuple(servers)
        if wrong := [shown(server) for server in wanted if not isinstance(server, str)]:
            raise ConfigurationError(f"servers must be names such as 'redis-1:6379', not {', '.join(wrong)}")
        if not tenants and not wanted:
            raise ConfigurationError("name tenants or servers that must be well; Readiness.none() asks for nothing")
        return cls(tenants=tenants, servers=wanted)

    @classmethod
    def none(cls) -> Readiness:
        """Ready whatever the servers do; none is asked."""
        return cls(asks=False)

    @property
    def wanted(self) -> tuple[str, ...] | None:
        """The tenants whose servers have to be asked; None: all."""
        return None if self.servers else self.tenants

    def judge(self, report: HealthReport) -> ReadinessResult:
        """Return whether a report is good enough."""
        if self.tenants is not None or self.servers:
            found = report.tenants if self.tenants else {}
            missing = [tenant for tenant in self.tenants or () if tenant not in found or not found[tenant].ok]
            names = {server_identity(server.server) for server in report.servers if server.ok}
            names -= {server_identity(server.server) for server in report.servers if not server.ok}
            missing += [server for server in self.servers if server_identity(server) not in names]
            if missing:
                return ReadinessResult(ready=False, reason=f"not well: {', '.join(map(shown, missing))}", report=report)
            return ReadinessResult(ready=True, reason="all that is named is well", report=report)
        well, tenants = report.count()
        needed: float = self.at_least * tenants if isinstance(self.at_least, float) else self.at_least
        return ReadinessResult(ready=well >= needed, reason=f"{well} of {tenants} tenants can be served", report=report)


def ping() -> Operation[Any]:
    """Ask a server whether it is there."""
    return (yield Command("PING"))


def servers_of(jobs: Sequence[Job]) -> dict[str, list[Job]]:
    """Return the jobs by server, under the id of the tenant that stands for it."""
    found: dict[Any, list[Job]] = {}
    for job in jobs:
        found.setdefault(job.database.settings.shared, []).append(job)
    return {together[0].tenant: together for together in found.values()}


def report(together: Mapping[str, Sequence[Job]], outcomes: Mapping[str, Outcome[Any]], began: float) -> HealthReport:
    """Return what the answers mean.

    Args:
        together: what :func:`servers_of` returned.
        outcomes: of :func:`ping`, for those who stand for their servers.
        began: when asking began, by the monotonic clock.
    """
    return HealthReport(tuple(_servers(together, outcomes)), time.monotonic() - began)


def _servers(
    together: Mapping[str, Sequence[Job]], outcomes: Mapping[str, Outcome[Any]]
) -> Generator[ServerHealth, None, None]:
    for tenant, jobs in together.items():
        outcome, database = outcomes[tenant], jobs[0].database
        breaker = database.server.breaker
        # An error reply comes from a server that is there: of a database it doesn't have, or a right that is missing.
        ok = outcome.error is None or isinstance(outcome.error, redis.ResponseError)
        yield ServerHealth(
            database.settings.server,
            ok,
            None if breaker is None else breaker.status.state,
            outcome.seconds,
            None if outcome.error is None else type(outcome.error).__name__,
            tuple(job.tenant for job in jobs),
        )
