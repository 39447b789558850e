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

This module says what to send, and what the replies mean. Sending and reading is the guards' (:mod:`tenantlimpyd.guards`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from redis.exceptions import ConnectionError, ExecAbortError, ResponseError  # noqa: A004 - redis-py's

from tenantlimpyd.exceptions import ImplementationError

__all__ = ["Frame", "Lead", "Mover", "Plan", "Reach", "first_word", "plan", "quick", "settle_trip", "verified"]

BLOCKING = frozenset(
    {
        *("BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP"),
        *("XREAD", "XREADGROUP", "WAIT", "WAITAOF"),
    }
)
"""Commands that wait on the server, and in a transaction would not. XREAD and XREADGROUP where BLOCK says so."""

_ALONE = BLOCKING | {
    *("MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH", "AUTH", "HELLO", "CLIENT", "QUIT", "RESET", "SELECT"),
    *("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "MONITOR"),
    *("SYNC", "PSYNC", "REPLCONF", "SAVE", "BGSAVE", "BGREWRITEAOF", "SHUTDOWN", "FAILOVER", "DEBUG", "SCRIPT DEBUG"),
    *("READONLY", "READWRITE", "ASKING", "DUMP"),
}
"""Commands that can't be in a transaction, do something else there, or (DUMP) have a reply that must not be decoded."""

READS = frozenset(
    {
        *(
            "SCAN",
            "DBSIZE",
            "PING",
            "ECHO",
            "TIME",
            "INFO",
            "ROLE",
            "KEYS",
            "RANDOMKEY",
            "EXISTS",
            "TYPE",
            "TTL",
            "PTTL",
        ),
        *(
            "EXPIRETIME",
            "PEXPIRETIME",
            "GET",
            "MGET",
            "STRLEN",
            "GETRANGE",
            "HGET",
            "HMGET",
            "HGETALL",
            "HLEN",
            "HKEYS",
        ),
        *(
            "HVALS",
            "HEXISTS",
            "HSCAN",
            "SCARD",
            "SMEMBERS",
            "SISMEMBER",
            "SMISMEMBER",
            "SSCAN",
            "LLEN",
            "LRANGE",
            "LINDEX",
        ),
        *("ZCARD", "ZSCORE", "ZCOUNT", "ZSCAN", "ZRANGEBYSCORE", "ZRANGEBYLEX", "XLEN", "XRANGE", "XINFO"),
        *("OBJECT", "DUMP", "BITCOUNT", "GETBIT", "EVAL_RO", "EVALSHA_RO", "FCALL_RO"),
    }
)
"""Commands that change nothing, wherever they are carried out. Only what is certain: all others are taken to write."""

LONGEST = 1_000
"""Commands above which a pipeline is not made a transaction: a server does nothing else while it runs one."""

RESTLESS = 8
"""Uses in a row that didn't need it, after which a connection is armed no more."""

TAIL = b"*1\r\n$4\r\nEXEC\r\n*1\r\n$5\r\nMULTI\r\n"
"""EXEC and MULTI as they are sent."""

DISCARD, MULTI = ("DISCARD",), ("MULTI",)
"""The commands, told from those of callers by being these objects."""
SHORT = 6_000
"""Bytes up to which what is sent is put together for one write, and may write to a database that it goes to in the same one."""

_OK, _QUEUED = (b"OK", "OK"), (b"QUEUED", "QUEUED")
_NOT_INSIDE = "inside a transaction", "MULTI"


def first_word(name: Any) -> str:
    """Return the first word of a command's name, upper case; redis-py takes text or bytes, subcommands after a space."""
    if name.__class__ is str and name.isupper() and " " not in name:
        found: str = name
        return found
    text = bytes(name).decode(errors="replace") if isinstance(name, bytes | bytearray | memoryview) else str(name)
    words = text.upper().split()
    return words[0] if words else ""


class Mover(Protocol):
    """What this module knows of a connection.

    Attributes:
        db: the database it is meant to be in.
        selected: the one it is in.
        armed: whether the server queues what comes next, for EXEC.
        highest: the highest number it has been in: lower ones exist.
        stays: how often in a row it was armed in vain: used where it was, or to read.
        altered: a command changed its state: it is to be closed.
        reach: what its server's connections have found out.
    """

    db: Any
    selected: int
    armed: bool
    highest: int
    stays: int
    altered: bool
    reach: Reach


class Reach:
    """What the connections to a server, with one user's rights, have found out so far. A wrong guess costs a round trip.

    Attributes:
        top: the highest database number in use, or if that is refused the highest one that was selected.
        may_arm: whether the user may send MULTI.
    """

    __slots__ = ("_refused", "may_arm", "top")

    def __init__(self) -> None:
        self.top = 0
        self.may_arm = True
        self._refused = 2**63

    def uses(self, db: int) -> None:
        """Take down that a database is in use."""
        if self.top < db < self._refused:
            self.top = db

    def refused(self, db: int, highest: int) -> None:
        """Take down that the server refused to select a database, on a connection that was in ``highest``."""
        self._refused = min(self._refused, db)
        if self.top >= self._refused:
            self.top = highest


class Plan:
    """What to send.

    Attributes:
        trip: commands of a round trip of its own that comes first; empty: none.
        sent: the commands of the write, in order.
        reading: what makes the command's replies of those of the write; None: they are the replies.
    """

    __slots__ = ("reading", "sent", "trip")

    def __init__(self, trip: Sequence[Any], sent: Sequence[Any], reading: Frame | Lead | None) -> None:
        self.trip = trip
        self.sent = sent
        self.reading = reading


def plan(at: Mover, commands: Sequence[Sequence[Any]]) -> Plan:
    """Return how to send commands over a connection that is elsewhere, or armed."""
    words = [first_word(command[0]) for command in commands]
    moves = at.selected != at.db
    reads = all(word in READS for word in words)
    if words == ["WATCH"] or (reads and not at.armed) or (at.armed and at.stays >= RESTLESS and (reads or not moves)):
        lead = [*([DISCARD] if at.armed else []), *([("SELECT", at.db)] if moves else [])]
        return Plan((), [*lead, *commands], Lead(lead, commands))
    grouped = _groups(words)
    if grouped is None or not at.reach.may_arm:
        return verified(at, commands)
    at.stays = 0 if moves and not reads else at.stays + 1
    trip: list[Any] = []
    if not at.armed or (moves and (int(at.db) > at.highest or (not reads and _is_long(commands)))):
        trip = [*([DISCARD] if at.armed else []), *_selects(at), MULTI]
        moves = False
    inside = [command for command, word in zip(commands, words, strict=True) if word not in ("MULTI", "EXEC")]
    sent = [*([("SELECT", at.db)] if moves else []), *inside, ("EXEC",), MULTI]
    return Plan(trip, sent, Frame(commands, grouped, len(inside), selects=moves))


def quick(at: Mover, word: str, packed: list[Any], command: Sequence[Any]) -> tuple[list[Any], Frame | Lead] | None:
    """Do as :func:`plan` for one command, in the cases that occur most, or return None.

    Args:
        at: the connection.
        word: the command's first word.
        packed: the command as it is sent.
        command: the command.
    """
    db: int = at.db
    moves = at.selected != db
    if not at.armed:
        if word not in READS:
            return None
        return [_select(db) + packed[0], *packed[1:]], Lead((("SELECT", db),), (command,))
    reads = word in READS
    short = len(packed) == 1 and len(packed[0]) < SHORT
    if word in _ALONE or (moves and (db > at.highest or not (short or reads))):
        return None
    if moves and not reads:
        at.stays = 0
    elif at.stays >= RESTLESS:
        return None
    else:
        at.stays += 1
    ahead = _select(db) if moves else b""
    if short:
        return [ahead + packed[0] + TAIL], Frame([command], (), 1, selects=moves)
    return [ahead, *packed, TAIL], Frame([command], (), 1, selects=moves)


def _select(db: int) -> bytes:
    number = b"%d" % db
    return b"*2\r\n$6\r\nSELECT\r\n$%d\r\n%b\r\n" % (len(number), number)


def verified(at: Mover, commands: Sequence[Sequence[Any]]) -> Plan:
    """Return how to send commands that must not be queued: after a SELECT whose reply was read."""
    trip = [*([DISCARD] if at.armed else []), *(_selects(at) if at.selected != at.db else [])]
    return Plan(trip, commands, None)


def _selects(at: Mover) -> list[Any]:
    """SELECT the database; first the highest that is in use, which tells that all those below exist."""
    highest = at.reach.top
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


def _groups(words: list[str]) -> list[tuple[int, int]] | None:
    """Return where transactions begin and end among commands; None: they can't be part of one."""
    if len(words) == 1:
        return None if words[0] in _ALONE else []
    if len(words) > LONGEST:
        return None
    groups: list[tuple[int, int]] = []
    begun = -1
    for position, word in enumerate(words):
        if word == "MULTI" and begun < 0:
            begun = position
        elif word == "EXEC" and begun >= 0:
            groups.append((begun, position))
            begun = -1
        elif word in _ALONE and not (begun >= 0 and (word in BLOCKING or word == "DUMP")):
            return None
    return None if begun >= 0 else groups


def _out_of_step() -> ConnectionError:
    """Return the error for a reply that can't be the one to its command: another one's would come next."""
    return ConnectionError("the connection's replies are out of step with its commands")


def settle_trip(at: Mover, commands: Sequence[Any], replies: Sequence[Any]) -> Exception | None:
    """Take down what a round trip of :class:`Plan` did; return the error that keeps the command from being sent.

    The error of a database above the one that is meant doesn't matter, nor that of MULTI: it tells what can't be done.
    """
    for command, reply in zip(commands, replies, strict=True):
        failed = isinstance(reply, Exception)
        if not failed and reply not in _OK:
            return _out_of_step()
        if command is DISCARD:
            if failed:
                return reply  # type: ignore[no-any-return]
            at.armed = False
        elif command is MULTI:
            at.armed = at.reach.may_arm = not failed
        elif not failed:
            at.selected = int(command[1])
            at.highest = max(at.highest, at.selected)
        elif command[1] == at.db:
            return reply  # type: ignore[no-any-return]
        else:
            at.reach.refused(int(command[1]), at.highest)
    return None


class Lead:
    """Commands ahead of the caller's own, in the same write. Where one fails, so does the caller's.

    Attributes:
        commands: those of the caller.
    """

    __slots__ = ("_ahead", "commands")

    def __init__(self, ahead: Sequence[Any], commands: Sequence[Any]) -> None:
        self._ahead = ahead
        self.commands = commands

    def raw(self, first: bool) -> tuple[bool, ...]:
        """Return for each reply ahead, and for that of the caller's first command, whether it is not decoded.

        Args:
            first: whether the last of them isn't.
        """
        return (True, first) if len(self._ahead) == 1 else (*(True,) * len(self._ahead), first)

    def settle(self, at: Mover, replies: Sequence[Any]) -> Exception | None:
        """Take down what the commands ahead did; return the error of the first that failed."""
        for command, reply in zip(self._ahead, replies, strict=False):
            if reply not in _OK:
                return reply if isinstance(reply, Exception) else _out_of_step()
            if command is DISCARD:
                at.armed, at.stays = False, 0
            else:
                at.selected = int(command[1])
                at.highest = max(at.highest, at.selected)
        return None


class Frame:
    """Commands queued by the server and carried out by one EXEC, with SELECT as the first of them where that is needed.

    Attributes:
        commands: those of the caller.
        selects: whether SELECT comes first.
        results: the replies to the caller's commands, once they are known.
    """

    __slots__ = ("_groups", "_queued", "commands", "results", "selects")

    def __init__(
        self, commands: Sequence[Any], groups: Sequence[tuple[int, int]], inside: int, *, selects: bool
    ) -> None:
        self.commands = commands
        self.results: deque[Any] | None = None
        self._queued = inside + selects
        self._groups = groups
        self.selects = selects

    @property
    def single(self) -> bool:
        """Whether there is one command only, whose reply is decoded as its caller asks."""
        return len(self.commands) == 1

    def raw(self, executed: bool) -> tuple[bool, ...]:
        """Return for each reply, those of EXEC and of the next MULTI included, whether it is not decoded.

        Args:
            executed: whether that of a single command isn't. Those of several come undecoded: each is decoded, or not, as
                its caller asks.
        """
        return (*(True,) * self._queued, executed or not self.single, True)

    def settle(self, at: Mover, replies: list[Any]) -> Exception | bool:
        """Make the replies of the caller's commands.

        Args:
            at: the connection.
            replies: those that came.

        Returns:
            An error: the connection must be closed, and the error is the caller's. False: nothing was carried out, and
            the commands are to be sent anew outside of a transaction. True: :attr:`results` are there.
        """
        *queued, executed, armed = replies
        for reply in queued:
            if reply not in _QUEUED and not isinstance(reply, Exception):
                return _out_of_step()
        if armed not in _OK and not isinstance(armed, Exception):
            return _out_of_step()
        at.armed = not isinstance(armed, Exception)
        at.altered = at.altered or not at.armed
        refused = queued.pop(0) if self.selects else None
        if isinstance(refused, Exception):
            return refused
        if isinstance(executed, list):
            if self.selects:
                selected = executed.pop(0)
                if selected not in _OK:  # the rights changed between two parts of one write
                    return selected if isinstance(selected, Exception) else _out_of_step()
                at.selected = int(at.db)
            self.results = self._laid_out(queued, executed)
            return True
        if not isinstance(executed, ExecAbortError):
            return executed if isinstance(executed, Exception) else ResponseError("EXEC was not answered by replies")
        if self.single:
            error = next((reply for reply in queued if isinstance(reply, Exception)), executed)
            if any(text in str(error) for text in _NOT_INSIDE):
                return False
            self.results = deque([error])
            return True
        if self._groups == [(0, len(self.commands) - 1)]:
            self.results = deque([b"OK", *queued, executed])
            return True
        return False

    def _laid_out(self, queued: list[Any], executed: list[Any]) -> deque[Any]:
        if not self._groups:
            return deque(executed)
        results: deque[Any] = deque()
        groups, at, replies = iter(self._groups), 0, iter(executed)
        for begins, ends in groups:
            results.extend(next(replies) for _ in range(begins - at))
            inside = ends - begins - 1
            results.append(b"OK")
            results.extend([b"QUEUED"] * inside)
            results.append([next(replies) for _ in range(inside)])
            at = ends + 1
        results.extend(replies)
        del queued
        return results

    def take(self) -> Any:
        """Return the next reply, errors as exceptions.

        Raises:
            ImplementationError: there is none left.
        """
        if not self.results:
            raise ImplementationError("more replies were asked for than commands were sent")
        return self.results.popleft()
