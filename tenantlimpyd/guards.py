"""redis-py's connections, with what sharing them between tenants needs.

- *In doubt, disconnect*: a connection knows whether it still owes a reply, whether its handshake (and so its SELECT) is
  finished, and whether a command altered it. Pools close one in doubt instead of keeping it.
- It knows the database it is in, and goes to that of its next user in the same write as the next command
  (:mod:`tenantlimpyd.switching`). A command of the user's that would move it is refused.
- It keeps the limit on a thread's commands (:mod:`tenantlimpyd.limits`).
- It tells its server's breaker (:mod:`tenantlimpyd.breaker`) what became of connecting and of waiting for replies.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import redis
import redis.asyncio
import redis.asyncio.connection
import redis.connection
from hiredis import PushNotification, pack_command

from tenantlimpyd import forks, logs, switching
from tenantlimpyd.breaker import Breaker
from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.limits import current_limit
from tenantlimpyd.redispy import NOTHING, Ears, come, ends
from tenantlimpyd.switching import SHORT, Frame, Lead, Plan, Reach, first_word

__all__ = ["guarded"]

if TYPE_CHECKING:  # what the mixins below are mixed into
    _Connection = redis.connection.AbstractConnection
    _AsyncConnection = redis.asyncio.connection.AbstractConnection
else:
    _Connection = _AsyncConnection = object


_MOVES = frozenset({"SELECT", "RESET"})
"""Commands after which a connection is in another database: RESET selects number 0."""
_ALTERS = frozenset(
    {
        *("AUTH", "HELLO", "CLIENT", "MONITOR", "READONLY", "READWRITE", "MULTI", "WATCH"),
        *("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"),
    }
)
"""Commands after which a connection is not what its next user takes it for."""
_SETTLES = frozenset({"EXEC", "DISCARD"})
"""Commands that end what MULTI and WATCH began."""
_HARMLESS = frozenset({"CLIENT LIST", "CLIENT INFO", "CLIENT ID", "CLIENT GETNAME", "CLIENT KILL", "CLIENT UNBLOCK"})
_PLAIN = frozenset({str, bytes, int})
"""Kinds of words of a command, subclasses excepted, that are packed alike by redis-py and by hiredis."""
_NOWHERE = -1


class _Owing:
    """Knows whether a connection is as its next user expects it. Mixed into redis-py's connections, of both colours.

    Attributes:
        owed: the replies that were asked for and not read yet.
        altered: a command changed the connection's own state.
        handshaking: redis-py is making the connection what it should be.
        selected, armed, highest, stays, reach: see :class:`tenantlimpyd.switching.Mover`.
        user: who has checked it out.
        since: when it came back to its pool, by the monotonic clock, in seconds.
        breaker: its server's; None: there is none.
        waits: whether it is for commands that wait on purpose, whose time-outs say nothing of the server.
    """

    owed: int = 0
    altered: bool = False
    handshaking: bool = False
    selected: int = _NOWHERE
    armed: bool = False
    highest: int = 0
    stays: int = 0
    reach: Reach = Reach()
    user: Any = None
    since: float = 0.0
    breaker: Breaker | None = None
    waits: bool = False
    _reading: Frame | Lead | None = None
    _planned: Plan | None = None

    if TYPE_CHECKING:
        db: Any
        encoder: Any
        socket_connect_timeout: float | None
        socket_timeout: float | None

        health_check_interval: Any

        def _leave_to_parent(self) -> None: ...

        def pack_command(self, *args: Any) -> list[Any]: ...

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.born = forks.generation
        super().__init__(*args, **kwargs)

    @property
    def own_timeout(self) -> float | None:
        """The seconds after which connecting, or waiting for a reply, times out by itself."""
        own = [seconds for seconds in (self.socket_connect_timeout, self.socket_timeout) if seconds]
        return min(own, default=None)

    def _answered(self) -> None:
        """Tell the breaker that the server answered."""
        if self.breaker is not None and self.breaker.troubled:
            self.breaker.succeeded()

    @property
    def doubtful(self) -> bool:
        """Whether the connection must be closed, not kept."""
        return bool(self.owed) or self.altered or self._reading is not None or self._planned is not None

    @property
    def meant(self) -> tuple[str, ...] | None:
        """The names of the commands in what is sent now, without those that are there to move; None: all are meant."""
        if self._planned is not None:
            return ()
        reading = self._reading
        return None if reading is None else tuple(first_word(command[0]) for command in reading.commands)

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
        self._reading = self._planned = None

    def _inherited(self) -> redis.ConnectionError:
        """Take down that a fork has copied the connection to this process, and return the error to raise."""
        self.born = forks.generation
        return redis.ConnectionError("this connection is that of the process that was forked, which may be using it")

    def look_at(self, name: Any) -> str:
        """Refuse a command that would move the connection to another database; note one that alters it.

        Args:
            name: the command's name, as redis-py takes it: text or bytes in any case, arguments after a space included.

        Returns:
            The first word of the name, upper case.

        Raises:
            ImplementationError: the command is SELECT, or RESET, which selects database 0.
        """
        if self.born != forks.generation:
            self._leave_to_parent()
        word = name if name.__class__ is str and name.isupper() and " " not in name else first_word(name)
        if word in _MOVES:
            raise ImplementationError(
                f"{word} is refused: the connection stays in its database, which may be one tenant's, and its next user "
                "may be another. Make a RedisDatabase with another db, or call connect(db=...)."
            )
        if word in _ALTERS:
            self.altered = self.altered or not (
                word == "CLIENT" and isinstance(name, str) and name.upper() in _HARMLESS
            )
        elif word in _SETTLES:
            self.altered = False
        return word

    def pack_commands(self, commands: Iterable[Any]) -> Any:
        """Pack commands of a pipeline, and count the replies they ask for."""
        commands = list(commands)
        if not self.handshaking:
            for command in commands:
                self.look_at(command[0])
            if (self.selected != self.db or self.armed) and commands:
                return _Unpacked(commands)
        packed = super().pack_commands(commands)  # type: ignore[misc]
        self.owed += len(commands)
        return packed

    def _pack(self, commands: Sequence[Any]) -> Any:
        packed = super().pack_commands(commands)  # type: ignore[misc]
        self.owed += len(commands)
        return packed

    def _quick(self, word: str, args: Sequence[Any]) -> Any:
        """Return one command, packed with what takes an armed connection where it belongs, or None if that isn't simple."""
        if self.selected >= 0 and not self.health_check_interval:
            quick = switching.quick(self, word, self.pack_command(*args), args)
            if quick is not None:
                packed, reading = quick
                self._reading = reading
                self.owed += 2 if isinstance(reading, Lead) else 3 + reading.selects
                return packed
        return None

    def _taken(self, frame: Frame, *, raw: bool) -> Any:
        """Return the next reply of a frame; drop the frame with the last one."""
        reply = frame.take()
        if not frame.results:
            self._reading = None
        return _given(_encoded(reply, self.encoder) if raw and not frame.single else reply)


def _given(reply: Any) -> Any:
    """Return a reply, or raise it where it is an error."""
    if isinstance(reply, Exception):
        raise reply
    return reply


def _encoded(reply: Any, encoder: Any) -> Any:
    """Undo the decoding of a reply that was wanted as bytes."""
    if isinstance(reply, str):
        return encoder.encode(reply)
    if isinstance(reply, list):
        return [_encoded(each, encoder) for each in reply]
    if isinstance(reply, dict):
        return {_encoded(key, encoder): _encoded(value, encoder) for key, value in reply.items()}
    return reply


class _Unpacked(list[Any]):
    """Commands of a pipeline that are packed when they are sent: only then is it sure where the connection is."""


class _Guarded(_Owing, _Connection):
    """A blocking connection that is never in doubt, and keeps the current limit."""

    _ears: Ears | None = None

    def hears(self) -> bool:
        """Return whether data has come that nobody asked for, or the server closed the connection; never waits."""
        ears = self._ears
        if ears is None or ears.sock is not self._sock:
            ears = self._ears = Ears(self)
        return ears.hear(self)

    def failed(self, error: Exception, failures: int) -> None:  # noqa: ARG002 - as retry policies call it
        """Close the connection before a command is tried again."""
        self.disconnect()

    def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        if self._sock is not None:
            return
        self.born = forks.generation
        limit = current_limit()
        own, own_timeout = self.socket_connect_timeout, self.own_timeout
        if limit is not None:
            limit.check()
            self.socket_connect_timeout = limit.shorter(own)
        breaker, began = self.breaker, time.monotonic()
        self.handshaking = True
        self._begin()
        self.altered = False
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
        if not self.handshaking:
            word = self.look_at(args[0])
            if self.selected != self.db or self.armed:
                if (packed := self._quick(word, args)) is not None:
                    self.send_packed_command(packed, check_health=False)
                else:
                    self._send_elsewhere([args], kwargs.get("check_health", True))
                return
        packed = self._command_packer.pack(*args)
        check_health = kwargs.get("check_health", True)
        self.owed += 1  # before it is sent: a signal may end this between sending and what comes after
        if current_limit() is None:
            super().send_packed_command(packed, check_health)  # type: ignore[no-untyped-call]
        else:
            self.send_packed_command(packed, check_health)

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if command.__class__ is _Unpacked:
            self._send_elsewhere(command, check_health)
            return
        limit = current_limit()
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
            plan = Plan((), commands, None)
        else:
            plan = switching.plan(self, commands)
        self._send(plan, commands)

    def _send(self, plan: Plan, commands: Sequence[Any]) -> None:
        if plan.trip:
            self._planned = plan
            self.send_packed_command(self._pack(plan.trip), check_health=False)
            error = switching.settle_trip(self, plan.trip, self._several((True,) * len(plan.trip)))
            if error is not None:
                self.disconnect()
                raise error
            if isinstance(plan.reading, Frame) and not self.armed:  # the user may not send MULTI
                plan = Plan((), commands, None)
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
        limit, began = current_limit(), 0.0
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
            self._answered()
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
        if self._reading is None or self.handshaking:
            return self._read(*args, **kwargs)
        reading = self._reading
        raw = bool(args[0] if args else kwargs.get("disable_decoding", False))
        if isinstance(reading, Lead):
            replies = self._several(reading.raw(raw))
            if (error := reading.settle(self, replies)) is not None:
                self.disconnect()
                raise error
            self._reading = None
            return _given(replies[-1])
        if reading.results is None:
            settled = reading.settle(self, self._several(reading.raw(raw)))
            if isinstance(settled, Exception):
                self.disconnect()
                raise settled
            if not settled:
                self._reading = None
                self._send(switching.verified(self, reading.commands), reading.commands)
                return self._read(*args, **kwargs)
        return self._taken(reading, raw=raw)

    def _leave_to_parent(self) -> None:
        self.disconnect()  # closes this process's copy of the socket, and leaves the parent's open
        raise self._inherited()

    def disconnect(self, *args: Any, **kwargs: Any) -> None:
        self._gone()
        super().disconnect(*args, **kwargs)  # type: ignore[no-untyped-call]


class _AsyncGuarded(_Owing, _AsyncConnection):
    """An asyncio connection that is never in doubt.

    Attributes:
        packs: whether text is sent as hiredis takes it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.packs = (self.encoder.encoding.lower(), self.encoder.encoding_errors) == ("utf-8", "strict")

    async def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        if self.is_connected:
            return
        self.born = forks.generation
        breaker, began = self.breaker, time.monotonic()
        self.handshaking = True
        self._begin()
        self.altered = False
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
        if command.__class__ is _Unpacked:
            await self._send_elsewhere(command, check_health)
            return
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health and self.health_check_interval:
            await self.check_health()  # type: ignore[no-untyped-call]
        seconds, self.socket_timeout = self.socket_timeout, None
        try:
            if not seconds or self._fits(command):
                await super().send_packed_command(command, check_health=False)
                return
            async with asyncio.timeout(seconds):
                await super().send_packed_command(command, check_health=False)
        except TimeoutError:
            raise redis.TimeoutError("Timeout writing to socket") from None
        finally:
            self.socket_timeout = seconds

    def _fits(self, packed: Any) -> bool:
        """Return whether what is to be sent finds room in the transport's empty buffer: then nobody waits for the server."""
        if packed.__class__ is not list or len(packed) != 1:
            return False
        chunk, writer = packed[0], self._writer
        short = chunk.__class__ is bytes and len(chunk) < SHORT
        return short and writer is not None and writer.transport.get_write_buffer_size() == 0

    async def failed(self, error: Exception, failures: int) -> None:
        """Close the connection before a command is tried again."""
        await self.disconnect(error=error, failure_count=failures)

    def pack_command(self, *args: Any) -> list[Any]:
        """Pack as the base class does; what needs no thought of the encoder's, as hiredis does it, which is quicker."""
        name = args[0]
        plain = self.packs and name.__class__ is str and " " not in name and _PLAIN.issuperset(map(type, args))
        return [pack_command(args)] if plain else super().pack_command(*args)

    def send_command(self, *args: Any, **kwargs: Any) -> Any:
        if not self.handshaking:
            word = self.look_at(args[0])
            if self.selected != self.db or self.armed:
                if (packed := self._quick(word, args)) is not None:
                    return self.send_packed_command(packed, check_health=False)
                return self._send_elsewhere([args], kwargs.get("check_health", True))
        self.owed += 1  # before it is sent, which errs on the safe side, and needs no coroutine of its own
        return super().send_command(*args, **kwargs)

    async def _send_elsewhere(self, commands: Sequence[Any], check_health: bool) -> None:
        """Send commands over a connection that is in another database, or armed."""
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health:
            await self.check_health()  # type: ignore[no-untyped-call]
        if self.selected == self.db and not self.armed:
            plan = Plan((), commands, None)
        else:
            plan = switching.plan(self, commands)
        await self._send(plan, commands)

    async def _send(self, plan: Plan, commands: Sequence[Any]) -> None:
        if plan.trip:
            self._planned = plan
            await self.send_packed_command(self._pack(plan.trip), check_health=False)
            error = switching.settle_trip(self, plan.trip, await self._several((True,) * len(plan.trip)))
            if error is not None:
                await self.disconnect(nowait=True)
                raise error
            if isinstance(plan.reading, Frame) and not self.armed:  # the user may not send MULTI
                plan = Plan((), commands, None)
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
            self.owed -= 1
            self._answered()
            raise
        except (redis.TimeoutError, asyncio.CancelledError) as error:
            if self.breaker is not None and not self.waits and not self.handshaking:
                once = isinstance(error, asyncio.CancelledError)
                self.breaker.failed(self, error, time.monotonic() - began, self.socket_timeout, once=once)
            raise
        self.owed -= 1
        if self.breaker is not None and self.breaker.troubled:
            self.breaker.succeeded()
        return reply

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        if self._reading is None or self.handshaking:
            return await self._read(*args, **kwargs)
        reading = self._reading
        raw = bool(args[0] if args else kwargs.get("disable_decoding", False))
        if isinstance(reading, Lead):
            replies = await self._several(reading.raw(raw))
            if (error := reading.settle(self, replies)) is not None:
                await self.disconnect(nowait=True)
                raise error
            self._reading = None
            return _given(replies[-1])
        if reading.results is None:
            settled = reading.settle(self, await self._several(reading.raw(raw)))
            if isinstance(settled, Exception):
                await self.disconnect(nowait=True)
                raise settled
            if not settled:
                self._reading = None
                await self._send(switching.verified(self, reading.commands), reading.commands)
                return await self._read(*args, **kwargs)
        return self._taken(reading, raw=raw)

    def _leave_to_parent(self) -> None:
        # Closing it would take the socket from the parent's event loop: its selector is shared.
        forks.kept.append((self._reader, self._writer))
        self._reader = self._writer = None
        self._gone()
        raise self._inherited()

    async def disconnect(self, *args: Any, **kwargs: Any) -> None:
        self._gone()
        await super().disconnect(*args, **kwargs)


@functools.cache
def guarded(connection_class: type) -> type:
    """Return redis-py's connection class (plain, TLS, unix socket; either colour) with the guard mixed in."""
    is_async = issubclass(connection_class, redis.asyncio.connection.AbstractConnection)
    guard = _AsyncGuarded if is_async else _Guarded
    return type(f"{guard.__name__.strip('_')}{connection_class.__name__}", (guard, connection_class), {})
