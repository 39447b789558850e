"""What guarded connections of both colours know: what they owe, where they are, and what may be sent over them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import redis

from tenantlimpyd._commands import CommandRow, row_of
from tenantlimpyd._connections import fork, select_plan
from tenantlimpyd._connections.breaker import Breaker
from tenantlimpyd._connections.select_plan import SelectPlan
from tenantlimpyd._connections.select_replies import EndpointCapabilities, LeadingReplies, TransactionReplies
from tenantlimpyd.exceptions import ImplementationError

__all__ = ["ConnectionBase", "UnpackedCommands", "reply_or_raise"]

_NOWHERE = -1


class ConnectionBase:
    """Knows whether a connection is as its next user expects it. Mixed into redis-py's connections, of both colours.

    Attributes:
        owed: the replies that were asked for and not read yet.
        alone: whether what was packed last is all that is asked for.
        unsent: what was put off, in asyncio, to be sent together with that of other connections.
        altered: a command changed the connection's own state.
        in_transaction: MULTI or WATCH was sent, and not the EXEC or DISCARD that ends it.
        handshaking: redis-py is making the connection what it should be.
        selected, armed, highest, stays, reach: see :class:`tenantlimpyd._connections.select_replies.SwitchableConnection`.
        user: who has checked it out.
        since: when it came back to its pool, by the monotonic clock, in seconds.
        breaker: its server's; None: there is none.
        waits: whether it is for commands that wait on purpose, whose time-outs say nothing of the server.
    """

    owed: int = 0
    alone: bool = False
    unsent: bytes | None = None
    altered: bool = False
    in_transaction: bool = False
    handshaking: bool = False
    selected: int = _NOWHERE
    armed: bool = False
    highest: int = 0
    stays: int = 0
    capabilities: EndpointCapabilities = EndpointCapabilities()
    user: Any = None
    since: float = 0.0
    breaker: Breaker | None = None
    waits: bool = False
    _reading: TransactionReplies | LeadingReplies | None = None
    _planned: SelectPlan | None = None

    if TYPE_CHECKING:
        db: Any
        encoder: Any
        socket_connect_timeout: float | None
        socket_timeout: float | None

        health_check_interval: Any

        def _leave_to_parent(self) -> None: ...

        def pack_command(self, *args: Any) -> list[Any]: ...

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.born = fork.generation
        super().__init__(*args, **kwargs)

    @property
    def own_timeout(self) -> float | None:
        """The seconds after which connecting, or waiting for a reply, times out by itself."""
        own = [seconds for seconds in (self.socket_connect_timeout, self.socket_timeout) if seconds]
        return min(own, default=None)

    def answered(self) -> None:
        """Tell the breaker that the server answered."""
        if self.breaker is not None and self.breaker.troubled:
            self.breaker.succeeded()

    @property
    def doubtful(self) -> bool:
        """Whether the connection must be closed, not kept."""
        return (
            bool(self.owed)
            or self.altered
            or self.in_transaction
            or self._reading is not None
            or self._planned is not None
        )

    @property
    def meant(self) -> tuple[str, ...] | None:
        """The names of the commands in what is sent now, without those that are there to move; None: all are meant."""
        if self._planned is not None:
            return ()
        reading = self._reading
        return None if reading is None else tuple(row_of(command).name for command in reading.commands)

    def _begin(self) -> None:
        """Take down that the connection is about to be made. What is owed by now is for a command that goes out after."""
        owed = self.owed
        self._gone()
        self.owed = owed

    def _fresh(self) -> None:
        """Take down that the handshake is over: the server selected the database."""
        self.selected = int(self.db)
        self.highest = max(self.highest, self.selected)

    def _gone(self) -> None:
        """Take down that the connection is closed."""
        if self.breaker is not None and self.breaker.refusing and not self.handshaking:
            self.breaker.leave(self)
        self.owed, self.armed, self.selected, self.highest, self.stays = 0, False, _NOWHERE, 0, 0
        self.alone, self.unsent = False, None
        self._reading = self._planned = None

    def _inherited(self) -> redis.ConnectionError:
        """Take down that a fork has copied the connection to this process, and return the error to raise."""
        self.born = fork.generation
        return redis.ConnectionError("this connection is that of the process that was forked, which may be using it")

    def look_at(self, command: Sequence[Any]) -> CommandRow:
        """Refuse a command that would move the connection to another database; note one that alters it.

        Args:
            command: the command's words as redis-py takes them, in any spelling.

        Returns:
            The command's row.

        Raises:
            ImplementationError: the command is SELECT, or RESET, which selects database 0.
        """
        if self.born != fork.generation:
            self._leave_to_parent()
        row = row_of(command)
        if row.effect == "none":
            return row
        if row.effect == "moves":
            raise ImplementationError(
                f"{row.name} is refused: the connection stays in its database, which may be one tenant's, and its next user "
                "may be another. Make a RedisDatabase with another db, or call connect(db=...)."
            )
        if row.effect == "alters":
            self.altered = True
        else:
            self.in_transaction = row.effect == "begins"
        return row

    def pack_commands(self, commands: Iterable[Any]) -> Any:
        """Pack commands of a pipeline, and count the replies they ask for."""
        commands = list(commands)
        if not self.handshaking:
            for command in commands:
                self.look_at(command)
            if (self.selected != self.db or self.armed) and commands:
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

    def _quick(self, row: CommandRow, args: Sequence[Any]) -> Any:
        """Return one command, packed with what takes an armed connection where it belongs, or None if that isn't simple."""
        if self.selected >= 0 and not self.health_check_interval:
            quick = select_plan.quick(self, row, self.pack_command(*args), args)
            if quick is not None:
                packed, reading = quick
                self._reading = reading
                self.alone = not self.owed
                self.owed += 2 if isinstance(reading, LeadingReplies) else 3 + reading.selects
                return packed
        return None

    def _taken(self, frame: TransactionReplies, *, raw: bool) -> Any:
        """Return the next reply of a frame; drop the frame with the last one."""
        reply = frame.take()
        if not frame.results:
            self._reading = None
        return reply_or_raise(reply if raw or frame.single else _decoded(reply, self.encoder))


def reply_or_raise(reply: Any) -> Any:
    """Return a reply, or raise it where it is an error."""
    if isinstance(reply, Exception):
        raise reply
    return reply


def _decoded(reply: Any, encoder: Any) -> Any:
    """Decode a reply that came as bytes, as the parser would have done."""
    if isinstance(reply, bytes):
        return encoder.decode(reply)
    if isinstance(reply, list):
        return [_decoded(each, encoder) for each in reply]
    if isinstance(reply, dict):
        return {_decoded(key, encoder): _decoded(value, encoder) for key, value in reply.items()}
    if isinstance(reply, set):
        return {_decoded(each, encoder) for each in reply}
    return reply


class UnpackedCommands(list[Any]):
    """Commands of a pipeline that are packed when they are sent: only then is it sure where the connection is."""
