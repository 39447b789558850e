"""Leases: pooled connections that a worker uses exclusively.

While it holds the lease, a worker may select other databases, because nobody else uses the connection. When it returns the
connection it tells which database the connection is in. A connection whose state is not certain is closed.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Any

import redis

from tenantlimpyd._connections.endpoint import Endpoint
from tenantlimpyd._connections.redis_internals import socket_of, stream_of
from tenantlimpyd._context_managers import AsyncCloseOnExit
from tenantlimpyd._fanout.multiplex.protocol import SendRequest
from tenantlimpyd._fanout.multiplex.reply_reader import ReplyReader, unexpected_data

__all__ = ["READ", "AsyncLease", "Lease", "silence_error"]

READ = 256 * 1024
"""The largest number of bytes per read."""
_NOT_NOW = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class _LeaseBorrower:
    """The borrower of a leased connection. New connections start in database 0."""

    db = 0
    retired = False


def _lost(error: OSError) -> redis.ConnectionError:
    return redis.ConnectionError(f"the connection was lost: {error}")


def silence_error(seconds: float | None) -> redis.TimeoutError:
    """Return the error of a connection that received nothing for its ``socket_timeout``."""
    return redis.TimeoutError(f"the server sent nothing for {seconds:g} s (socket_timeout)")


def _closed() -> redis.ConnectionError:
    return redis.ConnectionError("the server closed the connection before it replied")


def _settle(connection: Any, db: int) -> bool:
    """Record which database a connection is in, and return whether others may use the connection."""
    if not connection.is_connected or connection.doubtful:
        return False
    connection.selected = db
    connection.highest = max(connection.highest, db)
    return True


class Lease:
    """A blocking connection of a server. Only :meth:`connect` waits.

    Attributes:
        connection: redis-py's connection; None if there is none.
        socket: the connection's socket.
        received: the number of bytes received.
    """

    def __init__(self, server: Endpoint) -> None:
        self._server = server
        self._borrower = _LeaseBorrower()
        self._replies: Any = None
        self._timeout: float | None = None
        self._rest = memoryview(b"")
        self.connection: Any = None
        self.socket: Any = None
        self.received = 0

    def connect(self, *, may_wait: bool = True) -> int:
        """Take a connection from the pool and return the number of its database.

        Args:
            may_wait: whether to wait for a permit.
        """
        return self._took(self._server.pools()[0].checkout(self._borrower, may_wait=may_wait))

    def connect_at_once(self) -> int | None:
        """Take an idle connection and return the number of its database, or None if there is none. Never waits."""
        connection = self._server.pools()[0].checkout_idle(self._borrower)
        return None if connection is None else self._took(connection)

    @property
    def has_permit(self) -> bool:
        """Whether a permit is available now."""
        return self._server.pools()[0].limiter.has_permit(self._borrower)

    def _took(self, connection: Any) -> int:
        self.connection = connection
        try:
            self._replies = ReplyReader(connection)
            self.socket = socket_of(connection)
            self._timeout = self.socket.gettimeout()
            self.socket.setblocking(False)
        except BaseException:
            self.give_back(None)
            raise
        return int(connection.selected)

    @property
    def read_timeout(self) -> float | None:
        """The connection's ``socket_timeout`` in seconds; None for no limit."""
        seconds: float | None = self.connection.socket_timeout
        return seconds

    def report_timeout(self, error: Exception, waited: float) -> None:
        """Report a missing reply to the server's circuit breaker."""
        connection = self.connection
        if connection.breaker is not None:
            connection.breaker.record_failure(connection, error, waited, self.read_timeout)

    @property
    def received_replies(self) -> int:
        """The number of expected replies that have arrived."""
        return int(self._replies.received_replies)

    def send(self, request: SendRequest) -> None:
        """Send a request in one write. :meth:`send_rest` sends what the socket does not take at once.

        Raises:
            redis.ConnectionError: If the connection is lost.
        """
        self.write(self._replies.begin(request))

    def write(self, packed: bytes) -> None:
        """Start a write."""
        self._rest = memoryview(packed)
        self.send_rest()

    @property
    def sending(self) -> bool:
        """Whether a part of the write is still to be sent."""
        return bool(self._rest)

    def send_rest(self) -> None:
        """Send as much of the write as the socket takes now.

        Raises:
            redis.ConnectionError: If the connection is lost.
        """
        try:
            while self._rest:
                self._rest = self._rest[self.socket.send(self._rest) :]
        except _NOT_NOW:
            return
        except OSError as error:
            raise _lost(error) from error

    def receive(self, buffer: bytearray) -> list[Any] | None:
        """Read what the socket has received.

        Args:
            buffer: a buffer to read into.

        Returns:
            All replies of the request once they have arrived, else None. Replies are bytes, or text if the request asked for
            it. The reply of a failed command is an exception.

        Raises:
            redis.ConnectionError: If the connection is lost, the server refuses service, or it sent data that was not
            requested.
        """
        sock, replies = self.socket, self._replies
        while True:
            try:
                size = sock.recv_into(buffer)
            except _NOT_NOW:
                return None
            except OSError as error:
                raise _lost(error) from error
            if not size:
                raise _closed()
            self.received += size
            received: list[Any] | None = replies.feed(buffer, size)
            if received is not None and self._rest:
                raise unexpected_data()
            # TLS may hold decrypted data that select() on the socket does not see.
            if received is not None or not (hasattr(sock, "pending") and sock.pending()):
                return received

    def give_back(self, db: int | None) -> None:
        """Return the connection to the pool.

        Args:
            db: the number of its database. None if that is not certain: the connection is closed.
        """
        connection = self.connection
        if connection is None:
            return
        if (
            connection.user is not self._borrower
        ):  # an earlier call was interrupted after the connection had been returned
            self.connection = self.socket = None
            return
        certain = False
        try:
            if db is not None and not self._rest and _settle(connection, db):
                self.socket.settimeout(self._timeout)
                certain = True
        finally:
            if not certain:
                connection.disconnect()
            self._server.pools()[0].release(connection)
            self.connection = self.socket = None


class AsyncLease(AsyncCloseOnExit):
    """An asyncio connection of a server; see :class:`Lease`."""

    def __init__(self, server: Endpoint) -> None:
        self._server = server
        self._connection: Any = None
        self._replies: Any = None

    async def connect(self, *, may_wait: bool = True) -> int:
        """Take a connection from the pool; see :meth:`Lease.connect`."""
        self._connection = await self._server.loop_pools().pool.checkout(_LeaseBorrower(), may_wait=may_wait)
        self._replies = ReplyReader(self._connection)
        return int(self._connection.selected)

    async def exchange(self, request: SendRequest) -> list[Any]:
        """Send a request in one write and return the replies; see :meth:`Lease.send` and :meth:`Lease.receive`."""
        connection, replies = self._connection, self._replies
        try:
            if not connection.is_connected:  # closed by another task: a new connection would be in another database
                raise _closed()
            written = replies.begin(request)
            await connection.send_packed_command([written], check_health=False)
            received: list[Any] | None = None
            while received is None:
                data = await self._read()
                received = replies.feed(data, len(data))
        except BaseException as error:
            await self.aclose()
            if isinstance(error, OSError) and not isinstance(error, TimeoutError):
                raise _lost(error) from error
            raise
        return received

    async def _read(self) -> bytes:
        connection, began = self._connection, time.monotonic()
        stream = stream_of(connection)
        try:
            async with asyncio.timeout(connection.socket_timeout) as clock:
                data = await stream.read(READ) if stream is not None else b""
        except (TimeoutError, asyncio.CancelledError) as error:
            if isinstance(error, TimeoutError) and not clock.expired():  # a timeout of the operating system
                raise _lost(error) from error
            if connection.breaker is not None:
                once = isinstance(error, asyncio.CancelledError)
                waited = time.monotonic() - began
                connection.breaker.record_failure(connection, error, waited, connection.socket_timeout, once=once)
            if isinstance(error, asyncio.CancelledError):
                raise
            raise silence_error(connection.socket_timeout) from error
        if not data:
            raise _closed()
        return data

    async def give_back(self, db: int | None) -> None:
        """Return the connection to the pool; see :meth:`Lease.give_back`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                if db is None or not _settle(connection, db):
                    await connection.disconnect(nowait=True)
            finally:
                await self._server.loop_pools().pool.release(connection)

    async def aclose(self) -> None:
        """Close the connection; :meth:`connect` takes another."""
        await self.give_back(None)
