"""What is used of redis-py that it doesn't document, in one place. ``tests/database/test_redispy.py`` tells when it moves.

A connection keeps its parser in ``_parser``, whose ``read_response`` returns the next reply, errors as objects;
``read_response`` of the connection asks it once, and turns what goes wrong on the socket into redis-py's errors.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["AsyncSeveral", "Several"]


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
