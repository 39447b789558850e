"""Threads that connect for the select loop.

Connecting blocks: it resolves names, waits for a permit and performs a handshake. A connected worker needs no thread
(:mod:`tenantlimpyd._fanout.multiplex.select_loop`).
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from contextvars import Context, copy_context
from typing import Any

from tenantlimpyd._connections.deadline import GRACE_SECONDS, Deadline
from tenantlimpyd._fanout.multiplex.lease import Lease

__all__ = ["ConnectAttempt", "ConnectorThreads"]


class ConnectAttempt:
    """One attempt to connect.

    Args:
        caller: the worker state that waits for it.
        lease: the lease that will hold the connection.
        seconds: the time limit.
        may_wait: whether to wait for a permit.

    Attributes:
        caller: the worker state that waits for it.
        lease: the lease that holds the connection after success.
        db: the database that the connection is in.
        error: the reason of a failure.
        interrupted_socket: whether its socket was shut down because the time limit had passed.
        seconds: the time the attempt took.
    """

    def __init__(self, caller: Any, lease: Lease, seconds: float, *, may_wait: bool) -> None:
        self.caller = caller
        self.lease = lease
        self._may_wait = may_wait
        self.limit = Deadline(seconds)
        self.db = 0
        self.error: Exception | None = None
        self.interrupted_socket = False
        self.seconds = 0.0
        self._lock = threading.RLock()  # reentrant: the garbage collector may call abandon() while this thread holds it
        self._unwanted = False
        self._made = False

    def run(self) -> bool:
        """Connect, and return whether the connection is still wanted."""
        began = time.monotonic()
        try:
            with self.limit.applied():
                self.db = self.lease.connect(may_wait=self._may_wait)
        except Exception as error:  # noqa: BLE001 - the worker handles it
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

    def interrupt(self) -> None:
        """Shut down the socket that the attempt waits for, if there is one."""
        self.interrupted_socket = True
        self.limit.cancel()

    def abandon(self) -> None:
        """Stop waiting for the attempt. A connection that it still makes returns to the pool."""
        with self._lock:
            self._unwanted = True
            made = self._made
        if made:
            self.lease.give_back(self.db)
        else:
            self.interrupt()


class ConnectorThreads:
    """The threads that connect, one for each attempt, and the queue of finished attempts."""

    def __init__(self) -> None:
        self._context: Context = copy_context()
        self._made: deque[ConnectAttempt] = deque()
        self._threads: list[threading.Thread] = []
        self.wake_reader, self._wake_writer = socket.socketpair()
        """A socket that is readable when an attempt has finished."""
        self.wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)

    def begin(self, attempt: ConnectAttempt) -> None:
        """Run an attempt in a new thread.

        Raises:
            RuntimeError: If no thread can be started.
        """
        thread = threading.Thread(
            target=self._context.copy().run, args=(self._connect, attempt), name="tenantlimpyd-fan-out", daemon=True
        )
        thread.start()
        self._threads = [each for each in self._threads if each.is_alive()]
        self._threads.append(thread)

    def _connect(self, attempt: ConnectAttempt) -> None:
        if attempt.run():
            self._made.append(attempt)
            self.wake()

    def wake(self) -> None:
        """Wake the select loop."""
        with contextlib.suppress(OSError):  # full: the loop is awake already; closed: the loop has ended
            self._wake_writer.send(b"\0")

    def finished_attempts(self) -> list[ConnectAttempt]:
        """Return the attempts that have finished."""
        with contextlib.suppress(BlockingIOError):
            while len(self.wake_reader.recv(4096)) == 4096:
                pass
        made = []
        while self._made:
            made.append(self._made.popleft())
        return made

    def close(self) -> None:
        """Wait for the threads for a limited time: a thread that resolves a name can't be interrupted."""
        deadline = time.monotonic() + 10 * GRACE_SECONDS
        try:
            for thread in self._threads:
                if thread is not threading.current_thread():  # the garbage collector may close this in any thread
                    thread.join(max(0.0, deadline - time.monotonic()))
        finally:
            self.wake_reader.close()
            self._wake_writer.close()
