"""``TenantMiddleware`` for WSGI applications: Flask, Django, Bottle and others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from tenantlimpyd import logs
from tenantlimpyd.exceptions import ConfigurationError, InvalidTenantError, UnknownTenantError, shown
from tenantlimpyd.middleware.base import Exempt, RequestPolicy, answered, is_coroutine_function
from tenantlimpyd.middleware.health import LIVE, READY, HealthProbe
from tenantlimpyd.middleware.identify import Identify, Request, from_header, from_path, from_subdomain
from tenantlimpyd.middleware.responses import INVALID_TENANT, NO_TENANT, UNKNOWN_TENANT, ErrorResponse
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

_WITHOUT_PREFIX = {"CONTENT_TYPE", "CONTENT_LENGTH"}


class TenantMiddleware:
    """Runs each request inside its tenant, and the iteration over a streamed body too.

    A request that names no tenant, or something that can't be one, is answered with 400; an unknown tenant with 404; with
    a JSON body. Inside a request another tenant is refused with ``TenantSwitchError``.

    Args:
        app: the application.
        router: whose tenants they are. Its resolver must not be a coroutine function.
        identify: returns the tenant id of a request: :func:`from_header`, :func:`from_subdomain`, :func:`from_path`, or a
            function of your own. It runs with no tenant.
        exempt: requests that need no tenant, such as health checks, and run with none: exact paths, or a function of the
            request.
        allow_switch: whether the application may enter other tenants inside a request.

    Raises:
        ConfigurationError: an argument is wrong.
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
        if not callable(app):
            raise ConfigurationError(f"app must be a WSGI application, not {shown(app)}")
        self._gate = RequestPolicy(router, identify, exempt, allow_switch=allow_switch)
        for name, given in (("identify", is_coroutine_function(identify)), ("the resolver", router._resolving.awaits)):
            if given:
                raise ConfigurationError(
                    f"{name} is a coroutine function, which WSGI can't await: give a plain function, or use "
                    "tenantlimpyd.middleware.asgi"
                )
        self._app = app
        self._identify = identify

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request, as WSGI has it."""
        with self._gate.nobody(), contextlib.ExitStack() as stack:
            request = _view(environ)
            if not self._gate.is_exempt(request):
                refusal = self._enter(environ, request, stack)
                if refusal is not None:
                    return _refuse(refusal, environ, start_response)
                _mount(environ, request)
            body = self._app(environ, start_response)
            # A list is complete, and servers look at its length. Anything else could still run code of the application.
            return body if type(body) in {list, tuple} else _Streamed(body)

    def _enter(self, environ: WSGIEnvironment, request: Request, stack: contextlib.ExitStack) -> ErrorResponse | None:
        # Only what happens here is about the request's tenant. The same errors from the application are its own.
        try:
            tenant = answered(self._identify(request))
            if tenant is None:
                return NO_TENANT
            stack.enter_context(self._gate.scope(tenant))
            self._gate.mark(environ, tenant)
        except InvalidTenantError:
            return INVALID_TENANT
        except UnknownTenantError:
            return UNKNOWN_TENANT
        return None


class HealthMiddleware:
    """Answers whether the process lives, and whether it should get requests; everything else goes to the application.

    Put it outside of ``TenantMiddleware``: who asks has no tenant. Replies are JSON, with 200, or 503 where it is not ready.
    Liveness depends on no server: an orchestrator must not restart a process because a database is away.

    Args:
        app: the application.
        router: whose servers are asked: one ``PING`` a server, in :meth:`DatabaseRouter.health`.
        ready: how much has to be well: ``Readiness.all()``, ``quorum``, ``named`` or ``none``.
        live_path: where to ask whether the process lives.
        ready_path: where to ask whether it is ready.
        timeout: seconds for each server.
        keep: seconds for which a result is good, however often it is asked for.
        details: whether replies tell of each server: its name, state and error class. For closed networks.

    Raises:
        ConfigurationError: an argument is wrong.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        router: DatabaseRouter,
        ready: Readiness,
        live_path: str = LIVE,
        ready_path: str = READY,
        timeout: float = 2.0,
        keep: float = 1.0,
        details: bool = False,
    ) -> None:
        if not callable(app):
            raise ConfigurationError(f"app must be a WSGI application, not {shown(app)}")
        self._app = app
        self._desk = HealthProbe(
            router, ready, live_path=live_path, ready_path=ready_path, timeout=timeout, keep=keep, details=details
        )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request, as WSGI has it."""
        path = environ.get("PATH_INFO", "")
        if path not in self._desk.paths:
            return self._app(environ, start_response)
        result = None if path == self._desk.live_path else self._desk.known() or self._desk.judged()
        status, headers, body = self._desk.reply(result)
        start_response(f"{status.value} {status.phrase}", headers)
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]


def health_app(router: DatabaseRouter, *, ready: Readiness, **options: Any) -> HealthMiddleware:
    """Return an application that answers the two questions, and everything else with 404; to be mounted or served alone.

    Args:
        router: as for :class:`HealthMiddleware`.
        ready: as for :class:`HealthMiddleware`.
        **options: its further arguments.

    Raises:
        ConfigurationError: an argument is wrong.
    """
    return HealthMiddleware(_nothing, router=router, ready=ready, **options)


def _nothing(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:  # noqa: ARG001 - WSGI's
    start_response("404 Not Found", [("content-length", "0")])
    return []


class _Streamed(Iterator[bytes]):
    """A body whose steps, and whose end, run inside the tenant it was made in; the server between them doesn't."""

    def __init__(self, body: Iterable[bytes]) -> None:
        self._body = body
        self._steps: Iterator[bytes] | None = None
        self._stack = SuspendedStack()

    def __next__(self) -> bytes:
        with self._stack:
            if self._steps is None:
                self._steps = iter(self._body)
            return next(self._steps)

    def close(self) -> None:
        """Close the body, if it can be closed; servers call this when they are done, whatever happened."""
        with self._stack:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()


def _view(environ: WSGIEnvironment) -> Request:
    def values(name: str) -> tuple[str, ...]:
        key = name.upper().replace("-", "_")
        value = environ.get(key if key in _WITHOUT_PREFIX else f"HTTP_{key}")
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
    start_response(f"{refusal.status.value} {refusal.status.phrase}", refusal.headers)
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [refusal.body]
