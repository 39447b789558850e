"""``TenantMiddleware`` and ``HealthMiddleware`` for ASGI applications: Starlette, FastAPI, Django, Litestar and others."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from tenantlimpyd import logs
from tenantlimpyd.exceptions import InvalidTenantError, UnknownTenantError
from tenantlimpyd.middleware.health import BaseHealthMiddleware
from tenantlimpyd.middleware.identify import AsyncIdentify, Request, from_header, from_path, from_subdomain
from tenantlimpyd.middleware.request_policy import Exempt, RequestPolicy, check_application, identified_tenant
from tenantlimpyd.middleware.responses import (
    INVALID_TENANT,
    NO_TENANT,
    UNKNOWN_TENANT,
    WEBSOCKET_CLOSE_CODE,
    ErrorResponse,
    JsonResponse,
)
from tenantlimpyd.router import DatabaseRouter
from tenantlimpyd.router.health import Readiness

__all__ = [
    "ASGIApp",
    "HealthMiddleware",
    "Readiness",
    "TenantMiddleware",
    "from_header",
    "from_path",
    "from_subdomain",
    "health_app",
]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class TenantMiddleware:
    """ASGI middleware that runs each HTTP request and websocket inside its tenant.

    Streamed bodies and background tasks run inside the tenant too. A request that names no tenant or a malformed one is
    answered with 400, an unknown tenant with 404, both with a JSON body. A websocket is closed before it is accepted. All
    other events of a server, such as its lifespan, run with no tenant. Entering another tenant inside a request raises
    ``TenantSwitchError``.

    Args:
        app: the application.
        router: the router that knows the tenants.
        identify: returns the tenant id of a request: :func:`from_header`, :func:`from_subdomain`, :func:`from_path`, or a
            function of your own, which may be a coroutine function. It runs with no tenant.
        exempt: the requests that run with no tenant, such as health checks: exact paths, or a predicate of the request.
        allow_switch: whether the application may enter other tenants inside a request.

    Raises:
        ConfigurationError: If an argument has the wrong type or is out of range.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        router: DatabaseRouter,
        identify: AsyncIdentify,
        exempt: Exempt = (),
        allow_switch: bool = False,
    ) -> None:
        check_application(app, "an ASGI application")
        self._app = app
        self._identify = identify
        self._policy = RequestPolicy(router, identify, exempt, allow_switch=allow_switch)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection, as ASGI specifies."""
        with self._policy.no_tenant():
            if scope["type"] not in {"http", "websocket"}:
                await self._app(scope, receive, send)
                return
            request = _request_of(scope)
            if self._policy.is_exempt(request):
                await self._app(scope, receive, send)
                return
            scope = {**scope}  # the server's own scope must not change
            async with contextlib.AsyncExitStack() as stack:
                refusal = await self._enter(scope, request, stack)
                if refusal is None:
                    await self._app(_mounted_scope(scope, request), receive, send)
                else:
                    await _refuse(refusal, scope, send)

    async def _enter(self, scope: Scope, request: Request, stack: contextlib.AsyncExitStack) -> ErrorResponse | None:
        # Errors are turned into responses only here. If the application raises the same errors, they propagate.
        try:
            result = self._identify(request)
            tenant = identified_tenant(await result if inspect.isawaitable(result) else result)
            if tenant is None:
                return NO_TENANT
            await stack.enter_async_context(self._policy.tenant(tenant))
            self._policy.record_tenant(scope, tenant)
        except InvalidTenantError:
            return INVALID_TENANT
        except UnknownTenantError:
            return UNKNOWN_TENANT
        return None


class HealthMiddleware(BaseHealthMiddleware[ASGIApp]):
    """ASGI middleware that answers the liveness probe and the readiness probe of an orchestrator.

    All other requests go to the application. Put it outside of ``TenantMiddleware``, since a probe has no tenant. Responses
    are JSON, with status 200, or 503 if the application is not ready. Liveness depends on no server: an orchestrator must
    not restart a process because a database is unavailable.

    Args:
        app: the application.
        router: the router whose servers are checked, with one ``PING`` for each server, by
            :meth:`DatabaseRouter.ahealth`.
        ready: the readiness policy: ``Readiness.all()``, ``quorum``, ``named`` or ``none``.
        live_path: the path of the liveness probe.
        ready_path: the path of the readiness probe.
        timeout: seconds that each server may take to answer.
        keep: seconds for which a result is cached.
        details: whether responses contain each server's name, state and error class. For closed networks.

    Raises:
        ConfigurationError: If an argument has the wrong type or is out of range.
    """

    _app_kind = "an ASGI application"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection, as ASGI specifies."""
        path = _split_path(scope)[1] if scope["type"] == "http" else ""
        if path == self._live_path:
            await _respond(self._probe.liveness(), scope, send)
        elif path == self._ready_path:
            await _respond(await self._probe.areadiness(), scope, send)
        else:
            await self._app(scope, receive, send)


def health_app(router: DatabaseRouter, *, ready: Readiness, **options: Any) -> HealthMiddleware:
    """Return an ASGI application that answers the two probes, and every other request with 404.

    It can be mounted in another application, or served on a port of its own.

    Args:
        router: as for :class:`HealthMiddleware`.
        ready: as for :class:`HealthMiddleware`.
        **options: its further arguments.

    Raises:
        ConfigurationError: If an argument has the wrong type or is out of range.
    """
    return HealthMiddleware(_not_found, router=router, ready=ready, **options)


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": WEBSOCKET_CLOSE_CODE})
    else:
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


def _split_path(scope: Scope) -> tuple[str, str]:
    """Return the path at which the application is mounted, and the path below it.

    Some servers leave the mount point out of ``path``.
    """
    root: str = scope.get("root_path", "").rstrip("/")
    path: str = scope["path"]
    return root, path.removeprefix(root) if f"{path}/".startswith(f"{root}/") else path


def _request_of(scope: Scope) -> Request:
    def values(name: str) -> tuple[str, ...]:
        wanted = name.lower().encode("latin-1")
        return tuple(value.decode("latin-1") for key, value in scope.get("headers", ()) if key.lower() == wanted)

    return Request(_split_path(scope)[1], scope, values)


def _mounted_scope(scope: Scope, request: Request) -> Scope:
    if not request.mounted:
        return scope
    root, path = _split_path(scope)
    # `path` keeps the mount point: frameworks remove root_path from it.
    return {**scope, "root_path": root + request.mounted, "path": root + path}


async def _refuse(refusal: ErrorResponse, scope: Scope, send: Send) -> None:
    logs.emit("request_refused", status=int(refusal.status), reason=refusal.code)
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": WEBSOCKET_CLOSE_CODE, "reason": refusal.code})
    else:
        await _respond(refusal.as_json(), scope, send)


async def _respond(response: JsonResponse, scope: Scope, send: Send) -> None:
    headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in response.headers]
    await send({"type": "http.response.start", "status": int(response.status), "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope.get("method") == "HEAD" else response.body})
