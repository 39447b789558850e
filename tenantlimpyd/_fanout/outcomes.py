"""Jobs and outcomes: the work for each tenant, its result, and the policy for failures."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

import attrs
import redis

from tenantlimpyd import logs
from tenantlimpyd._connections.database_clients import DatabaseClients
from tenantlimpyd._connections.endpoint import Endpoint
from tenantlimpyd.database.key_scan import check_not_repointed, clients_of
from tenantlimpyd.exceptions import FanOutError, ScanInterruptedError, shown

if TYPE_CHECKING:
    from tenantlimpyd.database import RedisDatabase

__all__ = [
    "ErrorPolicy",
    "Job",
    "JobResult",
    "Outcome",
    "OutcomeCollector",
    "check_still_valid",
    "checked_policy",
    "checked_seconds",
    "grouped",
    "timed_out",
    "with_tenant",
]

T = TypeVar("T")

ErrorPolicy: TypeAlias = Literal["defer", "raise", "collect"]
"""``defer``: finish all tenants, then raise FanOutError. ``raise``: stop at the first failure. ``collect``: never raise."""

_POLICIES = ("defer", "raise", "collect")
_MAX_SECONDS = 10**9
"""Some 30 years. Operating systems refuse much longer waits."""
_TENANT_NOTE = "tenant: "


@attrs.frozen
class Outcome(Generic[T]):
    """The outcome of one tenant.

    Attributes:
        value: the result; for a scan, the number of delivered keys. None after a failure.
        error: the exception, with the tenant's id in its attribute ``tenant``; None after success.
        seconds: the time it took. The time of a request that several tenants share counts for each of them.
        restarts: how often the scan of the database started again, because the server or its role had changed. Keys may have
            been delivered twice.
    """

    value: T | None
    error: Exception | None
    seconds: float
    restarts: int = 0

    @property
    def ok(self) -> bool:
        """Whether the tenant succeeded."""
        return self.error is None

    @property
    def interrupted(self) -> bool:
        """Whether a scan lost its position in this tenant's keys and could not start again."""
        return isinstance(self.error, ScanInterruptedError)


@attrs.frozen(eq=False)
class Job:
    """The work for one tenant.

    Attributes:
        tenant: the tenant id.
        database: the tenant's database at the time of the call.
        check_still_valid: called with ``placement``; raises if the tenant was removed.
        placement: the tenant's placement in the router.
        clients: the database's clients at the time of the call.
    """

    tenant: str
    database: RedisDatabase
    check_still_valid: Callable[[Any], None] = lambda _placement: None
    placement: Any = None
    clients: DatabaseClients = attrs.field(
        default=attrs.Factory(lambda self: clients_of(self.database), takes_self=True), repr=False
    )

    def check(self) -> None:
        """Raise if the tenant was removed.

        Raises:
            UnknownTenantError: If it was removed.
        """
        self.check_still_valid(self.placement)

    @property
    def server(self) -> str:
        """The identity of the server, by which jobs are grouped: one for all names of a server."""
        return self.clients.server.identity


def check_still_valid(job: Job) -> None:
    """Raise if the keys of a job may belong to another tenant by now.

    Raises:
        UnknownTenantError: If the tenant was removed.
        redis.ConnectionError: If its database was closed or connected elsewhere.
    """
    job.check()
    if job.clients.retired:
        check_not_repointed(job.database, job.clients)


def grouped(jobs: Iterable[Job]) -> dict[Endpoint, list[Job]]:
    """Return jobs grouped by endpoint: those of a group share connections."""
    groups: dict[Endpoint, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.clients.server, []).append(job)
    return groups


@attrs.frozen
class JobResult:
    """The result of a finished job: a value or an error, and the seconds it took."""

    job: Any
    value: Any
    error: Exception | None
    seconds: float


def checked_policy(on_error: object) -> ErrorPolicy:
    """Return a valid policy.

    Raises:
        ValueError: If there is no such policy.
    """
    if on_error not in _POLICIES:
        raise ValueError(f"on_error must be one of {', '.join(map(repr, _POLICIES))}, not {shown(on_error)}")
    return on_error  # type: ignore[return-value]


def checked_seconds(timeout: object) -> float | None:
    """Return a valid time limit in seconds.

    Raises:
        TypeError: If it is neither a number nor None.
        ValueError: If it is not positive, or too large for a clock.
    """
    if timeout is None:
        return None
    if not isinstance(timeout, int | float) or isinstance(timeout, bool):
        raise TypeError(f"timeout must be a number of seconds, or None, not {shown(timeout)}")
    if not timeout > 0:
        raise ValueError(f"timeout must be more than 0 seconds, not {timeout}")
    if timeout != math.inf and timeout > _MAX_SECONDS:
        raise ValueError(
            f"timeout must be at most {_MAX_SECONDS} seconds, not {shown(timeout)}. For no limit, write None"
        )
    return float(timeout)


def with_tenant(error: Exception, tenant: str) -> Exception:
    """Return an error that names its tenant: a copy if the same object already names another tenant. Never raise."""
    note = f"{_TENANT_NOTE}{tenant}"
    with contextlib.suppress(Exception):  # an application's class may do anything
        others = [
            each for each in getattr(error, "__notes__", ()) if str(each).startswith(_TENANT_NOTE) and each != note
        ]
        if others or getattr(error, "tenant", tenant) != tenant:
            error = _copied(error)
    with contextlib.suppress(Exception):  # an exception with slots has only the note
        error.tenant = tenant  # type: ignore[attr-defined]
    with contextlib.suppress(Exception):
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
    return error


def _copied(error: Exception) -> Exception:
    try:
        copied = copy.copy(error)
        notes = [note for note in getattr(error, "__notes__", ()) if not str(note).startswith(_TENANT_NOTE)]
        if hasattr(copied, "__notes__"):
            copied.__notes__ = notes  # a shallow copy shares the list
        copied.__cause__, copied.__context__ = error.__cause__, error.__context__
        copied.__suppress_context__ = error.__suppress_context__
        return copied.with_traceback(error.__traceback__)
    except Exception:  # noqa: BLE001 - an application's class that can't be copied
        wrapped = RuntimeError(f"{type(error).__name__}: {error}")
        wrapped.__cause__ = error
        return wrapped


def timed_out(seconds: float | None, cause: BaseException | None = None) -> redis.TimeoutError:
    """Return the error of a tenant that exceeded its time limit, with the last failure before that."""
    text = "the deadline passed" if seconds is None else f"not finished within {seconds:g} s"
    last = _last_failure(cause)
    error = redis.TimeoutError(text if last is None else f"{text}; before that, {type(last).__name__}: {last}")
    error.__cause__ = cause
    return error


def _last_failure(cause: BaseException | None) -> BaseException | None:
    """Return the first connection error in a chain of causes."""
    while cause is not None:
        if isinstance(cause, redis.ConnectionError | OSError) and not isinstance(cause, TimeoutError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


class OutcomeCollector:
    """Collects outcomes and applies the policy for failures."""

    def __init__(self, policy: ErrorPolicy, work: str) -> None:
        self.policy = policy
        self.outcomes: dict[str, Outcome[Any]] = {}
        self._work = work
        self._each = work == "scan" and logs.is_enabled("tenant_scanned")

    def settle(self, tenant: str, value: Any, error: Exception | None, seconds: float, restarts: int = 0) -> None:
        """Record the outcome of a tenant.

        Raises:
            Exception: If it failed and the policy is ``raise``: the tenant's error.
        """
        if error is not None:
            error = with_tenant(error, tenant)
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
        """The errors by tenant."""
        return {tenant: outcome.error for tenant, outcome in self.outcomes.items() if outcome.error is not None}

    def finish(self) -> None:
        """Raise deferred failures.

        Raises:
            FanOutError: If a tenant failed and the policy is ``defer``.
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
