"""The errors that tenantlimpyd raises.

::

    LimpydException
    ├── ImplementationError          a model, field, index or query is defined wrongly
    │   └── UnsupportedCommandError  the server lacks a command; a redis.ResponseError
    ├── UniquenessError              a pk or unique value belongs to another object
    ├── DoesNotExist                 there is no such object
    ├── ConfigurationError           settings, a configuration file or arguments are invalid
    ├── TenantError
    │   ├── NoTenantError            no tenant is current
    │   ├── UnknownTenantError       the router does not know the tenant
    │   ├── InvalidTenantError       the value can't be a tenant id
    │   ├── WrongTenantError         an object of one tenant is used under another tenant
    │   ├── TenantSwitchError        another tenant is entered inside a request
    │   └── SharedKeyspaceError      two tenants would share a keyspace
    ├── ServerUnavailableError       a circuit breaker is open; a redis.ConnectionError
    ├── FanOutError                  work failed for some tenants; an ExceptionGroup
    └── ScanInterruptedError         a scan lost its position; a redis.ConnectionError

Errors of redis-py are not wrapped. All of these errors can be pickled, so that a worker can send them to its caller.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import (
    DataError,
    RedisError,
    ResponseError,
)  # exported for modules that import nothing else of redis-py

__all__ = [
    "UNKNOWN_OUTCOME",
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
    """Return ``value`` as text for a message: escaped, in quotes, and truncated if it is long.

    Args:
        value: any value of a caller, however large or hostile.

    Returns:
        Printable ASCII of at most about a hundred characters. For values that are neither text nor numbers only their type,
        because their repr could contain a secret.
    """
    if isinstance(value, int) and value.bit_length() > 128:  # Python refuses to format very large integers
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


UNKNOWN_OUTCOME = (
    "The outcome is unknown: the command was sent and its reply was lost, so the server may have executed it. It was not sent "
    "again."
)
"""The note of redis-py's errors after a command that must not be repeated."""


class LimpydException(Exception):  # noqa: N818 - limpyd's name
    """The base class of all errors of this library."""


class ImplementationError(LimpydException):
    """Raised if a model, field, index or query is defined wrongly."""


class UniquenessError(LimpydException):
    """Raised if a pk, or the value of a unique field, already belongs to another object. Nothing was written."""


class DoesNotExist(LimpydException):
    """Raised if there is no object with the given pk or values."""


class ConfigurationError(LimpydException):
    """Raised if settings, a configuration file, or arguments of a router or middleware are invalid.

    Attributes:
        problems: one sentence for each mistake, all of them and not only the first.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return self.problems[0]
        return f"{len(self.problems)} mistakes:\n" + "\n".join(f"- {problem}" for problem in self.problems)


class UnsupportedCommandError(ImplementationError, ResponseError):
    """Raised if the server does not have the command that a method needs. Nothing was changed.

    ``except redis.ResponseError`` catches it too.
    """


class ScanInterruptedError(LimpydException, RedisConnectionError):
    """Raised if a scan lost its position in a tenant's database and could not begin again: keys may be missing.

    ``except redis.ConnectionError`` catches it too.
    """


class TenantError(LimpydException):
    """The base class of errors about tenants."""


class NoTenantError(TenantError):
    """Raised if a routed model, or the database of a router, is used while no tenant is current in this context."""


class _NamedTenantError(TenantError):
    """The base class of errors about one tenant id, which is in ``tenant``."""

    def __init__(self, message: str, tenant: object = None) -> None:
        super().__init__(message, tenant)
        self.tenant = tenant

    def __str__(self) -> str:
        return str(self.args[0])


class UnknownTenantError(_NamedTenantError):
    """Raised if neither the router nor its resolver knows the tenant.

    Attributes:
        tenant: the id that was looked up.
    """


class InvalidTenantError(_NamedTenantError):
    """Raised if a value can't be a tenant id, before any look-up.

    Attributes:
        tenant: the value, escaped and truncated.
    """


class WrongTenantError(TenantError):
    """Raised if an object of one tenant is used, or linked, while another tenant of the same router is current."""


class TenantSwitchError(TenantError):
    """Raised if another tenant is entered inside a request that already has one."""


class SharedKeyspaceError(TenantError):
    """Raised if two tenants would share keys: the same server and database number, and prefixes that overlap."""


class ServerUnavailableError(RedisConnectionError, LimpydException):
    """Raised if the circuit breaker of a server is open. The command was not sent, so it is safe to try again later.

    Attributes:
        server: ``host:port``, the path of a unix socket, or the master and its sentinels.
        retry_in: seconds until the next attempt is admitted.
    """

    def __init__(self, message: str, server: str = "", retry_in: float = 0.0) -> None:
        super().__init__(message, server, retry_in)
        self.server = server
        self.retry_in = retry_in

    def __str__(self) -> str:
        return str(self.args[0])


def _picklable(outcome: Any) -> Any:
    """Return an outcome without its value if the value, which may be a client for example, can't be pickled."""
    try:
        pickle.dumps(outcome.value)
    except Exception:  # noqa: BLE001 - a value may raise anything, and the error itself must still be pickled
        return attrs.evolve(outcome, value=None)
    return outcome


class FanOutError(ExceptionGroup[Exception], LimpydException):
    """Raised if work for many tenants failed for some of them. The work for the other tenants is done.

    Attributes:
        exceptions: the errors as they were raised, each with the tenant's id in its attribute ``tenant``.
        outcomes: tenant id to :class:`~tenantlimpyd.Outcome`, for all tenants. After pickling, values that can't be pickled
            are None.
    """

    outcomes: Mapping[str, Any]

    def __new__(cls, message: str, exceptions: Sequence[Exception], outcomes: Mapping[str, Any] | None = None) -> Self:
        """Make the group and keep the outcomes."""
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
        outcomes = {tenant: _picklable(outcome) for tenant, outcome in self.outcomes.items()}
        return (
            type(self),
            (self.message, list(self.exceptions), outcomes),
            {"__notes__": getattr(self, "__notes__", [])},
        )
