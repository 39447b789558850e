"""One connection of a server, lent to a lane: what is written goes out at once, and every reply is read.

The connection is nobody else's meanwhile, so the lane may move it from database to database; it says which one it is in when
it gives the connection back. One whose state is not certain is closed.
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
from tenantlimpyd._fanout.multiplex.reply_reader import ReplyReader, unasked

__all__ = ["READ", "AsyncLease", "Lease", "silent"]

READ = 256 * 1024
"""Bytes that are read at once at most."""
_NOT_NOW = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class _Borrower:
    """Who uses the connection, for the pool. Connections are made in database 0."""

    db = 0
    retired = False


def _lost(error: OSError) -> redis.ConnectionError:
    return redis.ConnectionError(f"the connection was lost: {error}")


def silent(seconds: float | None) -> redis.TimeoutError:
    """Return the error of a connection on which nothing came for as long as its settings allow."""
    return redis.TimeoutError(f"nothing came from the server for {seconds:g} s (socket_timeout)")


def _closed() -> redis.ConnectionError:
    return redis.ConnectionError("the server closed the connection before it had answered")


def _settle(connection: Any, db: int) -> bool:
    """Take down which database a connection is in; return whether it can be used by others."""
    if not connection.is_connected or connection.doubtful:
        return False
    connection.selected = db
    connection.highest = max(connection.highest, db)
    return True


class Lease:
    """A blocking connection of a server. Only :meth:`connect` waits.

    Attributes:
        connection: redis-py's; None: there is none.
        socket: the connection's socket, to wait on.
        received: how many bytes have come over it.
    """

    def __init__(self, server: Endpoint) -> None:
        self._server = server
        self._borrower = _Borrower()
        self._replies: Any = None
        self._timeout: float | None = None
        self._rest = memoryview(b"")
        self.connection: Any = None
        self.socket: Any = None
        self.received = 0

    def connect(self, *, waits: bool = True) -> int:
        """Take a connection, and return which database it is in.

        Args:
            waits: whether to wait for a place in the budget.
        """
        return self._taken(self._server.pools()[0].lend(self._borrower, waits=waits))

    def connect_at_once(self) -> int | None:
        """Take an idle connection, and return which database it is in; None: there is none. Never waits."""
        connection = self._server.pools()[0].lend_idle(self._borrower)
        return None if connection is None else self._taken(connection)

    @property
    def has_permit(self) -> bool:
        """Whether there is a place for a connection now."""
        return self._server.pools()[0].limiter.has_permit(self._borrower)

    def _taken(self, connection: Any) -> int:
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
    def patience(self) -> float | None:
        """The seconds after which waiting for more of an answer times out, by the database's settings; None: never."""
        seconds: float | None = self.connection.socket_timeout
        return seconds

    def late(self, error: Exception, waited: float) -> None:
        """Tell the server's breaker that an answer was waited for in vain."""
        connection = self.connection
        if connection.breaker is not None:
            connection.breaker.failed(connection, error, waited, self.patience)

    @property
    def come(self) -> int:
        """How many of the replies that are waited for have come."""
        return int(self._replies.come)

    def send(self, trip: SendRequest) -> None:
        """Begin to send a trip in one write. What does not go out at once is left for :meth:`send_rest`.

        Raises:
            redis.ConnectionError: the connection was lost.
        """
        self.write(self._replies.begin(trip))

    def write(self, packed: bytes) -> None:
        """Begin a write, for :meth:`send`."""
        self._rest = memoryview(packed)
        self.send_rest()

    @property
    def sending(self) -> bool:
        """Whether there is more to be sent."""
        return bool(self._rest)

    def send_rest(self) -> None:
        """Send as much as goes out at once.

        Raises:
            redis.ConnectionError: the connection was lost.
        """
        try:
            while self._rest:
                self._rest = self._rest[self.socket.send(self._rest) :]
        except _NOT_NOW:
            return
        except OSError as error:
            raise _lost(error) from error

    def receive(self, buffer: bytearray) -> list[Any] | None:
        """Take in what has come.

        Args:
            buffer: where it is put meanwhile.

        Returns:
            The replies, once all have come: undecoded, or text where that was asked for; those of commands that failed are
            exceptions. Else None.

        Raises:
            redis.ConnectionError: the connection was lost, the server can't serve, or it answered what it was not asked.
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
            come: list[Any] | None = replies.feed(buffer, size)
            if come is not None and self._rest:
                raise unasked()
            # TLS may hold back what it has decrypted, which is not seen by who waits on the socket.
            if come is not None or not (hasattr(sock, "pending") and sock.pending()):
                return come

    def give_back(self, db: int | None) -> None:
        """Give the connection back.

        Args:
            db: which database it is in; None: that is not certain, and it is closed.
        """
        connection = self.connection
        if connection is None:
            return
        if connection.user is not self._borrower:  # this was interrupted before, when it had gone back already
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

    async def connect(self, *, waits: bool = True) -> int:
        """Take a connection, and return which database it is in; as :meth:`Lease.connect`."""
        self._connection = await self._server.of_loop().pool.lend(_Borrower(), waits=waits)
        self._replies = ReplyReader(self._connection)
        return int(self._connection.selected)

    async def exchange(self, trip: SendRequest) -> list[Any]:
        """Send a trip in one write, and return the replies; as :meth:`Lease.send` and :meth:`Lease.receive`."""
        connection, replies = self._connection, self._replies
        try:
            if not connection.is_connected:  # closed from elsewhere: made anew, it would be in another database
                raise _closed()
            written = replies.begin(trip)
            await connection.send_packed_command([written], check_health=False)
            come: list[Any] | None = None
            while come is None:
                data = await self._read()
                come = replies.feed(data, len(data))
        except BaseException as error:
            await self.aclose()
            if isinstance(error, OSError) and not isinstance(error, TimeoutError):
                raise _lost(error) from error
            raise
        return come

    async def _read(self) -> bytes:
        connection, began = self._connection, time.monotonic()
        stream = stream_of(connection)
        try:
            async with asyncio.timeout(connection.socket_timeout) as clock:
                data = await stream.read(READ) if stream is not None else b""
        except (TimeoutError, asyncio.CancelledError) as error:
            if isinstance(error, TimeoutError) and not clock.expired():  # the operating system's
                raise _lost(error) from error
            if connection.breaker is not None:
                once = isinstance(error, asyncio.CancelledError)
                waited = time.monotonic() - began
                connection.breaker.failed(connection, error, waited, connection.socket_timeout, once=once)
            if isinstance(error, asyncio.CancelledError):
                raise
            raise silent(connection.socket_timeout) from error
        if not data:
            raise _closed()
        return data

    async def give_back(self, db: int | None) -> None:
        """Give the connection back; as :meth:`Lease.give_back`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                if db is None or not _settle(connection, db):
                    await connection.disconnect(nowait=True)
            finally:
                await self._server.of_loop().pool.release(connection)

    async def aclose(self) -> None:
        """Close the connection; :meth:`connect` takes another."""
        await self.give_back(None)
