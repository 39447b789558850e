"""Forks: a child process has copies of its parent's connections, and must not use one of them."""

from __future__ import annotations

import os
import weakref
from typing import Any, Protocol

__all__ = ["ForkAware", "generation", "kept", "watch"]

generation = 0
"""How many forks lie between this process and the one that imported this module."""

kept: list[Any] = []
"""What a child must not close, and so must not let go of: it is the parent's too."""


class ForkAware(Protocol):
    """What has to begin anew in a child process."""

    def reset_after_fork(self) -> None:
        """Forget what is the parent's. No other thread runs."""


_watched: weakref.WeakSet[ForkAware] = weakref.WeakSet()


def watch(forked: ForkAware) -> None:
    """Let something begin anew in children of this process."""
    _watched.add(forked)


def _in_child() -> None:
    global generation  # noqa: PLW0603 - one number of the process
    generation += 1
    for forked in list(_watched):
        forked.reset_after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_in_child)
