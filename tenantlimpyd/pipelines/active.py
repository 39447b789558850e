"""Find the pipeline that queues a command: the last one of its database that this task or thread has entered."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from typing import Any

from tenantlimpyd._abc import QueueingPipeline

__all__ = ["Place", "active", "enter", "here", "leave"]

Place = tuple[int, Any]
"""A thread, and the task in it; None outside of tasks."""

_entered: ContextVar[tuple[QueueingPipeline, ...]] = ContextVar("tenantlimpyd.pipelines", default=())
_shared: tuple[QueueingPipeline, ...] = ()
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
    for pipeline in (*reversed(entered), *reversed(_shared)):
        if pipeline.database is database and pipeline.entered and (pipeline.shared or pipeline.place == place):
            return pipeline if pipeline.queueing else None
    return None


def enter(pipeline: QueueingPipeline) -> None:
    """Make this pipeline queue the commands of this thread or task; of all threads if it is shared."""
    global _shared  # noqa: PLW0603 - the shared ones of all threads, guarded by the lock
    if pipeline.shared:
        with _shared_lock:
            _shared = (*_shared, pipeline)
    else:
        _entered.set((*_entered.get(), pipeline))


def leave(pipeline: QueueingPipeline) -> None:
    """Undo :func:`enter`. Pipelines may be left in any order and in any context."""
    global _shared  # noqa: PLW0603
    if pipeline.shared:
        with _shared_lock:
            _shared = tuple(other for other in _shared if other is not pipeline)
    else:
        _entered.set(tuple(other for other in _entered.get() if other is not pipeline))
