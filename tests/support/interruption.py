"""Exceptions at the n-th line or function entry of our code and redis-py's, as a signal handler may raise one."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import redis

import tenantlimpyd

__all__ = ["LEFT_BEHIND", "Interrupt", "interrupted_at"]

_HOME = Path(tenantlimpyd.__file__).parent
_ELSEWHERE = {_HOME / name for name in ("context.py", "router/bulk.py", "router/router.py", "router/scope.py")}
assert all(path.is_file() for path in _ELSEWHERE)
"""What enters and leaves tenants: an exception as it leaves one is Python's affair."""
_PACKAGE = {str(path) for path in _HOME.rglob("*.py") if path not in _ELSEWHERE}
_PLACES = {*_PACKAGE, *(str(path) for path in Path(redis.__file__).parent.rglob("*.py"))}


LEFT_BEHIND = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
"""What is interrupted between the making of a socket and its keeping is left to the garbage collector; what is interrupted
as it is finalized, Python only reports."""


class Interrupt(BaseException):
    """Stands for KeyboardInterrupt, and for what a worker's time limit raises."""


def _is_with(frame: FrameType) -> bool:
    """Whether this is the line of a ``with``: a signal never comes between the end of its block and its exit."""
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip().startswith(("with ", "async with "))


def _is_finalizer(frame: FrameType | None) -> bool:
    """Whether this is run by the garbage collector, where Python ignores exceptions."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def interrupted_at(
    step: int,
    work: Callable[[], Any],
    before: Callable[[FrameType], None] | None = None,
    *,
    package_only: bool = False,
) -> bool:
    """Do work, and raise :class:`Interrupt` in it as it comes to the n-th step; return whether it came so far.

    Args:
        step: the number of the step, from 0. Steps are the lines and function entries (a generator's and coroutine's
            resumptions too) of all modules of tenantlimpyd and redis-py.
        work: what to do.
        before: called with the frame at every call there.
        package_only: whether the steps of tenantlimpyd count alone.
    """
    places = _PACKAGE if package_only else _PLACES
    left = step
    raised = False

    def count() -> None:
        nonlocal left, raised
        if left == 0:
            raised = True
            raise Interrupt  # which ends the tracing
        left -= 1

    def inside(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line" and not raised and not _is_with(frame):
            count()
        return inside

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in places:
            return None
        if before is not None:
            before(frame)
        if raised or _is_finalizer(frame):
            return None
        count()
        return inside

    outer = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except Interrupt:
        pass
    finally:
        sys.settrace(outer)
    return raised
