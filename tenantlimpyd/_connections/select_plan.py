"""How a connection goes to another database in the same write as the commands meant for it, and never runs them elsewhere.

Sending ``SELECT`` ahead of a command isn't enough: where the server refuses the SELECT, it carries out the command all the
same, in the database of whoever had the connection before. So the commands are sent such that they can't run then:

- A connection that goes from database to database rests *armed*: a MULTI was sent at the end of the last write, and its
  reply was read. What comes next is queued by the server, not carried out. ``SELECT n``, the commands and EXEC go out in
  one write. A SELECT the server refuses (ACL) makes EXEC abort, and nothing runs. A number out of range would fail only
  in EXEC: so a connection must first have been in a database of that number or a higher one.
- A server looks at rights once more in EXEC, where a SELECT refused stops nothing. Between queueing and EXEC others are served
  only where it reads a write piece by piece: so a long one goes out after a SELECT of its own whose reply was read.
- What can't be in a transaction, or is only told apart there, is sent after a SELECT of its own whose reply was read.
- Commands that change nothing may follow a SELECT that is not yet known to have worked: where it has not, their replies are
  thrown away.

This module says what to send, :mod:`tenantlimpyd._connections.select_replies` what the replies mean. Sending and reading is the guards'
(:mod:`tenantlimpyd._connections.connection_classes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tenantlimpyd._commands import CommandRow, row_of
from tenantlimpyd._connections.select_replies import (
    DISCARD,
    MULTI,
    LeadingReplies,
    SwitchableConnection,
    TransactionReplies,
)

__all__ = ["SHORT", "SelectPlan", "plan", "quick", "verified"]

LONGEST = 1_000
"""Commands above which a pipeline is not made a transaction: a server does nothing else while it runs one."""

RESTLESS = 8
"""Uses in a row that didn't need it, after which a connection is armed no more."""

TAIL = b"*1\r\n$4\r\nEXEC\r\n*1\r\n$5\r\nMULTI\r\n"
"""EXEC and MULTI as they are sent."""

SHORT = 6_000
"""Bytes up to which what is sent is put together for one write, and may write to a database that it goes to in the same one."""


class SelectPlan:
    """What to send.

    Attributes:
        trip: commands of a round trip of its own that comes first; empty: none.
        sent: the commands of the write, in order.
        reading: what makes the command's replies of those of the write; None: they are the replies.
    """

    __slots__ = ("reading", "sent", "trip")

    def __init__(
        self, trip: Sequence[Any], sent: Sequence[Any], reading: TransactionReplies | LeadingReplies | None
    ) -> None:
        self.trip = trip
        self.sent = sent
        self.reading = reading


def plan(at: SwitchableConnection, commands: Sequence[Sequence[Any]]) -> SelectPlan:
    """Return how to send commands over a connection that is elsewhere, or armed."""
    rows = [row_of(command) for command in commands]
    words = [row.name for row in rows]
    moves = at.selected != at.db
    reads = all(row.reads for row in rows)
    if words == ["WATCH"] or (reads and not at.armed) or (at.armed and at.stays >= RESTLESS and (reads or not moves)):
        lead = [*([DISCARD] if at.armed else []), *([("SELECT", at.db)] if moves else [])]
        return SelectPlan((), [*lead, *commands], LeadingReplies(lead, commands))
    grouped = _groups(rows)
    if grouped is None or not at.capabilities.may_arm:
        return verified(at, commands)
    at.stays = 0 if moves and not reads else at.stays + 1
    trip: list[Any] = []
    if not at.armed or (moves and (int(at.db) > at.highest or (not reads and _is_long(commands)))):
        trip = [*([DISCARD] if at.armed else []), *_selects(at), MULTI]
        moves = False
    inside = [command for command, word in zip(commands, words, strict=True) if word not in ("MULTI", "EXEC")]
    sent = [*([("SELECT", at.db)] if moves else []), *inside, ("EXEC",), MULTI]
    return SelectPlan(trip, sent, TransactionReplies(commands, grouped, len(inside), selects=moves))


def quick(
    at: SwitchableConnection, row: CommandRow, packed: list[Any], command: Sequence[Any]
) -> tuple[list[Any], TransactionReplies | LeadingReplies] | None:
    """Do as :func:`plan` for one command, in the cases that occur most, or return None.

    Args:
        at: the connection.
        row: the command's row.
        packed: the command as it is sent.
        command: the command.
    """
    db: int = at.db
    moves = at.selected != db
    if not at.armed:
        if not row.reads:
            return None
        return [_select(db) + packed[0], *packed[1:]], LeadingReplies((("SELECT", db),), (command,))
    reads = row.reads
    short = len(packed) == 1 and len(packed[0]) < SHORT
    if not row.in_multi or (moves and (db > at.highest or not (short or reads))):
        return None
    if moves and not reads:
        at.stays = 0
    elif at.stays >= RESTLESS:
        return None
    else:
        at.stays += 1
    ahead = _select(db) if moves else b""
    if short:
        return [ahead + packed[0] + TAIL], TransactionReplies([command], (), 1, selects=moves)
    return [ahead, *packed, TAIL], TransactionReplies([command], (), 1, selects=moves)


def _select(db: int) -> bytes:
    number = b"%d" % db
    return b"*2\r\n$6\r\nSELECT\r\n$%d\r\n%b\r\n" % (len(number), number)


def verified(at: SwitchableConnection, commands: Sequence[Sequence[Any]]) -> SelectPlan:
    """Return how to send commands that must not be queued: after a SELECT whose reply was read."""
    trip = [*([DISCARD] if at.armed else []), *(_selects(at) if at.selected != at.db else [])]
    return SelectPlan(trip, commands, None)


def _selects(at: SwitchableConnection) -> list[Any]:
    """SELECT the database; first the highest that is in use, which tells that all those below exist."""
    highest = at.capabilities.top
    top = [("SELECT", highest)] if highest > max(at.highest, int(at.db)) else []
    return [*top, ("SELECT", at.db)]


def _is_long(commands: Sequence[Sequence[Any]]) -> bool:
    """Return whether commands are about as long as :data:`SHORT`, or longer."""
    left = SHORT
    for command in commands:
        for word in command:
            left -= 12 + (len(word) if isinstance(word, str | bytes | bytearray) else 20)
        if left <= 0:
            return True
    return False


def _groups(rows: list[CommandRow]) -> list[tuple[int, int]] | None:
    """Return where transactions begin and end among commands; None: they can't be part of one."""
    if len(rows) == 1:
        return [] if rows[0].in_multi else None
    if len(rows) > LONGEST:
        return None
    groups: list[tuple[int, int]] = []
    begun = -1
    for position, row in enumerate(rows):
        if row.name == "MULTI" and begun < 0:
            begun = position
        elif row.name == "EXEC" and begun >= 0:
            groups.append((begun, position))
            begun = -1
        elif not row.in_multi and not (begun >= 0 and row.known and (row.blocking != "never" or row.binary_reply)):
            return None
    return None if begun >= 0 else groups
