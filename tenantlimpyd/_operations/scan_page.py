"""Send one SCAN to one database, with its arguments: a pattern under a prefix, the page size, the type."""

from __future__ import annotations

import attrs
from redis.client import NEVER_DECODE

from tenantlimpyd._operations.steps import Command, Operation
from tenantlimpyd.exceptions import shown
from tenantlimpyd.keys import escape_glob, without_prefix

__all__ = ["DEFAULT_PAGE", "MAX_PAGE", "ScanOptions", "scan_page"]

DEFAULT_PAGE = 1000
"""Keys that the server examines in one SCAN if ``count`` is not given. With Redis's own default of 10, a scan takes a hundred
times as long."""

MAX_PAGE = 2**31 - 1
"""The largest ``count``. Servers treat larger ones in different ways."""


@attrs.frozen
class ScanOptions:
    """The arguments of SCAN, except for the cursor.

    Attributes:
        prefix: the key prefix of the database, which is removed from the keys.
        pattern: the pattern of MATCH, which includes the escaped prefix; None for no MATCH.
        count: the argument of COUNT.
        type: the argument of TYPE; None for all types.
    """

    prefix: bytes
    pattern: str | None
    count: int
    type: str | None

    @classmethod
    def of(cls, prefix: str, match: str | None, count: int | None, type_: str | None) -> ScanOptions:
        """Return the options for the arguments of ``scan_keys``.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If ``count`` is less than 1 or more than :data:`MAX_PAGE`.
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

    def words(self) -> list[str | int]:
        """Return the words of the command that follow the cursor."""
        words: list[str | int] = [] if self.pattern is None else ["MATCH", self.pattern]
        words += ["COUNT", self.count]
        return words if self.type is None else [*words, "TYPE", self.type]


def scan_page(options: ScanOptions, cursor: int) -> Operation[tuple[int | None, list[str]]]:
    """Scan one page.

    Args:
        options: the arguments of SCAN.
        cursor: 0, or the cursor that the previous page returned.

    Returns:
        The next cursor, or None after the last page, and the keys without the prefix. Keys that do not start with the exact
        prefix are dropped, even if the server matched them.
    """
    # Not decoded by redis-py: one key that is not UTF-8 would end the scan, and the error would not name the key.
    next_cursor, keys = yield Command("SCAN", cursor, *options.words(), **{NEVER_DECODE: True})
    keys = without_prefix(keys, options.prefix)
    return (int(next_cursor) or None), [key.decode("utf-8", "surrogateescape") for key in keys]
