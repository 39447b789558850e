"""SORT's arguments, as redis-py gives them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tenantlimpyd._operations.steps import Command
from tenantlimpyd.exceptions import DataError, RedisError

__all__ = ["sort_command"]


def sort_command(
    key: str,
    start: int | None = None,
    num: int | None = None,
    by: str | None = None,
    get: str | list[str] | tuple[str, ...] | None = None,
    desc: bool = False,
    alpha: bool = False,
    store: str | None = None,
    groups: bool = False,
) -> Command:
    """Return the SORT command for arguments as redis-py's ``sort`` takes them.

    Raises:
        redis.RedisError: If only one of ``start`` and ``num`` is given, or ``groups`` without two patterns in ``get``.
    """
    if (start is None) != (num is None):
        raise RedisError("sort takes both start and num, or neither")
    patterns = [] if get is None else [get] if isinstance(get, str) else list(get)
    if groups and len(patterns) < 2:
        raise DataError("sort with groups needs at least two patterns to get")
    words: list[Any] = list(_words(start, num, by, patterns, desc, alpha, store))
    return Command("SORT", key, *words, groups=len(patterns) if groups else None)


def _words(
    start: int | None, num: int | None, by: str | None, patterns: list[str], desc: bool, alpha: bool, store: str | None
) -> Iterator[Any]:
    if by is not None:
        yield from ("BY", by)
    if start is not None:
        yield from ("LIMIT", start, num)
    for pattern in patterns:
        yield from ("GET", pattern)
    if desc:
        yield "DESC"
    if alpha:
        yield "ALPHA"
    if store is not None:
        yield from ("STORE", store)
