"""Deadlines and retries of sync commands.

With its defaults redis-py spends 3 to 4 seconds on a server that refuses connections, and close to a minute on one that
accepts them and never replies. A :class:`Deadline` limits everything that a thread does on shared connections while it
is active. Another thread can cancel it, which wakes a thread that waits for a reply.

Async code needs no deadline object: its task is cancelled.
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

__all__ = ["GRACE_SECONDS", "AsyncBoundedRetry", "BoundedRetry", "Deadline", "current_deadline"]

GRACE_SECONDS = 0.1
"""Seconds that a thread has after its deadline to notice it, and again after its socket was shut down. Closing waits
ten times as long for threads."""

_current: ContextVar[Deadline | None] = ContextVar("tenantlimpyd.limit", default=None)
left_behind.append(_current)


def current_deadline() -> Deadline | None:
    """Return the deadline of this thread's commands, or None."""
    return _current.get()


class Deadline:
    """A deadline that can be cancelled. Threads may share it."""

    def __init__(self, seconds: float | None = None) -> None:
        """Start the clock.

        Args:
            seconds: seconds that commands may take in total; None if only :meth:`cancel` ends them.
        """
        self.seconds = seconds
        self._expires = None if seconds is None else time.monotonic() + seconds
        self._cancelled = threading.Event()
        self._lock = threading.RLock()  # reentrant: the garbage collector may call cancel() while this thread holds it
        self._sockets: set[socket.socket] = set()
        self._wakers: set[Callable[[], object]] = set()

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Apply the deadline to commands in the current context."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def remaining(self) -> float | None:
        """Return the remaining seconds, at least 0; None without a deadline."""
        expires = self._expires
        return None if expires is None else max(0.0, expires - time.monotonic())

    @property
    def overdue(self) -> float:
        """The seconds since the deadline; negative before it, minus infinity without a deadline."""
        expires = self._expires
        return -math.inf if expires is None else time.monotonic() - expires

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed."""
        return self.overdue >= 0

    @property
    def cancelled(self) -> bool:
        """Whether :meth:`cancel` was called."""
        return self._cancelled.is_set()

    @property
    def over(self) -> bool:
        """Whether the deadline has passed or was cancelled."""
        return self._cancelled.is_set() or self.expired

    def cancel(self) -> None:
        """End all commands under the deadline: shut down their sockets and refuse later ones."""
        with self._lock:
            self._cancelled.set()
            for used in self._sockets:
                with contextlib.suppress(OSError):
                    used.shutdown(socket.SHUT_RDWR)
            for wake in self._wakers:
                wake()

    def pause(self, seconds: float) -> None:
        """Sleep until the time, the deadline or a cancellation."""
        left = self.remaining()
        self._cancelled.wait(seconds if left is None else min(seconds, left))

    def error(self) -> redis.TimeoutError:
        """Return the error for a command after the deadline."""
        return redis.TimeoutError("cancelled" if self.cancelled else "no time left for this command")

    def check(self) -> None:
        """Raise if the deadline has passed or was cancelled.

        Raises:
            redis.TimeoutError: If it has.
        """
        if self.over:
            raise self.error()

    @contextlib.contextmanager
    def using(self, used: socket.socket | None) -> Iterator[None]:
        """Let :meth:`cancel` shut down a socket that the thread waits for."""
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
        """Let :meth:`cancel` wake a thread that waits for something other than a reply.

        Args:
            wake: called by the cancelling thread; must not block.
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
        """Return the shorter of a timeout and the remaining time. Never 0, which makes a socket non-blocking."""
        left = self.remaining()
        if left is None:
            return seconds
        left = max(left, 0.001)
        return left if seconds is None else min(seconds, left)


class _BreakerAwareRetry:
    """A mixin for redis-py's retry policies that stops retries when the circuit breaker opens."""

    def __init__(self, *args: Any) -> None:
        """Initialize the policy with redis-py's arguments and, last, the circuit breaker or None."""
        *arguments, self._breaker = args
        super().__init__(*arguments)

    def _must_stop(self, error: Exception, failures: int) -> bool:
        if isinstance(
            error, redis.AuthenticationError
        ):  # one retry: a renewed token may be valid, a wrong password is not
            return failures > 1
        return isinstance(error, ServerUnavailableError) or (self._breaker is not None and self._breaker.may_refuse)


class BoundedRetry(_BreakerAwareRetry, Retry):
    """A sync retry policy that stops at the current deadline and when the circuit breaker opens."""

    __hash__ = Retry.__hash__

    def call_with_retry(
        self,
        do: Callable[[], Any],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> Any:
        """Retry like the base class, within the current deadline."""
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
                if (
                    0 <= self._retries < failures
                    or self._must_stop(error, failures)
                    or (limit is not None and limit.over)
                ):
                    raise
                pause = self._backoff.compute(failures)
                if limit is None:
                    time.sleep(pause)
                    continue
                limit.pause(pause)
                if limit.over:
                    raise


class AsyncBoundedRetry(_BreakerAwareRetry, AsyncRetry):
    """An async retry policy that stops when the circuit breaker opens."""

    __hash__ = AsyncRetry.__hash__

    async def call_with_retry(
        self,
        do: Callable[[], Awaitable[Any]],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> Any:
        """Retry like the base class."""
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
                if 0 <= self._retries < failures or self._must_stop(error, failures):
                    raise
                await asyncio.sleep(self._backoff.compute(failures))
