"""One connection of a server, lent to a lane: what is written goes out at once, and every reply is read.

The connection is nobody else's meanwhile, so the lane may move it from database to database; it says which one it is in when
it gives the connection back. One whose state is not certain is closed.
"""

from __future__ import annotations

from typing import Any

import redis

from tenantlimpyd.closing import AsyncClosing, Closing
from tenantlimpyd.redispy import buffered
from tenantlimpyd.servers import Server

__all__ = ["AsyncLease", "Lease"]

_DISCARD = b"*1\r\n$7\r\nDISCARD\r\n"


class _Borrower:
    """Who uses the connection, for the pool. Connections are made in database 0."""

    db = 0
    retired = False


def _written(connection: Any, payload: list[bytes]) -> tuple[list[bytes], int]:
    """Return what is to be written, and how many replies there will be before those that were asked for.

    A connection that goes from tenant to tenant may rest inside a transaction that nothing was put in
    (:mod:`tenantlimpyd.switching`). It was looked at when it was lent: a health check of redis-py's now would be a command
    in that transaction.
    """
    before = int(connection.armed)
    connection.armed = False
    return [b"".join([_DISCARD, *payload] if before else payload)], before


def _settled(discarded: Any) -> None:
    """Raise if a connection is still inside a transaction: what came after was queued, and will not be carried out."""
    if isinstance(discarded, Exception):
        raise redis.ConnectionError(f"the connection is in a transaction that can't be ended: {discarded}")


def _settle(connection: Any, db: int | None) -> bool:
    """Take down which database a connection is in; return whether it can be used by others."""
    if db is None or not connection.is_connected:
        return False
    connection.selected = db
    connection.highest = max(connection.highest, db)
    return True


class Lease(Closing):
    """A blocking connection of a server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection: Any = None

    def connect(self) -> int:
        """Take a connection, and return which database it is in."""
        if self._connection is None:
            self._connection = self._server.pools()[0].lend(_Borrower())
        return int(self._connection.selected)

    def exchange(self, payload: list[bytes], count: int) -> list[Any]:
        """Send commands in one write, and read their replies.

        Args:
            payload: the commands, packed.
            count: how many replies there will be.

        Returns:
            The replies, undecoded; where a command failed, an exception.

        Raises:
            redis.ConnectionError, redis.TimeoutError: the connection failed, and is closed.
        """
        connection = self._connection
        try:
            written, before = _written(connection, payload)
            connection.owed += 1  # until the last reply is read
            connection.send_packed_command(written, check_health=False)
            replies: list[Any] = []
            while len(replies) < before + count:
                connection.owed += 1  # what reading a reply takes off again
                try:
                    replies.append(connection.read_response(disable_decoding=True))
                except redis.ResponseError as error:
                    replies.append(error)
                replies += buffered(connection, before + count - len(replies))
            connection.owed -= 1
            if before:
                _settled(replies.pop(0))
        except BaseException:
            self.close()
            raise
        return replies

    def give_back(self, db: int | None) -> None:
        """Give the connection back.

        Args:
            db: which database it is in; None: that is not certain, and it is closed.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            if not _settle(connection, db):
                connection.disconnect()
            self._server.pools()[0].release(connection)

    def close(self) -> None:
        """Close the connection; :meth:`connect` takes another."""
        self.give_back(None)


class AsyncLease(AsyncClosing):
    """An asyncio connection of a server; see :class:`Lease`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection: Any = None

    async def connect(self) -> int:
        """Take a connection, and return which database it is in."""
        if self._connection is None:
            self._connection = await self._server.of_loop().pool.lend(_Borrower())
        return int(self._connection.selected)

    async def exchange(self, payload: list[bytes], count: int) -> list[Any]:
        """Send commands in one write, and read their replies; as :meth:`Lease.exchange`."""
        connection = self._connection
        try:
            written, before = _written(connection, payload)
            connection.owed += 1
            await connection.send_packed_command(written, check_health=False)
            replies: list[Any] = []
            while len(replies) < before + count:
                connection.owed += 1
                try:
                    replies.append(await connection.read_response(disable_decoding=True))
                except redis.ResponseError as error:
                    replies.append(error)
                replies += buffered(connection, before + count - len(replies))
            connection.owed -= 1
            if before:
                _settled(replies.pop(0))
        except BaseException:
            await self.aclose()
            raise
        return replies

    async def give_back(self, db: int | None) -> None:
        """Give the connection back; as :meth:`Lease.give_back`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if not _settle(connection, db):
                await connection.disconnect(nowait=True)
            await self._server.of_loop().pool.release(connection)

    async def aclose(self) -> None:
        """Close the connection; :meth:`connect` takes another."""
        await self.give_back(None)
