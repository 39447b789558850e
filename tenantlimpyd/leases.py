"""One connection of a server for work on many of its databases: commands for several of them in one write.

Commands that change nothing follow a plain ``SELECT`` each: where that is refused, the command's reply is thrown away, and
its caller gets the error. All others go into one transaction, which a refused SELECT ends before anything is carried out.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeAlias

import attrs
import redis

from tenantlimpyd import switching
from tenantlimpyd.closing import AsyncClosing, Closing
from tenantlimpyd.pools import AsyncPool, Pool

__all__ = ["AsyncLease", "Lease", "Pairs"]

Pairs: TypeAlias = Sequence[tuple[int, Sequence[Any]]]
"""Database numbers, each with a command."""


@attrs.define(eq=False)
class _Walker:
    """Who has a lease, as the pools see it."""

    db: int
    retired: bool = False


@attrs.define
class _Batch:
    """What is sent for some pairs, and what their replies mean."""

    sent: list[Any]
    raw: tuple[bool, ...]
    trip: list[Any]
    framed: bool
    pairs: Pairs

    def replies(self, connection: Any, replies: list[Any]) -> list[Any]:
        """Return a reply for each pair, errors as objects, and take down where the connection is."""
        if self.framed:
            return self._of_frame(connection, replies)
        found: list[Any] = []
        refused: Exception | None = None
        incoming = iter(zip(self.sent, replies, strict=True))
        for command, reply in incoming:
            if command is switching.DISCARD:
                if isinstance(reply, Exception):
                    raise redis.ConnectionError(f"the connection is in a transaction that can't be ended: {reply}")
                connection.armed = False
            elif command[0] == "SELECT":
                refused = reply if isinstance(reply, Exception) else None
                if refused is None:
                    connection.selected = int(command[1])
                    connection.highest = max(connection.highest, connection.selected)
                else:
                    connection.altered = True  # it is closed when it comes back
            else:
                found.append(reply if refused is None else refused)
        return found

    def _of_frame(self, connection: Any, replies: list[Any]) -> list[Any]:
        *queued, executed, armed = replies
        connection.armed = not isinstance(armed, Exception)
        connection.altered = connection.altered or not connection.armed
        if not isinstance(executed, list):
            error = next((reply for reply in queued if isinstance(reply, Exception)), executed)
            raise error if isinstance(error, Exception) else redis.ResponseError("EXEC was not answered by replies")
        found = []
        for command, reply in zip(self.sent, executed, strict=False):
            if command[0] != "SELECT":
                found.append(reply)
            elif isinstance(reply, Exception):
                raise reply
            else:
                connection.selected = int(command[1])
        return found


def _batch(connection: Any, pairs: Pairs, *, raw: bool) -> _Batch:
    reads = all(switching.first_word(command[0]) in switching.READS for _, command in pairs)
    sent: list[Any] = []
    trip: list[Any] = []
    at = connection.selected
    if reads and connection.armed:
        sent.append(switching.DISCARD)
    if not reads:
        highest = max((db for db, _ in pairs), default=0)
        if not connection.armed or highest > connection.highest:
            discard = [switching.DISCARD] if connection.armed else []
            trip = [*discard, ("SELECT", highest), switching.MULTI]
            at = highest
    for db, command in pairs:
        if db != at:
            sent.append(("SELECT", db))
            at = db
        sent.append(command)
    if reads:
        flags = tuple(raw and command[0] != "SELECT" for command in sent)
        return _Batch(sent, flags, trip, framed=False, pairs=pairs)
    flags = (*(True,) * len(sent), raw, True)
    return _Batch([*sent, ("EXEC",), switching.MULTI], flags, trip, framed=True, pairs=pairs)


class _Leasing:
    """What both colours have in common."""

    def __init__(self, pool: Any, db: int) -> None:
        self._pool = pool
        self._user = _Walker(db)
        self._connection: Any = None
        self._pid = 0
        self._over = False

    def _check(self) -> None:
        if self._over:
            raise redis.ConnectionError("this lease is over, or its connection was lost: take another one")
        if self._connection is not None and self._pid != os.getpid():
            raise redis.ConnectionError("this lease was taken in another process, which may be using it")

    def _settled(self, batch: _Batch, replies: list[Any]) -> list[Any]:
        found = batch.replies(self._connection, replies)
        self._connection.db = self._connection.selected
        return found

    def _settled_trip(self, batch: _Batch, replies: list[Any]) -> None:
        connection = self._connection
        connection.db = batch.trip[-2][1]
        error = switching.settle_trip(connection, batch.trip, replies)
        if error is None and not connection.armed:
            error = replies[-1]
        if error is not None:
            connection.altered = True
            raise error


class Lease(_Leasing, Closing):
    """One blocking connection of a server, from the first command to :meth:`close`. It counts in the budget."""

    def __init__(self, pool: Pool, db: int) -> None:
        super().__init__(pool, db)

    def ask(self, pairs: Pairs, *, raw: bool = False) -> list[Any]:
        """Send commands to several databases in one write, and read their replies.

        Args:
            pairs: database numbers, each with a command, such as ``[(3, ("SCAN", 0)), (7, ("DBSIZE",))]``.
            raw: whether replies are left undecoded.

        Returns:
            The replies as the server sent them, in order. Where one is an error, or the database can't be selected, the
            error stands in its place.

        Raises:
            redis.ResponseError: among the commands are some that may write, and one of them was refused, or the selecting
                of its database: none was carried out.
            redis.ConnectionError: the connection is lost. What it had begun, such as a scan, can't go on.
        """
        self._check()
        if self._connection is None:
            self._connection, self._pid = self._pool.lend(self._user), os.getpid()
        connection = self._connection
        try:
            batch = _batch(connection, pairs, raw=raw)
            if batch.trip:
                connection.send_packed_command(connection._pack(batch.trip), check_health=False)
                self._settled_trip(batch, connection._several((True,) * len(batch.trip)))
            connection.send_packed_command(connection._pack(batch.sent), check_health=False)
            return self._settled(batch, connection._several(batch.raw))
        except BaseException as error:
            self._fail(error)
            raise

    def _fail(self, error: BaseException) -> None:
        if self._connection.doubtful or not self._connection.is_connected or not isinstance(error, redis.ResponseError):
            self._connection.altered = True
            self.close()

    def close(self) -> None:
        """Give the connection back. The lease is over."""
        self._over = True
        connection, self._connection = self._connection, None
        if connection is not None and self._pid == os.getpid():
            self._pool.release(connection)


class AsyncLease(_Leasing, AsyncClosing):
    """One asyncio connection of a server; see :class:`Lease`."""

    def __init__(self, pool: AsyncPool, db: int) -> None:
        super().__init__(pool, db)

    async def ask(self, pairs: Pairs, *, raw: bool = False) -> list[Any]:
        """Send commands to several databases in one write, and read their replies; see :meth:`Lease.ask`."""
        self._check()
        if self._connection is None:
            self._connection, self._pid = await self._pool.lend(self._user), os.getpid()
        connection = self._connection
        try:
            batch = _batch(connection, pairs, raw=raw)
            if batch.trip:
                await connection.send_packed_command(connection._pack(batch.trip), check_health=False)
                self._settled_trip(batch, await connection._several((True,) * len(batch.trip)))
            await connection.send_packed_command(connection._pack(batch.sent), check_health=False)
            return self._settled(batch, await connection._several(batch.raw))
        except BaseException as error:
            if connection.doubtful or not connection.is_connected or not isinstance(error, redis.ResponseError):
                connection.altered = True
                await self.aclose()
            raise

    async def aclose(self) -> None:
        """Give the connection back. The lease is over."""
        self._over = True
        connection, self._connection = self._connection, None
        if connection is not None and self._pid == os.getpid():
            await self._pool.release(connection)
