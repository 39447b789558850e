"""The blocking loop that runs workers: the consumer's thread sends and receives for all of them with ``select()``.

A worker sends its next request before the consumer receives the results of the previous one, so that servers work while the
consumer does. Nothing else runs in the meantime: a slow consumer slows the run down, and its time counts against no deadline.
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
from tenantlimpyd._connections.deadline import GRACE_SECONDS, current_deadline
from tenantlimpyd._fanout.multiplex.connector import ConnectAttempt, ConnectorThreads
from tenantlimpyd._fanout.multiplex.lease import READ, Lease
from tenantlimpyd._fanout.multiplex.protocol import (
    Connect,
    Delay,
    Disconnect,
    Progress,
    SendRequest,
    Step,
    UnreachableError,
    has_failures,
    send,
    throw,
)
from tenantlimpyd._fanout.multiplex.scheduler import PERMIT_RETRY_SECONDS, WorkerScheduler
from tenantlimpyd._fanout.multiplex.worker_state import WorkerState
from tenantlimpyd._fanout.outcomes import timed_out
from tenantlimpyd._fanout.plan import StuckError

__all__ = ["SelectLoop"]


class SelectLoop:
    """Runs the workers of a scheduler while it is iterated over, and ends them when it is closed.

    Args:
        plan: the scheduler.
        stops: whether to start nothing more after the first failure.
    """

    def __init__(self, plan: WorkerScheduler, *, stops: bool) -> None:
        self._plan = plan
        self._stops = stops
        self._stopped = False
        self._more = True
        self._progress: deque[Progress] = deque()
        self._ready: deque[tuple[selectors.SelectorKey, int]] = deque()
        self._states: dict[WorkerState, None] = {}
        self._next_deadline = math.inf  # no wait times out earlier
        self._next_retry = math.inf  # when workers without a permit are started again
        self._consumer_seconds = 0.0
        self._process = fork.generation

    def now(self) -> float:
        """Return the seconds of a clock that stands still while the consumer works."""
        return time.monotonic() - self._consumer_seconds

    def progress(self) -> Iterator[Progress]:
        """Iterate over the workers' results, without an end. Closing the iterator closes all connections in use.

        Raises:
            redis.ConnectionError: If the iteration was started in another process.
            redis.TimeoutError: If the deadline of this thread has passed.
        """
        self._process = fork.generation
        with contextlib.ExitStack() as stack:
            self._connecting = ConnectorThreads()
            stack.callback(self._unless_forked, self._connecting.close)
            self._selector = selectors.DefaultSelector()
            stack.callback(self._unless_forked, self._selector.close)
            stack.callback(self._unless_forked, self._close_all)
            self._selector.register(self._connecting.wake_reader, selectors.EVENT_READ)
            self._buffer = bytearray(READ)
            while True:
                while self._progress:
                    left = time.monotonic()
                    yield self._progress.popleft()
                    self._consumer_seconds += time.monotonic() - left
                    if self._process != fork.generation:
                        raise redis.ConnectionError(
                            "this scan was started in another process, which may still use its connections: start a new scan"
                        )
                if self._more:
                    self._start_workers()
                else:
                    self._wait()

    def _unless_forked(self, close: Callable[[], None]) -> None:
        """Close something, unless this is a forked child: it has no threads, and the sockets belong to its parent."""
        if self._process == fork.generation:
            close()

    def _close_all(self) -> None:
        """Close all connections in use: their workers are in the middle of a request."""
        try:
            while self._states:
                state = next(iter(self._states))
                if state.attempt is not None:
                    state.attempt.abandon()
                state.lease.give_back(None)
                del self._states[state]
                del state.worker.clock  # it refers to this loop: break the cycle
        finally:
            if self._states:  # interrupted by a signal handler
                self._close_all()

    def _start_workers(self) -> None:
        """Start workers while the scheduler has work for them."""
        self._more = False
        while (
            not self._stopped and len(self._states) < self._plan.workers and (worker := self._plan.pick()) is not None
        ):
            state = WorkerState(worker, worker.steps(), Lease(worker.group.clients.server))
            worker.clock = self._clock_for(state)
            self._states[state] = None
            self._advance(state, next(state.steps, None))

    def _clock_for(self, state: WorkerState) -> Callable[[], float]:
        return lambda: self.now() + state.clock_offset

    def _wait(self) -> None:
        """Wait for an event or a timeout, and handle one event."""
        if not self._states or self._stopped:
            raise StuckError
        if not self._ready:
            ends = min(self._next_deadline, self._next_retry)
            self._ready.extend(self._select(None if ends == math.inf else max(0.0, ends - self.now())))
        if self._ready:
            key, events = self._ready.popleft()
            if key.data is None:
                for attempt in self._connecting.finished_attempts():
                    self._connected(attempt)
            elif key.data in self._states:
                self._handle_event(key.data, events)
        if not self._ready:
            if self.now() >= self._next_deadline:
                self._handle_expired()
            if self.now() >= self._next_retry:
                self._next_retry, self._more = math.inf, True
                self._plan.retry_permits()

    def _select(self, seconds: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        limit = current_deadline()  # set, for example, while a function of fan_out scans
        if limit is None:
            return self._selector.select(seconds)
        limit.check()
        with limit.waking(self._connecting.wake):
            ready = self._selector.select(limit.shorter(seconds))
        limit.check()
        return ready

    # Workers

    def _advance(self, state: WorkerState, step: Step | None) -> None:
        """Run a worker until it has to wait."""
        while step is not None:
            if isinstance(step, SendRequest | Connect):
                if self._stopped:
                    return
                try:
                    if isinstance(step, SendRequest):
                        self._send(state, step)
                        return
                    db = self._connect(state, step.seconds)
                except Exception as error:  # noqa: BLE001 - the worker handles it
                    step = self._failed(state, error)
                    continue
                if db is None:
                    return
                step = send(state.steps, db)
                continue
            if isinstance(step, Progress):
                self._progress.append(step)
                if self._stops and has_failures(step):
                    self._stopped = True
                    return
            elif isinstance(step, Delay):
                self._set_deadline(state, self.now() + step.seconds)
                return
            elif isinstance(step, Disconnect):
                self._return_connection(state, None)
            else:
                self._more = True
            step = next(state.steps, None)
        self._return_connection(state, state.worker.db)
        del self._states[state]
        del state.worker.clock
        self._plan.release(state.worker)
        if state.worker.out_of_permits:
            self._next_retry = min(self._next_retry, self.now() + PERMIT_RETRY_SECONDS)
        self._more = True

    def _set_deadline(self, state: WorkerState, ends: float) -> None:
        state.deadline = ends
        self._next_deadline = min(self._next_deadline, ends)

    def _send(self, state: WorkerState, request: SendRequest) -> None:
        lease = state.lease
        state.begin(request, self.now())
        self._next_deadline = min(self._next_deadline, state.deadline)
        if lease.sending:
            self._selector.modify(lease.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, state)

    def _handle_event(self, state: WorkerState, events: int) -> None:
        """Receive what has arrived on a worker's connection, and send the rest of its request."""
        lease, replies = state.lease, None
        try:
            if events & selectors.EVENT_READ:  # first: a server may tell why it reads no more
                replies = state.receive(self._buffer, self.now())
            if events & selectors.EVENT_WRITE and lease.sending:
                lease.send_rest()
                if not lease.sending:
                    self._selector.modify(lease.socket, selectors.EVENT_READ, state)
        except Exception as error:  # noqa: BLE001 - the worker handles it
            self._advance(state, self._failed(state, error))
            return
        if replies is not None:
            self._advance(state, send(state.steps, replies))

    def _failed(self, state: WorkerState, error: Exception) -> Step | None:
        """Close a worker's connection, throw the error into the worker, and return its next step."""
        state.clear()
        self._return_connection(state, None)
        return throw(state.steps, error)

    def _return_connection(self, state: WorkerState, db: int | None) -> None:
        if state.lease.socket is not None:
            with contextlib.suppress(KeyError):  # registering it failed
                self._selector.unregister(state.lease.socket)
            state.lease.give_back(db)

    # Connecting

    def _connect(self, state: WorkerState, seconds: float) -> int | None:
        """Connect a worker. Return the number of the database, or None if a thread is connecting."""
        waits = self._plan.may_wait(state.worker)
        server = state.worker.group.clients.server
        lease = state.lease = Lease(server)
        try:
            db = lease.connect_at_once()
            if db is not None:
                self._selector.register(lease.socket, selectors.EVENT_READ, state)
                return db
            if not waits and not lease.has_permit:
                raise NoPermitError("no permit is available for a further connection")
            state.attempt = ConnectAttempt(state, Lease(server), seconds, may_wait=waits)
            self._connecting.begin(state.attempt)
        except Exception as error:
            state.attempt = None
            raise UnreachableError from error
        state.attempt_started = self.now()
        self._set_deadline(state, state.attempt_started + seconds + GRACE_SECONDS)
        return None

    def _connected(self, attempt: ConnectAttempt) -> None:
        state: WorkerState = attempt.caller
        if state.attempt is not attempt:
            return
        state.lease = attempt.lease
        state.attempt, state.deadline = None, math.inf
        state.clock_offset += max(0.0, attempt.seconds - (self.now() - state.attempt_started))
        try:
            if attempt.error is not None:
                raise attempt.error
            self._selector.register(state.lease.socket, selectors.EVENT_READ, state)
        except Exception as error:  # noqa: BLE001 - the worker handles it
            self._advance(state, self._unreachable(state, error))
        else:
            self._advance(state, send(state.steps, attempt.db))

    def _unreachable(self, state: WorkerState, error: Exception) -> Step | None:
        unreachable = UnreachableError()
        unreachable.__cause__ = error
        return self._failed(state, unreachable)

    # Timeouts

    def _handle_expired(self) -> None:
        now = self.now()
        late = [state for state in self._states if state.deadline <= now]
        for state in late:
            self._handle_timeout(state)
        self._next_deadline = min((state.deadline for state in self._states), default=math.inf)

    def _handle_timeout(self, state: WorkerState) -> None:
        attempt, request = state.attempt, state.request
        if attempt is not None:
            if not attempt.interrupted_socket:  # it has not timed out by itself
                attempt.interrupt()
                self._set_deadline(state, self.now() + GRACE_SECONDS)
                return
            state.attempt, state.deadline = None, math.inf
            attempt.abandon()
            self._advance(state, self._unreachable(state, timed_out(attempt.limit.seconds)))
        elif request is not None:
            self._handle_silence(state, request)
        else:  # its delay is over
            state.deadline = math.inf
            self._advance(state, next(state.steps, None))

    def _handle_silence(self, state: WorkerState, request: SendRequest) -> None:
        """End a request that timed out, after reading what has arrived in the meantime."""
        self._handle_event(state, selectors.EVENT_READ)
        now = self.now()
        if state.request is not request or state.deadline > now:
            return
        self._advance(state, self._failed(state, state.timeout_error(request, now)))
