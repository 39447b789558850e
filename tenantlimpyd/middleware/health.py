"""Liveness and readiness probes: the part of the health middleware that ASGI and WSGI share."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar, Generic, TypeVar

from tenantlimpyd.exceptions import ConfigurationError, TenantError, shown
from tenantlimpyd.middleware.request_policy import check_application, check_router
from tenantlimpyd.middleware.responses import JsonResponse
from tenantlimpyd.router import DatabaseRouter
from tenantlimpyd.router.health import Readiness, ReadinessResult

__all__ = ["LIVE_PATH", "READY_PATH", "BaseHealthMiddleware", "HealthProbe"]

App = TypeVar("App", bound=Callable[..., Any])

LIVE_PATH = "/livez"
READY_PATH = "/readyz"

_ALIVE = JsonResponse(HTTPStatus.OK, {"status": "alive"})
_NOTHING_REQUIRED = ReadinessResult(ready=True, reason="nothing is required", report=None)


class HealthProbe:
    """The liveness probe and the readiness probe of an application.

    The result of the readiness probe is cached for a moment, and concurrent callers share one check of the servers (single
    flight): frequent probes do not send frequent requests to the servers.

    Args:
        router: the router whose servers are checked.
        ready: the readiness policy.
        timeout: seconds that each server may take to answer.
        keep: seconds for which a result is cached.
        details: whether responses contain the report on each server.

    Raises:
        ConfigurationError: If an argument has the wrong type or is out of range.
    """

    def __init__(self, router: DatabaseRouter, ready: Readiness, *, timeout: float, keep: float, details: bool) -> None:
        check_router(router)
        if not isinstance(ready, Readiness):
            raise ConfigurationError(f"ready must be a Readiness, such as Readiness.quorum(0.5), not {shown(ready)}")
        for name, seconds in (("timeout", timeout), ("keep", keep)):
            if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= 86_400:
                raise ConfigurationError(f"{name} must be a number of seconds, 0 to 86400, not {shown(seconds)}")
        self._router = router
        self._ready = ready
        self._timeout = timeout
        self._keep = keep
        self._details = details
        self._lock = threading.Lock()
        self._checks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[ReadinessResult]] = (
            weakref.WeakKeyDictionary()
        )
        self._cached: ReadinessResult | None = None
        self._expires = 0.0

    def liveness(self) -> JsonResponse:
        """Return the response of the liveness probe. It depends on no server and no tenant."""
        return _ALIVE

    def readiness(self) -> JsonResponse:
        """Return the response of the readiness probe; wait for the servers if no result is cached."""
        return self._response(self._cached_result() or self._check_once())

    async def areadiness(self) -> JsonResponse:
        """Return the response of the readiness probe; await the servers if no result is cached."""
        result = self._cached_result()
        if result is None:
            loop = asyncio.get_running_loop()
            task = self._checks.get(loop)
            if task is None or task.done():
                task = self._checks[loop] = asyncio.create_task(self._acheck())
            # Shielded: a caller that is cancelled does not cancel the check for the other callers.
            result = await asyncio.shield(task)
        return self._response(result)

    def _cached_result(self) -> ReadinessResult | None:
        if not self._ready.asks:
            return _NOTHING_REQUIRED
        return self._cached if time.monotonic() < self._expires else None

    def _check_once(self) -> ReadinessResult:
        with self._lock:
            return self._cached_result() or self._check()

    def _check(self) -> ReadinessResult:
        try:
            report = self._router.health(tenants=self._ready.wanted, timeout=self._timeout)
        except TenantError as error:
            return self._cache(_not_ready(error))
        return self._cache(self._ready.judge(report))

    async def _acheck(self) -> ReadinessResult:
        try:
            report = await self._router.ahealth(tenants=self._ready.wanted, timeout=self._timeout)
        except TenantError as error:
            return self._cache(_not_ready(error))
        return self._cache(self._ready.judge(report))

    def _cache(self, result: ReadinessResult) -> ReadinessResult:
        self._cached, self._expires = result, time.monotonic() + self._keep
        return result

    def _response(self, result: ReadinessResult) -> JsonResponse:
        content: dict[str, Any] = {"status": "ready" if result.ready else "not ready", "reason": result.reason}
        if self._details and result.report is not None:
            content |= result.report.as_dict()
        return JsonResponse(HTTPStatus.OK if result.ready else HTTPStatus.SERVICE_UNAVAILABLE, content)


def _not_ready(error: TenantError) -> ReadinessResult:
    """Return the result for a readiness policy that names a tenant which the router does not know."""
    return ReadinessResult(ready=False, reason=str(error), report=None)


class BaseHealthMiddleware(Generic[App]):
    """The base class of the health middleware for ASGI and for WSGI: its arguments, and the paths it answers."""

    _app_kind: ClassVar[str]

    def __init__(
        self,
        app: App,
        *,
        router: DatabaseRouter,
        ready: Readiness,
        live_path: str = LIVE_PATH,
        ready_path: str = READY_PATH,
        timeout: float = 2.0,
        keep: float = 1.0,
        details: bool = False,
    ) -> None:
        check_application(app, self._app_kind)
        for name, path in (("live_path", live_path), ("ready_path", ready_path)):
            if not isinstance(path, str) or not path.startswith("/"):
                raise ConfigurationError(f"{name} begins with a slash, such as '/readyz': {shown(path)} doesn't")
        if live_path == ready_path:
            raise ConfigurationError(f"live_path and ready_path must be two paths, not both {shown(live_path)}")
        self._app = app
        self._live_path = live_path
        self._ready_path = ready_path
        self._probe = HealthProbe(router, ready, timeout=timeout, keep=keep, details=details)
