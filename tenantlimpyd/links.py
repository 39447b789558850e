"""A database's clients for one set of settings: a blocking one, and one for each event loop, closed with its loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import AsyncGenerator

import attrs
import redis
import redis.asyncio

from tenantlimpyd.limits import BoundedRetry
from tenantlimpyd.pools import AsyncPool, Pool, pool_arguments
from tenantlimpyd.settings import Settings

__all__ = ["Link"]


@attrs.define(eq=False)
class _OfLoop:
    """The client of one event loop, and the generator whose end closes it."""

    client: redis.asyncio.Redis
    pool: AsyncPool
    keeper: AsyncGenerator[None, None]


class Link:
    """The clients for one set of settings: a blocking one, and one for each event loop. Each is made at first use."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._client: redis.Redis | None = None
        self._of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _OfLoop] = weakref.WeakKeyDictionary()
        self._retired = False

    @property
    def retired(self) -> bool:
        """Whether the database lets go of it."""
        return self._retired

    @property
    def client(self) -> redis.Redis:
        """The blocking client. Making it connects to nothing."""
        client = self._client
        return self._make_client() if client is None else client

    def _make_client(self) -> redis.Redis:
        with self._lock:
            if self._client is None:
                arguments = pool_arguments(redis.Redis, self.settings.for_blocking())
                retry = arguments["retry"]
                arguments["retry"] = BoundedRetry(retry._backoff, retry.get_retries(), retry._supported_errors)
                pool = Pool(**arguments)
                pool.retired = self._retired
                # A database that is dropped unclosed is garbage in a cycle, where sockets may go before their owners
                # and warn. The pool outlives it for this call.
                weakref.finalize(self, pool.disconnect, inuse_connections=False).atexit = False
                self._client = redis.Redis(connection_pool=pool)
            return self._client

    @property
    def aclient(self) -> redis.asyncio.Redis:
        """The asyncio client of the running event loop. Making it connects to nothing.

        Raises:
            RuntimeError: no event loop is running in this thread.
        """
        loop = asyncio.get_running_loop()
        of_loop = self._of_loops.get(loop)
        return self._make_aclient(loop) if of_loop is None else of_loop.client

    def _make_aclient(self, loop: asyncio.AbstractEventLoop) -> redis.asyncio.Redis:
        pool = AsyncPool(**pool_arguments(redis.asyncio.Redis, self.settings.for_asyncio()))
        pool.retired = self._retired
        keeper = _keep(pool, weakref.ref(self), weakref.ref(loop))
        # Started by hand, since this is no coroutine: up to its first yield it awaits nothing. From here on the loop
        # knows the generator, and ends it when it shuts down (asyncio.run and its like do): the pool closes with it.
        with contextlib.suppress(StopIteration):
            keeper.asend(None).send(None)
        of_loop = _OfLoop(redis.asyncio.Redis(connection_pool=pool), pool, keeper)
        with self._lock:
            for other in [other for other in self._of_loops if other.is_closed()]:
                del self._of_loops[other]
            self._of_loops[loop] = of_loop
        return of_loop.client

    def forget(self, loop: asyncio.AbstractEventLoop) -> None:
        """Drop the client of an event loop that ends: it would keep the loop, and all that hangs on it, alive."""
        with self._lock:
            self._of_loops.pop(loop, None)

    def retire(self) -> None:
        """Let commands in flight finish, close what is idle, and every other connection when it comes back.

        The clients of other event loops are told to do so in their own threads; those of loops that don't run now close
        when their loop does.
        """
        with self._lock:
            self._retired = True
            client, of_loops = self._client, list(self._of_loops.items())
        if client is not None:
            client.connection_pool.retire()  # type: ignore[attr-defined]
        for loop, of_loop in of_loops:
            of_loop.pool.retired = True
            if loop.is_running():
                with contextlib.suppress(RuntimeError):  # it closed in between
                    loop.call_soon_threadsafe(_retire_soon, loop, of_loop.pool)

    async def aretire(self) -> None:
        """Do as :meth:`retire`, and wait until the idle connections of the running loop are closed."""
        with self._lock:
            of_loop = self._of_loops.pop(asyncio.get_running_loop(), None)
        self.retire()
        if of_loop is not None:
            of_loop.pool.retired = True
            await of_loop.keeper.aclose()


async def _keep(
    pool: AsyncPool, link: weakref.ref[Link], loop: weakref.ref[asyncio.AbstractEventLoop]
) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        owner, ended = link(), loop()
        if owner is not None and ended is not None:
            owner.forget(ended)
        await pool.retire()


_retiring: set[asyncio.Task[None]] = set()


def _retire_soon(loop: asyncio.AbstractEventLoop, pool: AsyncPool) -> None:
    # A coroutine is made only here, in the loop's own turn: made by the caller, it might never be awaited.
    task = loop.create_task(pool.retire())
    _retiring.add(task)
    task.add_done_callback(_retiring.discard)
