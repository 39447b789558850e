"""redis-py's connections, with what sharing them between tenants needs.

- *In doubt, disconnect*: a connection knows whether it still owes a reply, whether its handshake (and so its SELECT) is
  finished, and whether a command altered it. Pools close one in doubt instead of keeping it.
- A command that would move it to another database is refused.
- It keeps the limit on a thread's commands (:mod:`tenantlimpyd.limits`).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import redis
import redis.asyncio
import redis.asyncio.connection
import redis.connection

from tenantlimpyd import logs
from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.limits import current_limit

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


class _Owing:
    """Knows whether a connection is as its next user expects it. Mixed into redis-py's connections, of both colours.

    Attributes:
        owed: the replies that were asked for and not read yet.
        altered: a command changed the connection's own state.
        handshaking: redis-py is making the connection what it should be.
    """

    owed: int = 0
    altered: bool = False
    handshaking: bool = False

    @property
    def doubtful(self) -> bool:
        """Whether the connection must be closed, not kept."""
        return bool(self.owed) or self.altered

    def look_at(self, word: Any) -> None:
        """Refuse a command that would move the connection to another database; note one that alters it.

        Args:
            word: the command's name, as redis-py takes it: text or bytes in any case, arguments after a space included.

        Raises:
            ImplementationError: the command is SELECT, or RESET, which selects database 0.
        """
        if self.handshaking:
            return
        if word.__class__ is not str or not word.isupper() or " " in word:
            text = (
                bytes(word).decode(errors="replace") if isinstance(word, bytes | bytearray | memoryview) else str(word)
            )
            word = text.upper()
            if word not in _HARMLESS:
                word = word.split()[0] if word.split() else ""
        if word in _MOVES:
            raise ImplementationError(
                f"{word} is refused: the connection stays in its database, which may be one tenant's. Make a "
                "RedisDatabase with another db, or call connect(db=...)."
            )
        if word in _ALTERS:
            self.altered = True
        elif word in _SETTLES:
            self.altered = False

    def pack_commands(self, commands: Iterable[Any]) -> Any:
        """Pack commands of a pipeline, and count the replies they ask for."""
        commands = list(commands)
        for command in commands:
            self.look_at(command[0])
        packed = super().pack_commands(commands)  # type: ignore[misc]
        self.owed += len(commands)
        return packed


class _Guarded(_Owing, _Connection):
    """A blocking connection that is never in doubt, and keeps the current limit."""

    def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        if self._sock is not None:
            return
        limit = current_limit()
        own = self.socket_connect_timeout
        if limit is not None:
            limit.check()
            self.socket_connect_timeout = limit.shorter(own)
        self.handshaking, self.altered = True, False
        try:
            super().connect_check_health(*args, **kwargs)
        except BaseException:
            # Connected, perhaps authenticated, but not sure to be in its database: redis-py would keep it.
            self.disconnect()
            raise
        finally:
            self.socket_connect_timeout, self.handshaking = own, False
        logs.connection_opened(self)

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        self.look_at(args[0])
        packed = self._command_packer.pack(*args)
        check_health = kwargs.get("check_health", True)
        if current_limit() is None:
            super().send_packed_command(packed, check_health)  # type: ignore[no-untyped-call]
        else:
            self.send_packed_command(packed, check_health)
        self.owed += 1

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        limit = current_limit()
        if limit is None:
            super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]
            return
        with limit.using(self._sock):
            super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            limit = current_limit()
            if limit is None:
                reply = super().read_response(*args, **kwargs)
            else:
                with limit.using(self._sock):
                    kwargs.setdefault("timeout", limit.shorter(self.socket_timeout))
                    reply = super().read_response(*args, **kwargs)
        except redis.ResponseError:
            self.owed -= 1
            raise
        self.owed -= 1
        return reply

    def disconnect(self, *args: Any, **kwargs: Any) -> None:
        self.owed = 0
        super().disconnect(*args, **kwargs)  # type: ignore[no-untyped-call]


class _AsyncGuarded(_Owing, _AsyncConnection):
    """An asyncio connection that is never in doubt."""

    async def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        if self.is_connected:
            return
        self.handshaking, self.altered = True, False
        try:
            await super().connect_check_health(*args, **kwargs)
        except BaseException:
            await self.disconnect(nowait=True)
            raise
        finally:
            self.handshaking = False
        logs.connection_opened(self)

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send as the base class does, but without ``asyncio.wait_for``.

        It makes a task of every command and, before Python 3.12, loses a cancellation that comes as the command is sent.
        """
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health:
            await self.check_health()  # type: ignore[no-untyped-call]
        seconds, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(seconds or None):
                await super().send_packed_command(command, check_health=False)
        except TimeoutError:
            raise redis.TimeoutError("Timeout writing to socket") from None
        finally:
            self.socket_timeout = seconds

    def send_command(self, *args: Any, **kwargs: Any) -> Any:
        self.look_at(args[0])
        self.owed += 1  # before it is sent, which errs on the safe side, and needs no coroutine of its own
        return super().send_command(*args, **kwargs)

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            reply = await super().read_response(*args, **kwargs)
        except redis.ResponseError:
            self.owed -= 1
            raise
        self.owed -= 1
        return reply

    async def disconnect(self, *args: Any, **kwargs: Any) -> None:
        self.owed = 0
        await super().disconnect(*args, **kwargs)


@functools.cache
def guarded(connection_class: type) -> type:
    """Return redis-py's connection class (plain, TLS, unix socket; either colour) with the guard mixed in."""
    is_async = issubclass(connection_class, redis.asyncio.connection.AbstractConnection)
    guard = _AsyncGuarded if is_async else _Guarded
    return type(f"{guard.__name__.strip('_')}{connection_class.__name__}", (guard, connection_class), {})
