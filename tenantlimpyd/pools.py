"""redis-py's connections and pools, with what sharing them between tenants needs.

The only module, with :mod:`tenantlimpyd.drivers`, that holds a redis-py client. It adds to redis-py:

- *in doubt, disconnect*: a connection that still owes a reply, or whose handshake (and so its SELECT) didn't finish, is
  closed instead of going back to its pool;
- *retiring*: a retired pool lets commands in flight finish and closes each connection when it comes back;
- the limit on a thread's commands (:mod:`tenantlimpyd.limits`);
- asyncio clients by event loop, closed with their loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import weakref
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import redis
import redis.asyncio
import redis.asyncio.connection
import redis.connection
from redis.event import AfterConnectionReleasedEvent, AsyncAfterConnectionReleasedEvent
from redis.maint_notifications import MaintNotificationsConfig

from tenantlimpyd import logs
from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.limits import BoundedRetry, current_limit
from tenantlimpyd.settings import Settings

__all__ = ["Link"]


if TYPE_CHECKING:  # what the mixins below are mixed into
    _Connection = redis.connection.AbstractConnection
    _AsyncConnection = redis.asyncio.connection.AbstractConnection
else:
    _Connection = _AsyncConnection = object


_MOVES = "SELECT"
_ALTERS = frozenset(
    {
        *("AUTH", "HELLO", "RESET", "CLIENT", "CLIENT REPLY", "CLIENT TRACKING", "CLIENT SETNAME"),
        *("CLIENT NO-EVICT", "CLIENT NO-TOUCH", "CLIENT CACHING", "MONITOR", "READONLY", "READWRITE"),
    }
)
"""Commands after which a connection is not what its next user takes it for."""


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

        Raises:
            ImplementationError: the command is SELECT.
        """
        if word.__class__ is not str or not word.isupper():
            word = (word.decode(errors="replace") if isinstance(word, bytes) else str(word)).upper()
        if word == _MOVES and not self.handshaking:
            raise ImplementationError(
                "SELECT is refused: the connection stays in its database, which may be one tenant's. Make a "
                "RedisDatabase with another db, or call connect(db=...)."
            )
        if word in _ALTERS and not self.handshaking:
            self.altered = True

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
def _guarded(connection_class: type) -> type:
    """Return redis-py's connection class (plain, TLS, unix socket; either colour) with the guard mixed in."""
    is_async = issubclass(connection_class, redis.asyncio.connection.AbstractConnection)
    guard = _AsyncGuarded if is_async else _Guarded
    return type(f"{guard.__name__.strip('_')}{connection_class.__name__}", (guard, connection_class), {})


class _Pool(redis.ConnectionPool):
    """A blocking pool that can be retired and keeps no connection in doubt.

    Checking out and giving back are written anew: redis-py's do the same around counters of its own telemetry, which
    cost more than all that tenants add to a command.
    """

    retired = False

    def get_connection(self, command_name: Any = None, *keys: Any, **options: Any) -> Any:  # noqa: ARG002 - redis-py's
        """Return a connection that is connected, in its database, and owes nothing."""
        self._checkpid()
        with self._lock:
            connection = self._available_connections.pop() if self._available_connections else self.make_connection()
            self._in_use_connections.add(connection)
        try:
            if not self._ready(connection):  # closed by the server meanwhile, or with a reply that nobody read
                connection.disconnect()
                if not self._ready(connection):
                    raise redis.ConnectionError("a new connection holds data that nobody asked for")
        except BaseException:
            self.release(connection)
            raise
        return connection

    @staticmethod
    def _ready(connection: Any) -> bool:
        if not connection.is_connected:
            connection.connect()
        try:
            return not connection.can_read()
        except (redis.ConnectionError, redis.TimeoutError, OSError):
            return False

    def release(self, connection: Any) -> None:
        """Take a connection back; close it if it is in doubt or the pool is retired."""
        self._checkpid()
        with self._lock:
            if connection not in self._in_use_connections:  # of before a fork, or not of this pool
                return
            self._in_use_connections.remove(connection)
            if connection.doubtful or self.retired or connection.should_reconnect():
                connection.disconnect()
            self._available_connections.append(connection)
        if connection.credential_provider is not None and self._event_dispatcher is not None:
            # A new token may have come while it was in use.
            self._event_dispatcher.dispatch(AfterConnectionReleasedEvent(connection))

    def retire(self) -> None:
        """Close what is idle now, and what is in use when it comes back."""
        with self._lock:
            self.retired = True
            self.disconnect(inuse_connections=False)


class _AsyncPool(redis.asyncio.ConnectionPool):
    """An asyncio pool that can be retired and keeps no connection in doubt. It needs no lock: it never waits in between."""

    retired = False

    async def get_connection(self, command_name: Any = None, *keys: Any, **options: Any) -> Any:  # noqa: ARG002
        """Return a connection that is connected, in its database, and owes nothing."""
        connection = self.get_available_connection()  # type: ignore[no-untyped-call]
        try:
            if not await self._ready(connection):  # closed by the server meanwhile, or with a reply that nobody read
                await connection.disconnect()
                if not await self._ready(connection):
                    raise redis.ConnectionError("a new connection holds data that nobody asked for")
        except BaseException:
            await self.release(connection)
            raise
        return connection

    @staticmethod
    async def _ready(connection: Any) -> bool:
        if not connection.is_connected:
            await connection.connect()
        try:
            return not await connection.can_read()
        except (redis.ConnectionError, redis.TimeoutError, OSError):
            return False

    async def release(self, connection: Any) -> None:
        """Take a connection back; close it if it is in doubt or the pool is retired."""
        if connection not in self._in_use_connections:  # not of this pool
            return
        self._in_use_connections.remove(connection)
        if connection.doubtful or self.retired or connection.should_reconnect():
            await connection.disconnect(nowait=True)
        self._available_connections.append(connection)
        if connection.credential_provider is not None and self._event_dispatcher is not None:
            await self._event_dispatcher.dispatch_async(AsyncAfterConnectionReleasedEvent(connection))

    async def retire(self) -> None:
        """Close what is idle now, and what is in use when it comes back."""
        self.retired = True
        await self.disconnect(inuse_connections=False)


def _pool_arguments(client_class: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what redis-py makes of a client's settings, as arguments for a pool of ours.

    With its maintenance notifications on (the default for RESP3), a pool of redis-py does not look at checkout whether a
    connection still holds the reply of an earlier command: that reply would go to another caller. So they are off, unless
    they are asked for.
    """
    quiet = {"maint_notifications_config": MaintNotificationsConfig(enabled=False), **settings}
    template = client_class(**quiet).connection_pool
    arguments = dict(template.connection_kwargs)
    arguments.pop("himport_registry", None)
    return {
        "connection_class": _guarded(template.connection_class),
        "max_connections": template.max_connections,
        **arguments,
        "maint_notifications_config": quiet["maint_notifications_config"],
    }


@attrs.define(eq=False)
class _OfLoop:
    """The client of one event loop, and the generator whose end closes it."""

    client: redis.asyncio.Redis
    pool: _AsyncPool
    keeper: AsyncGenerator[None, None]


class Link:
    """The clients for one set of settings: a blocking one, and one for each event loop. Each is made at first use."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._client: redis.Redis | None = None
        self._of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _OfLoop] = weakref.WeakKeyDictionary()
        self._retired = False

    @property
    def client(self) -> redis.Redis:
        """The blocking client. Making it connects to nothing."""
        client = self._client
        return self._make_client() if client is None else client

    def _make_client(self) -> redis.Redis:
        with self._lock:
            if self._client is None:
                arguments = _pool_arguments(redis.Redis, self.settings.for_blocking())
                retry = arguments["retry"]
                arguments["retry"] = BoundedRetry(retry._backoff, retry.get_retries(), retry._supported_errors)
                pool = _Pool(**arguments)
                pool.retired = self._retired
                # A database that is dropped unclosed is garbage in a cycle, where sockets may go before their owners
                # and warn. The pool outlives it for this call.
                weakref.finalize(self, pool.disconnect, inuse_connections=False).atexit = False
                self._client = redis.Redis(connection_pool=pool)
            return self._client

    @property
    def aclient(self) -> redis.asyncio.Redis:
        """The asyncio client of the running event loop. Making it connects to nothing.

        Raises:
            RuntimeError: no event loop is running in this thread.
        """
        loop = asyncio.get_running_loop()
        of_loop = self._of_loops.get(loop)
        return self._make_aclient(loop) if of_loop is None else of_loop.client

    def _make_aclient(self, loop: asyncio.AbstractEventLoop) -> redis.asyncio.Redis:
        pool = _AsyncPool(**_pool_arguments(redis.asyncio.Redis, self.settings.for_asyncio()))
        pool.retired = self._retired
        keeper = _keep(pool, weakref.ref(self), weakref.ref(loop))
        # Started by hand, since this is no coroutine: up to its first yield it awaits nothing. From here on the loop
        # knows the generator, and ends it when it shuts down (asyncio.run and its like do): the pool closes with it.
        with contextlib.suppress(StopIteration):
            keeper.asend(None).send(None)
        of_loop = _OfLoop(redis.asyncio.Redis(connection_pool=pool), pool, keeper)
        with self._lock:
            for other in [other for other in self._of_loops if other.is_closed()]:
                del self._of_loops[other]
            self._of_loops[loop] = of_loop
        return of_loop.client

    def forget(self, loop: asyncio.AbstractEventLoop) -> None:
        """Drop the client of an event loop that ends: it would keep the loop, and all that hangs on it, alive."""
        with self._lock:
            self._of_loops.pop(loop, None)

    def retire(self) -> None:
        """Let commands in flight finish, close what is idle, and every other connection when it comes back.

        The clients of other event loops are told to do so in their own threads; those of loops that don't run now close
        when their loop does.
        """
        with self._lock:
            self._retired = True
            client, of_loops = self._client, list(self._of_loops.items())
        if client is not None:
            client.connection_pool.retire()  # type: ignore[attr-defined]
        for loop, of_loop in of_loops:
            of_loop.pool.retired = True
            if loop.is_running():
                with contextlib.suppress(RuntimeError):  # it closed in between
                    loop.call_soon_threadsafe(_retire_soon, loop, of_loop.pool)

    async def aretire(self) -> None:
        """Do as :meth:`retire`, and wait until the idle connections of the running loop are closed."""
        with self._lock:
            of_loop = self._of_loops.pop(asyncio.get_running_loop(), None)
        self.retire()
        if of_loop is not None:
            of_loop.pool.retired = True
            await of_loop.keeper.aclose()
            await of_loop.pool.disconnect(inuse_connections=False)


async def _keep(
    pool: _AsyncPool, link: weakref.ref[Link], loop: weakref.ref[asyncio.AbstractEventLoop]
) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        owner, ended = link(), loop()
        if owner is not None and ended is not None:
            owner.forget(ended)
        await pool.retire()


_retiring: set[asyncio.Task[None]] = set()


def _retire_soon(loop: asyncio.AbstractEventLoop, pool: _AsyncPool) -> None:
    # A coroutine is made only here, in the loop's own turn: made by the caller, it might never be awaited.
    task = loop.create_task(pool.retire())
    _retiring.add(task)
    task.add_done_callback(_retiring.discard)
