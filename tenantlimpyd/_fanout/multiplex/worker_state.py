"""The state of a worker in the select loop: its connection, what it waits for, and until when."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import attrs
import redis

from tenantlimpyd._fanout.multiplex.connector import ConnectAttempt
from tenantlimpyd._fanout.multiplex.lease import Lease, silence_error
from tenantlimpyd._fanout.multiplex.protocol import SendRequest, Step
from tenantlimpyd._fanout.multiplex.worker import Worker

__all__ = ["WorkerState"]


@attrs.define(eq=False)
class WorkerState:
    """A worker that the select loop runs.

    All times are in seconds of the loop's clock.

    Attributes:
        worker: the worker.
        steps: its generator.
        lease: its connection.
        attempt: its attempt to connect, while that is running.
        attempt_started: when the attempt was started.
        clock_offset: how far the worker's clock is ahead of the loop's: connecting goes on while the consumer works.
        request: the request whose replies are awaited.
        sent_at: when the request was sent.
        received: the number of bytes received when the connection was read last.
        last_data_at: when data arrived last, or when the request was sent.
        received_replies: the number of replies that had arrived by then.
        last_reply_at: when a complete reply arrived last, or when the request was sent.
        deadline: when the current wait times out.
    """

    worker: Worker[Any]
    steps: Generator[Step, Any, None]
    lease: Lease
    attempt: ConnectAttempt | None = None
    attempt_started: float = 0.0
    clock_offset: float = 0.0
    request: SendRequest | None = None
    sent_at: float = 0.0
    received: int = 0
    last_data_at: float = 0.0
    received_replies: int = 0
    last_reply_at: float = 0.0
    deadline: float = math.inf

    def begin(self, request: SendRequest, now: float) -> None:
        """Start to send a request."""
        lease = self.lease
        self.request, self.received_replies, self.received = request, 0, lease.received
        self.sent_at = self.last_data_at = self.last_reply_at = now
        self.deadline = self._deadline_of(request)
        lease.send(request)

    def receive(self, buffer: bytearray, now: float) -> list[Any] | None:
        """Read from the connection and return the replies once all have arrived, else None."""
        lease, request = self.lease, self.request
        replies = lease.receive(buffer)
        if request is None:
            raise redis.ConnectionError("the server sent data that was not requested")
        if replies is not None:
            self.clear()
        elif lease.received != self.received:
            self.received, self.last_data_at = lease.received, now
            if lease.received_replies != self.received_replies:
                self.received_replies, self.last_reply_at = lease.received_replies, now
            self.deadline = self._deadline_of(request)
        return replies

    def clear(self) -> None:
        """Forget the request: nothing is awaited any more."""
        self.request, self.deadline = None, math.inf

    def timeout_error(self, request: SendRequest, now: float) -> Exception:
        """Return the error of a request that timed out, and report it to the server's circuit breaker."""
        if now >= self.sent_at + request.seconds:
            error = redis.TimeoutError(f"no reply arrived within {request.seconds:g} s")
        else:
            error = silence_error(self.lease.read_timeout)
        self.lease.report_timeout(error, now - self.last_reply_at)
        return error

    def _deadline_of(self, request: SendRequest) -> float:
        timeout, deadline = self.lease.read_timeout, self.sent_at + request.seconds
        return deadline if timeout is None else min(deadline, self.last_data_at + timeout)
