"""What both health middlewares share: their arguments, and results that are kept for a moment."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Collection
from http import HTTPStatus
from typing import Any

from tenantlimpyd.exceptions import ConfigurationError, TenantError, shown
from tenantlimpyd.router import DatabaseRouter
from tenantlimpyd.router.health import Readiness, ReadinessResult

__all__ = ["LIVE", "READY", "HealthProbe"]

LIVE = "/livez"
READY = "/readyz"


class HealthProbe:
    """Answers the two questions.

    Args:
        router: whose servers are asked.
        ready: how much has to be well.
        live_path: where to ask whether the process lives.
        ready_path: where to ask whether it should get requests.
        timeout: seconds for each server.
        keep: seconds for which a result is good, so that whoever asks often doesn't make servers be asked often.
        details: whether replies tell of servers, and not only the result.

    Raises:
        ConfigurationError: an argument is wrong.
    """

    def __init__(
        self,
        router: DatabaseRouter,
        ready: Readiness,
        *,
        live_path: str,
        ready_path: str,
        timeout: float,
        keep: float,
        details: bool,
    ) -> None:
        if not isinstance(router, DatabaseRouter):
            raise ConfigurationError(f"router must be a DatabaseRouter, not {shown(router)}")
        if not isinstance(ready, Readiness):
            raise ConfigurationError(f"ready must be a Readiness, such as Readiness.quorum(0.5), not {shown(ready)}")
        for name, path in (("live_path", live_path), ("ready_path", ready_path)):
            if not isinstance(path, str) or not path.startswith("/"):
                raise ConfigurationError(f"{name} begins with a slash, such as '/readyz': {shown(path)} doesn't")
        if live_path == ready_path:
            raise ConfigurationError(f"live_path and ready_path are two paths, not both {shown(live_path)}")
        for name, seconds in (("timeout", timeout), ("keep", keep)):
            if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= 86_400:
                raise ConfigurationError(f"{name} must be a number of seconds, not {shown(seconds)}")
        self.router = router
        self.ready = ready
        self.live_path = live_path
        self.ready_path = ready_path
        self.timeout = timeout
        self.lock = threading.Lock()
        self._keep = keep
        self._details = details
        self._kept: ReadinessResult | None = None
        self._until = 0.0

    @property
    def paths(self) -> Collection[str]:
        """The paths that are answered here."""
        return (self.live_path, self.ready_path)

    def known(self) -> ReadinessResult | None:
        """Return the result, where nobody has to be asked for it."""
        if not self.ready.asks:
            return ReadinessResult(ready=True, reason="nothing is required", report=None)
        return self._kept if time.monotonic() < self._until else None

    def judged(self) -> ReadinessResult:
        """Ask the servers, blocking: one caller for all that come meanwhile."""
        with self.lock:
            if (result := self.known()) is not None:
                return result
            try:
                report = self.router.health(tenants=self.ready.wanted, timeout=self.timeout)
            except TenantError as error:
                return self._noted(_unknown(error))
            return self._noted(self.ready.judge(report))

    async def ajudged(self) -> ReadinessResult:
        """Ask the servers, awaiting."""
        try:
            report = await self.router.ahealth(tenants=self.ready.wanted, timeout=self.timeout)
        except TenantError as error:
            return self._noted(_unknown(error))
        return self._noted(self.ready.judge(report))

    def _noted(self, result: ReadinessResult) -> ReadinessResult:
        self._kept, self._until = result, time.monotonic() + self._keep
        return result

    def reply(self, result: ReadinessResult | None) -> tuple[HTTPStatus, list[tuple[str, str]], bytes]:
        """Return status, headers and JSON body; None: that of liveness, which depends on no tenant and no server."""
        told: dict[str, Any] = {"status": "alive"}
        status = HTTPStatus.OK
        if result is not None:
            told = {"status": "ready" if result.ready else "not ready", "reason": result.reason}
            status = HTTPStatus.OK if result.ready else HTTPStatus.SERVICE_UNAVAILABLE
            if self._details and result.report is not None:
                told |= result.report.as_dict()
        body = json.dumps(told).encode()
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("cache-control", "no-store"),
        ]
        return status, headers, body


def _unknown(error: TenantError) -> ReadinessResult:
    return ReadinessResult(ready=False, reason=str(error), report=None)
