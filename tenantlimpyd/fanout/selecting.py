"""The blocking engine of lanes: the consumer's own thread sends and receives for all of them, and waits for all at once.

While the consumer works on what it got, what it will get next is under way already: a lane sends its next trip before the
consumer has what came of the one before. Nothing else happens meanwhile, so a slow consumer holds the scans up by itself; its
time counts against nobody's deadline.
"""

from __future__ import annotations

import contextlib
import math
import selectors
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Any

import attrs
import redis

from tenantlimpyd import forks
from tenantlimpyd.fanout.connecting import Attempt, Connecting
from tenantlimpyd.fanout.lanes import Chunk, Connect, Lane, LanePlan, Pause, Step, Trip, UnreachableError
from tenantlimpyd.fanout.leases import READ, Lease, silent
from tenantlimpyd.fanout.outcomes import timed_out
from tenantlimpyd.limits import GRACE

__all__ = ["LaneRun"]


@attrs.define(eq=False)
class Course:
    """A lane on its way.

    Attributes:
        lane: the lane.
        steps: what it does, one step after another.
        lease: its connection.
        attempt: at connecting, while it is under way.
        began: when that was begun.
        ahead: by how much its clock is before that of the run: connecting takes its time while the consumer has its turn.
        trip: while its replies are waited for.
        sent: when it was sent.
        received: how many bytes had come when that was looked at last.
        heard: when that was, or when the trip was sent.
        come: how many replies had come by then.
        answered: when the last of them had come, or the trip was sent.
        ends: when the time of what it waits for is up.
    """

    lane: Lane[Any]
    steps: Generator[Step, Any, None]
    lease: Lease
    attempt: Attempt | None = None
    began: float = 0.0
    ahead: float = 0.0
    trip: Trip | None = None
    sent: float = 0.0
    received: int = 0
    heard: float = 0.0
    come: int = 0
    answered: float = 0.0
    ends: float = math.inf


class LaneRun:
    """Runs the lanes of a plan, when it is iterated over; ends them when it is closed.

    Args:
        plan: hands out lanes.
        stops: whether nothing more is begun once a tenant has failed.
    """

    def __init__(self, plan: LanePlan, *, stops: bool) -> None:
        self._plan = plan
        self._stops = stops
        self._stopped = False
        self._chunks: deque[Chunk] = deque()
        self._ready: deque[tuple[selectors.SelectorKey, int]] = deque()
        self._courses: dict[Course, None] = {}
        self._looks_at = math.inf  # no time is up before that
        self._away = 0.0
        self._process = forks.generation

    def now(self) -> float:
        """Return the seconds of a clock that stands still while the consumer has its turn."""
        return time.monotonic() - self._away

    def chunks(self) -> Iterator[Chunk]:
        """Iterate over what comes of the lanes, without an end. Leaving the iteration closes all connections in use."""
        self._process = forks.generation
        self._connecting = Connecting()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._connecting.bell, selectors.EVENT_READ)
        self._buffer = bytearray(READ)
        self._more = True
        certain = False
        try:
            while True:
                while self._chunks:
                    left, certain = time.monotonic(), True
                    yield self._chunks.popleft()
                    self._away, certain = self._away + time.monotonic() - left, False
                    if self._process != forks.generation:
                        raise redis.ConnectionError(
                            "this walk was begun in another process, which may be going on with it: begin another one"
                        )
                if self._more:
                    self._fill()
                else:
                    self._look()
        finally:
            self._close(certain=certain)

    def _fill(self) -> None:
        """Start lanes while there is work for them."""
        self._more = False
        while not self._stopped and len(self._courses) < self._plan.lanes and (lane := self._plan.pick()) is not None:
            course = Course(lane, lane.steps(), Lease(lane.group.link.server))
            lane.clock = self._clock_of(course)
            self._courses[course] = None
            self._go_on(course, next(course.steps, None))

    def _clock_of(self, course: Course) -> Callable[[], float]:
        return lambda: self.now() + course.ahead

    def _look(self) -> None:
        """Wait until something comes, or a time is up, and see to one of those that have something."""
        if not self._courses:
            raise RuntimeError("no lane is on its way, and tenants are missing: please report this, it is a bug")
        if not self._ready:
            wait = None if self._looks_at == math.inf else max(0.0, self._looks_at - self.now())
            self._ready.extend(self._selector.select(wait))
        if self._ready:
            key, events = self._ready.popleft()
            if key.data is None:
                for attempt in self._connecting.news():
                    self._connected(attempt)
            elif key.data in self._courses:
                self._hear(key.data, events)
        if not self._ready and self.now() >= self._looks_at:
            self._see_to_the_late()

    # A lane

    def _go_on(self, course: Course, step: Step | None) -> None:
        """Take a lane's steps, until it has to wait."""
        while step is not None:
            if isinstance(step, Trip):
                if self._stopped:
                    return
                try:
                    self._send(course, step)
                except Exception as error:  # noqa: BLE001 - the lane knows what to do
                    step = self._failed(course, error)
                    continue
                return
            if isinstance(step, Connect):
                if not self._stopped:
                    self._connect(course, step.seconds)
                return
            if isinstance(step, Chunk):
                self._chunks.append(step)
                if self._stops and any(end.error is not None for end in step.ends):
                    self._stopped = True
                    return
            elif isinstance(step, Pause):
                self._expect(course, self.now() + step.seconds)
                return
            else:
                self._more = True
            step = next(course.steps, None)
        del self._courses[course]
        self._let_go(course, course.lane.db)
        self._plan.release(course.lane)
        self._more = True

    def _expect(self, course: Course, ends: float) -> None:
        course.ends = ends
        self._looks_at = min(self._looks_at, ends)

    def _send(self, course: Course, trip: Trip) -> None:
        lease = course.lease
        course.trip, course.come = trip, 0
        course.sent = course.heard = course.answered = self.now()
        self._expect(course, self._until(course, trip))
        lease.send(trip.payload, trip.replies, text=trip.text)
        if lease.sending:
            self._selector.modify(lease.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, course)

    @staticmethod
    def _until(course: Course, trip: Trip) -> float:
        patience, ends = course.lease.patience, course.sent + trip.seconds
        return ends if patience is None else min(ends, course.heard + patience)

    def _hear(self, course: Course, events: int) -> None:
        """Take in what has come over a lane's connection, and send what could not be sent yet."""
        lease = course.lease
        try:
            if events & selectors.EVENT_WRITE:
                lease.send_rest()
                if not lease.sending:
                    self._selector.modify(lease.socket, selectors.EVENT_READ, course)
            replies = self._receive(course) if events & selectors.EVENT_READ else None
        except Exception as error:  # noqa: BLE001 - the lane knows what to do
            self._go_on(course, self._failed(course, error))
            return
        if replies is not None:
            course.trip, course.ends = None, math.inf
            self._go_on(course, _sent(course.steps, replies))

    def _receive(self, course: Course) -> list[Any] | None:
        lease, trip = course.lease, course.trip
        replies = lease.receive(self._buffer)
        if trip is None:
            raise redis.ConnectionError("the server sent what nobody had asked for")
        if replies is None and lease.received != course.received:
            course.received, course.heard = lease.received, self.now()
            if lease.come != course.come:
                course.come, course.answered = lease.come, course.heard
            course.ends = self._until(course, trip)
        return replies

    def _failed(self, course: Course, error: Exception) -> Step | None:
        """Close a lane's connection, and tell the lane; return its next step."""
        course.trip, course.ends = None, math.inf
        self._let_go(course, None)
        return _thrown(course.steps, error)

    def _let_go(self, course: Course, db: int | None) -> None:
        if course.lease.socket is not None:
            self._selector.unregister(course.lease.socket)
            course.lease.give_back(db)

    # Connecting

    def _connect(self, course: Course, seconds: float) -> None:
        course.attempt = Attempt(course, Lease(course.lane.group.link.server), seconds)
        course.began = self.now()
        self._expect(course, course.began + seconds + GRACE)
        self._connecting.begin(course.attempt)

    def _connected(self, attempt: Attempt) -> None:
        course: Course = attempt.caller
        if course.attempt is not attempt:
            return
        course.attempt, course.ends = None, math.inf
        course.ahead += max(0.0, attempt.seconds - (self.now() - course.began))
        if attempt.error is not None:
            self._go_on(course, self._unreachable(course, attempt.error))
            return
        course.lease = attempt.lease
        self._selector.register(course.lease.socket, selectors.EVENT_READ, course)
        self._go_on(course, _sent(course.steps, attempt.db))

    def _unreachable(self, course: Course, error: Exception) -> Step | None:
        unreachable = UnreachableError()
        unreachable.__cause__ = error
        return _thrown(course.steps, unreachable)

    # Those whose time is up

    def _see_to_the_late(self) -> None:
        now = self.now()
        late = [course for course in self._courses if course.ends <= now]
        for course in late:
            self._late(course)
        self._looks_at = min((course.ends for course in self._courses), default=math.inf)

    def _late(self, course: Course) -> None:
        attempt, trip = course.attempt, course.trip
        if attempt is not None:
            if not attempt.hurried:  # it has not noticed by itself
                attempt.hurry()
                self._expect(course, self.now() + GRACE)
                return
            course.attempt, course.ends = None, math.inf
            attempt.abandon()
            self._go_on(course, self._unreachable(course, timed_out(attempt.limit.seconds)))
        elif trip is not None:
            self._silent(course, trip)
        else:  # it has paused
            course.ends = math.inf
            self._go_on(course, next(course.steps, None))

    def _silent(self, course: Course, trip: Trip) -> None:
        """End a trip whose time is up; not before what may have come in the meantime was taken in."""
        self._hear(course, selectors.EVENT_READ)
        now = self.now()
        if course.trip is not trip or course.ends > now:
            return
        if now >= course.sent + trip.seconds:
            error = redis.TimeoutError(f"no answer came within {trip.seconds:g} s")
        else:
            error = silent(course.lease.patience)
        course.lease.late(error, now - course.answered)
        self._go_on(course, self._failed(course, error))

    def _close(self, *, certain: bool) -> None:
        """Give back all connections, and end the threads.

        Args:
            certain: whether every lane knows which database its connection is in.
        """
        if self._process != forks.generation:  # the threads are not in a child, and the sockets are its parent's
            return
        with contextlib.ExitStack() as stack:  # where one of these is interrupted, the others are done nevertheless
            stack.callback(self._connecting.close)
            stack.callback(self._selector.close)
            for course in self._courses:
                stack.callback(course.lease.give_back, course.lane.db if certain and course.trip is None else None)
                if course.attempt is not None:
                    stack.callback(course.attempt.abandon)


def _sent(steps: Generator[Step, Any, None], replies: Any) -> Step | None:
    try:
        return steps.send(replies)
    except StopIteration:
        return None


def _thrown(steps: Generator[Step, Any, None], error: Exception) -> Step | None:
    try:
        return steps.throw(error)
    except StopIteration:
        return None
