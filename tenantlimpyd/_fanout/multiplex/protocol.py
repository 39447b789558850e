"""The protocol between a worker and the loop that runs it.

A worker is a generator. It yields one of the steps below, and is sent the result of the step: the database number of a new
connection, the replies to a request, or nothing. Errors are thrown into it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, TypeAlias

import attrs

from tenantlimpyd._fanout.outcomes import Job

__all__ = [
    "DISCONNECT",
    "MORE_WORK",
    "Connect",
    "Delay",
    "Progress",
    "SendRequest",
    "Step",
    "TenantDone",
    "UnreachableError",
    "has_failures",
    "send",
    "throw",
]


@attrs.frozen
class Connect:
    """Request for a connection. The worker is sent the number of the database that the connection is in.

    Attributes:
        seconds: the time limit for connecting.
    """

    seconds: float


@attrs.frozen
class SendRequest:
    """Request to send commands in one write. The worker is sent their replies.

    Attributes:
        payload: the encoded commands.
        replies: the number of replies to expect.
        seconds: the time limit for all replies.
        text: whether replies are decoded.
        inside: whether the commands continue the transaction that the previous request opened.
        opens: whether the last command is MULTI, so that a new, empty transaction is open after a successful reply.
        proven: whether the server has passed the probe of its transactions on this connection.
    """

    payload: list[bytes]
    replies: int
    seconds: float
    text: bool = False
    inside: bool = False
    opens: bool = False
    proven: bool = False


@attrs.frozen
class Delay:
    """Request to wait before the next attempt.

    Attributes:
        seconds: the time to wait.
    """

    seconds: float


class TenantDone(NamedTuple):
    """The final result for one tenant. It is a tuple because a run may have ten thousand of them."""

    job: Job
    value: Any
    error: Exception | None
    seconds: float
    restarts: int = 0


@attrs.frozen
class Progress:
    """The results of one request. The consumer processes the attributes in this order.

    Attributes:
        restarted: databases whose scan starts again, each with the reason.
        pieces: partial results: the database, keys by tenant, and the cursor and server identity that follow them. None
            instead of the cursor marks the last page.
        done: databases that are finished without a failure.
        finished: tenants that are finished.
    """

    restarted: Sequence[tuple[Any, str]] = ()
    pieces: Sequence[tuple[Any, list[tuple[str, list[str]]], tuple[bytes, Any] | None]] = ()
    done: Sequence[Any] = ()
    finished: Sequence[TenantDone] = ()


class MoreWork:
    """Notice that there is work for further workers."""


class Disconnect:
    """Request to close the connection, because its state is not certain."""


MORE_WORK, DISCONNECT = MoreWork(), Disconnect()
Step: TypeAlias = Connect | SendRequest | Delay | Progress | MoreWork | Disconnect


class UnreachableError(Exception):
    """Thrown into a worker whose :class:`Connect` failed. The reason is its ``__cause__``."""


def send(steps: Generator[Step, Any, None], reply: Any) -> Step | None:
    """Send a result to a worker and return its next step, or None at its end."""
    try:
        return steps.send(reply)
    except StopIteration:
        return None


def throw(steps: Generator[Step, Any, None], error: Exception) -> Step | None:
    """Throw an error into a worker and return its next step, or None at its end."""
    try:
        return steps.throw(error)
    except StopIteration:
        return None


def has_failures(progress: Progress) -> bool:
    """Return whether a tenant has failed."""
    return any(tenant.error is not None for tenant in progress.finished)
