"""What both middlewares share: their arguments, checked when they are made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, MutableMapping
from typing import Any, TypeAlias

from tenantlimpyd.exceptions import ConfigurationError, TenantSwitchError, shown
from tenantlimpyd.middleware.identify import Request
from tenantlimpyd.router import DatabaseRouter
from tenantlimpyd.router.scope import TenantScope

__all__ = ["Exempt", "RequestPolicy", "answered", "is_coroutine_function"]

Exempt: TypeAlias = Collection[str] | Callable[[Request], bool]
"""The requests that need no tenant: their exact paths, or a function that says so of a request."""


_MARK = "tenantlimpyd._tenant_ids"


class RequestPolicy:
    """Decides what a request runs under.

    Args:
        router: whose tenants they are.
        identify: asked for each request's tenant.
        exempt: the requests that run with no tenant.
        allow_switch: whether the application may enter other tenants.

    Raises:
        ConfigurationError: an argument is wrong.
    """

    def __init__(
        self,
        router: DatabaseRouter,
        identify: object,
        exempt: Exempt,
        *,
        allow_switch: bool,
    ) -> None:
        if not isinstance(router, DatabaseRouter):
            raise ConfigurationError(f"router must be a DatabaseRouter, not {shown(router)}")
        if not callable(identify):
            raise ConfigurationError(
                f"identify must be a function of a request, such as from_header('X-Tenant-ID'), not {shown(identify)}"
            )
        self._router = router
        self._allow_switch = allow_switch
        self._is_exempt = exempt if callable(exempt) else _among(exempt)

    def is_exempt(self, request: Request) -> bool:
        """Return whether a request runs with no tenant."""
        return self._is_exempt(request)

    def nobody(self) -> TenantScope:
        """Return what every request is wrapped in, so that nothing is left of where the server was started."""
        return self._router.request_scope(None)

    def mark(self, carrier: MutableMapping[str, Any], tenant: str) -> None:
        """Note a request's tenant in its ASGI scope or WSGI environ, for other middlewares of the same router inside.

        Raises:
            TenantSwitchError: one of them, outside, has found another tenant for the very same request.
        """
        entered: dict[int, str] = carrier.get(_MARK, {})
        before = entered.get(id(self._router), tenant)
        if before != tenant and not self._allow_switch:
            raise TenantSwitchError(
                f"the request is tenant {before!r}'s to one middleware, and tenant {tenant!r}'s to another one inside. Let "
                "both identify it in one way, or write allow_switch=True."
            )
        carrier[_MARK] = {**entered, id(self._router): tenant}

    def scope(self, tenant: str) -> TenantScope:
        """Return what a tenant's request is wrapped in.

        Raises:
            InvalidTenantError: not a tenant id.
        """
        return self._router.request_scope(tenant, allow_switch=self._allow_switch)


def _among(paths: Collection[str]) -> Callable[[Request], bool]:
    if isinstance(paths, str | bytes) or not isinstance(paths, Collection):
        raise ConfigurationError(f"exempt must be paths, such as ('/healthz',), or a function, not {shown(paths)}")
    for path in paths:
        if not isinstance(path, str) or not path.startswith("/"):
            raise ConfigurationError(f"a path in exempt begins with a slash, such as '/healthz': {shown(path)} doesn't")
    exact = frozenset(paths)
    return lambda request: request.path in exact


def answered(answer: object) -> str | None:
    """Return what ``identify`` returned.

    Raises:
        TypeError: neither text nor None: the mistake of the application, not of the request.
    """
    if answer is None or isinstance(answer, str):
        return answer
    if inspect.iscoroutine(answer):
        answer.close()
    raise TypeError(f"identify must return a tenant id as text, or None, not {shown(answer)}")


def is_coroutine_function(function: object) -> bool:
    """Return whether calling it makes a coroutine, so that only an ASGI application can use it."""
    call = getattr(type(function), "__call__", None)  # noqa: B004 - what its instances run
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
