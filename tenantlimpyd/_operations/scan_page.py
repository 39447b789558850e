"""One SCAN of one database as an operation: patterns under a prefix, pages, and keys that are not UTF-8."""

from __future__ import annotations

import attrs
from redis.client import NEVER_DECODE

from tenantlimpyd._operations.steps import Command, Operation
from tenantlimpyd.exceptions import shown
from tenantlimpyd.keys import escape_glob

__all__ = ["DEFAULT_PAGE", "MAX_PAGE", "ScanOptions", "scan"]

DEFAULT_PAGE = 1000
"""Keys the server looks at in one SCAN where ``count`` is not given. Redis's own 10 makes a scan a hundred times slower."""

MAX_PAGE = 2**31 - 1
"""The largest ``count``: servers differ in what they do with larger ones."""


@attrs.frozen
class ScanOptions:
    """What a scan asks for.

    Attributes:
        prefix: what keys must start with, and what is taken off them.
        pattern: MATCH's pattern, prefix included and escaped; None: no MATCH.
        count: COUNT.
        type: TYPE; None: all types.
    """

    prefix: bytes
    pattern: str | None
    count: int
    type: str | None

    @classmethod
    def of(cls, prefix: str, match: str | None, count: int | None, type_: str | None) -> ScanOptions:
        """Return what the arguments of ``scan_keys`` ask for.

        Raises:
            TypeError: an argument of the wrong type.
            ValueError: ``count`` below 1 or above :data:`MAX_PAGE`.
        """
        for name, value in (("match", match), ("type", type_)):
            if value is not None and not isinstance(value, str):
                raise TypeError(f"{name} must be text, not {shown(value)}")
        if count is not None and (not isinstance(count, int) or isinstance(count, bool)):
            raise TypeError(f"count must be a whole number, not {shown(count)}")
        if count is not None and not 1 <= count <= MAX_PAGE:
            raise ValueError(f"count must be from 1 to {MAX_PAGE}, not {shown(count)}")
        pattern = match if not prefix else escape_glob(prefix) + ("*" if match is None else match)
        return cls(prefix.encode(), pattern, DEFAULT_PAGE if count is None else count, type_)


def scan(wanted: ScanOptions, cursor: int) -> Operation[tuple[int | None, list[str]]]:
    """Ask for one page.

    Args:
        wanted: what to scan for.
        cursor: 0, or the cursor of the page before.

    Returns:
        The next cursor (None: that was the last page) and the keys, each without the prefix. A key that doesn't start
        with the very prefix is dropped, whatever the server made of the pattern.
    """
    words: list[object] = ["SCAN", cursor]
    if wanted.pattern is not None:
        words += ["MATCH", wanted.pattern]
    words += ["COUNT", wanted.count]
    if wanted.type is not None:
        words += ["TYPE", wanted.type]
    # Undecoded: one key that is not UTF-8 would otherwise end the scan, and nobody could see which.
    following, keys = yield Command(*words, **{NEVER_DECODE: True})
    if prefix := wanted.prefix:
        keys = [key[len(prefix) :] for key in keys if key.startswith(prefix)]
    return (int(following) or None), [key.decode("utf-8", "surrogateescape") for key in keys]
