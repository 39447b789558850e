"""``TenantMiddleware`` for ASGI applications: Starlette, FastAPI, Django, Litestar and others."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import weakref
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from tenantlimpyd import logs
from tenantlimpyd.exceptions import ConfigurationError, InvalidTenantError, UnknownTenantError, shown
from tenantlimpyd.middleware.base import Exempt, RequestPolicy, answered
from tenantlimpyd.middleware.health import LIVE, READY, HealthProbe
from tenantlimpyd.middleware.identify import AsyncIdentify, Request, from_header, from_path, from_subdomain
from tenantlimpyd.middleware.responses import (
    INVALID_TENANT,
    NO_TENANT,
    UNKNOWN_TENANT,
    WEBSOCKET_CLOSE_CODE,
    ErrorResponse,
)
from tenantlimpyd.router import DatabaseRouter
from tenantlimpyd.router.health import Readiness, ReadinessResult

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
    """Runs each HTTP request and websocket inside its tenant, streamed bodies and background tasks included.

    A request that names no tenant, or something that can't be one, is answered with 400; an unknown tenant with 404; with
    a JSON body. A websocket is closed before it is accepted. Everything else a server sends, such as its lifespan, runs
    with no tenant. Inside a request another tenant is refused with ``TenantSwitchError``.

    Args:
        app: the application.
        router: whose tenants they are.
        identify: returns the tenant id of a request: :func:`from_header`, :func:`from_subdomain`, :func:`from_path`, or a
            function of your own, coroutine functions included. It runs with no tenant.
        exempt: requests that need no tenant, such as health checks, and run with none: exact paths, or a function of the
            request.
        allow_switch: whether the application may enter other tenants inside a request.

    Raises:
        ConfigurationError: an argument is wrong.
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
        if not callable(app):
            raise ConfigurationError(f"app must be an ASGI application, not {shown(app)}")
        self._app = app
        self._identify = identify
        self._gate = RequestPolicy(router, identify, exempt, allow_switch=allow_switch)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection, as ASGI has it."""
        with self._gate.nobody():
            if scope["type"] not in {"http", "websocket"}:
                await self._app(scope, receive, send)
                return
            request = _view(scope)
            if self._gate.is_exempt(request):
                await self._app(scope, receive, send)
                return
            scope = {**scope}  # the server's is not ours to change
            async with contextlib.AsyncExitStack() as stack:
                refusal = await self._enter(scope, request, stack)
                if refusal is None:
                    await self._app(_mounted(scope, request), receive, send)
                else:
                    await _refuse(refusal, scope, send)

    async def _enter(self, scope: Scope, request: Request, stack: contextlib.AsyncExitStack) -> ErrorResponse | None:
        # Only what happens here is about the request's tenant. The same errors from the application are its own.
        try:
            answer = self._identify(request)
            tenant = answered(await answer if inspect.isawaitable(answer) else answer)
            if tenant is None:
                return NO_TENANT
            await stack.enter_async_context(self._gate.scope(tenant))
            self._gate.mark(scope, tenant)
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
        router: whose servers are asked: one ``PING`` a server, in :meth:`DatabaseRouter.ahealth`.
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
        app: ASGIApp,
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
            raise ConfigurationError(f"app must be an ASGI application, not {shown(app)}")
        self._app = app
        self._desk = HealthProbe(
            router, ready, live_path=live_path, ready_path=ready_path, timeout=timeout, keep=keep, details=details
        )
        self._asking: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[ReadinessResult]] = (
            weakref.WeakKeyDictionary()
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection, as ASGI has it."""
        path = _split(scope)[1] if scope["type"] == "http" else ""
        if path not in self._desk.paths:
            await self._app(scope, receive, send)
            return
        status, headers, body = self._desk.reply(None if path == self._desk.live_path else await self._result())
        encoded = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers]
        await send({"type": "http.response.start", "status": int(status), "headers": encoded})
        await send({"type": "http.response.body", "body": b"" if scope.get("method") == "HEAD" else body})

    async def _result(self) -> ReadinessResult:
        if (result := self._desk.known()) is not None:
            return result
        loop = asyncio.get_running_loop()
        task = self._asking.get(loop)
        if task is None or task.done():
            task = self._asking[loop] = asyncio.create_task(self._desk.ajudged())
        # Shielded: a caller that goes doesn't take the answer from the others.
        return await asyncio.shield(task)


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


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": WEBSOCKET_CLOSE_CODE})
    else:
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


def _split(scope: Scope) -> tuple[str, str]:
    """Return where the application is mounted, and the path below; some servers leave the former out of the path."""
    root: str = scope.get("root_path", "").rstrip("/")
    path: str = scope["path"]
    return root, path.removeprefix(root) if f"{path}/".startswith(f"{root}/") else path


def _view(scope: Scope) -> Request:
    def values(name: str) -> tuple[str, ...]:
        wanted = name.lower().encode("latin-1")
        return tuple(value.decode("latin-1") for key, value in scope.get("headers", ()) if key.lower() == wanted)

    return Request(_split(scope)[1], scope, values)


def _mounted(scope: Scope, request: Request) -> Scope:
    if not request.mounted:
        return scope
    root, path = _split(scope)
    # The path stays whole: frameworks take root_path off it.
    return {**scope, "root_path": root + request.mounted, "path": root + path}


async def _refuse(refusal: ErrorResponse, scope: Scope, send: Send) -> None:
    logs.emit("request_refused", status=int(refusal.status), reason=refusal.code)
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": WEBSOCKET_CLOSE_CODE, "reason": refusal.code})
        return
    headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in refusal.headers]
    await send({"type": "http.response.start", "status": int(refusal.status), "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope.get("method") == "HEAD" else refusal.body})
