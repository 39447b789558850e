"""Connecting takes a thread: names are looked up, places in the budget waited for, handshakes gone through, all blocking.

Once connected, a lane needs none (:mod:`tenantlimpyd._fanout.multiplex.select_loop`).
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from contextvars import Context, copy_context
from typing import Any

from tenantlimpyd._connections.deadline import GRACE, Deadline
from tenantlimpyd._fanout.multiplex.lease import Lease

__all__ = ["Attempt", "Connecting"]


class Attempt:
    """One connection being made.

    Args:
        caller: for whom.
        lease: what will have it.
        seconds: how long it may take.
        waits: whether to wait for a place in the budget.

    Attributes:
        caller: for whom.
        lease: the connection, once it is there.
        db: which database it is in.
        error: why there is none.
        hurried: whether its socket was shut down, since its time is up.
        seconds: how long it took.
    """

    def __init__(self, caller: Any, lease: Lease, seconds: float, *, waits: bool) -> None:
        self.caller = caller
        self.lease = lease
        self._waits = waits
        self.limit = Deadline(seconds)
        self.db = 0
        self.error: Exception | None = None
        self.hurried = False
        self.seconds = 0.0
        self._lock = threading.RLock()  # the garbage collector may abandon it in the middle of something
        self._unwanted = False
        self._made = False

    def run(self) -> bool:
        """Connect; return whether anybody still waits for it."""
        began = time.monotonic()
        try:
            with self.limit.applied():
                self.db = self.lease.connect(waits=self._waits)
        except Exception as error:  # noqa: BLE001 - the lane knows what to do
            self.error = error
        except BaseException as error:  # noqa: BLE001 - sys.exit() of a credential provider ends this attempt, not the program
            self.error = RuntimeError(f"{type(error).__name__} was raised")
            self.error.__cause__ = error
        self.seconds = time.monotonic() - began
        with self._lock:
            self._made = True
            unwanted = self._unwanted
        if unwanted:
            self.lease.give_back(self.db)
        return not unwanted

    def hurry(self) -> None:
        """End it, if it can be ended from outside."""
        self.hurried = True
        self.limit.cancel()

    def abandon(self) -> None:
        """Wait for it no longer. What comes of it goes back to its pool."""
        with self._lock:
            self._unwanted = True
            made = self._made
        if made:
            self.lease.give_back(self.db)
        else:
            self.hurry()


class Connecting:
    """The threads that connect, one for each connection that is being made, and the news of them."""

    def __init__(self) -> None:
        self._context: Context = copy_context()
        self._made: deque[Attempt] = deque()
        self._threads: list[threading.Thread] = []
        self.bell, self._string = socket.socketpair()
        """What is readable when there is news."""
        self.bell.setblocking(False)
        self._string.setblocking(False)

    def begin(self, attempt: Attempt) -> None:
        """Connect in a thread.

        Raises:
            RuntimeError: there can't be a further thread.
        """
        thread = threading.Thread(
            target=self._context.copy().run, args=(self._connect, attempt), name="tenantlimpyd-fan-out", daemon=True
        )
        thread.start()
        self._threads = [each for each in self._threads if each.is_alive()]
        self._threads.append(thread)

    def _connect(self, attempt: Attempt) -> None:
        if attempt.run():
            self._made.append(attempt)
            self.ring()

    def ring(self) -> None:
        """Wake who waits for news."""
        with contextlib.suppress(OSError):  # full: it has been rung often enough; closed: nobody listens
            self._string.send(b"\0")

    def news(self) -> list[Attempt]:
        """Return the attempts that have ended."""
        with contextlib.suppress(BlockingIOError):
            while len(self.bell.recv(4096)) == 4096:
                pass
        made = []
        while self._made:
            made.append(self._made.popleft())
        return made

    def close(self) -> None:
        """Wait for the threads, but not for ever: one that looks up a name can't be ended."""
        deadline = time.monotonic() + 10 * GRACE
        try:
            for thread in self._threads:
                if thread is not threading.current_thread():  # where the garbage collector found what it works for
                    thread.join(max(0.0, deadline - time.monotonic()))
        finally:
            self.bell.close()
            self._string.close()
