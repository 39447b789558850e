"""Noticing that a tenant was entered and not left."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tenantlimpyd.context import TenantEntry, frames

__all__ = ["LeakDetector", "TenantLeakError"]


class TenantLeakError(AssertionError):
    """A test, or a fixture of it, ended inside a tenant it had not begun in, or outside the one it had begun in."""


class LeakDetector:
    """Compares what is entered at the beginning and at the end of something, and puts it back when it differs."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._before = frames.get()

    def check(self) -> None:
        """Compare now.

        Raises:
            TenantLeakError: what is entered is not what was. The context is as it was again, so that the next test
                doesn't suffer for this one.
        """
        after = frames.get()
        if after is self._before:
            return
        self.put_back()
        raise TenantLeakError(
            f"{self._what} began {_described(self._before)} and ended {_described(after)}. "
            "Enter tenants with `with router.use_tenant(...)`, or as a decorator, so that each one is left again; "
            "an ExitStack that entered one must be closed."
        )

    def put_back(self) -> None:
        """Enter what was entered at the beginning, and nothing else."""
        frames.set(self._before)

    @staticmethod
    def watched(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a coroutine function that runs ``function`` and checks at its end, in the context of its task."""

        @functools.wraps(function)
        async def watched(*args: Any, **kwargs: Any) -> Any:
            detector = LeakDetector(what)
            result = await function(*args, **kwargs)
            detector.check()
            return result

        return watched


def _described(top: TenantEntry | None) -> str:
    entered: list[str] = []
    frame = top
    while frame is not None:
        entered.append("no tenant (on purpose)" if frame.tenant is None else repr(frame.tenant))
        frame = frame.outer
    return "with no tenant entered" if not entered else "inside " + " inside ".join(entered)
