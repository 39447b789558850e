"""The blocking engine: a bounded number of threads that visit tenants, and a consumer that hears of it as it happens.

Deadlines hold in three ways: commands inherit the time left (:mod:`tenantlimpyd.limits`); a thread that still waits for
its server when the time is up has its socket shut down; and one that does something else altogether is given up, its
result no longer waited for.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextvars import Context, copy_context
from typing import Any, TypeAlias

import attrs
import redis

from tenantlimpyd import forks
from tenantlimpyd.fanout.outcomes import Job, timed_out
from tenantlimpyd.fanout.plan import HandsOut, Plan, ThreadPlan
from tenantlimpyd.limits import Limit

__all__ = ["Ended", "Page", "ThreadedRun", "Visit"]

GRACE = 0.1
"""Seconds a thread has, after its deadline, to notice it by itself; and again after its socket was shut down."""


class Stopped(Exception):  # noqa: N818 - not an error: the consumer left
    """The consumer is gone; a thread's work is not wanted any more."""


@attrs.frozen
class Page:
    """A part of a job's result."""

    job: Any
    content: Any


@attrs.frozen
class Ended:
    """A job is through with: its value, or its error, and the seconds it took."""

    job: Any
    value: Any
    error: Exception | None
    seconds: float


Event: TypeAlias = Page | Ended


@attrs.define(eq=False)
class Visit:
    """One job being run: its limit, and how it delivers.

    Attributes:
        given_up: it is no longer waited for, and its outcome told.
        late: what it delivers is wanted nevertheless.
    """

    job: Any
    limit: Limit
    run: ThreadedRun
    started: float
    waited: float = 0.0
    given_up: bool = False
    late: bool = False
    thread: threading.Thread = attrs.field(factory=threading.current_thread)

    def begin_answer(self, within: float) -> None:
        """Give the server ``within`` seconds for its next answer, and no more than the tenant has left in all.

        Raises:
            TimeoutError: the tenant has none left.
        """
        total = self.run.timeout
        left = math.inf if total is None else total - self.seconds
        if left <= 0:
            raise timed_out(total)
        self.limit.restart(min(within, left))
        self.run.watch(self)

    def begin_trip(self, seconds: float) -> None:
        """Give the server ``seconds`` for its next answer, whatever became of the one before.

        Raises:
            Stopped: the consumer is gone.
        """
        with self.run._change:
            if self.run._closed or self.given_up:
                raise Stopped
            self.limit.renew(seconds)
        self.run.watch(self)

    def deliver(self, content: Any) -> None:
        """Hand over a part of the result; waits while the consumer has enough. That wait does not count."""
        started = time.monotonic()
        self.limit.restart(None)
        try:
            self.run.put(self, Page(self.job, content))
        finally:
            self.waited += time.monotonic() - started

    @property
    def seconds(self) -> float:
        """How long the visit took so far, without waiting for the consumer."""
        return time.monotonic() - self.started - self.waited

    @property
    def allowed(self) -> float | None:
        """The seconds to speak of when its time is up: the tenant's where they are used up, else those of one answer."""
        total = self.run.timeout
        return total if total is not None and self.seconds >= total else self.limit.seconds


Work: TypeAlias = Callable[[Visit], Any]


class ThreadedRun:
    """One fan-out: starts threads when it is iterated over, ends them when it is closed or through.

    Args:
        jobs: the work: jobs, or a plan that hands work out as it turns up. Such a run is through when it is closed.
        work: what is done for each job.
        timeout: seconds each job has in all; None: no limit but what the work sets itself.
        concurrency: how many threads there are at most.
        stops: no job is begun once one has failed. The thread that sees the failure says so, before the consumer hears of it.
        buffer: how many pages wait for the consumer at most.
    """

    def __init__(
        self,
        jobs: Sequence[Job] | HandsOut,
        work: Work,
        *,
        timeout: float | None,
        concurrency: int,
        stops: bool = False,
        buffer: int = 64,
    ) -> None:
        self._stops = stops
        self._work = work
        self.timeout = timeout
        if isinstance(jobs, Sequence):
            self._missing: float = len(jobs)
            self._concurrency = min(concurrency, len(jobs))
            self._plan = ThreadPlan(Plan(jobs, concurrency))
        else:
            self._missing, self._concurrency, self._plan = math.inf, concurrency, ThreadPlan(jobs)
        self._buffer = buffer
        self._context: Context = copy_context()
        self._change = threading.Condition()
        self._events: deque[Event] = deque()
        self._visits: set[Visit] = set()
        self._threads: set[threading.Thread] = set()
        self._closed = False
        self._wakes_at = math.inf
        self._process = forks.generation

    def events(self) -> Iterator[Event]:
        """Iterate over what happens, until every tenant has ended. Leaving the iteration early ends the threads."""
        self._process = forks.generation
        try:
            for _ in range(self._concurrency):
                self._start_thread()
            missing = self._missing
            while missing:
                event = self._next()
                missing -= isinstance(event, Ended)
                yield event
        finally:
            self.close()

    def stop(self) -> None:
        """Begin no more jobs."""
        self._plan.stop()

    def wake(self) -> None:
        """Let idle threads look whether there is more work."""
        self._plan.wake()

    def close(self) -> None:
        """Stop: no new visit, running ones are cut short. Returns when the threads have ended."""
        if self._process != forks.generation:  # a child has none of the threads, and the sockets are its parent's
            return
        self._plan.stop()
        with self._change:
            self._closed = True
            running = list(self._visits)
            self._change.notify_all()
        for visit in running:
            visit.limit.cancel()
        deadline = time.monotonic() + 10 * GRACE
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))

    # In the threads

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._serve, name="tenantlimpyd-fan-out", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _serve(self) -> None:
        try:
            while (job := self._plan.take()) is not None:
                visit = Visit(job, Limit(self.timeout), self, time.monotonic())
                with self._change:
                    if self._closed:
                        return
                    self._visits.add(visit)
                self.watch(visit)
                if not self._run_one(visit):
                    return
        finally:
            self._threads.discard(threading.current_thread())

    def _run_one(self, visit: Visit) -> bool:
        """Run one job; return whether this thread is still wanted."""
        value, error = None, None
        try:
            value = self._context.copy().run(self._limited, visit)
        except Stopped:
            return False
        except Exception as raised:  # noqa: BLE001 - a tenant's failure is its outcome
            error = raised
        except BaseException as raised:  # noqa: BLE001 - sys.exit() in here ends this tenant's work, not the program
            error = RuntimeError(f"{type(raised).__name__} was raised")
            error.__cause__ = raised
        finally:
            with self._change:
                self._visits.discard(visit)
            if error is not None and self._stops:
                self._plan.stop()
            if not visit.given_up:
                self._plan.done(visit.job)
        if error is not None and visit.limit.expired:
            error = timed_out(visit.allowed, error)
        if visit.given_up:
            return False
        self._report(Ended(visit.job, value, error, visit.seconds))
        return True

    def _limited(self, visit: Visit) -> Any:
        visit.job.check()
        with visit.limit.applied():
            return self._work(visit)

    def watch(self, visit: Visit) -> None:
        """See to it that the consumer wakes when a visit's new deadline passes, even if it waits already."""
        with self._change:
            if visit.limit.overdue > -math.inf and time.monotonic() - visit.limit.overdue < self._wakes_at:
                self._change.notify_all()

    def put(self, visit: Visit, page: Page) -> None:
        """Add a page, once there is room.

        Raises:
            Stopped: nobody wants it any more.
        """
        with self._change:
            while len(self._events) >= self._buffer and not self._closed:
                self._change.wait()
            if self._closed or (visit.given_up and not visit.late):
                raise Stopped
            self._events.append(page)
            self._change.notify_all()

    def _report(self, ended: Ended) -> None:
        with self._change:
            self._events.append(ended)
            self._change.notify_all()

    # In the consumer

    def _next(self) -> Event:
        if self._process != forks.generation:
            raise redis.ConnectionError(
                "this walk was begun in another process, which may be going on with it: begin another one"
            )
        while True:
            with self._change:
                if self._events:
                    event = self._events.popleft()
                    self._change.notify_all()
                    return event
                wait = self._until_next_deadline()
                self._wakes_at = math.inf if wait is None else time.monotonic() + wait - GRACE
                self._change.wait(wait)
                if self._events:
                    continue
                late = [visit for visit in self._visits if visit.limit.overdue > GRACE]
            for visit in late:
                visit.limit.cancel()
                if visit.limit.overdue > 2 * GRACE:
                    self._give_up(visit)

    def _until_next_deadline(self) -> float | None:
        nearest = min((-visit.limit.overdue for visit in self._visits), default=math.inf)
        return None if nearest == math.inf else max(nearest, 0.0) + GRACE

    def _give_up(self, visit: Visit) -> None:
        """Let a thread that does not come back be; another takes its place."""
        with self._change:
            if visit not in self._visits:
                return
            self._visits.discard(visit)
            visit.given_up = True
            self._threads.discard(visit.thread)
        if self._stops:
            self._plan.stop()
        self._plan.done(visit.job)
        self._report(Ended(visit.job, None, timed_out(visit.allowed), visit.seconds))
        self._start_thread()
