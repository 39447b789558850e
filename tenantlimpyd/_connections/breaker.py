"""A breaker for each server: a dead one costs its first callers a deadline, and later ones nothing.

*Closed*, everything goes through. After some failures in a row it is *open*: whoever wants a connection is refused at
once. When its time is up it lets one caller at a time through (*half-open*): what the server answers closes it, another
failure keeps it open for twice as long, up to a bound.

What counts: connecting or handshaking that is refused, unreachable, cut off or timed out, and commands whose replies do not
come in time, but for those that wait on purpose. What the server itself says does not: an error reply, a wrong password,
"loading", "too many clients" prove that it is there. Nor does what this machine lacks, such as file descriptors. Nor does
impatience: a time-out counts only where the server had :data:`LEAST_WAIT` seconds, or the
connection's own time-out if that is shorter, so that ``fan_out(timeout=0.001)`` takes the server from nobody.
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

__all__ = ["LEAST_WAIT", "PATIENCE", "Breaker", "BreakerPolicy", "BreakerStatus", "State", "bypass_breaker"]

State: TypeAlias = Literal["closed", "open", "half-open"]

LEAST_WAIT = 1.0
"""Seconds a server must have been given before a deadline of the caller's own counts against it."""

PATIENCE = 0.25
"""Seconds for which others wait for what comes of the attempt of the one that was let through: so when a server is back, all
who come at that moment find it, and not only the first."""

_LEASE = 30.0
"""Seconds after which the one caller let through is no longer waited for: it may have gone without a word."""

_ANSWERED = (
    *(redis.AuthenticationError, AuthorizationError, BusyLoadingError),
    *(ExternalAuthProviderError, MaxConnectionsError, ServerUnavailableError),
)
"""redis-py's connection errors that don't say that the server is away."""


_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""Errors of the operating system in connecting that say what this machine lacks, and nothing of the server."""

_insists: ContextVar[bool] = ContextVar("tenantlimpyd._connections.breaker.insists", default=False)


@contextlib.contextmanager
def bypass_breaker() -> Iterator[None]:
    """Refuse nothing that is asked in this context: who wants to know how a server is has to ask it.

    Where it answers, the breaker closes for all; where it doesn't, nothing is prolonged.
    """
    token = _insists.set(True)
    try:
        yield
    finally:
        _insists.reset(token)


@attrs.frozen
class BreakerPolicy:
    """When a breaker opens, and for how long. The setting ``breaker`` of a database takes one; None: no breaker.

    Args:
        failures: how many in a row open it. A connection that took all of its own time-out opens it by itself.
        seconds: for how long at first.
        longest: for how long at most; the time doubles with each vain attempt.

    Raises:
        ConfigurationError: a value is out of range.
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
    """A breaker at one moment.

    Attributes:
        state: ``closed``, ``open`` or ``half-open``.
        failures: in a row, up to now.
        error: the class of the last of them; None: there is none.
        seconds: since it opened; 0 while it is closed.
        retry_in: seconds until an attempt is let through; 0 where one would be now.
    """

    state: State
    failures: int
    error: str | None
    seconds: float
    retry_in: float


class Breaker:
    """The breaker of one server. Safe to share between threads and event loops: it never waits.

    Args:
        server: how messages and log events name it.
        policy: when it opens, and for how long.
        clock: seconds that only grow.

    Attributes:
        refusing: whether :meth:`admit` might refuse; callers look here first, since it nearly always is False.
        troubled: whether :meth:`succeeded` would change anything; the same.
    """

    def __init__(self, server: str, policy: BreakerPolicy, clock: Callable[[], float] = time.monotonic) -> None:
        self.server = server
        self.policy = policy
        self.refusing = False
        self.troubled = False
        self._clock = clock
        self.reset_after_fork()
        fork.watch(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.server}, {self.status.state}>"

    def __deepcopy__(self, memo: object) -> Breaker:
        return self  # redis-py copies the retry policy, which knows it, for each connection

    def _close(self) -> None:
        self.refusing = self.troubled = False
        self._failures = 0
        self._error: str | None = None  # not the exception itself: its traceback would keep its callers' frames alive
        self._told = ""
        self._opened = self._next = self._failed = 0.0
        self._period = self.policy.seconds
        self._caller: int | None = None
        self._lease = 0.0

    @property
    def status(self) -> BreakerStatus:
        """Its state now."""
        with self._lock:
            now = self._clock()
            if not self.refusing:
                return BreakerStatus("closed", self._failures, self._error, 0.0, 0.0)
            left = self._wait(now)
            state: State = "open" if self._caller is None and left > 0 else "half-open"
            return BreakerStatus(state, self._failures, self._error, now - self._opened, left)

    def _wait(self, now: float) -> float:
        until = self._lease if self._caller is not None else self._next
        return max(0.0, until - now)

    def admit(self, caller: object) -> None:
        """Let a caller through, or refuse it. While it is half-open, one at a time is let through: as often as it asks.

        Args:
            caller: the connection that is about to be used.

        Raises:
            ServerUnavailableError: refused.
        """
        if not self.refusing:
            return
        with self._lock:
            if not self.refusing or self._caller == id(caller):
                return
            now = self._clock()
            if (left := self._wait(now)) > 0:
                if _insists.get():
                    return
                raise self._refusal(now, left)
            self._caller, self._lease = id(caller), now + _LEASE
        logs.emit("breaker_probing", server=self.server)

    def _refusal(self, now: float, left: float) -> ServerUnavailableError:
        since, times = now - self._opened, f"{self._failures} failure{'s' if self._failures > 1 else ''} in a row"
        when = (
            "one attempt is under way" if self._caller is not None else f"the next attempt may go out in {left:.1f} s"
        )
        return ServerUnavailableError(
            f"{self.server} is taken to be away since {since:.1f} s: {times}, the last {self._told}; {when}. "
            "Nothing was sent.",
            self.server,
            left,
        )

    @property
    def probing(self) -> bool:
        """Whether the one that was let through has not told yet what came of it."""
        return self.refusing and self._caller is not None and not _insists.get()

    def check(self) -> None:
        """Refuse a caller that has no connection yet; who is not refused may still be, by :meth:`admit`.

        Raises:
            ServerUnavailableError: refused.
        """
        with self._lock:
            now = self._clock()
            if self.refusing and (left := self._wait(now)) > 0 and not _insists.get():
                raise self._refusal(now, left)

    def reset_after_fork(self) -> None:
        """Know nothing of what a parent process found out, nor of its lock."""
        self._lock = threading.Lock()
        self._close()

    def leave(self, caller: object) -> None:
        """Tell that a caller gave up without an answer, so that another may be let through."""
        if self._caller == id(caller):
            with self._lock:
                if self._caller == id(caller):
                    self._caller = None

    def succeeded(self) -> None:
        """Tell that the server answered."""
        if not self.troubled:
            return
        with self._lock:
            was_open, seconds = self.refusing, self._clock() - self._opened
            self._close()
        if was_open:
            logs.emit("breaker_closed", server=self.server, seconds=round(seconds, 6))

    def failed(
        self, caller: object, error: BaseException, waited: float, own: float | None, *, once: bool = False
    ) -> None:
        """Tell of an error in reaching the server, or in waiting for its reply. Decides whether it counts.

        Args:
            caller: the connection.
            error: what was raised.
            waited: seconds the server was given.
            own: seconds of the connection's own time-out, which somebody's deadline may have shortened; None: it has none.
            once: whether many that give up at one moment count as one: an event loop that was held up by something else
                gives up on all of them, whose replies may have come.
        """
        if isinstance(error, _ANSWERED) or not self._counts(error, waited, own):
            self.leave(caller)
            return
        timed_out = isinstance(error, redis.TimeoutError | TimeoutError) and own is not None and waited >= 0.9 * own
        with self._lock:
            now = self._clock()
            if self.refusing and self._caller != id(caller) and (now < self._next or now - waited < self._opened):
                return  # of an attempt that began before it opened, or of one that nobody had to make
            if once and now - waited < self._failed:
                return
            self._failures, self._failed = self._failures + 1, now
            last = error if isinstance(error, Exception) else redis.TimeoutError("given up by its caller")
            self._error, self._told = type(last).__name__, _told(last)
            self.troubled = True
            self._caller = None
            if self.refusing:
                self._period = min(2 * self._period, self.policy.max_open_seconds)
            elif self._failures < self.policy.failures and not (timed_out and waited >= LEAST_WAIT):
                return
            else:
                self._opened = now
            self.refusing, self._next = True, now + self._period
            told = (self._failures, self._error, self._period)
        logs.emit("breaker_opened", server=self.server, failures=told[0], error=told[1], seconds=told[2])

    @staticmethod
    def _counts(error: BaseException, waited: float, own: float | None) -> bool:
        if str(error).startswith("max number of clients") or _ours(error):
            return False
        if isinstance(error, redis.ConnectionError) or (
            isinstance(error, OSError) and not isinstance(error, TimeoutError)
        ):
            return True
        if isinstance(error, Exception) and not isinstance(error, redis.TimeoutError | TimeoutError):
            return False  # a reply of the server, or a mistake of the program
        enough = LEAST_WAIT if own is None else min(LEAST_WAIT, 0.9 * own)
        return waited >= enough  # else somebody was in a hurry; a cancelled task, for example


def _ours(error: BaseException) -> bool:
    """Return whether a connection could not be made for want of something on this machine."""
    return any(
        isinstance(each, OSError) and each.errno in _OURS for each in (error, error.__cause__, error.__context__)
    )


def _told(error: Exception) -> str:
    text = str(error).splitlines()[0][:200] if str(error) else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
