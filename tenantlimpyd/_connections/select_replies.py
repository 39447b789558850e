"""Decoding of the replies to commands that were sent together with a SELECT.

:mod:`tenantlimpyd._connections.select_plan` describes what is sent, and why.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from redis.exceptions import ConnectionError, ExecAbortError, OutOfMemoryError, ResponseError  # noqa: A004 - redis-py's

from tenantlimpyd._connections.transaction_probe import BUSY, FULL, PROBE, refusal
from tenantlimpyd.exceptions import ImplementationError

__all__ = [
    "DISCARD",
    "MULTI",
    "EndpointCapabilities",
    "LeadingReplies",
    "SwitchableConnection",
    "TransactionReplies",
    "TransactionsRefusedError",
    "apply_preparation",
]

DISCARD, MULTI = ("DISCARD",), ("MULTI",)
"""The commands; identity distinguishes them from commands of callers."""

_OK, _QUEUED = (b"OK", "OK"), (b"QUEUED", "QUEUED")
_NOT_INSIDE = "inside a transaction", "MULTI"


class SwitchableConnection(Protocol):
    """The state of a connection that plans and decoders use.

    Attributes:
        db: the database number that the borrower wants.
        selected: the database number that is selected.
        multi_open: whether MULTI is pre-opened, so that the server queues the next commands.
        multi_proven: whether the server of this connection has passed the probe of its transactions.
        highest: the highest number that was selected; lower ones exist.
        unneeded_multi: the number of consecutive uses that did not need MULTI.
        altered: whether a command altered the connection, so that it must be closed.
        capabilities: what the endpoint's connections have found out about the server.
    """

    db: Any
    selected: int
    multi_open: bool
    multi_proven: bool
    highest: int
    unneeded_multi: int
    altered: bool
    capabilities: EndpointCapabilities


class EndpointCapabilities:
    """What the connections of an endpoint have found out about the server. A wrong guess costs a round trip.

    Attributes:
        top: the highest database number in use, or after a refusal the highest one that was selected.
        may_use_multi: whether MULTI may be pre-opened on connections whose server passes the probe.
    """

    __slots__ = ("_refused", "may_use_multi", "top")

    def __init__(self) -> None:
        self.top = 0
        self.may_use_multi = True
        self._refused = 2**63

    def uses(self, db: int) -> None:
        """Register a database number that is in use."""
        if self.top < db < self._refused:
            self.top = db

    def refused(self, db: int, highest: int) -> None:
        """Record that the server refused to select a database, on a connection that had selected ``highest``."""
        self._refused = min(self._refused, db)
        if self.top >= self._refused:
            self.top = highest


def _out_of_step() -> ConnectionError:
    """Return the error for a reply that can't belong to its command."""
    return ConnectionError("the connection's replies are out of step with its commands")


def _discard_refused(at: SwitchableConnection, error: Exception) -> Exception:
    """Return the error of a connection whose pre-opened MULTI can't be discarded. Nothing of the caller's ran.

    It is a ConnectionError, so that the command is sent again over a connection without MULTI.
    """
    at.capabilities.may_use_multi = False
    refused = ConnectionError(f"the server refused DISCARD ({error}); transactions are not used for this user any more")
    refused.__cause__ = error
    return refused


class TransactionsRefusedError(Exception):
    """A server did not pass the probe of its transactions. Whether the connection is in one is not certain."""


def apply_preparation(at: SwitchableConnection, commands: Sequence[Any], replies: Sequence[Any]) -> Exception | None:
    """Apply the replies to a plan's preparation, and return the error that prevents the command.

    An error of a database above the wanted one, or of MULTI, does not prevent it.
    """
    begins = next((position for position, command in enumerate(commands) if command is PROBE[0]), None)
    if begins is not None:
        ends = begins + len(PROBE)
        reason = refusal(replies[begins:ends])
        if reason is not None and reason is not FULL:
            at.capabilities.may_use_multi = at.capabilities.may_use_multi and reason is BUSY
            return TransactionsRefusedError(reason)
        at.multi_proven = reason is None
        commands, replies = [*commands[:begins], *commands[ends:]], [*replies[:begins], *replies[ends:]]
    for command, reply in zip(commands, replies, strict=True):
        failed = isinstance(reply, Exception)
        if not failed and reply not in _OK:
            return _out_of_step()
        if command is DISCARD:
            if failed:
                return _discard_refused(at, reply)
            at.multi_open = False
        elif command is MULTI:
            at.multi_open = not failed
            at.capabilities.may_use_multi = at.capabilities.may_use_multi and not failed
        elif not failed:
            at.selected = int(command[1])
            at.highest = max(at.highest, at.selected)
        elif command[1] == at.db:
            return reply  # type: ignore[no-any-return]
        else:
            at.capabilities.refused(int(command[1]), at.highest)
    return None


class LeadingReplies:
    """Decodes a write in which SELECT or DISCARD precede the caller's commands. If one of them fails, so do the commands.

    Attributes:
        commands: the caller's commands.
    """

    __slots__ = ("_ahead", "commands")

    def __init__(self, ahead: Sequence[Any], commands: Sequence[Any]) -> None:
        self._ahead = ahead
        self.commands = commands

    def undecoded(self, first: bool) -> tuple[bool, ...]:
        """Return for each preceding reply, and for that of the caller's first command, whether it is not decoded.

        Args:
            first: whether the reply to the first command is not decoded.
        """
        return (True, first) if len(self._ahead) == 1 else (*(True,) * len(self._ahead), first)

    def settle(self, at: SwitchableConnection, replies: Sequence[Any]) -> Exception | None:
        """Apply the replies to the preceding commands, and return the first error."""
        for command, reply in zip(self._ahead, replies, strict=False):
            if reply not in _OK:
                if command is DISCARD and isinstance(reply, Exception):
                    return _discard_refused(at, reply)
                return reply if isinstance(reply, Exception) else _out_of_step()
            if command is DISCARD:
                at.multi_open, at.unneeded_multi = False, 0
            else:
                at.selected = int(command[1])
                at.highest = max(at.highest, at.selected)
        return None


class TransactionReplies:
    """Decodes a write whose commands the server queued and ran in one EXEC, after a SELECT if necessary.

    Attributes:
        commands: the caller's commands.
        selects: whether SELECT is the first command.
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
        """Whether there is only one command, whose reply is decoded as the caller asks."""
        return len(self.commands) == 1

    def undecoded(self, executed: bool) -> tuple[bool, ...]:
        """Return for each reply, including those of EXEC and the next MULTI, whether it is not decoded.

        Args:
            executed: whether the reply to a single command is not decoded. Replies to several commands are decoded one by one.
        """
        return (*(True,) * self._queued, executed or not self.single, True)

    def settle(self, at: SwitchableConnection, replies: list[Any]) -> Exception | bool:
        """Make the replies of the caller's commands.

        Args:
            at: the connection.
            replies: those that came.

        Returns:
            An error if the connection must be closed; the error is the caller's. False if nothing ran and the commands must be
            sent again outside a transaction. True if :attr:`results` are set.
        """
        *queued, executed, multi_open = replies
        for reply in queued:
            if reply not in _QUEUED and not isinstance(reply, Exception):
                return _out_of_step()
        if multi_open not in _OK and not isinstance(multi_open, Exception):
            return _out_of_step()
        at.multi_open = not isinstance(multi_open, Exception)
        at.altered = at.altered or not at.multi_open
        refused = queued.pop(0) if self.selects else None
        if isinstance(executed, ExecAbortError):
            if "NOPERM" in str(executed):  # the user may not call EXEC: nothing ran
                at.capabilities.may_use_multi = False
                return False
            if any(isinstance(reply, OutOfMemoryError) for reply in (refused, *queued)):
                return False  # Redis up to 7.2 at maxmemory queues nothing, not even commands that need no memory
        if isinstance(refused, Exception):
            return refused
        if isinstance(executed, list):
            if self.selects:
                selected = executed.pop(0)
                if selected not in _OK:  # the permissions changed between two parts of the write
                    return selected if isinstance(selected, Exception) else _out_of_step()
                at.selected = int(at.db)
            self.results = self._laid_out(executed)
            return True
        if not isinstance(executed, ExecAbortError):
            return executed if isinstance(executed, Exception) else ResponseError("the reply to EXEC is not a list")
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
