"""What is used of redis-py that it doesn't document, in one place. ``tests/database/test_redispy.py`` tells when it moves.

A connection keeps its parser in ``_parser``, whose ``read_response`` returns the next reply, errors as objects;
``read_response`` of the connection asks it once, and turns what goes wrong on the socket into redis-py's errors. Where hiredis
is installed, the parser keeps its reader in ``_reader``; a reply that has come already can be taken from there at a tenth
of the cost, which tells where there are two for each of ten thousand databases.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import redis
from hiredis import PushNotification

__all__ = ["AsyncSeveral", "Several", "buffered"]


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
