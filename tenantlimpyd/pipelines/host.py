"""Make pipelines of databases and routers."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from redis.exceptions import WatchError

from tenantlimpyd.pipelines.pipeline import Pipeline

if TYPE_CHECKING:
    from tenantlimpyd._registry.placement import Placement

__all__ = ["PipelineHost"]


class PipelineHost:
    """The pipeline methods of ``RedisDatabase`` and, for the current tenant, of ``DatabaseRouter``."""

    __slots__ = ()

    if TYPE_CHECKING:

        def _current_placement(self) -> Placement:
            """Return the placement of objects that are made now."""

    def pipeline(self, transaction: bool = True, share_in_threads: bool = False) -> Pipeline:
        """Return a pipeline for a ``with`` block, in which the commands of fields and models are queued.

        ::

            with database.pipeline() as pipe:
                person.name.set("Ada")
                person.visits.incr()
                name_is_set, visits = pipe.execute()

        The pipeline belongs to the database that is current when it is made. It queues only the commands of the task (or,
        outside of tasks, the thread) that enters it; other tasks and threads send theirs as before.

        Args:
            transaction: whether the queued commands run as one MULTI/EXEC (https://redis.io/docs/latest/commands/multi/);
                see :class:`~tenantlimpyd.pipelines.Pipeline`.
            share_in_threads: whether the commands of all tasks and threads are queued while the pipeline is entered.

        Returns:
            The pipeline, not yet entered.

        Raises:
            NoTenantError: If the host is a router and no tenant is current.
        """
        return Pipeline(self._current_placement(), transaction=transaction, share_in_threads=share_in_threads)

    def apipeline(self, transaction: bool = True, share_in_threads: bool = False) -> Pipeline:
        """Return a pipeline as :meth:`pipeline`, for ``async with`` and ``await pipe.aexecute()``."""
        return self.pipeline(transaction, share_in_threads)

    def transaction(
        self,
        func: Callable[[Pipeline], Any],
        *watches: Any,
        share_in_threads: bool = False,
        value_from_callable: bool = False,
        watch_delay: float | None = None,
    ) -> Any:
        """Call ``func`` with a pipeline that watches keys, execute the pipeline, and repeat while a watched key has changed.

        Args:
            func: takes the pipeline. It reads what it needs, calls ``pipe.multi()`` if keys are watched, and writes.
            *watches: keys as they are in Redis, or fields of objects.
            share_in_threads: as for :meth:`pipeline`.
            value_from_callable: whether to return the value of ``func``, not the results.
            watch_delay: seconds to wait before each repetition; None: no wait.

        Returns:
            The results of the queued commands, in order; or the value of ``func``.

        Raises:
            NoTenantError: If the host is a router and no tenant is current.
            redis.RedisError: If a command fails; the first error, after the others were executed.
        """
        with self.pipeline(share_in_threads=share_in_threads) as pipe:
            while True:
                try:
                    if watches:
                        pipe.watch(*watches)
                    value = func(pipe)
                    results = pipe.execute()
                except WatchError:
                    if watch_delay:
                        time.sleep(watch_delay)
                    continue
                return value if value_from_callable else results

    async def atransaction(
        self,
        func: Callable[[Pipeline], Awaitable[Any] | Any],
        *watches: Any,
        share_in_threads: bool = False,
        value_from_callable: bool = False,
        watch_delay: float | None = None,
    ) -> Any:
        """Do the same as :meth:`transaction` in asyncio; ``func`` may be a coroutine function."""
        async with self.apipeline(share_in_threads=share_in_threads) as pipe:
            while True:
                try:
                    if watches:
                        await pipe.awatch(*watches)
                    value = func(pipe)
                    if inspect.isawaitable(value) and value is not pipe:
                        value = await value
                    results = await pipe.aexecute()
                except WatchError:
                    if watch_delay:
                        await asyncio.sleep(watch_delay)
                    continue
                return value if value_from_callable else results
