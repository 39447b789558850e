"""The probe of a server's transactions, on which MULTI may be pre-opened only where it passed.

A write for another database is sent as ``SELECT``, the command and ``EXEC`` to a server that queues them. That is safe
only if a refused SELECT makes EXEC run nothing. Redis and Valkey behave so. Other servers with Redis's protocol may not:
some queue a SELECT and refuse it in EXEC, after which the command runs in the previous tenant's database; some leave the
transaction when a command is refused, so that the next one runs at once. A user may lack the right to one of the commands.
Therefore each connection sends :data:`PROBE` before its first MULTI, in the same write as the SELECT that it needs then.
Nothing in it reads or writes a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import ExecAbortError, NoPermissionError, OutOfMemoryError, ResponseError

__all__ = ["BUSY", "FULL", "PROBE", "refusal"]

PROBE: Final[tuple[tuple[Any, ...], ...]] = (
    ("MULTI",),
    ("DISCARD",),
    ("MULTI",),
    ("SELECT", 0),
    ("EXEC",),
    ("MULTI",),
    ("SELECT",),  # wrong on purpose: the server must refuse it, and EXEC then
    ("EXEC",),
    ("DISCARD",),  # refused, since the transaction has ended; ends one that has not
)

FULL: Final = "the server has no memory left"
"""The reason that says nothing about the server's transactions: Redis up to 7.2 at ``maxmemory`` queues no command."""

BUSY: Final = "the server refuses most commands at present"
"""The reason that says nothing about the server's transactions: it runs a script, loads its data, or can't persist."""

_PASSING = ("BUSY", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "CLUSTERDOWN", "READONLY")
"""The first words of errors that tell the state of the server."""

_OK, _QUEUED = (b"OK", "OK"), (b"QUEUED", "QUEUED")


def refusal(replies: Sequence[Any]) -> str | None:
    """Return why MULTI must not be pre-opened on a connection; None if its server passed the probe.

    Args:
        replies: the replies to the commands of :data:`PROBE`, errors as exceptions.
    """
    if any(isinstance(reply, OutOfMemoryError) for reply in replies):
        return FULL
    errors = [str(reply).rpartition("because of: ")[2] for reply in replies if isinstance(reply, ResponseError)]
    if any(error.startswith(_PASSING) for error in errors):
        return BUSY
    denied = next((reply for reply in replies if isinstance(reply, NoPermissionError) or "NOPERM" in str(reply)), None)
    if denied is not None:
        return f"the user may not send all of MULTI, SELECT, EXEC and DISCARD ({denied})"
    begun, discarded, begun_again, queued, executed, begun_last, refused, aborted, ended = replies
    if begun not in _OK or discarded not in _OK or begun_again not in _OK or begun_last not in _OK:
        return "the server has no MULTI, or no DISCARD that ends it"
    if queued not in _QUEUED or not isinstance(executed, list) or len(executed) != 1 or executed[0] not in _OK:
        return "the server does not run SELECT in a transaction"
    if not isinstance(refused, ResponseError) or not isinstance(aborted, ExecAbortError):
        return "the server runs a transaction although it refused a command of it"
    if not isinstance(ended, ResponseError):
        return "the server does not end a transaction that it aborts"
    return None
