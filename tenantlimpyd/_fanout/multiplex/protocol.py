"""What a lane yields, as data: what is to be done on its connection, and what came of it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, TypeAlias

import attrs

from tenantlimpyd._fanout.outcomes import Job

__all__ = [
    "LEAVE",
    "WAKE",
    "Connect",
    "Delay",
    "Progress",
    "SendRequest",
    "Step",
    "TenantDone",
    "UnreachableError",
    "fails",
    "sent",
    "thrown",
]


@attrs.frozen
class Connect:
    """A connection is needed; the lane is sent the number of the database it is in."""

    seconds: float


@attrs.frozen
class SendRequest:
    """Commands to be sent in one write; the lane is sent their replies.

    Attributes:
        payload: the commands, packed.
        replies: how many there will be.
        seconds: how long they may take to come.
        text: whether they are decoded.
        inside: the commands belong to the transaction that the trip before left open.
        opens: the last command is MULTI: where it succeeds, a transaction is left open, with nothing in it.
    """

    payload: list[bytes]
    replies: int
    seconds: float
    text: bool = False
    inside: bool = False
    opens: bool = False


@attrs.frozen
class Delay:
    """Time to let pass before the next attempt."""

    seconds: float


class TenantDone(NamedTuple):
    """A tenant is through with. A tuple, since there is one for each of ten thousand tenants."""

    job: Job
    value: Any
    error: Exception | None
    seconds: float
    restarts: int = 0


@attrs.frozen
class Progress:
    """What came of a trip, in this order.

    Attributes:
        restarted: work that begins anew; why.
        pieces: parts of results: the work, the parts by tenant, and the cursor and identity behind them; None: it was the
            last part, as far as is known.
        done: work that is through without a failure.
        ends: tenants that are through.
    """

    restarted: Sequence[tuple[Any, str]] = ()
    pieces: Sequence[tuple[Any, list[tuple[str, list[str]]], tuple[bytes, Any] | None]] = ()
    done: Sequence[Any] = ()
    ends: Sequence[TenantDone] = ()


class MoreWork:
    """There is something for further lanes."""


class Disconnect:
    """The connection can't be used any more, and is to be closed."""


WAKE, LEAVE = MoreWork(), Disconnect()
Step: TypeAlias = Connect | SendRequest | Delay | Progress | MoreWork | Disconnect


class UnreachableError(Exception):
    """Thrown into a lane that wanted a connection: there is none. Its cause says why."""


def sent(steps: Generator[Step, Any, None], reply: Any) -> Step | None:
    """Send something into a lane; return its next step, or None: it has ended."""
    try:
        return steps.send(reply)
    except StopIteration:
        return None


def thrown(steps: Generator[Step, Any, None], error: Exception) -> Step | None:
    """Throw something into a lane; return its next step, or None: it has ended."""
    try:
        return steps.throw(error)
    except StopIteration:
        return None


def fails(step: Progress) -> bool:
    """Return whether a tenant has failed."""
    return any(end.error is not None for end in step.ends)
