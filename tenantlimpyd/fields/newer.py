"""Commands that not every server has: which one brought them, for an error that says so."""

from __future__ import annotations

from typing import Any, Final

from tenantlimpyd._operations.steps import Operation
from tenantlimpyd.exceptions import ResponseError, UnsupportedCommandError

__all__ = ["SINCE", "needing"]

_EXPIRING: Final = "Redis 7.4 or Valkey 9.0"

SINCE: Final = {
    **dict.fromkeys(("HEXPIRE", "HPEXPIRE", "HEXPIREAT", "HPEXPIREAT", "HPERSIST"), _EXPIRING),
    **dict.fromkeys(("HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME"), _EXPIRING),
    **dict.fromkeys(("HGETEX", "HSETEX"), "Redis 8.0 or Valkey 9.0"),
    "HGETDEL": "Redis 8.0 or Valkey 9.1",
    "ZRANK WITHSCORE": "Redis 7.2 or Valkey",
    "ZREVRANK WITHSCORE": "Redis 7.2 or Valkey",
}
"""The first servers that have a command, or an option of it."""

_REFUSALS: Final = ("unknown command", "unknown redis command", "unknown command called from script")
_OPTION_REFUSALS: Final = ("wrong number of arguments", "syntax error")


def needing(words: str, operation: Operation[Any]) -> Operation[Any]:
    """Run an operation that needs a command of :data:`SINCE`.

    Raises:
        UnsupportedCommandError: the server doesn't have it.
    """
    try:
        return (yield from operation)
    except ResponseError as error:
        text = str(error).lower()
        if text.startswith(_REFUSALS) or (" " in words and text.startswith(_OPTION_REFUSALS)):
            raise UnsupportedCommandError(
                f"this server has no {words}: it came with {SINCE[words]}. Nothing was changed."
            ) from error
        raise
