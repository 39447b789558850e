"""What is used of redis-py that it doesn't document, in one place. ``tests/database/test_redispy.py`` tells when it moves.

A connection keeps its parser in ``_parser``, whose ``read_response`` returns the next reply, errors as objects;
``read_response`` of the connection asks it once, and turns what goes wrong on the socket into redis-py's errors. Where hiredis
is installed, the parser keeps its reader in ``_reader``; a reply that has come already can be taken from there at a tenth
of the cost, which tells where there are two for each of ten thousand databases.
"""

from __future__ import annotations

import inspect
import select
from collections.abc import Iterable
from types import FunctionType
from typing import Any

import redis
import redis.asyncio
from hiredis import PushNotification
from redis._parsers.hiredis import _HiredisParser
from redis.observability.providers import get_observability_instance

__all__ = ["AsyncSeveral", "Ears", "Several", "awatched", "buffered", "watched"]


class Several:
    """Stands for a connection's parser while several replies are read as one.

    Args:
        parser: the parser.
        raw: for each reply, whether it is left undecoded.
    """

    __slots__ = ("_parser", "_raw")

    def __init__(self, parser: Any, raw: Iterable[bool]) -> None:
        self._parser = parser
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def read_response(self, disable_decoding: bool = False, **options: Any) -> list[Any]:  # noqa: ARG002 - the parser's
        """Return the replies, errors as objects."""
        read = self._parser.read_response
        return [read(disable_decoding=raw, **options) for raw in self._raw]


class AsyncSeveral(Several):
    """Stands for an asyncio connection's parser."""

    __slots__ = ()

    async def read_response(self, disable_decoding: bool = False, **options: Any) -> list[Any]:  # type: ignore[override]  # noqa: ARG002
        """Return the replies, errors as objects."""
        read = self._parser.read_response
        return [await read(disable_decoding=raw, **options) for raw in self._raw]


def buffered(connection: Any, count: int) -> list[Any]:
    """Return replies, at most ``count``, that a connection has received already, undecoded; errors stand among them.

    Raises:
        redis.ConnectionError: the server said that it can't serve, as while it loads its data.
    """
    reader = getattr(getattr(connection, "_parser", None), "_reader", None)
    replies: list[Any] = []
    if reader is None:  # parsed otherwise, one reply at a time
        return replies
    gets = reader.gets
    while len(replies) < count:
        reply = gets(False)
        kind = reply.__class__
        if kind is object:  # redis-py's mark for "not enough data"
            break
        if kind is PushNotification:
            continue
        if isinstance(reply, redis.ConnectionError):
            raise reply
        replies.append(reply)
    return replies


class Ears:
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


def _own(client_class: Any) -> Any:
    """Return redis-py's own ``execute_command`` of a class; None: something else is there already."""
    found = vars(client_class)["execute_command"]
    own = type(found) is FunctionType and found.__code__.co_filename == inspect.getfile(client_class)
    return found if own else None


_blocking, _awaiting = _own(redis.Redis), _own(redis.asyncio.Redis)


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
