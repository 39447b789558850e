"""Keys that are not UTF-8, as scans return them: text in which surrogates stand for the bytes (``surrogateescape``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tenantlimpyd._commands import row_of

__all__ = ["has_raw_keys", "with_raw_keys"]


def has_raw_keys(args: Sequence[Any]) -> bool:
    """Return whether a word of a command can't be encoded as UTF-8.

    Args:
        args: the command's words as redis-py takes them.
    """
    for word in args:
        if isinstance(word, str) and not word.isascii():
            try:
                word.encode()
            except UnicodeEncodeError:
                return True
    return False


def with_raw_keys(args: Sequence[Any]) -> tuple[Any, ...] | None:
    """Return a command with its keys as the bytes that they stand for, or None if no key changes.

    Only keys: a value with surrogates could be written and not read again.

    Args:
        args: the command's words as redis-py takes them, its name and subcommand in one word.
    """
    name = args[0].decode(errors="replace") if isinstance(args[0], bytes) else str(args[0])
    words = [*name.split(), *args[1:]]
    shift = len(words) - len(args)
    changed = list(args)
    try:
        positions = row_of(args).keys.positions(words)
    except ValueError:
        return None
    for position in positions:
        word = words[position]
        if isinstance(word, str) and position > shift:
            changed[position - shift] = word.encode(errors="surrogateescape")
    return tuple(changed) if any(new is not old for new, old in zip(changed, args, strict=True)) else None
