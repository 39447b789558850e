"""Tenants on healthy servers and on one that breaks, and the open resources of the process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from tenantlimpyd import DatabaseRouter, RedisDatabase
from tests.support.chaos_proxy import ChaosProxy
from tests.support.servers import ServerHandle

__all__ = ["FAULTS", "KEYS", "TIMEOUT", "Deployment", "Fault", "Leftovers"]

KEYS = 300
"""Keys of a healthy tenant: few, so that it finishes within its deadline on a busy machine, too."""
LARGE = 3000
"""Keys of a tenant whose server breaks: with 10 per page, more pages than a scan buffers."""
TIMEOUT = 1.0
"""Seconds each tenant has."""
SLACK = 1.0
RECOVERY = 15.0
"""Seconds within which a server that is back is used again."""


class Fault:
    """A fault of a server, and its end."""

    def __init__(
        self, begin: Callable[[ServerHandle, ChaosProxy], None], end: Callable[[ServerHandle, ChaosProxy], None]
    ) -> None:
        self.begin = begin
        self.end = end


FAULTS: dict[str, Fault] = {
    "killed": Fault(lambda server, _: server.kill(), lambda server, _: server.start()),
    "paused": Fault(lambda server, _: server.pause(), lambda server, _: server.resume()),
    "a black hole": Fault(lambda _, proxy: proxy.swallow(), lambda _, proxy: (proxy.reset(), proxy.heal())),
    "replies lost": Fault(
        lambda _, proxy: proxy.disturb(lose_replies=True), lambda _, proxy: (proxy.reset(), proxy.heal())
    ),
    "refusing": Fault(lambda _, proxy: proxy.refuse(), lambda _, proxy: proxy.accept()),
}


class Deployment:
    """A router of six healthy tenants and three of one server, behind a proxy, that a test breaks."""

    def __init__(self, healthy: list[ServerHandle], breaking: ServerHandle) -> None:
        self.breaking = breaking
        self.proxy = breaking.proxy()
        databases: dict[str, dict[str, Any]] = {}
        for number, server in enumerate(healthy):
            databases |= {f"healthy-{number}-{db}": {**server.settings, "db": db} for db in range(3)}
        self.healthy = tuple(databases)
        through = breaking.settings_through(self.proxy)
        self.broken = tuple(f"broken-{db}" for db in range(3))
        databases |= {tenant: {**through, "db": db} for db, tenant in enumerate(self.broken)}
        self._direct = {
            tenant: {**settings, "port": breaking.port} if tenant in self.broken else settings
            for tenant, settings in databases.items()
        }
        self.router = DatabaseRouter({tenant: RedisDatabase(**settings) for tenant, settings in databases.items()})

    def seed(self) -> None:
        """Give every tenant its keys, by connections of their own."""
        for tenant, settings in self._direct.items():
            with redis.Redis(**settings) as client:
                client.mset(dict.fromkeys(self.keys_of(tenant), "x"))

    def keys_of(self, tenant: str) -> set[str]:
        """Return the keys a tenant was given."""
        return {f"{tenant}:{number}" for number in range(LARGE if tenant in self.broken else KEYS)}

    def check_outcomes(self, outcomes: Any) -> None:
        """Raise unless healthy tenants have succeeded, and broken ones have failed within their deadline."""
        assert {tenant for tenant, outcome in outcomes.items() if outcome.ok} == set(self.healthy)
        for tenant in self.broken:
            outcome = outcomes[tenant]
            assert isinstance(outcome.error, redis.TimeoutError | redis.ConnectionError), outcome
            assert outcome.error.tenant == tenant
            assert outcome.seconds < TIMEOUT + SLACK

    def recover(self) -> None:
        """Wait until every server is healthy again; open circuit breakers refuse for a short while."""
        deadline = time.monotonic() + RECOVERY
        while not (health := self.router.health(timeout=TIMEOUT)).ok:
            assert time.monotonic() < deadline, health
            time.sleep(0.05)

    async def arecover(self) -> None:
        """Wait as :meth:`recover`, awaiting."""
        deadline = time.monotonic() + RECOVERY
        while not (health := await self.router.ahealth(timeout=TIMEOUT)).ok:
            assert time.monotonic() < deadline, health
            await asyncio.sleep(0.05)


class Leftovers:
    """Counts threads and sockets of this process, to see that none is left."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._sockets = self._count()

    @staticmethod
    def _count() -> int:
        number = 0
        for each in Path("/dev/fd").iterdir():
            # Unix sockets don't count: a container engine is asked through one.
            with contextlib.suppress(OSError):  # most are no sockets
                borrowed = socket.socket(fileno=int(each.name))
                number += borrowed.family in (socket.AF_INET, socket.AF_INET6)
                borrowed.detach()
        return number

    def _left(self) -> list[str]:
        threads = [f"thread {thread.name}" for thread in threading.enumerate() if thread not in self._threads]
        more = self._count() - self._sockets
        return threads + [f"{more} sockets"] * (more > 0)

    def check(self) -> None:
        """Raise if a thread or a socket is left; those that are ending have 5 seconds."""
        deadline = time.monotonic() + 5
        while (left := self._left()) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert left == [], f"left: {left}"

    async def acheck(self) -> None:
        """Check as :meth:`check`, tasks too; the loop goes on meanwhile."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            tasks = [f"task {task}" for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            left = tasks + [each for each in self._left() if "asyncio" not in each]
            if not left:
                return
            await asyncio.sleep(0.01)
        assert left == [], f"left: {left}"
