"""Asking a resolver for a tenant the router doesn't know: once for many callers at the same time, and not again at once."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from tenantlimpyd.catalog import Unknown
from tenantlimpyd.exceptions import ConfigurationError, UnknownTenantError

if TYPE_CHECKING:
    from tenantlimpyd.database import RedisDatabase
    from tenantlimpyd.hosting import Placement

__all__ = ["UNKNOWN_SECONDS", "Resolver", "Resolving"]

Resolver: TypeAlias = "Callable[[str], RedisDatabase | Awaitable[RedisDatabase | None] | None]"
"""Returns the database of a tenant that is not in the map, or None: "not mine". May be a coroutine function."""

UNKNOWN_SECONDS = 10.0
"""How long an id that the resolver did not know is refused without asking it again."""


class Resolving:
    """A resolver, with the callers that wait for it.

    Args:
        resolver: the application's; None: nothing is ever found.
        look_up: returns the placement of a known tenant, or None.
        keep: adds what the resolver returned to the router, and returns its placement.
    """

    def __init__(
        self,
        resolver: Resolver | None,
        look_up: Callable[[str], Placement | None],
        keep: Callable[[str, Any], Placement],
    ) -> None:
        self._resolver = resolver
        self._look_up = look_up
        self._keep = keep
        self._lock = threading.Lock()
        self._asking: dict[str, tuple[threading.Lock, int]] = {}
        self._tasks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Task[Placement]]] = (
            weakref.WeakKeyDictionary()
        )
        self.unknown = Unknown(UNKNOWN_SECONDS)

    @property
    def awaits(self) -> bool:
        """Whether the resolver is a coroutine function."""
        return inspect.iscoroutinefunction(self._resolver)

    def resolve(self, tenant: str) -> Placement:
        """Return the placement of a tenant that is not known yet, blocking.

        Raises:
            UnknownTenantError: the resolver does not know it.
            ConfigurationError: the resolver can't be asked from blocking code, or returned something else than a database.
        """
        if self._resolver is None or tenant in self.unknown:
            _refuse(tenant)
        if self.awaits:
            raise ConfigurationError(
                f"tenant {tenant!r} is not known yet, and the resolver is a coroutine function: enter the tenant with "
                "`async with`, or give the router a blocking resolver"
            )
        with self._turn(tenant):
            if (placement := self._look_up(tenant)) is not None:
                return placement
            if tenant in self.unknown:
                _refuse(tenant)
            return self._kept(tenant, self._resolver(tenant))

    async def aresolve(self, tenant: str) -> Placement:
        """Return the placement of a tenant that is not known yet, awaiting; a blocking resolver runs in a thread."""
        if self._resolver is None or tenant in self.unknown:
            _refuse(tenant)
        if not self.awaits:
            return await asyncio.to_thread(self.resolve, tenant)
        tasks = self._tasks.setdefault(asyncio.get_running_loop(), {})
        task = tasks.get(tenant)
        if task is None:
            task = tasks[tenant] = asyncio.create_task(self._ask(tenant))
            task.add_done_callback(lambda done: (tasks.pop(tenant, None), done.cancelled() or done.exception()))
        # Shielded: a caller that is cancelled doesn't take the answer from the others.
        return await asyncio.shield(task)

    async def _ask(self, tenant: str) -> Placement:
        answer: Any = self._resolver(tenant)  # type: ignore[misc]
        return self._kept(tenant, await answer)

    def _kept(self, tenant: str, database: Any) -> Placement:
        if database is None:
            self.unknown.remember(tenant)
            _refuse(tenant)
        if inspect.isawaitable(database):
            if inspect.iscoroutine(database):
                database.close()
            raise ConfigurationError(
                "the resolver returned an awaitable and is no coroutine function: make it an async def"
            )
        return self._keep(tenant, database)

    @contextlib.contextmanager
    def _turn(self, tenant: str) -> Iterator[None]:
        """Let one caller at a time ask for a tenant."""
        with self._lock:
            lock, waiting = self._asking.get(tenant, (threading.Lock(), 0))
            self._asking[tenant] = lock, waiting + 1
        try:
            with lock:
                yield
        finally:
            with self._lock:
                _, waiting = self._asking[tenant]
                if waiting == 1:
                    del self._asking[tenant]
                else:
                    self._asking[tenant] = lock, waiting - 1


def _refuse(tenant: str) -> NoReturn:
    raise UnknownTenantError(f"there is no tenant {tenant!r}", tenant)
