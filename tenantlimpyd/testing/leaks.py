"""The detector of tenants that a test entered and did not leave."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tenantlimpyd.context import TenantEntry, frames

__all__ = ["LeakDetector", "TenantLeakError"]


class TenantLeakError(AssertionError):
    """Raised if a test or one of its fixtures ends with other tenants entered than it began with."""


class LeakDetector:
    """Compares the entered tenants at the beginning and at the end of a test, and restores those of the beginning.

    Args:
        subject: the test, for the message.
    """

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._before = frames.get()

    def check(self) -> None:
        """Compare the entered tenants with those of the beginning.

        Raises:
            TenantLeakError: If they differ. The tenants of the beginning are entered again by then, so that the next test is
                not affected.
        """
        after = frames.get()
        if after is self._before:
            return
        self.restore()
        raise TenantLeakError(
            f"{self._subject} began {_described(self._before)} and ended {_described(after)}. "
            "Enter tenants with `with router.use_tenant(...)`, or as a decorator, so that each one is left again; "
            "an ExitStack that entered one must be closed."
        )

    def restore(self) -> None:
        """Enter the tenants of the beginning again, and leave all others."""
        frames.set(self._before)

    @staticmethod
    def checked(subject: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a coroutine function that runs another one and checks at its end, in the context of its task.

        Args:
            subject: the test, for the message.
            function: the coroutine function.
        """

        @functools.wraps(function)
        async def checked(*args: Any, **kwargs: Any) -> Any:
            detector = LeakDetector(subject)
            result = await function(*args, **kwargs)
            detector.check()
            return result

        return checked


def _described(top: TenantEntry | None) -> str:
    entered: list[str] = []
    frame = top
    while frame is not None:
        entered.append("no tenant (use_no_tenant)" if frame.tenant is None else repr(frame.tenant))
        frame = frame.outer
    return "with no tenant entered" if not entered else "inside " + " inside ".join(entered)
