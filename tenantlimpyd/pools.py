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
from collections.abc import AsyncGenerator, Iterable
from typing import TYPE_CHECKING, Any

import attrs
import redis
import redis.asyncio
import redis.asyncio.connection
import redis.connection
from redis.event import AfterConnectionReleasedEvent

from tenantlimpyd import logs
from tenantlimpyd.limits import BoundedRetry, current_limit
from tenantlimpyd.settings import Settings

__all__ = ["Link"]


if TYPE_CHECKING:  # what the mixins below are mixed into
    _Connection = redis.connection.AbstractConnection
    _AsyncConnection = redis.asyncio.connection.AbstractConnection
else:
    _Connection = _AsyncConnection = object


class _Owing:
    """Counts the replies a connection still owes. Mixed into redis-py's connections, of both colours."""

    owed: int = 0

    def pack_commands(self, commands: Iterable[Any]) -> Any:
        commands = list(commands)
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
        try:
            super().connect_check_health(*args, **kwargs)
        except BaseException:
            # Connected, perhaps authenticated, but not sure to be in its database: redis-py would keep it.
            self.disconnect()
            raise
        finally:
            self.socket_connect_timeout = own
        logs.connection_opened(self)

    def send_command(self, *args: Any, **kwargs: Any) -> None:
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
        try:
            await super().connect_check_health(*args, **kwargs)
        except BaseException:
            await self.disconnect(nowait=True)
            raise
        logs.connection_opened(self)

    async def send_command(self, *args: Any, **kwargs: Any) -> None:
        await super().send_command(*args, **kwargs)
        self.owed += 1

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
            if connection.owed or self.retired or connection.should_reconnect():
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
    """An asyncio pool that can be retired and keeps no connection in doubt."""

    retired = False

    async def release(self, connection: Any) -> None:
        if connection.owed or self.retired:
            await connection.disconnect(nowait=True)
        await super().release(connection)

    async def retire(self) -> None:
        self.retired = True
        await self.disconnect(inuse_connections=False)


def _pool_arguments(template: Any) -> dict[str, Any]:
    """Return what redis-py made of a client's settings, as arguments for a pool of ours."""
    arguments = dict(template.connection_kwargs)
    arguments.pop("himport_registry", None)
    return {
        "connection_class": _guarded(template.connection_class),
        "max_connections": template.max_connections,
        **arguments,
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
                template = redis.Redis(**self.settings.for_blocking()).connection_pool
                arguments = _pool_arguments(template)
                retry = arguments["retry"]
                arguments["retry"] = BoundedRetry(retry._backoff, retry.get_retries(), retry._supported_errors)
                pool = _Pool(**arguments)
                pool.retired = self._retired
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
        template = redis.asyncio.Redis(**self.settings.for_asyncio()).connection_pool
        pool = _AsyncPool(**_pool_arguments(template))
        pool.retired = self._retired
        keeper = _keep(pool)
        # Started by hand, since this is no coroutine: up to its first yield it awaits nothing. From here on the loop
        # knows the generator, and ends it when it shuts down (asyncio.run and its like do): the pool closes with it.
        with contextlib.suppress(StopIteration):
            keeper.asend(None).send(None)
        of_loop = _OfLoop(redis.asyncio.Redis(connection_pool=pool), pool, keeper)
        with self._lock:
            self._of_loops[loop] = of_loop
        return of_loop.client

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
                    asyncio.run_coroutine_threadsafe(of_loop.pool.retire(), loop)

    async def aretire(self) -> None:
        """Do as :meth:`retire`, and wait until the idle connections of the running loop are closed."""
        with self._lock:
            of_loop = self._of_loops.pop(asyncio.get_running_loop(), None)
        self.retire()
        if of_loop is not None:
            of_loop.pool.retired = True
            await of_loop.keeper.aclose()
            await of_loop.pool.disconnect(inuse_connections=False)


async def _keep(pool: _AsyncPool) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await pool.retire()
