"""What is used of redis-py that it doesn't document, in one place. ``tests/database/test_redispy.py`` tells when it moves.

A connection keeps its parser in ``_parser``, and that, where it is hiredis's, its reader in ``_reader``. The reader gives the
replies that have come already, errors as objects, at a tenth of the cost; ``read_response`` of the connection waits for one,
and turns what goes wrong on the socket into redis-py's errors.
"""

from __future__ import annotations

import asyncio
import inspect
import select
from types import FunctionType
from typing import Any

import hiredis
import redis
import redis.asyncio
import redis.asyncio.connection
from redis._parsers.hiredis import NOT_ENOUGH_DATA, _AsyncHiredisParser, _HiredisParser
from redis.observability.providers import get_observability_instance

__all__ = [
    "NOTHING",
    "ReadabilityProbe",
    "ahears",
    "asends",
    "awatched",
    "come",
    "drop_unsent",
    "ends",
    "has_come",
    "reader_of",
    "socket_of",
    "stream_of",
    "watched",
]

_HIREDIS = (_HiredisParser, _AsyncHiredisParser)


NOTHING = NOT_ENOUGH_DATA
"""Says that a reply has not come yet."""


def come(connection: Any, raw: bool) -> Any:
    """Return the next reply if it has come already together with the one before, errors as objects; else :data:`NOTHING`.

    The parser would do the same, after some ten calls. What is out of the ordinary is left to it.

    Args:
        connection: a connection of either colour, from which a reply was read.
        raw: whether the reply is left undecoded.
    """
    parser = connection._parser
    if parser.__class__ not in _HIREDIS:
        return NOTHING
    reader = parser._reader
    if reader is None:
        return NOTHING
    return reader.gets(False) if raw else reader.gets()


def ends(reply: Any) -> bool:
    """Return whether a reply that came says that the connection is at its end, as LOADING does; a parser raises it."""
    return isinstance(reply, redis.ConnectionError) or (
        reply.__class__ is list and bool(reply) and isinstance(reply[0], redis.ConnectionError)
    )


def reader_of(connection: Any) -> hiredis.Reader:
    """Return a new parser of replies, whose errors are those of a connection's own.

    Text is UTF-8 for it, whatever the connection's settings say; bytes that are not become surrogates.
    """
    return hiredis.Reader(
        protocolError=redis.InvalidResponse,
        replyError=connection._parser.parse_error,
        encoding="utf-8",
        errors="surrogateescape",
        notEnoughData=NOTHING,
    )


def socket_of(connection: Any) -> Any:
    """Return the socket of a blocking connection; None: it is not connected."""
    return connection._sock


def drop_unsent(connection: Any) -> None:
    """Close an asyncio connection's transport at once where there is something left to be sent.

    To close it in the usual way would be to wait until the server has read that, which it may never do.
    """
    writer = connection._writer
    if writer is not None and writer.transport.get_write_buffer_size():
        writer.transport.abort()


def stream_of(connection: Any) -> asyncio.StreamReader | None:
    """Return what is read from of an asyncio connection; None: it is not connected."""
    stream: asyncio.StreamReader | None = connection._reader
    return stream


class ReadabilityProbe:
    """Hears what comes on a blocking connection that asked for nothing: data, or that the server closed it.

    redis-py's ``can_read`` asks the kernel the same, with an object made for each question.

    Args:
        connection: a connection that is connected.

    Attributes:
        sock: the connection's socket. Another one needs ears of its own.
    """

    __slots__ = ("_poll", "sock")

    def __init__(self, connection: Any) -> None:
        self.sock = connection._sock
        self._poll: Any = None
        # TLS may hold back what it has decrypted, other parsers what they have read: those are asked themselves.
        if hasattr(select, "poll") and not hasattr(self.sock, "pending") and type(connection._parser) is _HiredisParser:
            poller = select.poll()
            poller.register(self.sock, select.POLLIN)
            self._poll = poller.poll

    def hear(self, connection: Any) -> bool:
        """Return whether something has come; never waits."""
        if self._poll is None:
            return bool(connection.can_read())
        reader = connection._parser._reader
        return reader is None or reader.has_data() or bool(self._poll(0))


async def ahears(connection: Any) -> bool:
    """Return whether something has come on an asyncio connection that asked for nothing: data, or that it was closed."""
    parser = connection._parser
    if parser.__class__ is not _AsyncHiredisParser or not parser._connected:
        return bool(await connection.can_read())
    stream: Any = parser._stream
    reader: Any = parser._reader
    return bool(reader.has_data() or stream.at_eof() or stream._buffer)


def has_come(stream: asyncio.StreamReader) -> bool:
    """Return whether a stream of asyncio, which all asyncio connections read from, holds data that nobody has read."""
    return bool(stream._buffer)  # type: ignore[attr-defined]  # as redis-py's own parsers look at it


def _own(owner: Any, method: str) -> Any:
    """Return redis-py's own method of a class; None: something else is there already."""
    found = vars(owner)[method]
    own = type(found) is FunctionType and found.__code__.co_filename == inspect.getfile(owner)
    return found if own else None


_Connection = redis.asyncio.connection.AbstractConnection
_blocking, _awaiting = _own(redis.Redis, "execute_command"), _own(redis.asyncio.Redis, "execute_command")
_sending = _own(_Connection, "send_packed_command")


def asends() -> bool:
    """Return whether what asyncio connections send goes through redis-py's own method: nobody put himself into it.

    That method gives what is to be sent to the connection's ``_writer``, and waits until there is room in its buffer.
    """
    return _Connection.send_packed_command is _sending


def watched() -> bool:
    """Return whether somebody wants to hear of each command: redis-py's telemetry, or a library that put itself into it."""
    return (
        redis.Redis.execute_command is not _blocking or get_observability_instance().get_provider_manager() is not None
    )


def awatched() -> bool:
    """Return the same for redis-py's asyncio."""
    return (
        redis.asyncio.Redis.execute_command is not _awaiting
        or get_observability_instance().get_provider_manager() is not None
    )
