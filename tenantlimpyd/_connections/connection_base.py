"""The base class of shared connections: it tracks pending replies, the selected database and changes of state.

A connection is closed, instead of used again, if any of these is true when it is released:

- a reply is pending, after a cancelled task, a timeout or an exception between sending and reading;
- its handshake did not finish;
- a command altered it: ``AUTH``, ``CLIENT ...``, ``MULTI`` or ``WATCH`` without its end, or a command without a row in the
  command table.

Before its first byte is sent, a connection records whether the command table calls everything in that write repeatable. If the
reply is then lost, retry policies get the error instead of sending the commands again.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import redis

from tenantlimpyd._commands import CommandRow, row_of
from tenantlimpyd._connections import fork, select_plan
from tenantlimpyd._connections.breaker import CircuitBreaker
from tenantlimpyd._connections.select_plan import SelectPlan
from tenantlimpyd._connections.select_replies import EndpointCapabilities, LeadingReplies, TransactionReplies
from tenantlimpyd._resp import decode_reply
from tenantlimpyd.exceptions import UNKNOWN_OUTCOME, ImplementationError

__all__ = ["ConnectionBase", "UnpackedCommands", "is_refusal", "reply_or_raise"]

_NOWHERE = -1
_CROSSES = frozenset({"MOVE", "SWAPDB"})
_EMPTIES = frozenset({"FLUSHALL", "FLUSHDB"})


class ConnectionBase:
    """Tracks whether a connection is in the state that its next borrower expects. A mixin for sync and async connections.

    Attributes:
        owed: the number of pending replies.
        alone: whether the last encoded command is the only one with a pending reply.
        unsent: bytes that are deferred, in asyncio, to be sent together with those of other connections.
        altered: whether a command altered the connection.
        in_transaction: whether MULTI or WATCH was sent without the EXEC or DISCARD that ends it.
        handshaking: whether redis-py performs the handshake.
        unconfirmed: whether a command was sent that must not be sent again, and its reply has not been read.
        selected, multi_open, multi_proven, highest, unneeded_multi, capabilities: see
            :class:`tenantlimpyd._connections.select_replies.SwitchableConnection`.
        user: the borrower that has checked the connection out.
        reference: the weak reference by which its pool counts it.
        since: when the connection was returned to its pool, in seconds of the monotonic clock.
        breaker: the circuit breaker of its server; None if there is none.
        waits: whether it is a dedicated connection for blocking commands, whose timeouts tell nothing about the server.
    """

    owed: int = 0
    alone: bool = False
    unsent: bytes | None = None
    altered: bool = False
    in_transaction: bool = False
    unconfirmed: bool = False
    _not_repeatable: bool = False
    _replies_before: int = 0
    handshaking: bool = False
    selected: int = _NOWHERE
    multi_open: bool = False
    multi_proven: bool = False
    highest: int = 0
    unneeded_multi: int = 0
    capabilities: EndpointCapabilities = EndpointCapabilities()
    user: Any = None
    reference: weakref.ref[Any] | None = None
    since: float = 0.0
    breaker: CircuitBreaker | None = None
    waits: bool = False
    _pending_replies: TransactionReplies | LeadingReplies | None = None
    _pending_plan: SelectPlan | None = None

    if TYPE_CHECKING:
        db: Any
        encoder: Any
        socket_connect_timeout: float | None
        socket_timeout: float | None

        health_check_interval: Any

        def _abandon_after_fork(self) -> None: ...

        def pack_command(self, *args: Any) -> list[Any]: ...

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.born = fork.generation
        super().__init__(*args, **kwargs)

    @property
    def own_timeout(self) -> float | None:
        """The connection's own timeout for connecting or reading, in seconds, whichever is shorter."""
        own = [seconds for seconds in (self.socket_connect_timeout, self.socket_timeout) if seconds]
        return min(own, default=None)

    def answered(self) -> None:
        """Report a reply to the circuit breaker."""
        if self.breaker is not None and self.breaker.has_failures:
            self.breaker.record_success()

    @property
    def doubtful(self) -> bool:
        """Whether the state of the connection is not certain, so that it must be closed."""
        return (
            bool(self.owed)
            or self.handshaking
            or self.altered
            or self.in_transaction
            or self._pending_replies is not None
            or self._pending_plan is not None
        )

    @property
    def caller_commands(self) -> tuple[str, ...] | None:
        """The names of the caller's commands in the current write, without SELECT and MULTI; None if the write has no
        others.
        """
        if self._pending_plan is not None:
            return ()
        reading = self._pending_replies
        return None if reading is None else tuple(row_of(command).name for command in reading.commands)

    def _reset_for_connect(self) -> None:
        """Reset the state before connecting. Pending replies belong to a command that is sent after the handshake."""
        owed = self.owed
        self._reset_state()
        self.owed = owed

    def _handshake_done(self) -> None:
        """Record the end of the handshake, in which the server has selected the database."""
        self.selected = int(self.db)
        self.highest = max(self.highest, self.selected)

    def lend_to(self, user: Any) -> None:
        """Record the borrower. What the one before left of its commands is not this one's."""
        self.user, self.unconfirmed, self._not_repeatable = user, False, False

    def _sending(self) -> None:
        """Record, before the first byte goes out, whether the commands may be sent again, and the number of replies so far."""
        if self.breaker is not None:
            self._replies_before = self.breaker.replies
        if self._not_repeatable and not self.handshaking:
            self.unconfirmed, self._not_repeatable = True, False

    def _reply_read(self) -> None:
        """Count a reply as read. After the last one, the outcome of all commands is certain."""
        self.owed -= 1
        if not self.owed:
            self.unconfirmed = False
        if self.breaker is not None:
            self.breaker.replies += 1

    def refuse_repeat(self, error: Exception) -> None:
        """Raise an error instead of a retry if a command without a reply may have been executed.

        Raises:
            Exception: The error itself, with a note.
        """
        if self.unconfirmed:
            self.unconfirmed = False
            error.add_note(UNKNOWN_OUTCOME)
            raise error

    def _reset_state(self) -> None:
        """Reset the state of a closed connection."""
        if self.breaker is not None and self.breaker.may_refuse and not self.handshaking:
            self.breaker.abandon(self)
        self.owed, self.multi_open, self.selected, self.highest, self.unneeded_multi = 0, False, _NOWHERE, 0, 0
        self.multi_proven = False
        if self.unsent is not None:
            self.unconfirmed = False  # nothing was sent
        self.alone, self.unsent = False, None
        self._pending_replies = self._pending_plan = None

    def _forked_error(self) -> redis.ConnectionError:
        """Mark the connection as copied by a fork, and return the error to raise."""
        self.born = fork.generation
        return redis.ConnectionError("this connection belongs to the parent process, which may be using it")

    def check_command(self, command: Sequence[Any]) -> CommandRow:
        """Refuse a command that would select another database, and record one that alters the connection.

        Args:
            command: the command's words as redis-py takes them, in any spelling.

        Returns:
            The command's row.

        Raises:
            ImplementationError: If the command is SELECT, or RESET, which selects database 0; if it reaches another database
                (SWAPDB, MOVE, COPY with the option DB); if it empties the database, and the borrower has a key prefix.
        """
        if self.born != fork.generation:
            self._abandon_after_fork()
        row = row_of(command)
        if not row.repeatable:
            self._not_repeatable = True
        if row.routine:
            return row
        self._check_reach(row, command)
        if row.effect == "moves":
            raise ImplementationError(
                f"{row.name} is refused: other tenants share this connection, so it must stay in its database. For another "
                "database, make a RedisDatabase with another db, or call connect(db=...)."
            )
        if row.effect == "alters":
            self.altered = True
        elif row.effect != "none":
            self.in_transaction = row.effect == "begins"
        return row

    def _check_reach(self, row: CommandRow, command: Sequence[Any]) -> None:
        """Refuse a command that certainly changes keys of other tenants.

        Raises:
            ImplementationError: If it does.
        """
        if row.name in _CROSSES or row.names_database(command):
            raise ImplementationError(
                f"{row.name} is refused: it reaches another database, which may be another tenant's. To move keys between "
                "databases, use a client of redis-py that you made yourself."
            )
        if row.name in _EMPTIES and getattr(self.user, "confined", False):
            raise ImplementationError(
                f"{row.name} is refused: it would delete the keys of all tenants that share this database. Delete this "
                "tenant's keys: `for key in database.scan_keys(): database.connection.unlink(database.key_prefix + key)`."
            )

    def pack_commands(self, commands: Iterable[Any]) -> Any:
        """Encode the commands of a pipeline, and count their replies as pending."""
        commands = list(commands)
        if not self.handshaking:
            for command in commands:
                self.check_command(command)
            if (self.selected != self.db or self.multi_open) and commands:
                return UnpackedCommands(commands)
        packed = super().pack_commands(commands)  # type: ignore[misc]
        self.alone = not self.owed
        self.owed += len(commands)
        return packed

    def _pack(self, commands: Sequence[Any]) -> Any:
        packed = super().pack_commands(commands)  # type: ignore[misc]
        self.alone = not self.owed
        self.owed += len(commands)
        return packed

    def _pack_with_select(self, row: CommandRow, args: Sequence[Any]) -> Any:
        """Return a command encoded together with its SELECT, or None if it needs a plan."""
        if self.selected >= 0 and not self.health_check_interval:
            quick = select_plan.quick(self, row, self.pack_command(*args), args)
            if quick is not None:
                packed, reading = quick
                self._pending_replies = reading
                self.alone = not self.owed
                self.owed += 2 if isinstance(reading, LeadingReplies) else 3 + reading.selects
                return packed
        return None

    def _next_result(self, frame: TransactionReplies, *, raw: bool) -> Any:
        """Return the next result of a transaction, and forget the transaction after the last one."""
        reply = frame.take()
        if not frame.results:
            self._pending_replies = None
        return reply_or_raise(reply if raw or frame.single else decode_reply(reply, self.encoder.decode))


def reply_or_raise(reply: Any) -> Any:
    """Return a reply, or raise it if it is an error."""
    if isinstance(reply, Exception):
        raise reply
    return reply


def is_refusal(error: redis.ConnectionError) -> bool:
    """Return whether a connection error stands for a reply by which the server refused the command: LOADING or READONLY."""
    return isinstance(error, redis.exceptions.BusyLoadingError) or isinstance(error.__context__, redis.ReadOnlyError)


class UnpackedCommands(list[Any]):
    """Commands of a pipeline that are encoded when they are sent, when the selected database is certain."""
