"""Commands that not every server has, and the error that says which servers have them."""

from __future__ import annotations

from typing import Any, Final

from tenantlimpyd._commands import servers_with
from tenantlimpyd._operations.steps import Operation
from tenantlimpyd.exceptions import ResponseError, UnsupportedCommandError

__all__ = ["needing"]

_OPTIONS: Final = {"ZRANK WITHSCORE": "Redis 7.2 or Valkey", "ZREVRANK WITHSCORE": "Redis 7.2 or Valkey"}
"""Options of commands, by command and option, and the first servers that have them."""

_REFUSALS: Final = ("unknown command", "unknown redis command", "unknown command called from script")
_OPTION_REFUSALS: Final = ("wrong number of arguments", "syntax error")


def needing(name: str, operation: Operation[Any]) -> Operation[Any]:
    """Run an operation that needs a command, or an option of one, that not every server has.

    Args:
        name: the command as in the command table, or a command and its option.
        operation: what sends it.

    Raises:
        UnsupportedCommandError: If the server does not have it.
    """
    try:
        return (yield from operation)
    except ResponseError as error:
        text = str(error).lower()
        if text.startswith(_REFUSALS) or (name in _OPTIONS and text.startswith(_OPTION_REFUSALS)):
            servers = _OPTIONS.get(name) or servers_with(name)
            raise UnsupportedCommandError(
                f"this server has no {name}: it came with {servers}. Nothing was changed."
            ) from error
        raise
