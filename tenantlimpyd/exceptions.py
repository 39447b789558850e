"""Every error tenantlimpyd raises.

::

    LimpydException
    ├── ImplementationError        a model, field or query is written wrongly
    │   └── UnsupportedCommandError  the server is too old for a command; also a redis.ResponseError
    ├── UniquenessError            a value or pk that must be unique is taken
    ├── DoesNotExist               no such object
    ├── ConfigurationError         settings or a configuration file are wrong
    ├── TenantError
    │   ├── NoTenantError          no tenant is current
    │   ├── UnknownTenantError     the router has no such tenant
    │   ├── InvalidTenantError     not a tenant id at all
    │   ├── WrongTenantError       an object of one tenant used under another
    │   ├── TenantSwitchError      a second tenant inside one request
    │   └── SharedKeyspaceError    two tenants would share a keyspace
    ├── ServerUnavailableError     a redis.ConnectionError: the circuit breaker of its server is open
    ├── FanOutError                an ExceptionGroup: what failed, tenant by tenant
    └── ScanInterruptedError       a scan lost its position; also a redis.ConnectionError

Errors of redis-py are not wrapped: they pass through as they are. ``ServerUnavailableError`` is one of them too. All of
these errors pickle, so that a worker can send them to its caller.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import DataError, RedisError, ResponseError  # here for modules that know nothing else of redis-py

__all__ = [
    "ConfigurationError",
    "DataError",
    "DoesNotExist",
    "FanOutError",
    "ImplementationError",
    "InvalidTenantError",
    "LimpydException",
    "NoTenantError",
    "RedisError",
    "ResponseError",
    "ScanInterruptedError",
    "ServerUnavailableError",
    "SharedKeyspaceError",
    "TenantError",
    "TenantSwitchError",
    "UniquenessError",
    "UnknownTenantError",
    "UnsupportedCommandError",
    "WrongTenantError",
    "shown",
]

_SHOWN_CHARACTERS = 60


def shown(value: object) -> str:
    """Return ``value`` as it may stand in a message: escaped, in quotes, and cut short when it is long.

    Args:
        value: anything a caller gave, however large or hostile.

    Returns:
        Printable ASCII of at most about a hundred characters. Values that are neither text nor numbers are shown by
        their type alone, since their repr could hold a secret.
    """
    if isinstance(value, int) and value.bit_length() > 128:  # Python refuses to write out very long ones
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, bool | int | float) or value is None:
        return repr(value)[:_SHOWN_CHARACTERS]
    if not isinstance(value, str | bytes):
        return f"a {type(value).__name__}"
    head = value[:_SHOWN_CHARACTERS]
    if len(ascii(head)) > 2 * _SHOWN_CHARACTERS:  # an escape has up to ten characters
        head = value[: _SHOWN_CHARACTERS // 5]
    if len(value) <= len(head):
        return ascii(head)
    unit = "characters" if isinstance(value, str) else "bytes"
    return f"{head!a}... ({len(value)} {unit})"


class LimpydException(Exception):  # noqa: N818 - limpyd's name
    """The base of every error of this library."""


class ImplementationError(LimpydException):
    """A model, a field, an index or a query is written wrongly."""


class UniquenessError(LimpydException):
    """A value of a unique field, or a pk, already belongs to another object. Nothing was written."""


class DoesNotExist(LimpydException):
    """The object asked for is not in the database."""


class ConfigurationError(LimpydException):
    """Settings, or a configuration file, are wrong.

    Attributes:
        problems: one sentence for each mistake found; all of them, not only the first.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return self.problems[0]
        return f"{len(self.problems)} mistakes:\n" + "\n".join(f"- {problem}" for problem in self.problems)


class UnsupportedCommandError(ImplementationError, ResponseError):
    """The server doesn't have a command that a method needs. Nothing was changed.

    ``except redis.ResponseError`` catches it too.
    """


class ScanInterruptedError(LimpydException, RedisConnectionError):
    """A scan lost its position in a tenant's database and could not begin again: keys of it may be missing.

    ``except redis.ConnectionError`` catches it too.
    """


class TenantError(LimpydException):
    """The base of errors about tenants."""


class NoTenantError(TenantError):
    """A router was asked for a database while no tenant is current in this context."""


class _NamedTenantError(TenantError):
    """An error about one tenant id, kept in ``tenant``."""

    def __init__(self, message: str, tenant: object = None) -> None:
        super().__init__(message, tenant)
        self.tenant = tenant

    def __str__(self) -> str:
        return str(self.args[0])


class UnknownTenantError(_NamedTenantError):
    """The id is well formed, but the router has no such tenant.

    Attributes:
        tenant: the id that was asked for.
    """


class InvalidTenantError(_NamedTenantError):
    """What was given can't be a tenant id. Raised before any look-up.

    Attributes:
        tenant: what was given, cut short and escaped.
    """


class WrongTenantError(TenantError):
    """An object made for one tenant was used, or linked, while another tenant of the same router is current."""


class TenantSwitchError(TenantError):
    """Another tenant was entered inside a request that already has one."""


class SharedKeyspaceError(TenantError):
    """Two tenants would share keys: the same server and database, and prefixes that overlap."""


class ServerUnavailableError(RedisConnectionError, LimpydException):
    """A server that failed some times in a row is not asked for a while. Nothing was sent: trying again later is safe.

    Attributes:
        server: ``host:port``, the path of a unix socket, or the master and its sentinels.
        retry_in: seconds until an attempt may go out.
    """

    def __init__(self, message: str, server: str = "", retry_in: float = 0.0) -> None:
        super().__init__(message, server, retry_in)
        self.server = server
        self.retry_in = retry_in

    def __str__(self) -> str:
        return str(self.args[0])


def _sendable(outcome: Any) -> Any:
    """Return an outcome as it can be pickled: a tenant's value may be anything, a client too."""
    try:
        pickle.dumps(outcome.value)
    except Exception:  # noqa: BLE001 - whatever its reduction raises: it must not keep the error from being sent
        return attrs.evolve(outcome, value=None)
    return outcome


class FanOutError(ExceptionGroup[Exception], LimpydException):
    """Some tenants failed; the others finished.

    Attributes:
        exceptions: the errors as they were raised, each with the tenant's id in its attribute ``tenant``.
        outcomes: tenant id to :class:`~tenantlimpyd.Outcome`, for all tenants, healthy ones included. A value that
            can't be pickled is None once the error has been.
    """

    outcomes: Mapping[str, Any]

    def __new__(cls, message: str, exceptions: Sequence[Exception], outcomes: Mapping[str, Any] | None = None) -> Self:
        """Make the group."""
        self = super().__new__(cls, message, exceptions)
        self.outcomes = dict(outcomes or {})
        return self

    def __init__(
        self, message: str, exceptions: Sequence[Exception], outcomes: Mapping[str, Any] | None = None
    ) -> None:
        del outcomes  # kept by __new__
        super().__init__(message, exceptions)

    def derive(self, excs: Sequence[Exception]) -> FanOutError:  # type: ignore[override]
        """Return a group of some of the errors, for ``except*``."""
        return FanOutError(self.message, excs, self.outcomes)

    def __reduce__(self) -> tuple[Any, ...]:
        outcomes = {tenant: _sendable(outcome) for tenant, outcome in self.outcomes.items()}
        return (
            type(self),
            (self.message, list(self.exceptions), outcomes),
            {"__notes__": getattr(self, "__notes__", [])},
        )
