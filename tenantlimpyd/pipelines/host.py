"""The methods by which databases and routers make pipelines."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from redis.exceptions import WatchError

from tenantlimpyd.pipelines.pipeline import Pipeline

if TYPE_CHECKING:
    from tenantlimpyd._registry.host import Placement

__all__ = ["PipelineHost"]


class PipelineHost:
    """What a ``RedisDatabase``, and for the current tenant a ``DatabaseRouter``, offers for pipelines."""

    __slots__ = ()

    if TYPE_CHECKING:

        def placement(self) -> Placement:
            """Return where objects made now live."""

    def pipeline(self, transaction: bool = True, share_in_threads: bool = False) -> Pipeline:
        """Return a pipeline, to be entered: inside its block the commands of fields and models are queued.

        ::

            with database.pipeline() as pipe:
                person.name.set("Ada")
                person.visits.incr()
                name_is_set, visits = pipe.execute()

        It belongs to the current database for as long as it lives. Its block is this task's (outside of tasks: this
        thread's) alone; other tasks and threads go on as before.

        Args:
            transaction: whether what is queued runs as one MULTI/EXEC; see :class:`~tenantlimpyd.pipelines.Pipeline`.
            share_in_threads: whether the commands of all tasks and threads are queued in it while it is entered.

        Raises:
            NoTenantError: a router with no current tenant.
        """
        return Pipeline(self.placement(), transaction=transaction, share_in_threads=share_in_threads)

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
        """Call ``func`` with a pipeline that watches keys, execute it, and begin again for as long as one of them changes.

        Args:
            func: takes the pipeline; reads what it needs, calls ``pipe.multi()`` where there are watches, and writes.
            *watches: keys, or fields of objects.
            share_in_threads: as for :meth:`pipeline`.
            value_from_callable: return what ``func`` returned, not the results.
            watch_delay: seconds to wait before beginning again.

        Returns:
            The results of what was queued.
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
        """Do as :meth:`transaction`, awaiting; ``func`` may be a coroutine function."""
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
