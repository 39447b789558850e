"""Find the pipeline that queues a command: the last one of its database that this task or thread has entered.

Entered pipelines are referred to weakly: one whose block was interrupted as it was left (by a signal handler that raises) must
not queue commands that are never executed. Inside of its block, the ``with`` statement holds it.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from contextvars import ContextVar
from typing import Any

from tenantlimpyd._abc import QueueingPipeline

__all__ = ["Place", "active", "enter", "here", "leave"]

Place = tuple[int, Any]
"""A thread, and the task in it; None outside of tasks."""

_entered: ContextVar[tuple[weakref.ref[QueueingPipeline], ...]] = ContextVar("tenantlimpyd.pipelines", default=())
_shared: tuple[weakref.ref[QueueingPipeline], ...] = ()
_shared_lock = threading.Lock()


def here() -> Place:
    """Return the thread and task this is called in."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop
        task = None
    return threading.get_ident(), task


def active(database: Any) -> QueueingPipeline | None:
    """Return the pipeline that queues this database's commands here, or None if they are sent at once.

    New tasks and threads may start with a copy of this context. They are not in the pipeline's block, so the thread and
    task are compared.
    """
    entered = _entered.get()
    if not entered and not _shared:
        return None
    place = here()
    for reference in (*reversed(entered), *reversed(_shared)):
        pipeline = reference()
        if pipeline is None:
            continue
        if pipeline.database is database and pipeline.entered and (pipeline.shared or pipeline.place == place):
            return pipeline if pipeline.queueing else None
    return None


def enter(pipeline: QueueingPipeline) -> None:
    """Make this pipeline queue the commands of this thread or task; of all threads if it is shared."""
    global _shared  # noqa: PLW0603 - the shared ones of all threads, guarded by the lock
    if pipeline.shared:
        with _shared_lock:
            _shared = (*_without(_shared, None), weakref.ref(pipeline))
    else:
        _entered.set((*_without(_entered.get(), None), weakref.ref(pipeline)))


def leave(pipeline: QueueingPipeline) -> None:
    """Undo :func:`enter`. Pipelines may be left in any order and in any context."""
    global _shared  # noqa: PLW0603
    if pipeline.shared:
        with _shared_lock:
            _shared = _without(_shared, pipeline)
    else:
        _entered.set(_without(_entered.get(), pipeline))


def _without(
    references: tuple[weakref.ref[QueueingPipeline], ...], pipeline: QueueingPipeline | None
) -> tuple[weakref.ref[QueueingPipeline], ...]:
    """Return references without that to a pipeline, and without those to pipelines that were lost."""
    return tuple(each for each in references if each() is not None and each() is not pipeline)
