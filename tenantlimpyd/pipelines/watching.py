"""``watch`` and ``multi``: the part of a pipeline that holds a connection of its own while it watches keys."""

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
    """Watches keys through redis-py's own pipeline, which knows how to lose a connection while it does.

    Only WATCH, and the MULTI/EXEC that ends it, go through that connection. Commands in between are sent as ever: to the
    server it makes no difference, and a watched key that they change counts as changed either way.
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
        """Watch keys: :meth:`execute` does nothing if one of them has changed by then. Commands run at once from now on.

        Args:
            *names: keys as they stand in Redis, or fields of objects of this database.

        Raises:
            redis.RedisError: after :meth:`multi`.
            ImplementationError: a field of another database.
        """
        keys = self._watched(names)
        if self._watch is None:
            self._watch = self.database._clients.client.pipeline(transaction=True)
        return bool(self._watch.watch(*keys))

    async def awatch(self, *names: Any) -> bool:
        """Watch keys as :meth:`watch`, awaiting; redis-py's commands on this pipeline have to be awaited then."""
        if not self._awaits:
            raise ImplementationError("awatch needs an `async with` block: leaving it ends the watch")
        keys = self._watched(names)
        if self._awatch is None:
            self._awatch = self.database._clients.aclient.pipeline(transaction=True)
        return bool(await self._awatch.watch(*keys))

    def _watched(self, names: tuple[Any, ...]) -> list[Any]:
        self._check()
        if self._explicit:
            raise redis.RedisError("watch comes before multi")
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
        """Queue the commands from now on, for one MULTI/EXEC.

        Raises:
            redis.RedisError: called twice, or after commands were queued.
        """
        self._check()
        if self._explicit:
            raise redis.RedisError("multi was called already")
        if self._queue.entries:
            raise redis.RedisError("multi comes before the first queued command")
        self._explicit = True

    def unwatch(self) -> bool:  # type: ignore[override]
        """Watch nothing any more."""
        self._check()
        self._unwatch()
        return True

    async def aunwatch(self) -> bool:
        """Watch nothing any more, awaiting."""
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
