"""RESP: how commands are encoded for the wire."""

from __future__ import annotations

__all__ = ["pack"]


def pack(*words: bytes) -> bytes:
    """Return a command as it goes over the wire."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
