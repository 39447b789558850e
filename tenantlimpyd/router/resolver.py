"""Asking a resolver for a tenant the router doesn't know: once for many callers at the same time, and not again at once."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from tenantlimpyd._connections import fork
from tenantlimpyd.exceptions import ConfigurationError, UnknownTenantError
from tenantlimpyd.router.registry import UnknownIds

if TYPE_CHECKING:
    from tenantlimpyd._registry.placement import Placement
    from tenantlimpyd.database import RedisDatabase

__all__ = ["UNKNOWN_SECONDS", "Resolver", "ResolverCalls"]

Resolver: TypeAlias = "Callable[[str], RedisDatabase | Awaitable[RedisDatabase | None] | None]"
"""Returns the database of a tenant that is not in the map, or None: "not mine". May be a coroutine function."""

UNKNOWN_SECONDS = 10.0
"""How long an id that the resolver did not know is refused without asking it again."""


class _AbandonedError(Exception):
    """Whoever asked for many was cancelled: one of the others asks."""


class _PendingLookup:
    """That somebody is asking for a tenant, and what others who want it wait for.

    Attributes:
        future: the answer.
        thread: that of the one who asks a blocking resolver.
        stale: the tenant was invalidated since, so that the answer may be of before.
    """

    __slots__ = ("future", "stale", "thread")

    def __init__(self) -> None:
        self.future: Future[Placement] = Future()
        self.thread: int | None = None
        self.stale = False


class ResolverCalls:
    """A resolver, with the callers that wait for it: one asks for all, in whatever threads and event loops they are.

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
        self.unknown = UnknownIds(UNKNOWN_SECONDS)
        self.reset_after_fork()
        fork.watch(self)

    def reset_after_fork(self) -> None:
        """Forget the parent's lookups: the threads and tasks that would end them don't exist in a child."""
        self._lock = threading.Lock()
        self._asking: dict[str, _PendingLookup] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def awaits(self) -> bool:
        """Whether the resolver is a coroutine function."""
        return inspect.iscoroutinefunction(self._resolver)

    def forget(self, tenant: str) -> None:
        """Trust no answer about a tenant that was asked for before now, "not mine" included."""
        self.unknown.forget(tenant)
        with self._lock:
            if (ask := self._asking.get(tenant)) is not None:
                ask.stale = True

    def resolve(self, tenant: str) -> Placement:
        """Return the placement of a tenant that is not known yet, blocking.

        Raises:
            UnknownTenantError: the resolver does not know it.
            ConfigurationError: the resolver can't be asked from blocking code, or returned something else than a database.
        """
        while True:
            if self._resolver is None or tenant in self.unknown:
                _refuse(tenant)
            if self.awaits:
                raise ConfigurationError(
                    f"tenant {tenant!r} is not known yet, and the resolver is a coroutine function: enter the tenant with "
                    "`async with`, or give the router a blocking resolver"
                )
            ask, mine = self._claim(tenant)
            if mine:
                return self._answer(tenant, ask)
            if ask.thread == threading.get_ident():
                raise ConfigurationError(f"the resolver asks its own router for tenant {tenant!r}, which it is to find")
            with contextlib.suppress(_AbandonedError):
                return ask.future.result()

    async def aresolve(self, tenant: str) -> Placement:
        """Return the placement of a tenant that is not known yet, awaiting; a blocking resolver runs in a thread."""
        while True:
            if self._resolver is None or tenant in self.unknown:
                _refuse(tenant)
            ask, mine = self._claim(tenant)
            if mine:
                # A task of its own: a caller that is cancelled doesn't take the answer from the others.
                asking = self._aanswer(tenant, ask) if self.awaits else asyncio.to_thread(self._answer, tenant, ask)
                task: asyncio.Task[Any] = asyncio.create_task(asking)
                self._tasks.add(task)
                task.add_done_callback(functools.partial(self._asked, tenant, ask))
            with contextlib.suppress(_AbandonedError):
                return await _answered(ask)

    def _claim(self, tenant: str) -> tuple[_PendingLookup, bool]:
        """Return who asks for a tenant, and whether it is the caller of this."""
        with self._lock:
            ask = self._asking.get(tenant)
            if ask is not None:
                return ask, False
            ask = self._asking[tenant] = _PendingLookup()
            return ask, True

    def _answer(self, tenant: str, ask: _PendingLookup) -> Placement:
        ask.thread = threading.get_ident()
        with self._settling(tenant, ask):
            while (placement := self._known(tenant)) is None:
                answer = self._resolver(tenant)  # type: ignore[misc]
                placement = self._kept(tenant, answer, ask)
                if placement is not None:
                    break
            ask.future.set_result(placement)
        return placement

    async def _aanswer(self, tenant: str, ask: _PendingLookup) -> None:
        with self._settling(tenant, ask):
            while (placement := self._known(tenant)) is None:
                answer: Any = self._resolver(tenant)  # type: ignore[misc]
                placement = self._kept(tenant, await answer, ask)
                if placement is not None:
                    break
            ask.future.set_result(placement)

    def _known(self, tenant: str) -> Placement | None:
        """Return a tenant's placement, if another caller was through just before.

        Raises:
            UnknownTenantError: what it heard was that there is none.
        """
        placement = self._look_up(tenant)
        if placement is None and tenant in self.unknown:
            _refuse(tenant)
        return placement

    @contextlib.contextmanager
    def _settling(self, tenant: str, ask: _PendingLookup) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._settle(tenant, ask, error)
            raise
        except BaseException:
            self._settle(tenant, ask, _AbandonedError())
            raise
        else:
            self._settle(tenant, ask, None)

    def _settle(self, tenant: str, ask: _PendingLookup, error: Exception | None) -> None:
        with self._lock:  # first, so that a caller that tries again after a failure asks again
            if self._asking.get(tenant) is ask:
                del self._asking[tenant]
        if error is not None:
            with contextlib.suppress(InvalidStateError):
                ask.future.set_exception(error)

    def _asked(self, tenant: str, ask: _PendingLookup, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():  # perhaps before it began
            self._settle(tenant, ask, _AbandonedError())
        else:
            task.exception()  # whoever waits has it

    def _kept(self, tenant: str, database: Any, ask: _PendingLookup) -> Placement | None:
        """Return the placement of what the resolver answered; None: the answer is of before the tenant changed."""
        if inspect.isawaitable(database):
            if inspect.iscoroutine(database):
                database.close()
            raise ConfigurationError(
                "the resolver returned an awaitable and is no coroutine function: make it an async def"
            )
        with self._lock:
            stale, ask.stale = ask.stale, False
            if database is None and not stale:
                self.unknown.remember(tenant)
        if stale:
            return None
        return _refuse(tenant) if database is None else self._keep(tenant, database)


async def _answered(ask: _PendingLookup) -> Placement:
    """Wait for an answer in the running event loop, whichever thread it comes from."""
    loop = asyncio.get_running_loop()
    heard = loop.create_future()

    def hear() -> None:
        if not heard.done():
            heard.set_result(None)

    def told(_: Future[Placement]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop closed meanwhile: nobody waits
            loop.call_soon_threadsafe(hear)

    ask.future.add_done_callback(told)
    await heard
    return ask.future.result()


def _refuse(tenant: str) -> NoReturn:
    raise UnknownTenantError(f"there is no tenant {tenant!r}", tenant)
