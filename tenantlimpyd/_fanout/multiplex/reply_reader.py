"""The replies to what a lane sent in one write, read with a parser of the lane's own.

A connection's own parser decodes as its settings say, and gives one reply at a time to who waits for it. Here very many come
at once, and keys are text whatever their bytes are: what is not UTF-8 is kept as surrogates.
"""

from __future__ import annotations

from typing import Any

import redis
from hiredis import PushNotification

from tenantlimpyd._connections.redis_internals import NOTHING, reader_of
from tenantlimpyd._fanout.multiplex.protocol import SendRequest

__all__ = ["ReplyReader", "UnfinishedTransactionError", "unasked"]

_DISCARD = b"*1\r\n$7\r\nDISCARD\r\n"


class UnfinishedTransactionError(redis.ConnectionError):
    """A connection is in a transaction that can't be ended: what was sent was queued, and is not carried out."""


class ReplyReader:
    """Collects the replies that come over one connection.

    Args:
        connection: a connection of either colour that nobody else uses meanwhile, and that owes nothing.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._reader = reader_of(connection)
        self._come: list[Any] = []
        self._count = self._before = 0
        self._text = self._opens = False

    def begin(self, trip: SendRequest) -> bytes:
        """Begin a trip; return what is to be sent.

        A connection that goes from tenant to tenant may rest inside a transaction that nothing was put in
        (:mod:`tenantlimpyd._connections.select_plan`), which ends first where the trip does not go on with it. The connection was looked at
        when it was lent: a health check of redis-py's now would be a command in that transaction.
        """
        connection = self._connection
        self._before = int(connection.armed and not trip.inside)
        connection.armed = False
        connection.owed += 1  # until the last reply is read
        self._come, self._count = [], self._before + trip.replies
        self._text, self._opens = trip.text, trip.opens
        return b"".join([_DISCARD, *trip.payload] if self._before else trip.payload)

    def feed(self, data: Any, size: int) -> list[Any] | None:
        """Take in what came.

        Args:
            data: a buffer that begins with it.
            size: how many bytes came.

        Returns:
            The replies, where all are there: those of commands that failed are exceptions. Else None.

        Raises:
            UnendedError: the connection is in a transaction that can't be ended.
            redis.ConnectionError: the server said that it can't serve, as while it loads its data; or it sent more than was
                asked for, and nobody knows which reply is whose.
            redis.InvalidResponse: what came is no reply.
        """
        self._reader.feed(data, 0, size)
        gets, come, text = self._reader.gets, self._come, self._text
        left = self._count - len(come)
        if not left:
            raise unasked()
        while left:
            reply = gets(text)
            if reply is NOTHING:
                return None
            if reply.__class__ is PushNotification:
                continue
            if isinstance(reply, redis.ConnectionError):
                raise reply
            come.append(reply)
            left -= 1
        while (more := gets(text)) is not NOTHING:
            if more.__class__ is not PushNotification:
                raise unasked()
        if self._reader.has_data():
            raise unasked()
        connection = self._connection
        connection.owed -= 1
        connection.answered()
        self._come, self._count = [], 0
        if self._before and isinstance(discarded := come.pop(0), Exception):
            raise UnfinishedTransactionError(f"the connection is in a transaction that can't be ended: {discarded}")
        connection.armed = self._opens and come[-1] in (b"OK", "OK")
        return come

    @property
    def come(self) -> int:
        """How many replies have come since :meth:`begin`, where there are more to come."""
        return len(self._come)


def unasked() -> redis.ConnectionError:
    """Return the error of a connection on which nobody knows any more which reply is whose."""
    return redis.ConnectionError("the server sent more than it was asked for")
