"""``TenantMiddleware`` and ``HealthMiddleware`` for WSGI applications: Flask, Django, Bottle and others."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from tenantlimpyd import logs
from tenantlimpyd.exceptions import ConfigurationError, InvalidTenantError, UnknownTenantError
from tenantlimpyd.middleware.health import BaseHealthMiddleware
from tenantlimpyd.middleware.identify import Identify, Request, from_header, from_path, from_subdomain
from tenantlimpyd.middleware.request_policy import Exempt, RequestPolicy, check_application, identified_tenant
from tenantlimpyd.middleware.responses import INVALID_TENANT, NO_TENANT, UNKNOWN_TENANT, ErrorResponse, JsonResponse
from tenantlimpyd.router import DatabaseRouter
from tenantlimpyd.router.health import Readiness
from tenantlimpyd.router.scope import SuspendedStack

__all__ = [
    "HealthMiddleware",
    "Readiness",
    "TenantMiddleware",
    "WSGIApplication",
    "from_header",
    "from_path",
    "from_subdomain",
    "health_app",
]

_HEADERS_WITHOUT_PREFIX = {"CONTENT_TYPE", "CONTENT_LENGTH"}


class TenantMiddleware:
    """WSGI middleware that runs each request inside its tenant, and the iteration over a streamed body too.

    A request that names no tenant or a malformed one is answered with 400, an unknown tenant with 404, both with a JSON
    body. Entering another tenant inside a request raises ``TenantSwitchError``.

    Args:
        app: the application.
        router: the router that knows the tenants. Its resolver must not be a coroutine function.
        identify: returns the tenant id of a request: :func:`from_header`, :func:`from_subdomain`, :func:`from_path`, or a
            function of your own. It runs with no tenant.
        exempt: the requests that run with no tenant, such as health checks: exact paths, or a predicate of the request.
        allow_switch: whether the application may enter other tenants inside a request.

    Raises:
        ConfigurationError: If an argument has the wrong type or is out of range, or if ``identify`` or the router's resolver
            is a coroutine function.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        router: DatabaseRouter,
        identify: Identify,
        exempt: Exempt = (),
        allow_switch: bool = False,
    ) -> None:
        check_application(app, "a WSGI application")
        self._policy = RequestPolicy(router, identify, exempt, allow_switch=allow_switch)
        for name, given in (
            ("identify", _is_coroutine_function(identify)),
            ("the resolver", router.has_async_resolver),
        ):
            if given:
                raise ConfigurationError(
                    f"{name} is a coroutine function, which WSGI can't await: give a plain function, or use "
                    "tenantlimpyd.middleware.asgi"
                )
        self._app = app
        self._identify = identify

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request, as WSGI specifies."""
        with self._policy.no_tenant(), contextlib.ExitStack() as stack:
            request = _request_of(environ)
            if not self._policy.is_exempt(request):
                refusal = self._enter(environ, request, stack)
                if refusal is not None:
                    return _refuse(refusal, environ, start_response)
                _mount(environ, request)
            body = self._app(environ, start_response)
            # A list is complete, and servers use its length. Anything else may still run code of the application.
            return body if type(body) in {list, tuple} else _StreamedBody(body)

    def _enter(self, environ: WSGIEnvironment, request: Request, stack: contextlib.ExitStack) -> ErrorResponse | None:
        # Errors are turned into responses only here. If the application raises the same errors, they propagate.
        try:
            tenant = identified_tenant(self._identify(request))
            if tenant is None:
                return NO_TENANT
            stack.enter_context(self._policy.tenant(tenant))
            self._policy.record_tenant(environ, tenant)
        except InvalidTenantError:
            return INVALID_TENANT
        except UnknownTenantError:
            return UNKNOWN_TENANT
        return None


class HealthMiddleware(BaseHealthMiddleware[WSGIApplication]):
    """WSGI middleware that answers the liveness probe and the readiness probe of an orchestrator.

    All other requests go to the application. Put it outside of ``TenantMiddleware``, since a probe has no tenant. Responses
    are JSON, with status 200, or 503 if the application is not ready. Liveness depends on no server: an orchestrator must
    not restart a process because a database is unavailable.

    Args:
        app: the application.
        router: the router whose servers are checked, with one ``PING`` for each server, by
            :meth:`DatabaseRouter.health`.
        ready: the readiness policy: ``Readiness.all()``, ``quorum``, ``named`` or ``none``.
        live_path: the path of the liveness probe.
        ready_path: the path of the readiness probe.
        timeout: seconds that each server may take to answer.
        keep: seconds for which a result is cached.
        details: whether responses contain each server's name, state and error class. For closed networks.

    Raises:
        ConfigurationError: If an argument has the wrong type or is out of range.
    """

    _app_kind = "a WSGI application"

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request, as WSGI specifies."""
        path = environ.get("PATH_INFO", "")
        if path == self._live_path:
            return _respond(self._probe.liveness(), environ, start_response)
        if path == self._ready_path:
            return _respond(self._probe.readiness(), environ, start_response)
        return self._app(environ, start_response)


def health_app(router: DatabaseRouter, *, ready: Readiness, **options: Any) -> HealthMiddleware:
    """Return a WSGI application that answers the two probes, and every other request with 404.

    It can be mounted in another application, or served on a port of its own.

    Args:
        router: as for :class:`HealthMiddleware`.
        ready: as for :class:`HealthMiddleware`.
        **options: its further arguments.

    Raises:
        ConfigurationError: If an argument has the wrong type or is out of range.
    """
    return HealthMiddleware(_not_found, router=router, ready=ready, **options)


def _not_found(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:  # noqa: ARG001 - WSGI's signature
    start_response("404 Not Found", [("content-length", "0")])
    return []


class _StreamedBody(Iterator[bytes]):
    """A response body whose iteration and ``close`` run inside the request's tenant; the server's own code does not."""

    def __init__(self, body: Iterable[bytes]) -> None:
        self._body = body
        self._iterator: Iterator[bytes] | None = None
        self._stack = SuspendedStack()

    def __next__(self) -> bytes:
        with self._stack:
            if self._iterator is None:
                self._iterator = iter(self._body)
            return next(self._iterator)

    def close(self) -> None:
        """Close the body if it has a ``close`` method. Servers call this after every request, successful or not."""
        with self._stack:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()


def _is_coroutine_function(function: object) -> bool:
    """Return whether calling ``function`` makes a coroutine, so that only an ASGI application can use it."""
    call = getattr(type(function), "__call__", None)  # noqa: B004 - the method that runs when the object is called
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def _request_of(environ: WSGIEnvironment) -> Request:
    def values(name: str) -> tuple[str, ...]:
        key = name.upper().replace("-", "_")
        value = environ.get(key if key in _HEADERS_WITHOUT_PREFIX else f"HTTP_{key}")
        return () if value is None else (value,)

    path: str = environ.get("PATH_INFO", "")
    return Request(path.encode("latin-1").decode("utf-8", "surrogateescape"), environ, values)


def _mount(environ: WSGIEnvironment, request: Request) -> None:
    if request.mounted:
        part = request.mounted.encode("utf-8", "surrogateescape").decode("latin-1")
        environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "").rstrip("/") + part
        environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix(part)


def _refuse(refusal: ErrorResponse, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    logs.emit("request_refused", status=int(refusal.status), reason=refusal.code)
    return _respond(refusal.as_json(), environ, start_response)


def _respond(response: JsonResponse, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    start_response(f"{response.status.value} {response.status.phrase}", response.headers)
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [response.body]
