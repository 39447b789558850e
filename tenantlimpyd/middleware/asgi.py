"""``TenantMiddleware`` for ASGI applications: Starlette, FastAPI, Django, Litestar and others."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from tenantlimpyd import logs
from tenantlimpyd.exceptions import ConfigurationError, InvalidTenantError, UnknownTenantError, shown
from tenantlimpyd.middleware.base import Exempt, Gate, answered
from tenantlimpyd.middleware.identify import AsyncIdentify, Request, from_header, from_path, from_subdomain
from tenantlimpyd.middleware.replies import (
    INVALID_TENANT,
    NO_TENANT,
    UNKNOWN_TENANT,
    WEBSOCKET_CLOSE_CODE,
    Refusal,
)
from tenantlimpyd.router import DatabaseRouter

__all__ = ["ASGIApp", "TenantMiddleware", "from_header", "from_path", "from_subdomain"]

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
        self._gate = Gate(router, identify, exempt, allow_switch=allow_switch)

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

    async def _enter(self, scope: Scope, request: Request, stack: contextlib.AsyncExitStack) -> Refusal | None:
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


async def _refuse(refusal: Refusal, scope: Scope, send: Send) -> None:
    logs.emit("request_refused", status=int(refusal.status), reason=refusal.code)
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": WEBSOCKET_CLOSE_CODE, "reason": refusal.code})
        return
    headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in refusal.headers]
    await send({"type": "http.response.start", "status": int(refusal.status), "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope.get("method") == "HEAD" else refusal.body})
