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
from collections.abc import Callable, Iterator

import redis

from tenantlimpyd import forks
from tenantlimpyd.borrowing import CrowdedError
from tenantlimpyd.fanout.connecting import Attempt, Connecting
from tenantlimpyd.fanout.courses import Course
from tenantlimpyd.fanout.groups import CROWDED, LanePlan
from tenantlimpyd.fanout.leases import READ, Lease
from tenantlimpyd.fanout.outcomes import timed_out
from tenantlimpyd.fanout.plan import StuckError
from tenantlimpyd.fanout.steps import Chunk, Connect, Leave, Pause, Step, Trip, UnreachableError, fails, sent, thrown
from tenantlimpyd.limits import GRACE, current_limit

__all__ = ["LaneRun"]


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
        self._more = True
        self._chunks: deque[Chunk] = deque()
        self._ready: deque[tuple[selectors.SelectorKey, int]] = deque()
        self._courses: dict[Course, None] = {}
        self._looks_at = math.inf  # no time is up before that
        self._tries_at = math.inf  # lanes that found no place are tried again then
        self._away = 0.0
        self._process = forks.generation

    def now(self) -> float:
        """Return the seconds of a clock that stands still while the consumer has its turn."""
        return time.monotonic() - self._away

    def chunks(self) -> Iterator[Chunk]:
        """Iterate over what comes of the lanes, without an end. Leaving the iteration closes all connections in use.

        Raises:
            redis.ConnectionError: it was begun in another process.
            redis.TimeoutError: the limit on the commands of this thread has passed.
        """
        self._process = forks.generation
        with contextlib.ExitStack() as stack:
            self._connecting = Connecting()
            stack.callback(self._at_home, self._connecting.close)
            self._selector = selectors.DefaultSelector()
            stack.callback(self._at_home, self._selector.close)
            stack.callback(self._at_home, self._leave_all)
            self._selector.register(self._connecting.bell, selectors.EVENT_READ)
            self._buffer = bytearray(READ)
            while True:
                while self._chunks:
                    left = time.monotonic()
                    yield self._chunks.popleft()
                    self._away += time.monotonic() - left
                    if self._process != forks.generation:
                        raise redis.ConnectionError(
                            "this walk was begun in another process, which may be going on with it: begin another one"
                        )
                if self._more:
                    self._fill()
                else:
                    self._look()

    def _at_home(self, close: Callable[[], None]) -> None:
        """Close something; but not in a child: it has none of the threads, and the sockets are its parent's."""
        if self._process == forks.generation:
            close()

    def _leave_all(self) -> None:
        """Close all connections in use: their lanes are in the middle of something."""
        try:
            while self._courses:
                course = next(iter(self._courses))
                if course.attempt is not None:
                    course.attempt.abandon()
                course.lease.give_back(None)
                del self._courses[course]
                del course.lane.clock  # which knows this run: it is not left to the garbage collector
        finally:
            if self._courses:  # this was interrupted
                self._leave_all()

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
        if not self._courses or self._stopped:
            raise StuckError
        if not self._ready:
            ends = min(self._looks_at, self._tries_at)
            self._ready.extend(self._select(None if ends == math.inf else max(0.0, ends - self.now())))
        if self._ready:
            key, events = self._ready.popleft()
            if key.data is None:
                for attempt in self._connecting.news():
                    self._connected(attempt)
            elif key.data in self._courses:
                self._hear(key.data, events)
        if not self._ready:
            if self.now() >= self._looks_at:
                self._see_to_the_late()
            if self.now() >= self._tries_at:
                self._tries_at, self._more = math.inf, True
                self._plan.try_again()

    def _select(self, seconds: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        limit = current_limit()  # that of a function for many tenants, say, which walks
        if limit is None:
            return self._selector.select(seconds)
        limit.check()
        with limit.waking(self._connecting.ring):
            ready = self._selector.select(limit.shorter(seconds))
        limit.check()
        return ready

    # A lane

    def _go_on(self, course: Course, step: Step | None) -> None:
        """Take a lane's steps, until it has to wait."""
        while step is not None:
            if isinstance(step, Trip | Connect):
                if self._stopped:
                    return
                try:
                    if isinstance(step, Trip):
                        self._send(course, step)
                        return
                    db = self._connect(course, step.seconds)
                except Exception as error:  # noqa: BLE001 - the lane knows what to do
                    step = self._failed(course, error)
                    continue
                if db is None:
                    return
                step = sent(course.steps, db)
                continue
            if isinstance(step, Chunk):
                self._chunks.append(step)
                if self._stops and fails(step):
                    self._stopped = True
                    return
            elif isinstance(step, Pause):
                self._expect(course, self.now() + step.seconds)
                return
            elif isinstance(step, Leave):
                self._let_go(course, None)
            else:
                self._more = True
            step = next(course.steps, None)
        self._let_go(course, course.lane.db)
        del self._courses[course]
        del course.lane.clock
        self._plan.release(course.lane)
        if course.lane.crowded:
            self._tries_at = min(self._tries_at, self.now() + CROWDED)
        self._more = True

    def _expect(self, course: Course, ends: float) -> None:
        course.ends = ends
        self._looks_at = min(self._looks_at, ends)

    def _send(self, course: Course, trip: Trip) -> None:
        lease = course.lease
        course.begin(trip, self.now())
        self._looks_at = min(self._looks_at, course.ends)
        if lease.sending:
            self._selector.modify(lease.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, course)

    def _hear(self, course: Course, events: int) -> None:
        """Take in what has come over a lane's connection, and send what could not be sent yet."""
        lease, replies = course.lease, None
        try:
            if events & selectors.EVENT_READ:  # first: a server may say why it reads no more
                replies = course.receive(self._buffer, self.now())
            if events & selectors.EVENT_WRITE and lease.sending:
                lease.send_rest()
                if not lease.sending:
                    self._selector.modify(lease.socket, selectors.EVENT_READ, course)
        except Exception as error:  # noqa: BLE001 - the lane knows what to do
            self._go_on(course, self._failed(course, error))
            return
        if replies is not None:
            self._go_on(course, sent(course.steps, replies))

    def _failed(self, course: Course, error: Exception) -> Step | None:
        """Close a lane's connection, and tell the lane; return its next step."""
        course.rest()
        self._let_go(course, None)
        return thrown(course.steps, error)

    def _let_go(self, course: Course, db: int | None) -> None:
        if course.lease.socket is not None:
            with contextlib.suppress(KeyError):  # it could not be registered
                self._selector.unregister(course.lease.socket)
            course.lease.give_back(db)

    # Connecting

    def _connect(self, course: Course, seconds: float) -> int | None:
        """Return which database a lane's connection is in; None: it is being made, in a thread."""
        waits = self._plan.waits(course.lane)
        server = course.lane.group.link.server
        lease = course.lease = Lease(server)
        try:
            db = lease.connect_at_once()
            if db is not None:
                self._selector.register(lease.socket, selectors.EVENT_READ, course)
                return db
            if not waits and not lease.has_place:
                raise CrowdedError("there is no place for a further connection")
            course.attempt = Attempt(course, Lease(server), seconds, waits=waits)
            self._connecting.begin(course.attempt)
        except Exception as error:
            course.attempt = None
            raise UnreachableError from error
        course.began = self.now()
        self._expect(course, course.began + seconds + GRACE)
        return None

    def _connected(self, attempt: Attempt) -> None:
        course: Course = attempt.caller
        if course.attempt is not attempt:
            return
        course.lease = attempt.lease
        course.attempt, course.ends = None, math.inf
        course.ahead += max(0.0, attempt.seconds - (self.now() - course.began))
        try:
            if attempt.error is not None:
                raise attempt.error
            self._selector.register(course.lease.socket, selectors.EVENT_READ, course)
        except Exception as error:  # noqa: BLE001 - the lane knows what to do
            self._go_on(course, self._unreachable(course, error))
        else:
            self._go_on(course, sent(course.steps, attempt.db))

    def _unreachable(self, course: Course, error: Exception) -> Step | None:
        unreachable = UnreachableError()
        unreachable.__cause__ = error
        return self._failed(course, unreachable)

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
        self._go_on(course, self._failed(course, course.silence(trip, now)))
