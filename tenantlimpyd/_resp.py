"""RESP: the encoding of commands, and the decoding of replies from bytes to text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["bulk_string", "decode_reply", "pack", "pack_select"]


def bulk_string(word: bytes) -> bytes:
    """Return a word in the encoding of RESP."""
    return b"$%d\r\n%s\r\n" % (len(word), word)


def pack(*words: bytes) -> bytes:
    """Return a command in the encoding of RESP."""
    return b"*%d\r\n" % len(words) + b"".join(map(bulk_string, words))


def pack_select(db: int) -> bytes:
    """Return the encoded SELECT of a database number."""
    number = b"%d" % db
    return b"*2\r\n$6\r\nSELECT\r\n$%d\r\n%s\r\n" % (len(number), number)


def decode_reply(reply: Any, decode: Callable[[bytes], Any] = bytes.decode) -> Any:
    """Return a reply with all bytes decoded, in nested replies too.

    Args:
        reply: a reply whose strings are bytes.
        decode: decodes one string; UTF-8 by default.

    Raises:
        UnicodeDecodeError: If a string is not valid in the encoding.
    """
    if isinstance(reply, bytes):
        return decode(reply)
    if isinstance(reply, list):
        return [decode_reply(each, decode) for each in reply]
    if isinstance(reply, dict):
        return {decode_reply(key, decode): decode_reply(value, decode) for key, value in reply.items()}
    if isinstance(reply, set):
        return {decode_reply(each, decode) for each in reply}
    return reply
