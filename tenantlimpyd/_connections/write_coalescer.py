"""What connections of one event loop send, put off until the loop has run what is ready, then sent in one go.

Where many tasks ask at the same time, each does its part of the work between two sends. A server that is done before the
next one has to be woken each time, which doubles what the kernel takes of the sender's time. Sent one right after the other,
the first wakes it and the others find it awake.

What is put off has not been sent: what comes until then answers nothing, and is never taken for its reply.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection
from typing import TYPE_CHECKING

from tenantlimpyd._connections import fork

if TYPE_CHECKING:
    from tenantlimpyd._connections.connection_async import AsyncSharedConnection

__all__ = ["WriteCoalescer"]


class WriteCoalescer:
    """What the connections of a pool are about to send.

    Args:
        used: the pool's connections that are in use, as the pool keeps them.
    """

    __slots__ = ("_born", "_kept", "_used")

    def __init__(self, used: Collection[object]) -> None:
        self._used = used
        self._born = fork.generation
        self._kept: deque[AsyncSharedConnection] = deque()

    @property
    def worth_it(self) -> bool:
        """Whether others may be about to send too: alone, a command had better go out at once."""
        return len(self._used) > 1

    def keep(self, connection: AsyncSharedConnection, packed: bytes) -> None:
        """Keep what a connection sends until the loop's next turn."""
        if not self._kept:
            asyncio.get_running_loop().call_soon(self.send)
        connection.unsent = packed
        self._kept.append(connection)

    def send(self) -> None:
        """Send what is kept; each connection looks whether it still may."""
        kept = self._kept
        if self._born != fork.generation:  # the parent sends it
            kept.clear()
        try:
            while kept:
                try:
                    kept[0].post()
                except Exception:
                    kept.popleft()  # whoever waits for its reply has a time-out
                    raise
                kept.popleft()
        finally:
            if kept:  # a signal handler raised something: the others still wait
                asyncio.get_running_loop().call_soon(self.send)
