"""Guarded connections that block."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import redis
import redis.connection
from hiredis import PushNotification

from tenantlimpyd import logs
from tenantlimpyd._connections import fork, select_plan, select_replies
from tenantlimpyd._connections.connection_base import ConnectionBase, UnpackedCommands, reply_or_raise
from tenantlimpyd._connections.deadline import current_deadline
from tenantlimpyd._connections.redis_internals import NOTHING, ReadabilityProbe, come, ends
from tenantlimpyd._connections.select_plan import SelectPlan
from tenantlimpyd._connections.select_replies import LeadingReplies, TransactionReplies

__all__ = ["SharedConnection"]

if TYPE_CHECKING:  # what the mixin below is mixed into
    _Connection = redis.connection.AbstractConnection
else:
    _Connection = object


class SharedConnection(ConnectionBase, _Connection):
    """A blocking connection that is never in doubt, and keeps the current limit."""

    _ears: ReadabilityProbe | None = None

    def hears(self) -> bool:
        """Return whether data has come that nobody asked for, or the server closed the connection; never waits."""
        ears = self._ears
        if ears is None or ears.sock is not self._sock:
            ears = self._ears = ReadabilityProbe(self)
        return ears.hear(self)

    def failed(self, error: Exception, failures: int) -> None:  # noqa: ARG002 - as retry policies call it
        """Close the connection before a command is tried again."""
        self.disconnect()

    def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        """Connect, unless it is connected; tell the breaker what became of it."""
        if self._sock is not None:
            return
        self.born = fork.generation
        limit = current_deadline()
        own, own_timeout = self.socket_connect_timeout, self.own_timeout
        if limit is not None:
            limit.check()
            self.socket_connect_timeout = limit.shorter(own)
        breaker, began = self.breaker, time.monotonic()
        self.handshaking = True
        self._begin()
        self.altered = self.in_transaction = False
        try:
            if breaker is not None and breaker.refusing:
                breaker.admit(self)
            super().connect_check_health(*args, **kwargs)
        except BaseException as error:
            # Connected, perhaps authenticated, but not sure to be in its database: redis-py would keep it.
            self.disconnect()
            if breaker is not None:
                # A socket that was shut down because time is up is no fault of the server.
                hurried = limit is not None and limit.over and isinstance(error, redis.ConnectionError)
                breaker.failed(
                    self,
                    redis.TimeoutError("no time left") if hurried else error,
                    time.monotonic() - began,
                    own_timeout,
                )
            raise
        finally:
            self.socket_connect_timeout, self.handshaking = own, False
        self._fresh()
        logs.connection_opened(self)

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        """Send a command, with what takes the connection to its database."""
        if not self.handshaking:
            row = self.look_at(args)
            if self.selected != self.db or self.armed:
                if (packed := self._quick(row, args)) is not None:
                    self.send_packed_command(packed, check_health=False)
                else:
                    self._send_elsewhere([args], kwargs.get("check_health", True))
                return
        packed = self._command_packer.pack(*args)
        check_health = kwargs.get("check_health", True)
        self.owed += 1  # before it is sent: a signal may end this between sending and what comes after
        if current_deadline() is None:
            super().send_packed_command(packed, check_health)  # type: ignore[no-untyped-call]
        else:
            self.send_packed_command(packed, check_health)

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send what is packed, within the current limit."""
        if command.__class__ is UnpackedCommands:
            self._send_elsewhere(command, check_health)
            return
        limit = current_deadline()
        if limit is None:
            super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]
            return
        with limit.using(self._sock):
            super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]

    def _send_elsewhere(self, commands: Sequence[Any], check_health: bool) -> None:
        """Send commands over a connection that is in another database, or armed."""
        if self._sock is None:
            self.connect_check_health(check_health=False)
        if check_health:
            self.check_health()  # type: ignore[no-untyped-call]
        if self.selected == self.db and not self.armed:
            plan = SelectPlan((), commands, None)
        else:
            plan = select_plan.plan(self, commands)
        self._send(plan, commands)

    def _send(self, plan: SelectPlan, commands: Sequence[Any]) -> None:
        if plan.trip:
            self._planned = plan
            self.send_packed_command(self._pack(plan.trip), check_health=False)
            error = select_replies.settle_trip(self, plan.trip, self._several((True,) * len(plan.trip)))
            if error is not None:
                self.disconnect()
                raise error
            if isinstance(plan.reading, TransactionReplies) and not self.armed:  # the user may not send MULTI
                plan = SelectPlan((), commands, None)
        packed = self._pack(plan.sent)
        self._reading, self._planned = plan.reading, None
        self.send_packed_command(packed, check_health=False)

    def _several(self, raw: Sequence[bool]) -> list[Any]:
        """Return so many replies, errors as objects.

        Args:
            raw: for each of them, whether it is left undecoded.
        """
        replies: list[Any] = []
        for flag in raw:
            reply: Any = come(self, flag) if replies else NOTHING
            while reply.__class__ is PushNotification:
                self._parser.handle_push_response(reply)
                reply = come(self, flag)
            if reply is NOTHING:
                try:
                    reply = self._read(flag)
                except redis.ResponseError as error:
                    reply = error.with_traceback(None)
            elif ends(reply):
                self.disconnect()
                raise reply if isinstance(reply, Exception) else reply[0]
            else:
                self.owed -= 1
            replies.append(reply)
        return replies

    def _read(self, *args: Any, **kwargs: Any) -> Any:
        limit, began = current_deadline(), 0.0
        try:
            if limit is None:
                reply = super().read_response(*args, **kwargs)
            else:
                began = time.monotonic()
                with limit.using(self._sock):
                    kwargs.setdefault("timeout", limit.shorter(self.socket_timeout))
                    reply = super().read_response(*args, **kwargs)
        except redis.ResponseError:
            self.owed -= 1
            self.answered()
            raise
        except redis.TimeoutError as error:
            if self.breaker is not None and not self.waits and not self.handshaking:
                own = self.socket_timeout
                waited = (own or 0.0) if limit is None else time.monotonic() - began
                self.breaker.failed(self, error, waited, own)
            raise
        self.owed -= 1
        if self.breaker is not None and self.breaker.troubled:
            self.breaker.succeeded()
        return reply

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Return the next reply to the caller's commands."""
        if self._reading is None or self.handshaking:
            return self._read(*args, **kwargs)
        reading = self._reading
        raw = bool(args[0] if args else kwargs.get("disable_decoding", False))
        if isinstance(reading, LeadingReplies):
            replies = self._several(reading.raw(raw))
            if (error := reading.settle(self, replies)) is not None:
                self.disconnect()
                raise error
            self._reading = None
            return reply_or_raise(replies[-1])
        if reading.results is None:
            settled = reading.settle(self, self._several(reading.raw(raw)))
            if isinstance(settled, Exception):
                self.disconnect()
                raise settled
            if not settled:
                self._reading = None
                self._send(select_plan.verified(self, reading.commands), reading.commands)
                return self._read(*args, **kwargs)
        return self._taken(reading, raw=raw)

    def _leave_to_parent(self) -> None:
        self.disconnect()  # closes this process's copy of the socket, and leaves the parent's open
        raise self._inherited()

    def disconnect(self, *args: Any, **kwargs: Any) -> None:
        """Close the connection."""
        self._gone()
        super().disconnect(*args, **kwargs)  # type: ignore[no-untyped-call]
