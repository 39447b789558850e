"""Sync shared connections."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import redis
import redis.connection
from hiredis import PushNotification

from tenantlimpyd import logs
from tenantlimpyd._commands import row_of
from tenantlimpyd._connections import fork, select_plan, select_replies
from tenantlimpyd._connections.connection_base import ConnectionBase, UnpackedCommands, is_refusal, reply_or_raise
from tenantlimpyd._connections.deadline import current_deadline
from tenantlimpyd._connections.redis_internals import NOTHING, ReadabilityProbe, is_fatal, next_buffered_reply
from tenantlimpyd._connections.select_plan import SelectPlan
from tenantlimpyd._connections.select_replies import LeadingReplies, TransactionReplies, TransactionsRefusedError
from tenantlimpyd._connections.transaction_probe import PROBE, refusal

__all__ = ["SharedConnection"]

if TYPE_CHECKING:  # what the mixin below is mixed into
    _Connection = redis.connection.AbstractConnection
else:
    _Connection = object


class SharedConnection(ConnectionBase, _Connection):
    """A sync connection that tenants share. It observes the current deadline."""

    _probe: ReadabilityProbe | None = None

    def has_unexpected_data(self) -> bool:
        """Return whether unexpected data has arrived or the server has closed the connection. Never waits."""
        probe = self._probe
        if probe is None or probe.sock is not self._sock:
            probe = self._probe = ReadabilityProbe(self)
        return probe.has_data(self)

    def failed(self, error: Exception, failures: int) -> None:
        """Close the connection before a retry.

        Raises:
            Exception: If a command was sent that must not be repeated: the error.
        """
        self.disconnect(error=error, failure_count=failures)

    def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        """Connect unless connected, and report the result to the circuit breaker."""
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
        self._reset_for_connect()
        self.altered = self.in_transaction = False
        try:
            if breaker is not None and breaker.may_refuse:
                breaker.admit(self)
            super().connect_check_health(*args, **kwargs)
        except BaseException as error:
            # It may be connected and authenticated, but not in its database: redis-py would keep it.
            self.disconnect()
            if breaker is not None:
                # A socket that was shut down at a deadline tells nothing about the server.
                hurried = limit is not None and limit.over and isinstance(error, redis.ConnectionError)
                breaker.record_failure(
                    self,
                    redis.TimeoutError("no time left") if hurried else error,
                    time.monotonic() - began,
                    own_timeout,
                )
            raise
        finally:
            self.socket_connect_timeout, self.handshaking = own, False
        self._handshake_done()
        logs.connection_opened(self)

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        """Send a command, together with the SELECT that it needs."""
        if not self.handshaking:
            row = self.check_command(args)
            if self.selected != self.db or self.multi_open:
                if (packed := self._pack_with_select(row, args)) is not None:
                    self.send_packed_command(packed, check_health=False)
                else:
                    self._send_with_select([args], kwargs.get("check_health", True))
                return
        if self._sock is None and not self.handshaking:
            self.connect_check_health(check_health=False)
        packed = self._command_packer.pack(*args)
        check_health = kwargs.get("check_health", True)
        self.owed += 1  # before sending: a signal handler may raise right after it
        self._sending()
        if current_deadline() is None:
            super().send_packed_command(packed, check_health)  # type: ignore[no-untyped-call]
        else:
            self.send_packed_command(packed, check_health)

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send encoded commands, within the current deadline."""
        if command.__class__ is UnpackedCommands:
            self._send_with_select(command, check_health)
            return
        if self._sock is None and not self.handshaking:
            self.connect_check_health(check_health=False)
        self._sending()
        limit = current_deadline()
        if limit is None:
            super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]
            return
        with limit.using(self._sock):
            super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]

    def _send_with_select(self, commands: Sequence[Any], check_health: bool) -> None:
        """Send commands over a connection that is in another database or has MULTI pre-opened."""
        if self._sock is None:
            self.connect_check_health(check_health=False)
        if check_health:
            self.check_health()  # type: ignore[no-untyped-call]
        if self.selected == self.db and not self.multi_open:
            plan = SelectPlan((), commands, None)
        else:
            plan = select_plan.plan(self, commands)
        self._send(plan, commands)

    def _send(self, plan: SelectPlan, commands: Sequence[Any]) -> None:
        once = any(not row_of(command).repeatable for command in commands)
        if plan.preparation:
            self._pending_plan, self._not_repeatable = plan, False
            self.send_packed_command(self._pack(plan.preparation), check_health=False)
            error = select_replies.apply_preparation(
                self, plan.preparation, self._read_replies((True,) * len(plan.preparation))
            )
            if isinstance(error, TransactionsRefusedError):
                self.disconnect()
                self.connect_check_health(check_health=False)  # in the database that is wanted
            elif error is not None:
                self.disconnect()
                raise error
            if isinstance(plan.replies, TransactionReplies) and not (self.multi_open and self.multi_proven):
                self._send(select_plan.plan_confirmed(self, commands), commands)
                return
        packed = self._pack(plan.sent)
        self._pending_replies, self._pending_plan, self._not_repeatable = plan.replies, None, once
        self.send_packed_command(packed, check_health=False)

    def transaction_refusal(self) -> str | None:
        """Probe the server's transactions, and close the connection; return why they are not used, None if they are."""
        try:
            self.send_packed_command(self._pack(PROBE), check_health=False)
            return refusal(self._read_replies((True,) * len(PROBE)))
        finally:
            self.disconnect()

    def _read_replies(self, raw: Sequence[bool]) -> list[Any]:
        """Read replies; errors are returned as exceptions.

        Args:
            raw: for each reply, whether it is not decoded.
        """
        replies: list[Any] = []
        for flag in raw:
            reply: Any = next_buffered_reply(self, flag) if replies else NOTHING
            while reply.__class__ is PushNotification:
                self._parser.handle_push_response(reply)
                reply = next_buffered_reply(self, flag)
            if reply is NOTHING:
                try:
                    reply = self._read(flag)
                except redis.ResponseError as error:
                    reply = error.with_traceback(None)
            elif is_fatal(reply):
                self.unconfirmed = False  # refused
                self.disconnect()
                raise reply if isinstance(reply, Exception) else reply[0]
            else:
                self._reply_read()
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
            self._reply_read()
            self.answered()
            raise
        except redis.ConnectionError as error:
            if is_refusal(error):
                self.unconfirmed = False
            raise
        except redis.TimeoutError as error:
            if self.breaker is not None and not self.waits and not self.handshaking:
                own = self.socket_timeout
                waited = (own or 0.0) if limit is None else time.monotonic() - began
                self.breaker.record_failure(self, error, waited, own, replies=self._replies_before)
            raise
        self._reply_read()
        if self.breaker is not None and self.breaker.has_failures:
            self.breaker.record_success()
        return reply

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Return the next reply to the commands of the caller."""
        if self._pending_replies is None or self.handshaking:
            return self._read(*args, **kwargs)
        reading = self._pending_replies
        raw = bool(args[0] if args else kwargs.get("disable_decoding", False))
        if isinstance(reading, LeadingReplies):
            replies = self._read_replies(reading.undecoded(raw))
            if (error := reading.settle(self, replies)) is not None:
                self.disconnect()
                raise error
            self._pending_replies = None
            return reply_or_raise(replies[-1])
        if reading.results is None:
            settled = reading.settle(self, self._read_replies(reading.undecoded(raw)))
            if isinstance(settled, Exception):
                self.disconnect()
                raise settled
            if not settled:
                self._pending_replies = None
                self._send(select_plan.plan_confirmed(self, reading.commands), reading.commands)
                return self._read(*args, **kwargs)
        return self._next_result(reading, raw=raw)

    def _abandon_after_fork(self) -> None:
        self.disconnect()  # closes this process's copy of the socket only
        raise self._forked_error()

    def disconnect(self, *args: Any, **kwargs: Any) -> None:
        """Close the connection."""
        self._reset_state()
        super().disconnect(*args, **kwargs)  # type: ignore[no-untyped-call]
        if kwargs.get("failure_count") is not None and isinstance(error := kwargs.get("error"), Exception):
            self.refuse_repeat(error)  # called by a retry policy
