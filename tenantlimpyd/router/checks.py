"""Asking the servers themselves: are they there, and do two tenants live in one keyspace under two names?"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import attrs
import redis

from tenantlimpyd._connections.settings import Keyspace
from tenantlimpyd._fanout.outcomes import Job, Outcome
from tenantlimpyd._operations.steps import Command, Operation
from tenantlimpyd.keys import nested_prefixes

__all__ = ["Problem", "ServerFacts", "facts", "problems"]


@attrs.frozen
class ServerFacts:
    """What a tenant's server says of itself.

    Attributes:
        run_id: the id of the server process; None: the user may not call INFO.
        name: ``redis`` or ``valkey``.
        version: its version; empty where INFO is not allowed.
        transaction_refusal: why commands that switch databases wait for their SELECT; None: they need not.
    """

    run_id: str | None
    name: str
    version: str
    transaction_refusal: str | None = None


@attrs.frozen
class Problem:
    """One thing that is not well.

    Attributes:
        kind: ``unreachable``, ``shared-keyspace``, ``unverified`` or ``no-transactions``.
        tenants: the tenants it is about.
        message: a sentence.
    """

    kind: str
    tenants: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        return self.message


def facts() -> Operation[ServerFacts]:
    """Ask a database's server who it is. The database is selected by then, so a number out of range shows too."""
    yield Command("PING")
    try:
        info = yield Command("INFO", "server")
    except redis.ResponseError:  # no permission: connecting must not need it
        return ServerFacts(None, "", "")
    name = str(info.get("server_name", "redis"))
    version = info.get("valkey_version") or info.get("redis_version", "")
    return ServerFacts(info.get("run_id"), name, str(version))


def problems(jobs: Sequence[Job], outcomes: Mapping[str, Outcome[ServerFacts]]) -> list[Problem]:
    """Return what is wrong, from the answers of :func:`facts`, by tenant."""
    found: list[Problem] = []
    by_place: dict[tuple[str, int], list[Job]] = {}
    slow: dict[tuple[str, str], list[str]] = {}
    for job in jobs:
        outcome = outcomes[job.tenant]
        if outcome.value is not None and (refusal := outcome.value.transaction_refusal) is not None:
            slow.setdefault((job.database.keyspace.server, refusal), []).append(job.tenant)
        if outcome.error is not None:
            message = f"tenant {job.tenant!r} can't be reached at {job.database.keyspace}: {_reason(outcome.error)}"
            found.append(Problem("unreachable", (job.tenant,), message))
        elif outcome.value is not None and outcome.value.run_id is None:
            message = (
                f"tenant {job.tenant!r}: its server does not tell its run id (no right to INFO, or a proxy), so that "
                "aliases of it can't be told"
            )
            found.append(Problem("unverified", (job.tenant,), message))
        elif outcome.value is not None:
            place = str(outcome.value.run_id), job.database.keyspace.db
            by_place.setdefault(place, []).append(job)
    for together in by_place.values():
        found.extend(_shared(together))
    for (server, refusal), tenants in slow.items():
        message = (
            f"{server}: a write that follows another tenant's command on its connection takes one more round trip, since "
            f"{refusal}. The {len(tenants)} tenants there stay apart all the same."
        )
        found.append(Problem("no-transactions", tuple(tenants), message))
    return found


def _shared(jobs: Sequence[Job]) -> Generator[Problem, Any, None]:
    """Yield the pairs of tenants in one database of one server whose prefixes overlap."""
    for job, others in nested_prefixes(jobs, lambda job: job.database.key_prefix):
        for other in others:
            message = (
                f"tenants {other.tenant!r} and {job.tenant!r} share keys: {_at(other)} and {_at(job)} "
                "are one server by its run id"
            )
            yield Problem("shared-keyspace", (other.tenant, job.tenant), message)


def _at(job: Job) -> Keyspace:
    return job.database.keyspace


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
