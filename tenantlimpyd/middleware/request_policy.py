"""The policy that the ASGI and the WSGI middleware apply to a request: exempt paths, tenant scopes, validated arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, MutableMapping
from typing import Any, TypeAlias

from tenantlimpyd.exceptions import ConfigurationError, TenantSwitchError, shown
from tenantlimpyd.middleware.identify import Request
from tenantlimpyd.router import DatabaseRouter
from tenantlimpyd.router.scope import TenantScope

__all__ = ["Exempt", "RequestPolicy", "check_application", "check_router", "identified_tenant"]

Exempt: TypeAlias = Collection[str] | Callable[[Request], bool]
"""The requests that need no tenant: their exact paths, or a predicate of the request."""

_ENTERED_KEY = "tenantlimpyd.entered_tenants"
"""The key of the ASGI scope or WSGI environ that holds the request's tenant by router."""


class RequestPolicy:
    """Decides which tenant scope a request runs in.

    Args:
        router: the router that knows the tenants.
        identify: the function that returns the tenant id of a request; only checked here.
        exempt: the requests that run with no tenant.
        allow_switch: whether the application may enter other tenants inside a request.

    Raises:
        ConfigurationError: If an argument has the wrong type or is out of range.
    """

    def __init__(self, router: DatabaseRouter, identify: object, exempt: Exempt, *, allow_switch: bool) -> None:
        check_router(router)
        if not callable(identify):
            raise ConfigurationError(
                f"identify must be a function of a request, such as from_header('X-Tenant-ID'), not {shown(identify)}"
            )
        self._router = router
        self._allow_switch = allow_switch
        self._is_exempt = exempt if callable(exempt) else _path_predicate(exempt)

    def is_exempt(self, request: Request) -> bool:
        """Return whether a request runs with no tenant."""
        return self._is_exempt(request)

    def no_tenant(self) -> TenantScope:
        """Return the scope around every request, so that the tenant in which the server was started is not current."""
        return self._router._request_scope(None)

    def tenant(self, tenant: str) -> TenantScope:
        """Return the scope of a request's tenant.

        Raises:
            InvalidTenantError: If the text is not a tenant id.
        """
        return self._router._request_scope(tenant, allow_switch=self._allow_switch)

    def record_tenant(self, carrier: MutableMapping[str, Any], tenant: str) -> None:
        """Record the tenant of a request in its ASGI scope or WSGI environ, for other middleware of the same router.

        Args:
            carrier: the ASGI scope or WSGI environ of the request.
            tenant: the tenant that this middleware found.

        Raises:
            TenantSwitchError: If an outer middleware found another tenant for the same request.
        """
        entered: dict[int, str] = carrier.get(_ENTERED_KEY, {})
        before = entered.get(id(self._router), tenant)
        if before != tenant and not self._allow_switch:
            raise TenantSwitchError(
                f"one middleware found tenant {before!r} for the request, and another middleware inside it found tenant "
                f"{tenant!r}. Let both identify the tenant in one way, or write allow_switch=True."
            )
        carrier[_ENTERED_KEY] = {**entered, id(self._router): tenant}


def check_application(app: object, expected: str) -> None:
    """Check the application that a middleware wraps.

    Args:
        app: the application.
        expected: ``"an ASGI application"`` or ``"a WSGI application"``, for the message.

    Raises:
        ConfigurationError: If the application is not callable.
    """
    if not callable(app):
        raise ConfigurationError(f"app must be {expected}, not {shown(app)}")


def check_router(router: object) -> None:
    """Check the router of a middleware.

    Raises:
        ConfigurationError: If it is not a ``DatabaseRouter``.
    """
    if not isinstance(router, DatabaseRouter):
        raise ConfigurationError(f"router must be a DatabaseRouter, not {shown(router)}")


def identified_tenant(result: object) -> str | None:
    """Return the result of an ``identify`` function after checking its type.

    Raises:
        TypeError: If the result is neither text nor None. This is a mistake of the application, not of the client.
    """
    if result is None or isinstance(result, str):
        return result
    if inspect.iscoroutine(result):
        result.close()
    raise TypeError(f"identify must return a tenant id as text, or None, not {shown(result)}")


def _path_predicate(paths: Collection[str]) -> Callable[[Request], bool]:
    if isinstance(paths, str | bytes) or not isinstance(paths, Collection):
        raise ConfigurationError(f"exempt must be paths, such as ('/healthz',), or a function, not {shown(paths)}")
    for path in paths:
        if not isinstance(path, str) or not path.startswith("/"):
            raise ConfigurationError(f"a path in exempt begins with a slash, such as '/healthz': {shown(path)} doesn't")
    exact = frozenset(paths)
    return lambda request: request.path in exact
