"""One connection of a server, lent to a lane: what is written goes out at once, and every reply is read.

The connection is nobody else's meanwhile, so it may be moved from database to database. It is closed when it comes back: it
is in any database by then.

Reading takes replies that have come already straight from hiredis's reader. redis-py's own method does the same at ten
times the cost, which tells where there are two replies for each of ten thousand databases. That reader is private to
redis-py: nothing outside of this module knows of it.
"""

from __future__ import annotations

import os
from typing import Any

import redis
from hiredis import PushNotification

from tenantlimpyd.closing import AsyncClosing, Closing
from tenantlimpyd.links import Link

__all__ = ["AsyncLease", "Lease"]

_NOTHING = object()


def _reader(connection: Any) -> Any:
    """Return hiredis's reader of a connection; None: it is parsed otherwise."""
    return getattr(getattr(connection, "_parser", None), "_reader", None)


def _new(pool: Any) -> Any:
    """Return a connection with a pool's settings, which will be in database 0."""
    return pool.connection_class(**{**pool.connection_kwargs, "db": 0})


def _buffered(reader: Any, count: int, decode: bool) -> list[Any]:
    """Return replies, at most ``count``, that have come already; errors stand among them as exceptions."""
    replies: list[Any] = []
    gets = reader.gets
    while len(replies) < count:
        reply = gets() if decode else gets(False)
        kind = reply.__class__
        if kind is object:  # redis-py's mark for "not enough data"
            break
        if kind is PushNotification:
            continue
        if isinstance(reply, redis.ConnectionError):  # such as LOADING
            raise reply
        replies.append(reply)
    return replies


class Lease(Closing):
    """A blocking connection."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._connection: Any = None
        self._pid = 0

    def connect(self) -> None:
        """Connect, where that was not done yet. It is in database 0."""
        if self._connection is None:
            connection = _new(self._link.client.connection_pool)
            try:
                connection.connect()
            except BaseException:
                connection.disconnect()
                raise
            self._connection, self._pid = connection, os.getpid()

    def exchange(self, payload: list[bytes], count: int, *, decode: bool = False) -> list[Any]:
        """Send commands in one write, and read their replies.

        Args:
            payload: the commands, packed.
            count: how many replies there will be.
            decode: whether they are text.

        Returns:
            The replies; where a command failed, an exception.

        Raises:
            redis.ConnectionError, redis.TimeoutError: the connection failed, and is closed.
        """
        if self._pid != os.getpid():
            raise redis.ConnectionError("this was begun in another process, which may be reading on: begin it anew")
        connection = self._connection
        try:
            connection.send_packed_command([b"".join(payload)])
            replies: list[Any] = []
            while len(replies) < count:
                connection.owed += 1  # what reading a reply takes off again
                try:
                    replies.append(connection.read_response(disable_decoding=not decode))
                except redis.ResponseError as error:
                    replies.append(error)
                if (reader := _reader(connection)) is not None:
                    replies += _buffered(reader, count - len(replies), decode)
        except BaseException:
            self.close()
            raise
        return replies

    def close(self) -> None:
        """Close the connection; :meth:`connect` makes another."""
        connection, self._connection = self._connection, None
        if connection is not None and self._pid == os.getpid():
            connection.disconnect()


class AsyncLease(AsyncClosing):
    """An asyncio connection; see :class:`Lease`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._connection: Any = None

    async def connect(self) -> None:
        """Connect, where that was not done yet. It is in database 0."""
        if self._connection is None:
            connection = _new(self._link.aclient.connection_pool)
            try:
                await connection.connect()
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
            self._connection = connection

    async def exchange(self, payload: list[bytes], count: int, *, decode: bool = False) -> list[Any]:
        """Send commands in one write, and read their replies; as :meth:`Lease.exchange`."""
        connection = self._connection
        try:
            await connection.send_packed_command([b"".join(payload)])
            replies: list[Any] = []
            while len(replies) < count:
                connection.owed += 1
                try:
                    replies.append(await connection.read_response(disable_decoding=not decode))
                except redis.ResponseError as error:
                    replies.append(error)
                if (reader := _reader(connection)) is not None:
                    replies += _buffered(reader, count - len(replies), decode)
        except BaseException:
            await self.aclose()
            raise
        return replies

    async def aclose(self) -> None:
        """Close the connection; :meth:`connect` makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)
