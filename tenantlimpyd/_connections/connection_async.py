"""Async shared connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import redis
import redis.asyncio
import redis.asyncio.connection
from hiredis import PushNotification, pack_command

from tenantlimpyd import logs
from tenantlimpyd._commands import row_of
from tenantlimpyd._connections import fork, select_plan, select_replies
from tenantlimpyd._connections.connection_base import ConnectionBase, UnpackedCommands, is_refusal, reply_or_raise
from tenantlimpyd._connections.redis_internals import (
    NOTHING,
    abort_unsent,
    has_unread_data,
    is_fatal,
    is_send_unmodified,
    next_buffered_reply,
)
from tenantlimpyd._connections.select_plan import SHORT_BYTES, SelectPlan
from tenantlimpyd._connections.select_replies import LeadingReplies, TransactionReplies, TransactionsRefusedError
from tenantlimpyd._connections.transaction_probe import PROBE, refusal
from tenantlimpyd._connections.write_coalescer import WriteCoalescer

__all__ = ["AsyncSharedConnection"]

if TYPE_CHECKING:  # what the mixin below is mixed into
    _AsyncConnection = redis.asyncio.connection.AbstractConnection
else:
    _AsyncConnection = object

_PLAIN = frozenset({str, bytes, int})
"""Types of words that redis-py and hiredis encode in the same way, without subclasses."""
_UNASKED = "data arrived that was not requested, before a command was sent"


class AsyncSharedConnection(ConnectionBase, _AsyncConnection):
    """An async connection that tenants share.

    Attributes:
        packs: whether hiredis can encode text with the connection's encoding.
        write_coalescer: sends for several connections at once; None if the connection sends by itself.
    """

    write_coalescer: WriteCoalescer | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.packs = (self.encoder.encoding.lower(), self.encoder.encoding_errors) == ("utf-8", "strict")

    async def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        """Connect unless connected, and report the result to the circuit breaker."""
        if self.is_connected:
            return
        self.born = fork.generation
        breaker, began = self.breaker, time.monotonic()
        self.handshaking = True
        self._reset_for_connect()
        self.altered = self.in_transaction = False
        try:
            if breaker is not None and breaker.may_refuse:
                breaker.admit(self)
            await super().connect_check_health(*args, **kwargs)
        except BaseException as error:
            waited = time.monotonic() - began
            await self.disconnect(nowait=True)
            if breaker is not None:
                breaker.record_failure(self, error, waited, self.own_timeout)
            raise
        finally:
            self.handshaking = False
        self._handshake_done()
        logs.connection_opened(self)

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send encoded commands like the base class, but without ``asyncio.wait_for``.

        ``wait_for`` makes a task for each command and, before Python 3.12, loses a cancellation that arrives while it sends.
        """
        if command.__class__ is UnpackedCommands:
            await self._send_with_select(command, check_health)
            return
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health and self.health_check_interval:
            await self.check_health()  # type: ignore[no-untyped-call]
        self._sending()
        alone, self.alone = self.alone, False
        if self.unsent is not None:  # the caller sends again before reading: keep the order
            self.flush_unsent()
            if self.unsent is not None:
                await self._refuse()
        if (writer := self._writer) is not None and is_send_unmodified() and _fits(command, writer):
            # The base class would only write.
            write_coalescer = self.write_coalescer
            if write_coalescer is not None and alone and not self.handshaking and write_coalescer.is_useful:
                write_coalescer.keep(self, command[0])
            else:
                writer.write(command[0])
            return
        seconds, self.socket_timeout = self.socket_timeout, None
        try:
            if not seconds:
                await super().send_packed_command(command, check_health=False)
                return
            async with asyncio.timeout(seconds):
                await super().send_packed_command(command, check_health=False)
        except TimeoutError:
            raise redis.TimeoutError("Timeout writing to socket") from None
        finally:
            self.socket_timeout = seconds

    def flush_unsent(self) -> None:
        """Send the deferred bytes, unless data has arrived, which can't be the reply to them."""
        unsent, writer, stream = self.unsent, self._writer, self._reader
        if unsent is None or writer is None or stream is None or stream.at_eof() or stream.exception() is not None:
            return  # closed: the reader gets the error
        if has_unread_data(stream):
            stream.set_exception(redis.ConnectionError(_UNASKED))
            return
        self.unsent = None
        try:
            writer.write(unsent)
        except Exception as error:  # noqa: BLE001 - closed transports of other event loops may raise anything
            stream.set_exception(OSError(str(error)))

    async def failed(self, error: Exception, failures: int) -> None:
        """Close the connection before a retry.

        Raises:
            Exception: If a command was sent that must not be repeated: the error.
        """
        await self.disconnect(error=error, failure_count=failures)

    def pack_command(self, *args: Any) -> list[Any]:
        """Encode a command like the base class; commands of plain words are encoded by hiredis, which is faster."""
        name = args[0]
        plain = self.packs and name.__class__ is str and " " not in name and _PLAIN.issuperset(map(type, args))
        return [pack_command(args)] if plain else super().pack_command(*args)

    def send_command(self, *args: Any, **kwargs: Any) -> Any:
        """Send a command, together with the SELECT that it needs."""
        if not self.handshaking:
            row = self.check_command(args)
            if self.selected != self.db or self.multi_open:
                if (packed := self._pack_with_select(row, args)) is not None:
                    return self.send_packed_command(packed, check_health=False)
                return self._send_with_select([args], kwargs.get("check_health", True))
        self.alone = not self.owed
        self.owed += 1  # before sending: the safe side, and no coroutine is needed
        return super().send_command(*args, **kwargs)

    async def _send_with_select(self, commands: Sequence[Any], check_health: bool) -> None:
        """Send commands over a connection that is in another database or has MULTI pre-opened."""
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health:
            await self.check_health()  # type: ignore[no-untyped-call]
        if self.selected == self.db and not self.multi_open:
            plan = SelectPlan((), commands, None)
        else:
            plan = select_plan.plan(self, commands)
        await self._send(plan, commands)

    async def _send(self, plan: SelectPlan, commands: Sequence[Any]) -> None:
        once = any(not row_of(command).repeatable for command in commands)
        if plan.preparation:
            self._pending_plan, self._not_repeatable = plan, False
            await self.send_packed_command(self._pack(plan.preparation), check_health=False)
            error = select_replies.apply_preparation(
                self, plan.preparation, await self._read_replies((True,) * len(plan.preparation))
            )
            if isinstance(error, TransactionsRefusedError):
                await self.disconnect(nowait=True)
                await self.connect_check_health(check_health=False)  # in the database that is wanted
            elif error is not None:
                await self.disconnect(nowait=True)
                raise error
            if isinstance(plan.replies, TransactionReplies) and not (self.multi_open and self.multi_proven):
                await self._send(select_plan.plan_confirmed(self, commands), commands)
                return
        packed = self._pack(plan.sent)
        self._pending_replies, self._pending_plan, self._not_repeatable = plan.replies, None, once
        await self.send_packed_command(packed, check_health=False)

    async def transaction_refusal(self) -> str | None:
        """Probe the server's transactions, and close the connection; return why they are not used, None if they are."""
        try:
            await self.send_packed_command(self._pack(PROBE), check_health=False)
            return refusal(await self._read_replies((True,) * len(PROBE)))
        finally:
            await self.disconnect(nowait=True)

    async def _read_replies(self, raw: Sequence[bool]) -> list[Any]:
        """Read replies; errors are returned as exceptions. The async version of the sync method."""
        replies: list[Any] = []
        for flag in raw:
            reply: Any = next_buffered_reply(self, flag) if replies else NOTHING
            while reply.__class__ is PushNotification:
                await self._parser.handle_push_response(reply)  # type: ignore[attr-defined]
                reply = next_buffered_reply(self, flag)
            if reply is NOTHING:
                try:
                    reply = await self._read(flag)
                except redis.ResponseError as error:
                    reply = error.with_traceback(None)
            elif is_fatal(reply):
                self.unconfirmed = False  # refused
                await self.disconnect(nowait=True)
                raise reply if isinstance(reply, Exception) else reply[0]
            else:
                self._reply_read()
            replies.append(reply)
        return replies

    async def _read(self, *args: Any, **kwargs: Any) -> Any:
        began = time.monotonic()
        try:
            reply = await super().read_response(*args, **kwargs)
        except redis.ResponseError:
            if self.unsent is not None:
                await self._refuse()
            self._reply_read()
            self.answered()
            raise
        except redis.ConnectionError as error:
            if is_refusal(error):
                self.unconfirmed = False
            raise
        except (redis.TimeoutError, asyncio.CancelledError) as error:
            if self.breaker is not None and not self.waits and not self.handshaking:
                once = isinstance(error, asyncio.CancelledError)
                waited, own = time.monotonic() - began, self.socket_timeout
                self.breaker.record_failure(self, error, waited, own, once=once, replies=self._replies_before)
            raise
        if self.unsent is not None:
            await self._refuse()
        self._reply_read()
        if self.breaker is not None and self.breaker.has_failures:
            self.breaker.record_success()
        return reply

    async def _refuse(self) -> NoReturn:
        """Close the connection, because the received data can't be the reply to a command that was not sent."""
        await self.disconnect(nowait=True)
        raise redis.ConnectionError(_UNASKED) from None

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Return the next reply to the commands of the caller."""
        if self._pending_replies is None or self.handshaking:
            return await self._read(*args, **kwargs)
        reading = self._pending_replies
        raw = bool(args[0] if args else kwargs.get("disable_decoding", False))
        if isinstance(reading, LeadingReplies):
            replies = await self._read_replies(reading.undecoded(raw))
            if (error := reading.settle(self, replies)) is not None:
                await self.disconnect(nowait=True)
                raise error
            self._pending_replies = None
            return reply_or_raise(replies[-1])
        if reading.results is None:
            settled = reading.settle(self, await self._read_replies(reading.undecoded(raw)))
            if isinstance(settled, Exception):
                await self.disconnect(nowait=True)
                raise settled
            if not settled:
                self._pending_replies = None
                await self._send(select_plan.plan_confirmed(self, reading.commands), reading.commands)
                return await self._read(*args, **kwargs)
        return self._next_result(reading, raw=raw)

    def _abandon_after_fork(self) -> None:
        # Closing it would unregister the socket in the parent's event loop, whose selector is shared.
        fork.kept.append((self._reader, self._writer))
        self._reader = self._writer = None
        self._reset_state()
        raise self._forked_error()

    async def disconnect(self, *args: Any, **kwargs: Any) -> None:
        """Close the connection."""
        self._reset_state()
        abort_unsent(self)
        await super().disconnect(*args, **kwargs)
        if kwargs.get("failure_count") is not None and isinstance(error := kwargs.get("error"), Exception):
            self.refuse_repeat(error)  # called by a retry policy


def _fits(packed: Any, writer: asyncio.StreamWriter) -> bool:
    """Return whether the data fits into the empty buffer of the transport, so that sending does not wait."""
    if (
        packed.__class__ is not list
        or len(packed) != 1
        or packed[0].__class__ is not bytes
        or len(packed[0]) >= SHORT_BYTES
    ):
        return False
    transport = writer.transport
    return not transport.is_closing() and transport.get_write_buffer_size() == 0
