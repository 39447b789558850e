"""redis-py's clients for one database of many on a server: small, quickly made, and aware of what needs a connection alone.

A client of redis-py costs 22 kB, most of it callbacks that are the same for all. These share them, and see the server's pool
through a *view*, which says which database is meant.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

import redis
import redis.asyncio
from redis.client import EMPTY_RESPONSE, NEVER_DECODE

from tenantlimpyd._commands import row_of
from tenantlimpyd._connections.borrower import Borrower
from tenantlimpyd._connections.pool import AsyncPool, Pool
from tenantlimpyd._connections.redis_internals import awatched, watched

__all__ = ["AsyncClient", "AsyncPoolView", "Client", "PoolView"]


class _PoolViewBase:
    """What the pool of a server looks like to a client of one of its databases."""

    __slots__ = ("_apart", "_pool", "user")

    def __init__(self, pool: Any, dedicated: Any, user: Borrower) -> None:
        self._pool = pool
        self._apart = dedicated
        self.user = user

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._pool.endpoint_state.name}, db {self.user.db}>"

    @property
    def connection_kwargs(self) -> dict[str, Any]:
        """What a connection is made with, its database number included."""
        return {**self._pool.connection_kwargs, "db": self.user.db}

    @property
    def dedicated(self) -> Any:
        """The view of connections that keep to themselves."""
        return type(self)(self._apart, self._apart, self.user)


class PoolView(_PoolViewBase):
    """A server's blocking pool, as one of its databases uses it."""

    __slots__ = ()
    _pool: Pool

    def get_connection(self, command_name: Any = None, *keys: Any, **options: Any) -> Any:  # noqa: ARG002 - redis-py's
        """Return a connection for this database."""
        return self._pool.lend(self.user)

    def release(self, connection: Any) -> None:
        """Give a connection back."""
        self._pool.release(connection)


class AsyncPoolView(_PoolViewBase):
    """A server's asyncio pool, as one of its databases uses it."""

    __slots__ = ()
    _pool: AsyncPool

    def get_connection(self, command_name: Any = None, *keys: Any, **options: Any) -> Any:  # noqa: ARG002 - redis-py's
        """Return a connection for this database, to be awaited."""
        return self._pool.lend(self.user)

    def release(self, connection: Any) -> Any:
        """Give a connection back; to be awaited."""
        return self._pool.release(connection)


def _parsed(reply: Any, name: Any, callbacks: Any, options: dict[str, Any]) -> Any:
    """Return a reply as redis-py gives it. ``keys`` among the options is for its client-side cache."""
    callback = callbacks.get(name)
    if callback is None:
        return reply
    options.pop("keys", None)
    return callback(reply, **options)


class Client(redis.Redis):
    """A blocking client of one database."""

    connection = None
    single_connection_lock = threading.RLock()
    _single_connection_client = False
    auto_close_connection_pool = False

    @classmethod
    def copied(cls, template: redis.Redis, view: PoolView) -> Client:
        """Return a client that shares with ``template`` what isn't the database's own."""
        client = cls.__new__(cls)
        client.connection_pool = view  # type: ignore[assignment]
        client.response_callbacks = template.response_callbacks
        client._event_dispatcher = template._event_dispatcher
        return client

    def set_response_callback(self, command: str, callback: Any) -> None:
        """Set a callback of this client's own."""
        callbacks: Any = redis.client.CaseInsensitiveDict({})
        dict.update(callbacks, self.response_callbacks)
        self.response_callbacks = callbacks
        super().set_response_callback(command, callback)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Execute a command; one that waits on the server, on a connection apart.

        It does as redis-py's own method, around which counters of telemetry are, unless somebody wants those.
        """
        if row_of(args).blocks(args):  # unknown commands too
            return redis.Redis.execute_command(self._alone(), *args, **options)
        if watched():
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        pool: Pool = self.connection_pool._pool  # type: ignore[attr-defined]
        connection = pool.lend(self.connection_pool.user)  # type: ignore[attr-defined]

        def ask() -> Any:
            connection.send_command(*args)
            if NEVER_DECODE in options or EMPTY_RESPONSE in options:
                return self.parse_response(connection, args[0], **options)  # type: ignore[no-untyped-call]
            return _parsed(connection.read_response(), args[0], self.response_callbacks, options)

        try:
            return connection.retry.call_with_retry(ask, connection.failed, with_failure_count=True)
        finally:
            pool.release(connection)

    def _alone(self) -> redis.Redis:
        """Return a client whose connections nobody shares."""
        alone = _Alone.copied(self, self.connection_pool.dedicated)  # type: ignore[attr-defined]
        alone.response_callbacks = self.response_callbacks
        return alone

    def pubsub(self, **kwargs: Any) -> Any:
        """Return redis-py's pub/sub object, on a connection apart."""
        return redis.Redis.pubsub(self._alone(), **kwargs)

    def monitor(self) -> Any:
        """Return redis-py's monitor, on a connection apart."""
        return redis.Redis.monitor(self._alone())

    def client(self) -> Any:
        """Return a client that keeps one connection, which is apart."""
        return redis.Redis(connection_pool=self.connection_pool.dedicated, single_connection_client=True)  # type: ignore[attr-defined]


class _Alone(Client):
    """A client of connections apart."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        return self._execute_command(*args, **options)  # type: ignore[no-untyped-call]


class AsyncClient(redis.asyncio.Redis):
    """An asyncio client of one database, for one event loop."""

    connection = None
    single_connection_client = False
    auto_close_connection_pool = False
    _usage_counter = 0
    loop: Callable[[], asyncio.AbstractEventLoop | None]
    """A weak reference to the event loop it is for."""

    @classmethod
    def copied(cls, template: redis.asyncio.Redis, view: AsyncPoolView) -> AsyncClient:
        """Return a client that shares with ``template`` what isn't the database's own."""
        client = cls.__new__(cls)
        client.connection_pool = view  # type: ignore[assignment]
        client.response_callbacks = template.response_callbacks
        client._event_dispatcher = template._event_dispatcher
        client.loop = view.loop
        return client

    def __getattr__(self, name: str) -> Any:
        if name in ("_single_conn_lock", "_usage_lock"):  # hardly ever needed
            lock = asyncio.Lock()
            setattr(self, name, lock)
            return lock
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    def set_response_callback(self, command: str, callback: Any) -> None:
        """Set a callback of this client's own."""
        callbacks: Any = redis.client.CaseInsensitiveDict({})
        dict.update(callbacks, self.response_callbacks)
        self.response_callbacks = callbacks
        super().set_response_callback(command, callback)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Execute a command; as :meth:`Client.execute_command`, to be awaited."""
        if row_of(args).blocks(args):  # unknown commands too
            return redis.asyncio.Redis.execute_command(self._alone(), *args, **options)
        if awatched():
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        return self._execute(args, options)

    async def _execute(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        pool: AsyncPool = self.connection_pool._pool  # type: ignore[attr-defined]
        connection = await pool.lend(self.connection_pool.user)  # type: ignore[attr-defined]

        async def ask() -> Any:
            await connection.send_command(*args)
            if NEVER_DECODE in options or EMPTY_RESPONSE in options:
                return await self.parse_response(connection, args[0], **options)
            reply = await connection.read_response()
            if args[0] not in self.response_callbacks:
                return reply
            parsed = _parsed(reply, args[0], self.response_callbacks, options)
            return await parsed if inspect.isawaitable(parsed) else parsed

        try:
            return await connection.retry.call_with_retry(ask, connection.failed, with_failure_count=True)
        finally:
            await pool.release(connection)

    def _alone(self) -> AsyncClient:
        """Return a client whose connections nobody shares."""
        return AsyncClient.copied(self, self.connection_pool.dedicated)  # type: ignore[attr-defined]

    def pubsub(self, **kwargs: Any) -> Any:
        """Return redis-py's pub/sub object, on a connection apart."""
        return redis.asyncio.Redis.pubsub(self._alone(), **kwargs)

    def monitor(self) -> Any:
        """Return redis-py's monitor, on a connection apart."""
        return redis.asyncio.Redis.monitor(self._alone())

    def client(self) -> Any:
        """Return a client that keeps one connection, which is apart."""
        pool = self.connection_pool.dedicated  # type: ignore[attr-defined]
        return redis.asyncio.Redis(connection_pool=pool, single_connection_client=True)
