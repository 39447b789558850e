"""What the replies mean that come for commands which move a connection to another database, and for those they are there for.

:mod:`tenantlimpyd._connections.select_plan` says what is sent, and why in that way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from redis.exceptions import ConnectionError, ExecAbortError, ResponseError  # noqa: A004 - redis-py's

from tenantlimpyd.exceptions import ImplementationError

__all__ = [
    "DISCARD",
    "MULTI",
    "EndpointCapabilities",
    "LeadingReplies",
    "SwitchableConnection",
    "TransactionReplies",
    "settle_trip",
]

DISCARD, MULTI = ("DISCARD",), ("MULTI",)
"""The commands, told from those of callers by being these objects."""

_OK, _QUEUED = (b"OK", "OK"), (b"QUEUED", "QUEUED")
_NOT_INSIDE = "inside a transaction", "MULTI"


class SwitchableConnection(Protocol):
    """What is known of a connection here, and in :mod:`tenantlimpyd._connections.select_plan`.

    Attributes:
        db: the database it is meant to be in.
        selected: the one it is in.
        armed: whether the server queues what comes next, for EXEC.
        highest: the highest number it has been in: lower ones exist.
        stays: how often in a row it was armed in vain: used where it was, or to read.
        altered: a command changed its state: it is to be closed.
        capabilities: what its server's connections have found out.
    """

    db: Any
    selected: int
    armed: bool
    highest: int
    stays: int
    altered: bool
    capabilities: EndpointCapabilities


class EndpointCapabilities:
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


def _out_of_step() -> ConnectionError:
    """Return the error for a reply that can't be the one to its command: another one's would come next."""
    return ConnectionError("the connection's replies are out of step with its commands")


def settle_trip(at: SwitchableConnection, commands: Sequence[Any], replies: Sequence[Any]) -> Exception | None:
    """Take down what a plan's round trip did; return the error that keeps the command from being sent.

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
            at.armed = at.capabilities.may_arm = not failed
        elif not failed:
            at.selected = int(command[1])
            at.highest = max(at.highest, at.selected)
        elif command[1] == at.db:
            return reply  # type: ignore[no-any-return]
        else:
            at.capabilities.refused(int(command[1]), at.highest)
    return None


class LeadingReplies:
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

    def settle(self, at: SwitchableConnection, replies: Sequence[Any]) -> Exception | None:
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


class TransactionReplies:
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

    def settle(self, at: SwitchableConnection, replies: list[Any]) -> Exception | bool:
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
            self.results = self._laid_out(executed)
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

    def _laid_out(self, executed: list[Any]) -> deque[Any]:
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
        return results

    def take(self) -> Any:
        """Return the next reply, errors as exceptions.

        Raises:
            ImplementationError: there is none left.
        """
        if not self.results:
            raise ImplementationError("more replies were asked for than commands were sent")
        return self.results.popleft()
