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

from tenantlimpyd._connections import fork
from tenantlimpyd._connections.borrower import NoPermitError
from tenantlimpyd._connections.deadline import GRACE, current_deadline
from tenantlimpyd._fanout.multiplex.connector import Attempt, Connecting
from tenantlimpyd._fanout.multiplex.lease import READ, Lease
from tenantlimpyd._fanout.multiplex.protocol import (
    Connect,
    Delay,
    Disconnect,
    Progress,
    SendRequest,
    Step,
    UnreachableError,
    fails,
    sent,
    thrown,
)
from tenantlimpyd._fanout.multiplex.scheduler import CROWDED, WorkerScheduler
from tenantlimpyd._fanout.multiplex.worker_state import WorkerState
from tenantlimpyd._fanout.outcomes import timed_out
from tenantlimpyd._fanout.plan import StuckError

__all__ = ["SelectLoop"]


class SelectLoop:
    """Runs the lanes of a plan, when it is iterated over; ends them when it is closed.

    Args:
        plan: hands out lanes.
        stops: whether nothing more is begun once a tenant has failed.
    """

    def __init__(self, plan: WorkerScheduler, *, stops: bool) -> None:
        self._plan = plan
        self._stops = stops
        self._stopped = False
        self._more = True
        self._chunks: deque[Progress] = deque()
        self._ready: deque[tuple[selectors.SelectorKey, int]] = deque()
        self._courses: dict[WorkerState, None] = {}
        self._looks_at = math.inf  # no time is up before that
        self._tries_at = math.inf  # lanes that found no place are tried again then
        self._away = 0.0
        self._process = fork.generation

    def now(self) -> float:
        """Return the seconds of a clock that stands still while the consumer has its turn."""
        return time.monotonic() - self._away

    def chunks(self) -> Iterator[Progress]:
        """Iterate over what comes of the lanes, without an end. Leaving the iteration closes all connections in use.

        Raises:
            redis.ConnectionError: it was begun in another process.
            redis.TimeoutError: the limit on the commands of this thread has passed.
        """
        self._process = fork.generation
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
                    if self._process != fork.generation:
                        raise redis.ConnectionError(
                            "this walk was begun in another process, which may be going on with it: begin another one"
                        )
                if self._more:
                    self._fill()
                else:
                    self._look()

    def _at_home(self, close: Callable[[], None]) -> None:
        """Close something; but not in a child: it has none of the threads, and the sockets are its parent's."""
        if self._process == fork.generation:
            close()

    def _leave_all(self) -> None:
        """Close all connections in use: their lanes are in the middle of something."""
        try:
            while self._courses:
                state = next(iter(self._courses))
                if state.attempt is not None:
                    state.attempt.abandon()
                state.lease.give_back(None)
                del self._courses[state]
                del state.worker.clock  # which knows this run: it is not left to the garbage collector
        finally:
            if self._courses:  # this was interrupted
                self._leave_all()

    def _fill(self) -> None:
        """Start lanes while there is work for them."""
        self._more = False
        while (
            not self._stopped and len(self._courses) < self._plan.workers and (worker := self._plan.pick()) is not None
        ):
            state = WorkerState(worker, worker.steps(), Lease(worker.group.clients.server))
            worker.clock = self._clock_of(state)
            self._courses[state] = None
            self._go_on(state, next(state.steps, None))

    def _clock_of(self, state: WorkerState) -> Callable[[], float]:
        return lambda: self.now() + state.ahead

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
        limit = current_deadline()  # that of a function for many tenants, say, which walks
        if limit is None:
            return self._selector.select(seconds)
        limit.check()
        with limit.waking(self._connecting.ring):
            ready = self._selector.select(limit.shorter(seconds))
        limit.check()
        return ready

    # A lane

    def _go_on(self, state: WorkerState, step: Step | None) -> None:
        """Take a lane's steps, until it has to wait."""
        while step is not None:
            if isinstance(step, SendRequest | Connect):
                if self._stopped:
                    return
                try:
                    if isinstance(step, SendRequest):
                        self._send(state, step)
                        return
                    db = self._connect(state, step.seconds)
                except Exception as error:  # noqa: BLE001 - the lane knows what to do
                    step = self._failed(state, error)
                    continue
                if db is None:
                    return
                step = sent(state.steps, db)
                continue
            if isinstance(step, Progress):
                self._chunks.append(step)
                if self._stops and fails(step):
                    self._stopped = True
                    return
            elif isinstance(step, Delay):
                self._expect(state, self.now() + step.seconds)
                return
            elif isinstance(step, Disconnect):
                self._let_go(state, None)
            else:
                self._more = True
            step = next(state.steps, None)
        self._let_go(state, state.worker.db)
        del self._courses[state]
        del state.worker.clock
        self._plan.release(state.worker)
        if state.worker.crowded:
            self._tries_at = min(self._tries_at, self.now() + CROWDED)
        self._more = True

    def _expect(self, state: WorkerState, ends: float) -> None:
        state.ends = ends
        self._looks_at = min(self._looks_at, ends)

    def _send(self, state: WorkerState, trip: SendRequest) -> None:
        lease = state.lease
        state.begin(trip, self.now())
        self._looks_at = min(self._looks_at, state.ends)
        if lease.sending:
            self._selector.modify(lease.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, state)

    def _hear(self, state: WorkerState, events: int) -> None:
        """Take in what has come over a lane's connection, and send what could not be sent yet."""
        lease, replies = state.lease, None
        try:
            if events & selectors.EVENT_READ:  # first: a server may say why it reads no more
                replies = state.receive(self._buffer, self.now())
            if events & selectors.EVENT_WRITE and lease.sending:
                lease.send_rest()
                if not lease.sending:
                    self._selector.modify(lease.socket, selectors.EVENT_READ, state)
        except Exception as error:  # noqa: BLE001 - the lane knows what to do
            self._go_on(state, self._failed(state, error))
            return
        if replies is not None:
            self._go_on(state, sent(state.steps, replies))

    def _failed(self, state: WorkerState, error: Exception) -> Step | None:
        """Close a lane's connection, and tell the lane; return its next step."""
        state.rest()
        self._let_go(state, None)
        return thrown(state.steps, error)

    def _let_go(self, state: WorkerState, db: int | None) -> None:
        if state.lease.socket is not None:
            with contextlib.suppress(KeyError):  # it could not be registered
                self._selector.unregister(state.lease.socket)
            state.lease.give_back(db)

    # Connecting

    def _connect(self, state: WorkerState, seconds: float) -> int | None:
        """Return which database a lane's connection is in; None: it is being made, in a thread."""
        waits = self._plan.waits(state.worker)
        server = state.worker.group.clients.server
        lease = state.lease = Lease(server)
        try:
            db = lease.connect_at_once()
            if db is not None:
                self._selector.register(lease.socket, selectors.EVENT_READ, state)
                return db
            if not waits and not lease.has_permit:
                raise NoPermitError("there is no place for a further connection")
            state.attempt = Attempt(state, Lease(server), seconds, waits=waits)
            self._connecting.begin(state.attempt)
        except Exception as error:
            state.attempt = None
            raise UnreachableError from error
        state.began = self.now()
        self._expect(state, state.began + seconds + GRACE)
        return None

    def _connected(self, attempt: Attempt) -> None:
        state: WorkerState = attempt.caller
        if state.attempt is not attempt:
            return
        state.lease = attempt.lease
        state.attempt, state.ends = None, math.inf
        state.ahead += max(0.0, attempt.seconds - (self.now() - state.began))
        try:
            if attempt.error is not None:
                raise attempt.error
            self._selector.register(state.lease.socket, selectors.EVENT_READ, state)
        except Exception as error:  # noqa: BLE001 - the lane knows what to do
            self._go_on(state, self._unreachable(state, error))
        else:
            self._go_on(state, sent(state.steps, attempt.db))

    def _unreachable(self, state: WorkerState, error: Exception) -> Step | None:
        unreachable = UnreachableError()
        unreachable.__cause__ = error
        return self._failed(state, unreachable)

    # Those whose time is up

    def _see_to_the_late(self) -> None:
        now = self.now()
        late = [state for state in self._courses if state.ends <= now]
        for state in late:
            self._late(state)
        self._looks_at = min((state.ends for state in self._courses), default=math.inf)

    def _late(self, state: WorkerState) -> None:
        attempt, trip = state.attempt, state.trip
        if attempt is not None:
            if not attempt.hurried:  # it has not noticed by itself
                attempt.hurry()
                self._expect(state, self.now() + GRACE)
                return
            state.attempt, state.ends = None, math.inf
            attempt.abandon()
            self._go_on(state, self._unreachable(state, timed_out(attempt.limit.seconds)))
        elif trip is not None:
            self._silent(state, trip)
        else:  # it has paused
            state.ends = math.inf
            self._go_on(state, next(state.steps, None))

    def _silent(self, state: WorkerState, trip: SendRequest) -> None:
        """End a trip whose time is up; not before what may have come in the meantime was taken in."""
        self._hear(state, selectors.EVENT_READ)
        now = self.now()
        if state.trip is not trip or state.ends > now:
            return
        self._go_on(state, self._failed(state, state.silence(trip, now)))
