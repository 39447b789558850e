"""What a fan-out gets from each tenant, and what becomes of failures."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

import attrs
import redis

from tenantlimpyd import logs
from tenantlimpyd._connections.database_clients import DatabaseClients
from tenantlimpyd._connections.endpoint import Endpoint
from tenantlimpyd.exceptions import FanOutError, ScanInterruptedError, shown

if TYPE_CHECKING:
    from tenantlimpyd.database import RedisDatabase

__all__ = [
    "ErrorPolicy",
    "Job",
    "JobResult",
    "Outcome",
    "OutcomeCollector",
    "checked_policy",
    "checked_seconds",
    "grouped",
    "named",
    "still",
    "timed_out",
]

T = TypeVar("T")

ErrorPolicy: TypeAlias = Literal["defer", "raise", "collect"]
"""``defer``: finish the others, then raise FanOutError. ``raise``: stop at the first. ``collect``: never raise."""

_POLICIES = ("defer", "raise", "collect")


@attrs.frozen
class Outcome(Generic[T]):
    """What came of one tenant.

    Attributes:
        value: the result; for a walk, how many keys were delivered. None where it failed.
        error: the exception as it was raised, with the tenant's id in its attribute ``tenant``; None where it did not fail.
        seconds: how long it took. Where several tenants travel together, the time of each trip counts for all of them.
        restarts: how often a walk scanned its database anew, since a server or its role had changed: keys may have come
            again.
    """

    value: T | None
    error: Exception | None
    seconds: float
    restarts: int = 0

    @property
    def ok(self) -> bool:
        """Whether it did not fail."""
        return self.error is None

    @property
    def interrupted(self) -> bool:
        """Whether a walk lost its place in the middle of this tenant's keys, and could not begin them anew."""
        return isinstance(self.error, ScanInterruptedError)


@attrs.frozen(eq=False)
class Job:
    """One tenant's part of the work.

    Attributes:
        tenant: the tenant id.
        database: its database, as it was when the work was asked for.
        still: raises if the tenant is no longer there; given ``placement``.
        placement: what the router knows the tenant by.
        clients: what the database is connected with, as it was then.
    """

    tenant: str
    database: RedisDatabase
    still: Callable[[Any], None] = lambda _placement: None
    placement: Any = None
    clients: DatabaseClients = attrs.field(
        default=attrs.Factory(lambda self: self.database._clients, takes_self=True), repr=False
    )

    def check(self) -> None:
        """Raise if the tenant is no longer there."""
        self.still(self.placement)

    @property
    def server(self) -> str:
        """What shares its connections and its load: the server."""
        return self.clients.server.name


def still(job: Job) -> None:
    """Raise if a job's keys may be another tenant's by now.

    Raises:
        UnknownTenantError: the tenant was removed.
        redis.ConnectionError: its database was closed or pointed elsewhere.
    """
    job.check()
    if job.clients.retired:
        job.database._still(job.clients)


def grouped(jobs: Iterable[Job]) -> dict[Endpoint, list[Job]]:
    """Return jobs by what they share connections with: all settings but the number of the database."""
    groups: dict[Endpoint, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.clients.server, []).append(job)
    return groups


@attrs.frozen
class JobResult:
    """A job is through with: its value, or its error, and the seconds it took."""

    job: Any
    value: Any
    error: Exception | None
    seconds: float


def checked_policy(on_error: object) -> ErrorPolicy:
    """Return a policy.

    Raises:
        ValueError: it is none.
    """
    if on_error not in _POLICIES:
        raise ValueError(f"on_error must be one of {', '.join(map(repr, _POLICIES))}, not {shown(on_error)}")
    return on_error  # type: ignore[return-value]


def checked_seconds(timeout: object) -> float | None:
    """Return a time limit.

    Raises:
        TypeError, ValueError: it is no positive number of seconds, nor None.
    """
    if timeout is None:
        return None
    if not isinstance(timeout, int | float) or isinstance(timeout, bool):
        raise TypeError(f"timeout must be a number of seconds, or None, not {shown(timeout)}")
    if not timeout > 0:
        raise ValueError(f"timeout must be more than 0 seconds, not {timeout}")
    return float(timeout)


def named(error: Exception, tenant: str) -> Exception:
    """Return an error with the tenant it is of; a copy where the same object already names another."""
    if getattr(error, "tenant", tenant) != tenant:
        error = _copied(error)
    with contextlib.suppress(AttributeError):  # an exception with slots can't carry it: its note does
        error.tenant = tenant  # type: ignore[attr-defined]
    if (note := f"tenant: {tenant}") not in getattr(error, "__notes__", ()):
        error.add_note(note)
    return error


def _copied(error: Exception) -> Exception:
    try:
        return copy.copy(error)
    except Exception:  # noqa: BLE001 - a class of the application's, made with other arguments than it keeps
        wrapped = RuntimeError(f"{type(error).__name__}: {error}")
        wrapped.__cause__ = error
        return wrapped


def timed_out(seconds: float | None, cause: BaseException | None = None) -> redis.TimeoutError:
    """Return the error of a tenant whose time was up; it tells the last failure before that, if there was one."""
    text = "the deadline passed" if seconds is None else f"not done within {seconds:g} s"
    last = _last_failure(cause)
    error = redis.TimeoutError(text if last is None else f"{text}; before that, {type(last).__name__}: {last}")
    error.__cause__ = cause
    return error


def _last_failure(cause: BaseException | None) -> BaseException | None:
    """Return the first connection error in a chain of causes: what kept the tenant from answering in time."""
    while cause is not None:
        if isinstance(cause, redis.ConnectionError | OSError) and not isinstance(cause, TimeoutError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


class OutcomeCollector:
    """The outcomes so far, and the policy for failures."""

    def __init__(self, policy: ErrorPolicy, work: str) -> None:
        self.policy = policy
        self.outcomes: dict[str, Outcome[Any]] = {}
        self._work = work
        self._each = work == "scan" and logs.wanted("tenant_scanned")

    def settle(self, tenant: str, value: Any, error: Exception | None, seconds: float, restarts: int = 0) -> None:
        """Keep a tenant's outcome.

        Raises:
            Exception: the tenant's error, where the policy is ``raise``.
        """
        if error is not None:
            error = named(error, tenant)
            logs.emit(
                "tenant_failed", tenant=tenant, error=type(error).__name__, seconds=round(seconds, 6), work=self._work
            )
        elif self._each:
            logs.emit("tenant_scanned", tenant=tenant, keys=value, seconds=round(seconds, 6))
        self.outcomes[tenant] = Outcome(value, error, seconds, restarts)
        if error is not None and self.policy == "raise":
            raise error

    @property
    def failed(self) -> Mapping[str, Exception]:
        """The errors, by tenant."""
        return {tenant: outcome.error for tenant, outcome in self.outcomes.items() if outcome.error is not None}

    def finish(self) -> None:
        """Raise what was deferred.

        Raises:
            FanOutError: the policy is ``defer``, and a tenant failed.
        """
        if self.policy == "defer" and (failed := self.failed):
            total = len(self.outcomes)
            raise FanOutError(
                f"{len(failed)} of {total} tenants failed: {_listed(list(failed))}",
                list(failed.values()),
                self.outcomes,
            )


def _listed(tenants: list[str], most: int = 10) -> str:
    more = f" and {len(tenants) - most} more" if len(tenants) > most else ""
    return ", ".join(tenants[:most]) + more
