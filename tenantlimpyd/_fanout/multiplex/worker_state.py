"""A lane on its way, in the blocking engine: what it waits for, since when, and until when."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import attrs
import redis

from tenantlimpyd._fanout.multiplex.connector import Attempt
from tenantlimpyd._fanout.multiplex.lease import Lease, silent
from tenantlimpyd._fanout.multiplex.protocol import SendRequest, Step
from tenantlimpyd._fanout.multiplex.worker import Worker

__all__ = ["WorkerState"]


@attrs.define(eq=False)
class WorkerState:
    """A lane on its way.

    Attributes:
        worker: the lane.
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

    worker: Worker[Any]
    steps: Generator[Step, Any, None]
    lease: Lease
    attempt: Attempt | None = None
    began: float = 0.0
    ahead: float = 0.0
    trip: SendRequest | None = None
    sent: float = 0.0
    received: int = 0
    heard: float = 0.0
    come: int = 0
    answered: float = 0.0
    ends: float = math.inf

    def begin(self, trip: SendRequest, now: float) -> None:
        """Send a trip, as much of it as goes out at once."""
        lease = self.lease
        self.trip, self.come, self.received = trip, 0, lease.received
        self.sent = self.heard = self.answered = now
        self.ends = self._until(trip)
        lease.send(trip)

    def receive(self, buffer: bytearray, now: float) -> list[Any] | None:
        """Take in what has come; return the replies, once all are there."""
        lease, trip = self.lease, self.trip
        replies = lease.receive(buffer)
        if trip is None:
            raise redis.ConnectionError("the server sent what nobody had asked for")
        if replies is not None:
            self.rest()
        elif lease.received != self.received:
            self.received, self.heard = lease.received, now
            if lease.come != self.come:
                self.come, self.answered = lease.come, now
            self.ends = self._until(trip)
        return replies

    def rest(self) -> None:
        """Wait for nothing."""
        self.trip, self.ends = None, math.inf

    def silence(self, trip: SendRequest, now: float) -> Exception:
        """Return the error of a trip whose time is up, and tell the server's breaker."""
        if now >= self.sent + trip.seconds:
            error = redis.TimeoutError(f"no answer came within {trip.seconds:g} s")
        else:
            error = silent(self.lease.patience)
        self.lease.late(error, now - self.answered)
        return error

    def _until(self, trip: SendRequest) -> float:
        patience, ends = self.lease.patience, self.sent + trip.seconds
        return ends if patience is None else min(ends, self.heard + patience)
