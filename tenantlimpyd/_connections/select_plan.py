"""Plans for switching the database: how commands and their SELECT are sent in one write, and never run in another database.

It is not enough to send ``SELECT`` before a command: if the server refuses SELECT, it still runs the command, in the
database of the previous borrower. Therefore commands are sent so that they can't run then:

- *MULTI pre-opened*: a connection that switches databases has sent MULTI at the end of its last write and has read the reply,
  after the server has passed a probe (:mod:`tenantlimpyd._connections.transaction_probe`). The server queues what follows.
  ``SELECT n``, the commands, EXEC and the next MULTI are one write. If the server refuses the SELECT (ACL), EXEC aborts and
  nothing runs. A number out of range would fail only inside EXEC: a connection must first have selected a database with
  that or a higher number.
- The server checks permissions again in EXEC, where a refused SELECT stops nothing. Other clients are served between
queueing and
  EXEC only if the server reads a write in parts. Therefore a long write follows a SELECT whose reply was read.
- Commands that are not allowed in MULTI, or behave differently there, follow a SELECT whose reply was read.
- Commands that only read may follow a SELECT without waiting: if it fails, their replies are discarded.

This module decides what to send. :mod:`tenantlimpyd._connections.select_replies` decodes the replies, and the
connection classes (:mod:`tenantlimpyd._connections.connection_classes`) send and read.
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
from tenantlimpyd._connections.transaction_probe import PROBE
from tenantlimpyd._resp import pack_select

__all__ = ["SHORT_BYTES", "SelectPlan", "plan", "plan_confirmed", "quick"]

MAX_COMMANDS = 1_000
"""The largest pipeline that is sent as a transaction: a server serves no other client during EXEC."""

MAX_UNNEEDED = 8
"""Consecutive uses that did not need MULTI, after which it is not pre-opened any more."""

TAIL = b"*1\r\n$4\r\nEXEC\r\n*1\r\n$5\r\nMULTI\r\n"
"""EXEC and MULTI, encoded."""

SHORT_BYTES = 6_000
"""The largest write in bytes that is joined with its SELECT."""


class SelectPlan:
    """A plan for a write.

    Attributes:
        preparation: commands of a round trip before the write; empty if there is none.
        sent: the commands of the write in order.
        replies: decodes the replies to the write; None if they are the caller's replies.
    """

    __slots__ = ("preparation", "replies", "sent")

    def __init__(
        self, preparation: Sequence[Any], sent: Sequence[Any], replies: TransactionReplies | LeadingReplies | None
    ) -> None:
        self.preparation = preparation
        self.sent = sent
        self.replies = replies


def plan(at: SwitchableConnection, commands: Sequence[Sequence[Any]]) -> SelectPlan:
    """Return a plan for commands on a connection that is in another database or has MULTI pre-opened."""
    rows = [row_of(command) for command in commands]
    words = [row.name for row in rows]
    moves = at.selected != at.db
    reads = all(row.reads for row in rows)
    if (
        words == ["WATCH"]
        or (reads and not at.multi_open)
        or (at.multi_open and at.unneeded_multi >= MAX_UNNEEDED and (reads or not moves))
    ):
        lead = [*([DISCARD] if at.multi_open else []), *([("SELECT", at.db)] if moves else [])]
        return SelectPlan((), [*lead, *commands], LeadingReplies(lead, commands))
    grouped = _groups(rows)
    if grouped is None or not at.capabilities.may_use_multi:
        return plan_confirmed(at, commands)
    at.unneeded_multi = 0 if moves and not reads else at.unneeded_multi + 1
    preparation: list[Any] = []
    if not (at.multi_open and at.multi_proven) or (
        moves and (int(at.db) > at.highest or (not reads and _is_long(commands)))
    ):
        discard = [DISCARD] if at.multi_open else []
        preparation = [*discard, *([] if at.multi_proven else PROBE), *_selects(at), MULTI]
        moves = False
    inside = [command for command, word in zip(commands, words, strict=True) if word not in ("MULTI", "EXEC")]
    sent = [*([("SELECT", at.db)] if moves else []), *inside, ("EXEC",), MULTI]
    return SelectPlan(preparation, sent, TransactionReplies(commands, grouped, len(inside), selects=moves))


def quick(
    at: SwitchableConnection, row: CommandRow, packed: list[Any], command: Sequence[Any]
) -> tuple[list[Any], TransactionReplies | LeadingReplies] | None:
    """Encode one command with its SELECT in the most frequent cases, or return None if it needs :func:`plan`.

    Args:
        at: the connection.
        row: the command's row.
        packed: the encoded command.
        command: the command.
    """
    db: int = at.db
    moves = at.selected != db
    if not at.multi_open:
        if not row.reads:
            return None
        return [pack_select(db) + packed[0], *packed[1:]], LeadingReplies((("SELECT", db),), (command,))
    reads = row.reads
    short = len(packed) == 1 and len(packed[0]) < SHORT_BYTES
    if not at.multi_proven or not row.in_multi or (moves and (db > at.highest or not (short or reads))):
        return None
    if moves and not reads:
        at.unneeded_multi = 0
    elif at.unneeded_multi >= MAX_UNNEEDED:
        return None
    else:
        at.unneeded_multi += 1
    ahead = pack_select(db) if moves else b""
    if short:
        return [ahead + packed[0] + TAIL], TransactionReplies([command], (), 1, selects=moves)
    return [ahead, *packed, TAIL], TransactionReplies([command], (), 1, selects=moves)


def plan_confirmed(at: SwitchableConnection, commands: Sequence[Sequence[Any]]) -> SelectPlan:
    """Return a plan for commands that must not be queued: they follow a SELECT whose reply was read."""
    preparation = [*([DISCARD] if at.multi_open else []), *(_selects(at) if at.selected != at.db else [])]
    return SelectPlan(preparation, commands, None)


def _selects(at: SwitchableConnection) -> list[Any]:
    """Return the SELECT commands for the database, preceded by the highest one in use, which shows that lower ones exist."""
    highest = at.capabilities.top
    top = [("SELECT", highest)] if highest > max(at.highest, int(at.db)) else []
    return [*top, ("SELECT", at.db)]


def _is_long(commands: Sequence[Sequence[Any]]) -> bool:
    """Return whether commands have about :data:`SHORT_BYTES` bytes or more."""
    left = SHORT_BYTES
    for command in commands:
        for word in command:
            left -= 12 + (len(word) if isinstance(word, str | bytes | bytearray) else 20)
        if left <= 0:
            return True
    return False


def _groups(rows: list[CommandRow]) -> list[tuple[int, int]] | None:
    """Return the positions of MULTI and EXEC among commands; None if the commands can't be part of a transaction."""
    if len(rows) == 1:
        return [] if rows[0].in_multi else None
    if len(rows) > MAX_COMMANDS:
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
