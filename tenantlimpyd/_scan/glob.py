r"""Redis's glob patterns, matched in the client: needed for tenants that share a database and are scanned in one pass.

The rules are those of Redis's ``stringmatchlen``, including unclosed brackets, a trailing backslash and reversed
ranges. One rule can't be reproduced: the order of bytes above 127 in a range depends on the server's processor.
:func:`matcher` returns None then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

__all__ = ["matcher"]

_SPECIAL = re.compile(rb"[*?\[\]\\]")


def matcher(pattern: str) -> Callable[[bytes], bool] | None:
    """Return a function that matches keys against a pattern as the server does.

    Args:
        pattern: the pattern, without the key prefix.

    Returns:
        The function; None if only the server can match the pattern.
    """
    wanted = pattern.encode("utf-8", "surrogateescape")
    if not wanted.strip(b"*"):
        return (lambda _key: True) if wanted else (lambda key: not key)
    if wanted[-1:] == b"*" and not _SPECIAL.search(wanted, 0, len(wanted) - 1):  # the most frequent kind of pattern
        start = wanted[:-1]
        return lambda key: key.startswith(start)
    expression: list[bytes] = []
    for token in _tokens(wanted):
        if token is None:
            return None
        expression.append(token)
    compiled = re.compile(_joined(expression), re.DOTALL)
    return lambda key: compiled.fullmatch(key) is not None


def _joined(tokens: list[bytes]) -> bytes:
    """Return the complete expression.

    Between two stars the leftmost match is final, which is never worse, so no pattern takes more than quadratic time.
    """
    parts: list[bytes] = []
    progress: list[bytes] = []
    for token in tokens:
        if token == b"*":
            parts.append(b"".join(progress))
            progress = []
        else:
            progress.append(token)
    last = b"".join(progress)
    if not parts:
        return last
    middle = b"".join(b"(?>.*?" + part + b")" for part in parts[1:] if part)
    return parts[0] + middle + b".*" + last


def _tokens(pattern: bytes) -> Iterator[bytes | None]:
    """Yield a regular expression for each byte, and ``*``; None for what only the server can match."""
    at = 0
    while at < len(pattern):
        here = pattern[at : at + 1]
        at += 1
        if here == b"*":
            while pattern[at : at + 1] == b"*":
                at += 1
            yield b"*"
        elif here == b"?":
            yield b"."
        elif here == b"[":
            token, at = _bracket(pattern, at)
            yield token
        else:
            if here == b"\\" and at < len(pattern):
                here = pattern[at : at + 1]
                at += 1
            yield re.escape(here)


def _bracket(pattern: bytes, at: int) -> tuple[bytes | None, int]:
    """Return the expression for the bytes after ``[``, and the position after the bracket."""
    inverted = pattern[at : at + 1] == b"^"
    at += inverted
    allowed: set[int] = set()
    while at < len(pattern):
        if pattern[at : at + 1] == b"\\" and len(pattern) - at >= 2:
            allowed.add(pattern[at + 1])
            at += 2
        elif pattern[at : at + 1] == b"]":
            at += 1
            break
        elif pattern[at + 1 : at + 2] == b"-" and len(pattern) - at >= 3:
            low, high = sorted((pattern[at], pattern[at + 2]))
            if high > 127:
                return None, at
            allowed.update(range(low, high + 1))
            at += 3
        else:
            allowed.add(pattern[at])
            at += 1
    if inverted:
        allowed = set(range(256)) - allowed
    if not allowed:
        return rb"(?!)", at
    return b"[" + b"".join(b"\\x%02x" % byte for byte in sorted(allowed)) + b"]", at
