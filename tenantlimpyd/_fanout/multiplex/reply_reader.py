"""The reader of a lease's replies. It uses a parser of its own.

A connection's own parser decodes as the settings say and returns one reply at a time. A request of a worker has many
replies, and
keys become text whatever their bytes are: bytes that are not UTF-8 become surrogates.
"""

from __future__ import annotations

from typing import Any

import redis
from hiredis import PushNotification

from tenantlimpyd._connections.redis_internals import NOTHING, new_reader
from tenantlimpyd._fanout.multiplex.protocol import SendRequest

__all__ = ["ReplyReader", "UnfinishedTransactionError", "unexpected_data"]

_DISCARD = b"*1\r\n$7\r\nDISCARD\r\n"


class UnfinishedTransactionError(redis.ConnectionError):
    """A connection is in a transaction that can't be discarded. Its commands were queued and did not run."""


class ReplyReader:
    """Collects the replies that arrive on one connection.

    Args:
        connection: a sync or async connection that is used exclusively and expects no other reply.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._reader = new_reader(connection)
        self._received: list[Any] = []
        self._count = self._before = 0
        self._text = self._opens = self._proven = False

    def begin(self, request: SendRequest) -> bytes:
        """Register a request and return the bytes to send.

        A shared connection may have MULTI pre-opened (:mod:`tenantlimpyd._connections.select_plan`). A request that does not
        continue this empty transaction discards it first. The pool has checked the connection: a health check of redis-py here
        would become a command of that transaction.
        """
        connection = self._connection
        self._before = int(connection.multi_open and not request.inside)
        connection.multi_open = False
        connection.owed += 1  # until the last reply has been read
        self._received, self._count = [], self._before + request.replies
        self._text, self._opens, self._proven = request.text, request.opens, request.proven
        return b"".join([_DISCARD, *request.payload] if self._before else request.payload)

    def feed(self, data: Any, size: int) -> list[Any] | None:
        """Parse received data.

        Args:
            data: a buffer that starts with the data.
            size: the number of bytes received.

        Returns:
            All replies of the request once they have arrived, else None. The reply of a failed command is an exception.

        Raises:
            UnfinishedTransactionError: If the connection is in a transaction that can't be discarded.
            redis.ConnectionError: If the server refuses service, for example while it loads its data, or if it sent more than
                was requested, so that replies can't be assigned to commands.
            redis.InvalidResponse: If the data is not valid RESP.
        """
        self._reader.feed(data, 0, size)
        gets, received, text = self._reader.gets, self._received, self._text
        left = self._count - len(received)
        if not left:
            raise unexpected_data()
        while left:
            reply = gets(text)
            if reply is NOTHING:
                return None
            if reply.__class__ is PushNotification:
                continue
            if isinstance(reply, redis.ConnectionError):
                raise reply
            received.append(reply)
            left -= 1
        while (more := gets(text)) is not NOTHING:
            if more.__class__ is not PushNotification:
                raise unexpected_data()
        if self._reader.has_data():
            raise unexpected_data()
        connection = self._connection
        connection.owed -= 1
        connection.answered()
        self._received, self._count = [], 0
        if self._before and isinstance(discarded := received.pop(0), Exception):
            raise UnfinishedTransactionError(f"the connection is in a transaction that can't be discarded: {discarded}")
        connection.multi_open = self._opens and received[-1] in (b"OK", "OK")
        connection.multi_proven = connection.multi_proven or self._proven
        return received

    @property
    def received_replies(self) -> int:
        """The number of replies that have arrived for the current request."""
        return len(self._received)


def unexpected_data() -> redis.ConnectionError:
    """Return the error of a connection that received data that was not requested."""
    return redis.ConnectionError("the server sent more than was requested")
