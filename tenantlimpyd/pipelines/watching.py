"""``watch`` and ``multi``: the part of a pipeline that keeps a connection while it watches keys."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import redis
import redis.asyncio.client
import redis.client
from redis.commands.core import CoreCommands

from tenantlimpyd.exceptions import ImplementationError, shown

if TYPE_CHECKING:
    from tenantlimpyd.pipelines.queue import Queue

__all__ = ["Watching"]


class Watching(CoreCommands):
    """Watch keys through redis-py's own pipeline, which handles the loss of its connection during a watch.

    Only WATCH, and the MULTI/EXEC that ends it, use that connection. Commands in between use any connection: the server
    treats a watched key that they change as changed in both cases.
    """

    if TYPE_CHECKING:
        database: Any
        _awaits: bool
        _queue: Queue

        def _check(self) -> None: ...

    def __init__(self) -> None:
        self._explicit = False
        self._watch: redis.client.Pipeline | None = None
        self._awatch: redis.asyncio.client.Pipeline | None = None

    def watch(self, *names: Any) -> bool:  # type: ignore[override]  # redis-py's clients refuse it
        """Watch keys: if one of them changes, :meth:`execute` executes nothing and raises an error.

        Until :meth:`multi` is called, commands run at once (https://redis.io/docs/latest/commands/watch/).

        Args:
            *names: keys as they are in Redis, with their prefix, or fields of objects of this database.

        Returns:
            True.

        Raises:
            redis.RedisError: If :meth:`multi` was called before.
            ImplementationError: If a field belongs to another database, or the pipeline is not entered.
        """
        keys = self._watched(names)
        if self._watch is None:
            self._watch = self.database._clients.client.pipeline(transaction=True)
        return bool(self._watch.watch(*keys))

    async def awatch(self, *names: Any) -> bool:
        """Watch keys as :meth:`watch`, in asyncio. redis-py's commands on this pipeline must be awaited then.

        Raises:
            redis.RedisError: If :meth:`multi` was called before.
            ImplementationError: If the pipeline was not entered by ``async with``, or a field belongs to another database.
        """
        if not self._awaits:
            raise ImplementationError(
                "awatch() needs a pipeline that was entered by `async with`, since the end of that block ends the watch"
            )
        keys = self._watched(names)
        if self._awatch is None:
            self._awatch = self.database._clients.aclient.pipeline(transaction=True)
        return bool(await self._awatch.watch(*keys))

    def _watched(self, names: tuple[Any, ...]) -> list[Any]:
        self._check()
        if self._explicit:
            raise redis.RedisError("watch() was called after multi(): call it before")
        flat = [each for name in names for each in (name if isinstance(name, list | tuple | set) else (name,))]
        return [self._key(each) for each in flat]

    def _key(self, name: Any) -> Any:
        if not hasattr(name, "key"):
            return name
        if name._resolve() is not self.database:
            raise ImplementationError(
                f"{shown(getattr(name, 'name', None))} can't be watched: it is of another database than the pipeline"
            )
        return name.key

    def multi(self) -> None:
        """Queue the commands that follow, for one MULTI/EXEC.

        Raises:
            redis.RedisError: If it was called before, or commands are already queued.
        """
        self._check()
        if self._explicit:
            raise redis.RedisError("multi() was called already: call it once, after watch()")
        if self._queue.entries:
            raise redis.RedisError("multi() was called after commands were queued: call it before the first of them")
        self._explicit = True

    def unwatch(self) -> bool:  # type: ignore[override]
        """End the watch of all keys."""
        self._check()
        self._unwatch()
        return True

    async def aunwatch(self) -> bool:
        """End the watch of all keys, as :meth:`unwatch`, in asyncio."""
        self._check()
        await self._aunwatch()
        return True

    def _unwatch(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            try:
                watch.reset()
            except (redis.RedisError, OSError):  # in doubt: closing the connection ends the watch as well
                with contextlib.suppress(redis.RedisError, OSError):
                    if watch.connection is not None:
                        watch.connection.disconnect()
                watch.watching = False
                watch.reset()

    async def _aunwatch(self) -> None:
        watch, self._awatch = self._awatch, None
        if watch is not None:
            with contextlib.suppress(redis.RedisError, OSError):  # it gives its connection back in any case
                await watch.reset()
