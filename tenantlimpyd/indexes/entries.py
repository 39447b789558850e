"""What an index keeps for a value, and what a unique value must find free: data."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Claim", "Entry", "stored_text"]


def stored_text(value: Any) -> str:
    """Return ``value`` as it will be read back once redis-py has stored it.

    That is the value itself of an enumeration's text, not its name, and the content of any kind of bytes.

    Raises:
        UnicodeDecodeError: If the value is bytes that are not UTF-8.
    """
    if type(value) is str:  # most of them
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode()
    if isinstance(value, str):
        return str.__str__(value)
    return repr(value) if isinstance(value, int | float) else str(value)


class Entry(NamedTuple):
    """One member an index keeps for a value of an object.

    Attributes:
        key: the whole key of the index's set or sorted set, database prefix included.
        member: the object's pk, or text that ends with it.
        score: the member's score; None: the key is a set.
    """

    key: str
    member: str
    score: float | None = None

    @property
    def place(self) -> tuple[str, str]:
        """What it takes up: two entries of one place are one member with two scores."""
        return self.key, self.member

    def added(self) -> tuple[Any, ...]:
        """Return the words of the command that adds it."""
        return ("SADD", self.key, self.member) if self.score is None else ("ZADD", self.key, self.score, self.member)

    def removed(self) -> tuple[Any, ...]:
        """Return the words of the command that removes it."""
        return ("SREM" if self.score is None else "ZREM", self.key, self.member)


class Claim(NamedTuple):
    """That a unique value belongs to nobody else: what a command on an index's key returns are its owners.

    Attributes:
        key: the index's key.
        words: the command, without its key.
        value: the value, for messages.
        cut: how many bytes stand before the pk in each member returned.
    """

    key: str
    words: tuple[Any, ...]
    value: Any
    cut: int = 0
