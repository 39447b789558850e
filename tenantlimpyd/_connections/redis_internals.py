"""The adapter to redis-py's undocumented internals. ``tests/connections/test_redis_internals.py`` fails if they change.

A connection has its parser in ``_parser``; hiredis's parser has its reader in ``_reader``. The reader returns replies that have
arrived already, errors as exceptions, at a tenth of the cost of the connection's ``read_response``, which waits for a reply and
translates errors of the socket.
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
    "abort_unsent",
    "async_has_unexpected_data",
    "async_is_instrumented",
    "backoff_of",
    "has_unread_data",
    "is_fatal",
    "is_instrumented",
    "is_owned",
    "is_send_unmodified",
    "new_reader",
    "next_buffered_reply",
    "share_event_dispatcher",
    "socket_of",
    "stream_of",
    "supported_errors_of",
]

_HIREDIS = (_HiredisParser, _AsyncHiredisParser)


NOTHING = NOT_ENOUGH_DATA
"""The value that stands for a reply that has not arrived."""


def next_buffered_reply(connection: Any, raw: bool) -> Any:
    """Return the next reply if it is buffered, with errors as exceptions, else :data:`NOTHING`.

    The parser would do the same with about ten calls.

    Args:
        connection: a sync or async connection from which a reply was read.
        raw: whether the reply is not decoded.
    """
    parser = connection._parser
    if parser.__class__ not in _HIREDIS:
        return NOTHING
    reader = parser._reader
    if reader is None:
        return NOTHING
    return reader.gets(False) if raw else reader.gets()


def is_fatal(reply: Any) -> bool:
    """Return whether a reply means that the connection must be closed, as LOADING does. A parser raises such replies."""
    return isinstance(reply, redis.ConnectionError) or (
        reply.__class__ is list and bool(reply) and isinstance(reply[0], redis.ConnectionError)
    )


def new_reader(connection: Any) -> hiredis.Reader:
    """Return a new hiredis reader that raises the same errors as the connection's parser.

    It decodes text as UTF-8 whatever the settings say; invalid bytes become surrogates.
    """
    return hiredis.Reader(
        protocolError=redis.InvalidResponse,
        replyError=connection._parser.parse_error,
        encoding="utf-8",
        errors="surrogateescape",
        notEnoughData=NOTHING,
    )


def socket_of(connection: Any) -> Any:
    """Return the socket of a sync connection, or None if it is not connected."""
    return connection._sock


def abort_unsent(connection: Any) -> None:
    """Abort an async connection's transport if its write buffer is not empty.

    A regular close would wait until the server has read the buffer, which it may never do.
    """
    writer = connection._writer
    if writer is not None and writer.transport.get_write_buffer_size():
        writer.transport.abort()


def stream_of(connection: Any) -> asyncio.StreamReader | None:
    """Return the stream reader of an async connection, or None if it is not connected."""
    stream: asyncio.StreamReader | None = connection._reader
    return stream


class ReadabilityProbe:
    """Detects data, or the end of the stream, on a sync connection that has no pending reply.

    redis-py's ``can_read`` does the same, but makes an object for each call.

    Args:
        connection: a connected connection.

    Attributes:
        sock: the connection's socket. A new socket needs a new probe.
    """

    __slots__ = ("_poll", "sock")

    def __init__(self, connection: Any) -> None:
        self.sock = connection._sock
        self._poll: Any = None
        # TLS may hold decrypted data, and other parsers data they have read: they are asked by can_read().
        if hasattr(select, "poll") and not hasattr(self.sock, "pending") and type(connection._parser) is _HiredisParser:
            poller = select.poll()
            poller.register(self.sock, select.POLLIN)
            self._poll = poller.poll

    def has_data(self, connection: Any) -> bool:
        """Return whether data or the end of the stream has arrived. Never waits."""
        if self._poll is None:
            return bool(connection.can_read())
        reader = connection._parser._reader
        return reader is None or reader.has_data() or bool(self._poll(0))


async def async_has_unexpected_data(connection: Any) -> bool:
    """Return whether data, or the end of the stream, has arrived on an async connection without a pending reply."""
    parser = connection._parser
    if parser.__class__ is not _AsyncHiredisParser or not parser._connected:
        return bool(await connection.can_read())
    stream: Any = parser._stream
    reader: Any = parser._reader
    return bool(reader.has_data() or stream.at_eof() or stream._buffer)


def has_unread_data(stream: asyncio.StreamReader) -> bool:
    """Return whether an asyncio stream holds unread data."""
    return bool(stream._buffer)  # type: ignore[attr-defined]  # as redis-py's parsers do


def _own(owner: Any, method: str) -> Any:
    """Return redis-py's own method of a class, or None if it has been replaced."""
    found = vars(owner)[method]
    own = type(found) is FunctionType and found.__code__.co_filename == inspect.getfile(owner)
    return found if own else None


_Connection = redis.asyncio.connection.AbstractConnection
_blocking, _awaiting = _own(redis.Redis, "execute_command"), _own(redis.asyncio.Redis, "execute_command")
_sending = _own(_Connection, "send_packed_command")


def is_send_unmodified() -> bool:
    """Return whether async connections send through redis-py's own method, which no library has replaced.

    That method writes to the connection's ``_writer`` and waits for room in its buffer.
    """
    return _Connection.send_packed_command is _sending


def is_instrumented() -> bool:
    """Return whether commands are observed: by redis-py's telemetry, or by a library that has replaced its method."""
    return (
        redis.Redis.execute_command is not _blocking or get_observability_instance().get_provider_manager() is not None
    )


def async_is_instrumented() -> bool:
    """Return whether async commands are observed; see :func:`is_instrumented`."""
    return (
        redis.asyncio.Redis.execute_command is not _awaiting
        or get_observability_instance().get_provider_manager() is not None
    )


def backoff_of(retry: Any) -> Any:
    """Return the backoff of a retry policy."""
    return retry._backoff


def supported_errors_of(retry: Any) -> tuple[type[Exception], ...]:
    """Return the errors after which a retry policy tries again."""
    errors: tuple[type[Exception], ...] = retry._supported_errors
    return errors


def share_event_dispatcher(client: Any, template: Any) -> None:
    """Give a client the event dispatcher of another one."""
    client._event_dispatcher = template._event_dispatcher


def is_owned(lock: Any) -> bool:
    """Return whether this thread holds a ``threading.RLock``; ``threading.Condition`` asks in the same way."""
    owned: bool = lock._is_owned()
    return owned
