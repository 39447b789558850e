"""redis-py clients for one of many databases on an endpoint.

A client of redis-py needs 22 kB, mostly response callbacks that are equal for all. These clients share them. They use the
endpoint's pool through a :class:`PoolView`, which knows their database. Blocking, unknown and connection-altering commands use
dedicated connections.
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

from tenantlimpyd._commands import CommandRow, row_of
from tenantlimpyd._connections.borrower import Borrower
from tenantlimpyd._connections.pool import AsyncPool, Pool
from tenantlimpyd._connections.raw_keys import has_raw_keys, with_raw_keys
from tenantlimpyd._connections.redis_internals import async_is_instrumented, is_instrumented, share_event_dispatcher
from tenantlimpyd.exceptions import ImplementationError

__all__ = ["AsyncClient", "AsyncPoolView", "AsyncRedisPipeline", "Client", "PoolView", "RedisPipeline"]


class _PoolViewBase:
    """The pool of an endpoint as seen by the client of one database."""

    __slots__ = ("_dedicated", "_pool", "user")

    def __init__(self, pool: Any, dedicated: Any, user: Borrower) -> None:
        self._pool = pool
        self._dedicated = dedicated
        self.user = user

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._pool.endpoint_state.name}, db {self.user.db}>"

    @property
    def connection_kwargs(self) -> dict[str, Any]:
        """The arguments of a connection, with the database number."""
        return {**self._pool.connection_kwargs, "db": self.user.db}

    @property
    def dedicated(self) -> Any:
        """The view of the pool of dedicated connections."""
        return type(self)(self._dedicated, self._dedicated, self.user)


class PoolView(_PoolViewBase):
    """A sync pool as seen by the client of one database."""

    __slots__ = ()
    _pool: Pool

    def get_connection(self, command_name: Any = None, *keys: Any, **options: Any) -> Any:  # noqa: ARG002 - redis-py's
        """Check out a connection for this database."""
        return self._pool.checkout(self.user)

    def release(self, connection: Any) -> None:
        """Return a connection."""
        self._pool.release(connection)


class AsyncPoolView(_PoolViewBase):
    """An async pool as seen by the client of one database."""

    __slots__ = ()
    _pool: AsyncPool

    def get_connection(self, command_name: Any = None, *keys: Any, **options: Any) -> Any:  # noqa: ARG002 - redis-py's
        """Check out a connection for this database; to be awaited."""
        return self._pool.checkout(self.user)

    def release(self, connection: Any) -> Any:
        """Return a connection; to be awaited."""
        return self._pool.release(connection)


class AsyncRedisPipeline(redis.asyncio.client.Pipeline):
    """An async pipeline of redis-py; see :class:`RedisPipeline`. Connections refuse repeats, since they are told the error."""

    def pipeline_execute_command(self, *args: Any, **options: Any) -> Any:
        raw = with_raw_keys(args) if has_raw_keys(args) else None
        return super().pipeline_execute_command(*(raw or args), **options)  # type: ignore[no-untyped-call]


def _parsed(reply: Any, name: Any, callbacks: Any, options: dict[str, Any]) -> Any:
    """Apply the response callback to a reply. The option ``keys`` is for redis-py's client-side cache only."""
    callback = callbacks.get(name)
    if callback is None:
        return reply
    options.pop("keys", None)
    return callback(reply, **options)


def _refuse_wait(row: CommandRow) -> None:
    """Refuse a command that waits for the replication of writes on its own connection, which here has written nothing.

    Raises:
        ImplementationError: If it is WAIT or WAITAOF.
    """
    if row.name in ("WAIT", "WAITAOF"):
        raise ImplementationError(
            f"{row.name} is refused here: it waits for the writes of its own connection, and this one would have none. "
            "Write and wait on one connection: `with database.connection.client() as client: client.set(...); "
            f"client.{row.name.lower()}(...)`."
        )


class RedisPipeline(redis.client.Pipeline):
    """A sync pipeline of redis-py that sends commands again only if the server certainly did not get them.

    Like the client, it takes keys as scans return them.
    """

    def pipeline_execute_command(self, *args: Any, **options: Any) -> Any:
        raw = with_raw_keys(args) if has_raw_keys(args) else None
        return super().pipeline_execute_command(*(raw or args), **options)

    def _disconnect_raise_on_watching(self, conn: Any, error: Exception, *args: Any, **kwargs: Any) -> None:
        try:
            super()._disconnect_raise_on_watching(conn, error, *args, **kwargs)
        finally:  # redis-py raises WatchError even if EXEC was sent
            conn.refuse_repeat(error)

    def _disconnect_reset_raise_on_watching(self, conn: Any, error: Exception, *args: Any, **kwargs: Any) -> None:
        try:
            super()._disconnect_reset_raise_on_watching(conn, error, *args, **kwargs)
        finally:
            conn.refuse_repeat(error)


class Client(redis.Redis):
    """A sync client of one database."""

    connection = None
    single_connection_lock = threading.RLock()
    _single_connection_client = False
    auto_close_connection_pool = False

    @classmethod
    def from_template(cls, template: redis.Redis, view: PoolView) -> Client:
        """Return a client that shares the callbacks of ``template``."""
        client = cls.__new__(cls)
        client.connection_pool = view  # type: ignore[assignment]
        client.response_callbacks = template.response_callbacks
        share_event_dispatcher(client, template)
        return client

    def set_response_callback(self, command: str, callback: Any) -> None:
        """Set a response callback for this client only."""
        callbacks: Any = redis.client.CaseInsensitiveDict({})
        dict.update(callbacks, self.response_callbacks)
        self.response_callbacks = callbacks
        super().set_response_callback(command, callback)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Execute a command. Blocking and unknown commands use a dedicated connection.

        It does the same as redis-py's method without its telemetry, unless telemetry is enabled.
        """
        row = row_of(args)
        if row.blocks(args):  # unknown commands too
            _refuse_wait(row)
            return redis.Redis.execute_command(self._dedicated_client(), *args, **options)
        if is_instrumented():
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        pool: Pool = self.connection_pool._pool  # type: ignore[attr-defined]
        connection = pool.checkout(self.connection_pool.user)  # type: ignore[attr-defined]

        def ask() -> Any:
            connection.send_command(*args)
            if NEVER_DECODE in options or EMPTY_RESPONSE in options:
                return self.parse_response(connection, args[0], **options)  # type: ignore[no-untyped-call]
            return _parsed(connection.read_response(), args[0], self.response_callbacks, options)

        try:
            return connection.retry.call_with_retry(ask, connection.failed, with_failure_count=True)
        except UnicodeEncodeError:
            if (raw := with_raw_keys(args)) is None:
                raise
        finally:
            pool.release(connection)
        return self.execute_command(*raw, **options)

    def _dedicated_client(self) -> redis.Redis:
        """Return a client that uses dedicated connections."""
        alone = _DedicatedClient.from_template(self, self.connection_pool.dedicated)  # type: ignore[attr-defined]
        alone.response_callbacks = self.response_callbacks
        return alone

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> RedisPipeline:
        """Return a pipeline. Its writes are not sent again after their replies were lost."""
        return RedisPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)

    def pubsub(self, **kwargs: Any) -> Any:
        """Return redis-py's pub/sub object on a dedicated connection."""
        return redis.Redis.pubsub(self._dedicated_client(), **kwargs)

    def monitor(self) -> Any:
        """Return redis-py's monitor on a dedicated connection."""
        return redis.Redis.monitor(self._dedicated_client())

    def client(self) -> Any:
        """Return a client that holds one dedicated connection."""
        return redis.Redis(connection_pool=self.connection_pool.dedicated, single_connection_client=True)  # type: ignore[attr-defined]


class _DedicatedClient(Client):
    """A client that uses dedicated connections."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        return self._execute_command(*args, **options)  # type: ignore[no-untyped-call]


class AsyncClient(redis.asyncio.Redis):
    """An async client of one database, for one event loop."""

    connection = None
    single_connection_client = False
    auto_close_connection_pool = False
    _usage_counter = 0
    loop: Callable[[], asyncio.AbstractEventLoop | None]
    """A weak reference to the event loop."""

    @classmethod
    def from_template(cls, template: redis.asyncio.Redis, view: AsyncPoolView) -> AsyncClient:
        """Return a client that shares the callbacks of ``template``."""
        client = cls.__new__(cls)
        client.connection_pool = view  # type: ignore[assignment]
        client.response_callbacks = template.response_callbacks
        share_event_dispatcher(client, template)
        client.loop = view.loop
        return client

    def __getattr__(self, name: str) -> Any:
        if name in ("_single_conn_lock", "_usage_lock"):  # rarely needed
            lock = asyncio.Lock()
            setattr(self, name, lock)
            return lock
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    def set_response_callback(self, command: str, callback: Any) -> None:
        """Set a response callback for this client only."""
        callbacks: Any = redis.client.CaseInsensitiveDict({})
        dict.update(callbacks, self.response_callbacks)
        self.response_callbacks = callbacks
        super().set_response_callback(command, callback)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Execute a command; see :meth:`Client.execute_command`."""
        row = row_of(args)
        if row.blocks(args):  # unknown commands too
            _refuse_wait(row)
            return redis.asyncio.Redis.execute_command(self._dedicated_client(), *args, **options)
        if async_is_instrumented():
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        return self._execute(args, options)

    async def _execute(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        pool: AsyncPool = self.connection_pool._pool  # type: ignore[attr-defined]
        connection = await pool.checkout(self.connection_pool.user)  # type: ignore[attr-defined]

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
        except UnicodeEncodeError:
            if (raw := with_raw_keys(args)) is None:
                raise
        finally:
            await pool.release(connection)
        return await self._execute(raw, options)

    def _dedicated_client(self) -> AsyncClient:
        """Return a client that uses dedicated connections."""
        return AsyncClient.from_template(self, self.connection_pool.dedicated)  # type: ignore[attr-defined]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> AsyncRedisPipeline:
        """Return a pipeline. Its writes are not sent again after their replies were lost."""
        return AsyncRedisPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)

    def pubsub(self, **kwargs: Any) -> Any:
        """Return redis-py's pub/sub object on a dedicated connection."""
        return redis.asyncio.Redis.pubsub(self._dedicated_client(), **kwargs)

    def monitor(self) -> Any:
        """Return redis-py's monitor on a dedicated connection."""
        return redis.asyncio.Redis.monitor(self._dedicated_client())

    def client(self) -> Any:
        """Return a client that holds one dedicated connection."""
        pool = self.connection_pool.dedicated  # type: ignore[attr-defined]
        return redis.asyncio.Redis(connection_pool=pool, single_connection_client=True)
