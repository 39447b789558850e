"""Forks: a child process has copies of its parent's connections and must not use them."""

from __future__ import annotations

import os
import weakref
from typing import Any, Protocol

__all__ = ["ForkAware", "generation", "kept", "watch"]

generation = 0
"""The number of forks between this process and the one that imported this module."""

kept: list[Any] = []
"""Objects that a child must keep, because freeing them would close sockets of the parent."""


class ForkAware(Protocol):
    """An object that must be reset in a forked child."""

    def reset_after_fork(self) -> None:
        """Reset the state of the parent process. No other thread runs."""


_watched: weakref.WeakSet[ForkAware] = weakref.WeakSet()


def watch(forked: ForkAware) -> None:
    """Reset an object in forked children of this process."""
    _watched.add(forked)


def _in_child() -> None:
    global generation  # noqa: PLW0603 - one number of the process
    generation += 1
    for forked in list(_watched):
        forked.reset_after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_in_child)
