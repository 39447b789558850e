"""Deadlines for blocking commands that win over redis-py's own timeouts and retries.

redis-py's defaults spend 3 to 4 seconds on a server that refuses and close to a minute on one that accepts and never
answers. A :class:`Deadline` bounds everything a thread does on our connections while it is the current one, and can be
cancelled from another thread, which wakes a thread that waits for a reply.

asyncio needs none of this: there a task is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import redis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.retry import Retry

from tenantlimpyd.context import left_behind
from tenantlimpyd.exceptions import ServerUnavailableError

__all__ = ["GRACE", "AsyncBoundedRetry", "BoundedRetry", "Deadline", "current_deadline"]

GRACE = 0.1
"""Seconds a thread has, after its deadline, to notice it by itself; and again after its socket was shut down. Ten times as long
is waited for threads at the end."""

_current: ContextVar[Deadline | None] = ContextVar("tenantlimpyd.limit", default=None)
left_behind.append(_current)


def current_deadline() -> Deadline | None:
    """Return the limit on this thread's commands, or None."""
    return _current.get()


class Deadline:
    """A deadline, and a way to end what runs under it earlier. Safe to share between threads."""

    def __init__(self, seconds: float | None = None) -> None:
        """Start the clock.

        Args:
            seconds: how long commands under this limit may take in all; None: no deadline, only :meth:`cancel`.
        """
        self.seconds = seconds
        self._expires = None if seconds is None else time.monotonic() + seconds
        self._cancelled = threading.Event()
        self._lock = threading.RLock()  # what the garbage collector finds may cancel it in the middle of something
        self._sockets: set[socket.socket] = set()
        self._wakers: set[Callable[[], object]] = set()

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Make this the limit of the current context's commands."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def remaining(self) -> float | None:
        """Return the seconds left, at least 0; None: no deadline."""
        expires = self._expires
        return None if expires is None else max(0.0, expires - time.monotonic())

    @property
    def overdue(self) -> float:
        """The seconds by which the deadline has passed; negative before it, minus infinity where there is none."""
        expires = self._expires
        return -math.inf if expires is None else time.monotonic() - expires

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed."""
        return self.overdue >= 0

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._cancelled.is_set()

    @property
    def over(self) -> bool:
        """Whether nothing more may be done: expired, or cancelled."""
        return self._cancelled.is_set() or self.expired

    def cancel(self) -> None:
        """End what runs under this limit: sockets in use are shut down, later commands are refused."""
        with self._lock:
            self._cancelled.set()
            for used in self._sockets:
                with contextlib.suppress(OSError):
                    used.shutdown(socket.SHUT_RDWR)
            for wake in self._wakers:
                wake()

    def pause(self, seconds: float) -> None:
        """Sleep, but not past the deadline nor a cancellation."""
        left = self.remaining()
        self._cancelled.wait(seconds if left is None else min(seconds, left))

    def error(self) -> redis.TimeoutError:
        """Return the error of what may not be done any more."""
        return redis.TimeoutError("cancelled" if self.cancelled else "no time left for this command")

    def check(self) -> None:
        """Raise redis-py's ``TimeoutError`` if nothing more may be done."""
        if self.over:
            raise self.error()

    @contextlib.contextmanager
    def using(self, used: socket.socket | None) -> Iterator[None]:
        """Let :meth:`cancel` wake a thread that is about to wait on a socket."""
        if used is None:
            yield
            return
        with self._lock:
            self._sockets.add(used)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._sockets.discard(used)

    @contextlib.contextmanager
    def waking(self, wake: Callable[[], object]) -> Iterator[None]:
        """Let :meth:`cancel` wake a thread that is about to wait for something else than a reply.

        Args:
            wake: called by another thread; must not block.
        """
        with self._lock:
            self._wakers.add(wake)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._wakers.discard(wake)

    def shorter(self, seconds: float | None) -> float | None:
        """Return the shorter of a timeout and the time left. Never 0, which would mean "don't block" to a socket."""
        left = self.remaining()
        if left is None:
            return seconds
        left = max(left, 0.001)
        return left if seconds is None else min(seconds, left)


class _Ends:
    """Mixed into redis-py's retry policies: stops retrying when the breaker opens."""

    def __init__(self, *args: Any) -> None:
        """Take the arguments of redis-py's policy, and the server's breaker last; None: there is none."""
        *arguments, self._breaker = args
        super().__init__(*arguments)

    def _ended(self, error: Exception, failures: int) -> bool:
        if isinstance(error, redis.AuthenticationError):  # a renewed token may be right, a wrong password stays wrong
            return failures > 1
        return isinstance(error, ServerUnavailableError) or (self._breaker is not None and self._breaker.refusing)


class BoundedRetry(_Ends, Retry):
    """A retry policy of redis-py that stops retrying, and sleeping, when the current limit is over or the breaker opens."""

    __hash__ = Retry.__hash__

    def call_with_retry(
        self,
        do: Callable[[], Any],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> Any:
        """Do as the base class does, within the current limit."""
        limit = _current.get()
        self._backoff.reset()
        failures = 0
        while True:
            if limit is not None:
                limit.check()
            try:
                return do()
            except self._supported_errors as error:
                if is_retryable is not None and not is_retryable(error):
                    raise
                failures += 1
                fail(error, failures) if with_failure_count else fail(error)
                if 0 <= self._retries < failures or self._ended(error, failures) or (limit is not None and limit.over):
                    raise
                pause = self._backoff.compute(failures)
                if limit is None:
                    time.sleep(pause)
                    continue
                limit.pause(pause)
                if limit.over:
                    raise


class AsyncBoundedRetry(_Ends, AsyncRetry):
    """A retry policy of redis-py's asyncio that stops retrying, and sleeping, when the breaker opens."""

    __hash__ = AsyncRetry.__hash__

    async def call_with_retry(
        self,
        do: Callable[[], Awaitable[Any]],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> Any:
        """Do as the base class does."""
        self._backoff.reset()
        failures = 0
        while True:
            try:
                return await do()
            except self._supported_errors as error:
                if is_retryable is not None and not is_retryable(error):
                    raise
                failures += 1
                await (fail(error, failures) if with_failure_count else fail(error))
                if 0 <= self._retries < failures or self._ended(error, failures):
                    raise
                await asyncio.sleep(self._backoff.compute(failures))
