"""Guarded connections of asyncio."""

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
from tenantlimpyd._connections import fork, select_plan, select_replies
from tenantlimpyd._connections.connection_base import ConnectionBase, UnpackedCommands, reply_or_raise
from tenantlimpyd._connections.redis_internals import NOTHING, asends, come, drop_unsent, ends, has_come
from tenantlimpyd._connections.select_plan import SHORT, SelectPlan
from tenantlimpyd._connections.select_replies import LeadingReplies, TransactionReplies
from tenantlimpyd._connections.write_coalescer import WriteCoalescer

__all__ = ["AsyncSharedConnection"]

if TYPE_CHECKING:  # what the mixin below is mixed into
    _AsyncConnection = redis.asyncio.connection.AbstractConnection
else:
    _AsyncConnection = object

_PLAIN = frozenset({str, bytes, int})
"""Kinds of words of a command, subclasses excepted, that are packed alike by redis-py and by hiredis."""
_UNASKED = "data came that nobody asked for, before a command was sent"


class AsyncSharedConnection(ConnectionBase, _AsyncConnection):
    """An asyncio connection that is never in doubt.

    Attributes:
        packs: whether text is sent as hiredis takes it.
        outbox: where what it sends may wait for others'; None: it sends at once.
    """

    outbox: WriteCoalescer | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.packs = (self.encoder.encoding.lower(), self.encoder.encoding_errors) == ("utf-8", "strict")

    async def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        """Connect, unless it is connected; tell the breaker what became of it."""
        if self.is_connected:
            return
        self.born = fork.generation
        breaker, began = self.breaker, time.monotonic()
        self.handshaking = True
        self._begin()
        self.altered = self.in_transaction = False
        try:
            if breaker is not None and breaker.refusing:
                breaker.admit(self)
            await super().connect_check_health(*args, **kwargs)
        except BaseException as error:
            waited = time.monotonic() - began
            await self.disconnect(nowait=True)
            if breaker is not None:
                breaker.failed(self, error, waited, self.own_timeout)
            raise
        finally:
            self.handshaking = False
        self._fresh()
        logs.connection_opened(self)

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send as the base class does, but without ``asyncio.wait_for``.

        It makes a task of every command and, before Python 3.12, loses a cancellation that comes as the command is sent.
        """
        if command.__class__ is UnpackedCommands:
            await self._send_elsewhere(command, check_health)
            return
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health and self.health_check_interval:
            await self.check_health()  # type: ignore[no-untyped-call]
        alone, self.alone = self.alone, False
        if self.unsent is not None:  # somebody sends again before reading: in that order
            self.post()
            if self.unsent is not None:
                await self._refuse()
        if (writer := self._writer) is not None and asends() and _fits(command, writer):
            # The base class would do no more than write.
            outbox = self.outbox
            if outbox is not None and alone and not self.handshaking and outbox.worth_it:
                outbox.keep(self, command[0])
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

    def post(self) -> None:
        """Send what was put off; unless something has come meanwhile, which can't be the reply to it."""
        unsent, writer, stream = self.unsent, self._writer, self._reader
        if unsent is None or writer is None or stream is None or stream.at_eof() or stream.exception() is not None:
            return  # closed, which whoever reads is told
        if has_come(stream):
            stream.set_exception(redis.ConnectionError(_UNASKED))
            return
        self.unsent = None
        try:
            writer.write(unsent)
        except Exception as error:  # noqa: BLE001 - as transports of other event loops may, where they are closed
            stream.set_exception(OSError(str(error)))

    async def failed(self, error: Exception, failures: int) -> None:
        """Close the connection before a command is tried again."""
        await self.disconnect(error=error, failure_count=failures)

    def pack_command(self, *args: Any) -> list[Any]:
        """Pack as the base class does; what needs no thought of the encoder's, as hiredis does it, which is quicker."""
        name = args[0]
        plain = self.packs and name.__class__ is str and " " not in name and _PLAIN.issuperset(map(type, args))
        return [pack_command(args)] if plain else super().pack_command(*args)

    def send_command(self, *args: Any, **kwargs: Any) -> Any:
        """Send a command, with what takes the connection to its database."""
        if not self.handshaking:
            row = self.look_at(args)
            if self.selected != self.db or self.armed:
                if (packed := self._quick(row, args)) is not None:
                    return self.send_packed_command(packed, check_health=False)
                return self._send_elsewhere([args], kwargs.get("check_health", True))
        self.alone = not self.owed
        self.owed += 1  # before it is sent, which errs on the safe side, and needs no coroutine of its own
        return super().send_command(*args, **kwargs)

    async def _send_elsewhere(self, commands: Sequence[Any], check_health: bool) -> None:
        """Send commands over a connection that is in another database, or armed."""
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health:
            await self.check_health()  # type: ignore[no-untyped-call]
        if self.selected == self.db and not self.armed:
            plan = SelectPlan((), commands, None)
        else:
            plan = select_plan.plan(self, commands)
        await self._send(plan, commands)

    async def _send(self, plan: SelectPlan, commands: Sequence[Any]) -> None:
        if plan.trip:
            self._planned = plan
            await self.send_packed_command(self._pack(plan.trip), check_health=False)
            error = select_replies.settle_trip(self, plan.trip, await self._several((True,) * len(plan.trip)))
            if error is not None:
                await self.disconnect(nowait=True)
                raise error
            if isinstance(plan.reading, TransactionReplies) and not self.armed:  # the user may not send MULTI
                plan = SelectPlan((), commands, None)
        packed = self._pack(plan.sent)
        self._reading, self._planned = plan.reading, None
        await self.send_packed_command(packed, check_health=False)

    async def _several(self, raw: Sequence[bool]) -> list[Any]:
        """Return so many replies, errors as objects; as the blocking one."""
        replies: list[Any] = []
        for flag in raw:
            reply: Any = come(self, flag) if replies else NOTHING
            while reply.__class__ is PushNotification:
                await self._parser.handle_push_response(reply)  # type: ignore[attr-defined]
                reply = come(self, flag)
            if reply is NOTHING:
                try:
                    reply = await self._read(flag)
                except redis.ResponseError as error:
                    reply = error.with_traceback(None)
            elif ends(reply):
                await self.disconnect(nowait=True)
                raise reply if isinstance(reply, Exception) else reply[0]
            else:
                self.owed -= 1
            replies.append(reply)
        return replies

    async def _read(self, *args: Any, **kwargs: Any) -> Any:
        began = time.monotonic()
        try:
            reply = await super().read_response(*args, **kwargs)
        except redis.ResponseError:
            if self.unsent is not None:
                await self._refuse()
            self.owed -= 1
            self.answered()
            raise
        except (redis.TimeoutError, asyncio.CancelledError) as error:
            if self.breaker is not None and not self.waits and not self.handshaking:
                once = isinstance(error, asyncio.CancelledError)
                self.breaker.failed(self, error, time.monotonic() - began, self.socket_timeout, once=once)
            raise
        if self.unsent is not None:
            await self._refuse()
        self.owed -= 1
        if self.breaker is not None and self.breaker.troubled:
            self.breaker.succeeded()
        return reply

    async def _refuse(self) -> NoReturn:
        """Close the connection: what came can't be the reply to what was not sent."""
        await self.disconnect(nowait=True)
        raise redis.ConnectionError(_UNASKED) from None

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Return the next reply to the caller's commands."""
        if self._reading is None or self.handshaking:
            return await self._read(*args, **kwargs)
        reading = self._reading
        raw = bool(args[0] if args else kwargs.get("disable_decoding", False))
        if isinstance(reading, LeadingReplies):
            replies = await self._several(reading.raw(raw))
            if (error := reading.settle(self, replies)) is not None:
                await self.disconnect(nowait=True)
                raise error
            self._reading = None
            return reply_or_raise(replies[-1])
        if reading.results is None:
            settled = reading.settle(self, await self._several(reading.raw(raw)))
            if isinstance(settled, Exception):
                await self.disconnect(nowait=True)
                raise settled
            if not settled:
                self._reading = None
                await self._send(select_plan.verified(self, reading.commands), reading.commands)
                return await self._read(*args, **kwargs)
        return self._taken(reading, raw=raw)

    def _leave_to_parent(self) -> None:
        # Closing it would take the socket from the parent's event loop: its selector is shared.
        fork.kept.append((self._reader, self._writer))
        self._reader = self._writer = None
        self._gone()
        raise self._inherited()

    async def disconnect(self, *args: Any, **kwargs: Any) -> None:
        """Close the connection."""
        self._gone()
        drop_unsent(self)
        await super().disconnect(*args, **kwargs)


def _fits(packed: Any, writer: asyncio.StreamWriter) -> bool:
    """Return whether what is to be sent finds room in the transport's empty buffer: then nobody waits for the server."""
    if packed.__class__ is not list or len(packed) != 1 or packed[0].__class__ is not bytes or len(packed[0]) >= SHORT:
        return False
    transport = writer.transport
    return not transport.is_closing() and transport.get_write_buffer_size() == 0
