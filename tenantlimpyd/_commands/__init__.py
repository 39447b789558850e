"""Redis commands: one table, and the look-up of a command's row.

Sharing connections, repeating, confining, routing and auditing all ask this table. A command without a row is *unknown*: its
row has the careful value for every property.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tenantlimpyd._commands.row import CommandRow, parse_row, unknown_row
from tenantlimpyd._commands.table import TABLE

__all__ = ["CONTAINERS", "ROWS", "CommandRow", "command_name", "first_word", "row_of", "servers_with"]

ROWS: dict[str, CommandRow] = {
    row.name: row for row in map(parse_row, filter(lambda line: line and line[0] != "#", TABLE.splitlines()))
}
"""All rows by name; a subcommand's name has a space, as ``XGROUP CREATE``."""

CONTAINERS = frozenset(name.partition(" ")[0] for name in ROWS if " " in name)
"""Commands that have subcommands, each with a row of its own."""

_DIRECT = {name: row for name, row in ROWS.items() if name not in CONTAINERS}
_KINDS = {"redis": "Redis", "valkey": "Valkey"}


def first_word(name: Any) -> str:
    """Return the first word of a command's name in upper case.

    Args:
        name: the name as redis-py takes it: text or bytes, a subcommand after white space.

    Returns:
        The word; empty text where there is none.
    """
    if name.__class__ is str and name.isupper() and " " not in name:
        found: str = name
        return found
    words = _words(name)
    return words[0] if words else ""


def _words(name: Any) -> list[str]:
    text = bytes(name).decode(errors="replace") if isinstance(name, bytes | bytearray | memoryview) else str(name)
    return text.upper().split()


def command_name(command: Sequence[Any]) -> str:
    """Return the name of a command in upper case, a subcommand after a space.

    Args:
        command: the command's words as redis-py takes them. The first may hold several, in any spelling.
    """
    words = _words(command[0]) if command else []
    if not words:
        return ""
    if words[0] not in CONTAINERS:
        return words[0]
    if len(words) == 1 and len(command) > 1:
        words += _words(command[1])[:1]
    return " ".join(words[:2])


def row_of(command: Sequence[Any]) -> CommandRow:
    """Return the row of a command; for one that the table does not have, the row with careful values.

    Args:
        command: the command's words as redis-py takes them, in any spelling.
    """
    name = command[0] if command else ""
    row = _DIRECT.get(name) if name.__class__ is str else None
    if row is None:
        name = command_name(command)
        row = ROWS.get(name)
    return unknown_row(str(name)) if row is None else row


def servers_with(name: str) -> str:
    """Return which servers have a command, for error messages: ``Redis 7.4 or Valkey 9.0``.

    Raises:
        KeyError: If the table does not have the command, or all servers have it.
    """
    since = ROWS[name].since
    if not since:
        raise KeyError(name)
    return " or ".join(f"{_KINDS[kind]} {version}" for kind, version in since.items() if version is not None)
