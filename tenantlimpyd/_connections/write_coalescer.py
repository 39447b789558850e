"""Coalescing of writes: the connections of an event loop defer their writes and send them at the loop's next iteration.

If many tasks send at the same time, each task works between two sends. A server that is idle in between must be woken for each
command, which doubles the sender's time in the kernel. With writes right after one another only the first one wakes the server.

Deferred bytes have not been sent: data that arrives before is never taken for their reply.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sized
from typing import Protocol

from tenantlimpyd._connections import fork

__all__ = ["WriteCoalescer"]


class DeferringConnection(Protocol):
    """A connection whose writes are deferred.

    Attributes:
        unsent: the deferred bytes.
    """

    unsent: bytes | None

    def flush_unsent(self) -> None:
        """Send the deferred bytes."""


class WriteCoalescer:
    """The deferred writes of a pool's connections.

    Args:
        live: the pool's connections.
        idle: those of them that nobody uses.
    """

    __slots__ = ("_born", "_idle", "_kept", "_live")

    def __init__(self, live: Sized, idle: Sized) -> None:
        self._live = live
        self._idle = idle
        self._born = fork.generation
        self._kept: deque[DeferringConnection] = deque()

    @property
    def is_useful(self) -> bool:
        """Whether other connections may send too. A single command is better sent at once."""
        return len(self._live) - len(self._idle) > 1

    def keep(self, connection: DeferringConnection, packed: bytes) -> None:
        """Defer a write until the loop's next iteration."""
        if not self._kept:
            asyncio.get_running_loop().call_soon(self.send)
        connection.unsent = packed
        self._kept.append(connection)

    def send(self) -> None:
        """Send the deferred writes. Each connection checks whether it still may."""
        kept = self._kept
        if self._born != fork.generation:  # the parent process sends them
            kept.clear()
        try:
            while kept:
                try:
                    kept[0].flush_unsent()
                except Exception:
                    kept.popleft()  # the caller that waits for the reply times out
                    raise
                kept.popleft()
        finally:
            if kept:  # a signal handler has raised: the others are still waiting
                asyncio.get_running_loop().call_soon(self.send)
