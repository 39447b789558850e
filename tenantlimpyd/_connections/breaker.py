"""The circuit breaker: after failures of a server, callers are refused at once instead of waiting for a timeout.

*Closed*: every caller is admitted. After some consecutive failures it is *open*: callers are refused. After a while it
admits one caller at a time as a probe (*half-open*). A reply of the server closes it. Another failure keeps it open for
twice as long, up to ``max_open_seconds``.

These count as failures: connections and handshakes that are refused, unreachable, cut off or timed out, and replies that do not
arrive in time, except those of blocking commands. Errors that the server itself returns do not count: an error reply, a
wrong password, "loading" or "too many clients" prove that it is available. Errors of this machine, such as a lack of
file descriptors, do not count either, nor does a slow command while the server replies to others. A timeout counts only if
the server had :data:`MIN_WAIT_SECONDS`, or the
connection's own timeout if that is shorter, so that ``fan_out(timeout=0.001)`` does not open the circuit breaker for
everybody.
"""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Literal, TypeAlias

import attrs
import redis
from redis.exceptions import AuthorizationError, BusyLoadingError, ExternalAuthProviderError, MaxConnectionsError

from tenantlimpyd import logs
from tenantlimpyd._connections import fork
from tenantlimpyd.exceptions import ConfigurationError, ServerUnavailableError, shown

__all__ = [
    "MIN_WAIT_SECONDS",
    "PROBE_WAIT_SECONDS",
    "BreakerPolicy",
    "BreakerStatus",
    "CircuitBreaker",
    "State",
    "bypass_breaker",
]

State: TypeAlias = Literal["closed", "open", "half-open"]

MIN_WAIT_SECONDS = 1.0
"""Seconds that a server must have had before a caller's shorter deadline counts as a failure."""

PROBE_WAIT_SECONDS = 0.25
"""Seconds that other callers wait for the result of a probe, so that they too are served when the server is back."""

_PROBE_TIMEOUT_SECONDS = 30.0
"""Seconds after which a probe without a result is given up."""

_NOT_UNAVAILABLE = (
    *(redis.AuthenticationError, AuthorizationError, BusyLoadingError),
    *(ExternalAuthProviderError, MaxConnectionsError, ServerUnavailableError),
)
"""redis-py's connection errors that do not mean that the server is unavailable."""


_LOCAL_ERRORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""Errors of the operating system that mean that this machine lacks resources."""

_bypass: ContextVar[bool] = ContextVar("tenantlimpyd._connections.breaker.insists", default=False)


@contextlib.contextmanager
def bypass_breaker() -> Iterator[None]:
    """Admit every caller in this context, for health checks.

    A reply closes the circuit breaker for all. A failure does not extend the time for which it is open.
    """
    token = _bypass.set(True)
    try:
        yield
    finally:
        _bypass.reset(token)


@attrs.frozen
class BreakerPolicy:
    """When the circuit breaker opens, and for how long. The setting ``breaker`` of a database; None disables it.

    Args:
        failures: the number of consecutive failures that open it. One timeout of a connection's full timeout opens it too.
        seconds: seconds for which it is open at first.
        max_open_seconds: the longest time in seconds; each failed probe doubles the time.

    Raises:
        ConfigurationError: If a value is out of range.
    """

    failures: int = 3
    seconds: float = 0.5
    max_open_seconds: float = 10.0

    def __attrs_post_init__(self) -> None:
        problems = []
        if not isinstance(self.failures, int) or isinstance(self.failures, bool) or not 1 <= self.failures <= 1_000_000:
            problems.append(f"breaker: failures must be a whole number from 1 to 1000000, not {shown(self.failures)}")
        for name in ("seconds", "max_open_seconds"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 86_400:
                problems.append(
                    f"breaker: {name} must be a number of seconds, more than 0 and up to 86400, not {shown(value)}"
                )
        if not problems and self.max_open_seconds < self.seconds:
            problems.append(
                f"breaker: max_open_seconds ({self.max_open_seconds}) must not be less than seconds ({self.seconds})"
            )
        if problems:
            raise ConfigurationError(problems)


@attrs.frozen
class BreakerStatus:
    """The state of a circuit breaker at one moment.

    Attributes:
        state: ``closed``, ``open`` or ``half-open``.
        failures: the number of consecutive failures.
        error: the class of the last failure; None if there is none.
        seconds: seconds since it opened; 0 while it is closed.
        retry_in: seconds until the next probe; 0 if one would be admitted now.
    """

    state: State
    failures: int
    error: str | None
    seconds: float
    retry_in: float


class CircuitBreaker:
    """The circuit breaker of one server. Threads and event loops may share it. It never waits.

    Args:
        server: the name of the server in messages and log events.
        policy: when it opens, and for how long.
        clock: returns monotonic seconds.

    Attributes:
        may_refuse: whether :meth:`admit` may refuse callers. Checking it first keeps the usual path short.
        has_failures: whether :meth:`record_success` would change the state. Checking it first keeps the usual path short.
        replies: the number of replies that connections have read. It is incremented without a lock, so it may miss some.
    """

    def __init__(self, server: str, policy: BreakerPolicy, clock: Callable[[], float] = time.monotonic) -> None:
        self.server = server
        self.policy = policy
        self.may_refuse = False
        self.has_failures = False
        self.replies = 0
        self._clock = clock
        self.reset_after_fork()
        fork.watch(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.server}, {self.status.state}>"

    def __deepcopy__(self, memo: object) -> CircuitBreaker:
        return self  # redis-py copies the retry policy, which refers to it, for each connection

    def _close(self) -> None:
        self.may_refuse = self.has_failures = False
        self._failures = 0
        self._error: str | None = None  # not the exception: its traceback would keep frames alive
        self._description = ""
        self._opened = self._next = self._failed = 0.0
        self._period = self.policy.seconds
        self._caller: int | None = None
        self._lease = 0.0

    @property
    def status(self) -> BreakerStatus:
        """The current state."""
        with self._lock:
            now = self._clock()
            if not self.may_refuse:
                return BreakerStatus("closed", self._failures, self._error, 0.0, 0.0)
            left = self._wait(now)
            state: State = "open" if self._caller is None and left > 0 else "half-open"
            return BreakerStatus(state, self._failures, self._error, now - self._opened, left)

    def _wait(self, now: float) -> float:
        until = self._lease if self._caller is not None else self._next
        return max(0.0, until - now)

    def admit(self, caller: object) -> None:
        """Admit or refuse a caller. While half-open, one caller is admitted, as often as it asks.

        Args:
            caller: the connection that is about to be used.

        Raises:
            ServerUnavailableError: If the caller is refused.
        """
        if not self.may_refuse:
            return
        with self._lock:
            if not self.may_refuse or self._caller == id(caller):
                return
            now = self._clock()
            if (left := self._wait(now)) > 0:
                if _bypass.get():
                    return
                raise self._refusal(now, left)
            self._caller, self._lease = id(caller), now + _PROBE_TIMEOUT_SECONDS
        logs.emit("breaker_probing", server=self.server)

    def _refusal(self, now: float, left: float) -> ServerUnavailableError:
        since, times = now - self._opened, f"{self._failures} consecutive failure{'s' if self._failures > 1 else ''}"
        when = "a probe is running" if self._caller is not None else f"next attempt in {left:.1f} s"
        return ServerUnavailableError(
            f"circuit breaker open for {self.server} since {since:.1f} s ({times}, last: {self._description}); {when}. "
            "The command was not sent.",
            self.server,
            left,
        )

    @property
    def probing(self) -> bool:
        """Whether a probe is running."""
        return self.may_refuse and self._caller is not None and not _bypass.get()

    def check(self) -> None:
        """Refuse a caller that has no connection yet. :meth:`admit` may still refuse it later.

        Raises:
            ServerUnavailableError: If the caller is refused.
        """
        with self._lock:
            now = self._clock()
            if self.may_refuse and (left := self._wait(now)) > 0 and not _bypass.get():
                raise self._refusal(now, left)

    def reset_after_fork(self) -> None:
        """Reset the state and the lock of the parent process."""
        self._lock = threading.Lock()
        self._close()

    def abandon(self, caller: object) -> None:
        """Record that a caller ended without a result, so that another may probe."""
        if self._caller == id(caller):
            with self._lock:
                if self._caller == id(caller):
                    self._caller = None

    def record_success(self) -> None:
        """Record a reply of the server."""
        if not self.has_failures:
            return
        with self._lock:
            was_open, seconds = self.may_refuse, self._clock() - self._opened
            self._close()
        if was_open:
            logs.emit("breaker_closed", server=self.server, seconds=round(seconds, 6))

    def record_failure(
        self,
        caller: object,
        error: BaseException,
        waited: float,
        own: float | None,
        *,
        once: bool = False,
        replies: int | None = None,
    ) -> None:
        """Record an error in connecting or in waiting for a reply, if it counts as a failure.

        Args:
            caller: the connection.
            error: the error.
            waited: seconds that the server had.
            own: the connection's own timeout in seconds; None if it has none.
            once: whether simultaneous failures count as one: a blocked event loop times out many callers at a time.
            replies: for a reply that did not arrive: :attr:`replies` when the command was sent. If the server has replied to
                others since, it is available: one slow command does not count.
        """
        answered = replies is not None and self.replies != replies
        if answered or isinstance(error, _NOT_UNAVAILABLE) or not self._counts(error, waited, own):
            self.abandon(caller)
            return
        timed_out = isinstance(error, redis.TimeoutError | TimeoutError) and own is not None and waited >= 0.9 * own
        with self._lock:
            now = self._clock()
            if self.may_refuse and self._caller != id(caller) and (now < self._next or now - waited < self._opened):
                return  # started before it opened, or not a probe
            if once and now - waited < self._failed:
                return
            self._failures, self._failed = self._failures + 1, now
            last = error if isinstance(error, Exception) else redis.TimeoutError("cancelled by its caller")
            self._error, self._description = type(last).__name__, _description(last)
            self.has_failures = True
            self._caller = None
            if self.may_refuse:
                self._period = min(2 * self._period, self.policy.max_open_seconds)
            elif self._failures < self.policy.failures and not (timed_out and waited >= MIN_WAIT_SECONDS):
                return
            else:
                self._opened = now
            self.may_refuse, self._next = True, now + self._period
            told = (self._failures, self._error, self._period)
        logs.emit("breaker_opened", server=self.server, failures=told[0], error=told[1], seconds=told[2])

    @staticmethod
    def _counts(error: BaseException, waited: float, own: float | None) -> bool:
        if str(error).startswith("max number of clients") or _is_local_error(error):
            return False
        if isinstance(error, redis.ConnectionError) or (
            isinstance(error, OSError) and not isinstance(error, TimeoutError)
        ):
            return True
        if isinstance(error, Exception) and not isinstance(error, redis.TimeoutError | TimeoutError):
            return False  # a reply of the server, or an error of the program
        enough = MIN_WAIT_SECONDS if own is None else min(MIN_WAIT_SECONDS, 0.9 * own)
        return waited >= enough  # otherwise the caller's deadline was too short, or its task was cancelled


def _is_local_error(error: BaseException) -> bool:
    """Return whether connecting failed because this machine lacks resources."""
    return any(
        isinstance(each, OSError) and each.errno in _LOCAL_ERRORS
        for each in (error, error.__cause__, error.__context__)
    )


def _description(error: Exception) -> str:
    text = str(error).splitlines()[0][:200] if str(error) else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
