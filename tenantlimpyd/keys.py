"""Names and prefixes of keys: functions on strings, without I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import AnyStr, TypeVar

__all__ = [
    "common_prefix",
    "escape_glob",
    "make_key",
    "nested_prefixes",
    "prefixes_overlap",
    "without_prefix",
]

T = TypeVar("T")

_GLOB = re.compile(r"([*?\[\]\\^-])")


def make_key(*parts: object) -> str:
    """Return the text of the parts joined by ``:``, as limpyd does, without escaping."""
    return ":".join(map(str, parts))


def escape_glob(text: str) -> str:
    r"""Return ``text`` as a Redis glob pattern that matches ``text`` itself and nothing else.

    The special characters are those of Redis's ``stringmatchlen``: ``* ? [ ] \`` and, inside brackets, ``^ -``.
    """
    return _GLOB.sub(r"\\\1", text)


def prefixes_overlap(first: str, second: str) -> bool:
    """Return whether a key could start with both prefixes: one of them starts with the other."""
    return first.startswith(second) or second.startswith(first)


def common_prefix(prefixes: Sequence[str]) -> str:
    """Return the longest common prefix: that of the first and the last in sorted order, which all others share."""
    first, last = min(prefixes), max(prefixes)
    pairs = enumerate(zip(first, last, strict=False))
    return first[: next((position for position, (one, other) in pairs if one != other), len(first))]


def nested_prefixes(items: Iterable[T], prefix_of: Callable[[T], str]) -> Iterator[tuple[T, Sequence[T]]]:
    """Yield items in the order of their prefixes, each with the earlier items whose prefixes overlap with its own.

    Args:
        items: the items, for example tenants of one database.
        prefix_of: returns the prefix of an item.
    """
    outer: list[T] = []  # the items whose prefixes the current prefix starts with
    for item in sorted(items, key=prefix_of):
        while outer and not prefix_of(item).startswith(prefix_of(outer[-1])):
            outer.pop()
        yield item, tuple(outer)
        outer.append(item)


def without_prefix(keys: list[AnyStr], prefix: AnyStr) -> list[AnyStr]:
    """Return the keys that start with a prefix, without it."""
    if not prefix:
        return keys
    length = len(prefix)
    return [key[length:] for key in keys if key.startswith(prefix)]
