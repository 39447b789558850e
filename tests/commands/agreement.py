"""Compare the command table with the answer of a server to COMMAND."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenantlimpyd._commands import CONTAINERS, ROWS

_KEYS_DIFFER = {"STRALGO"}
"""Commands whose keys Redis 6.2 does not tell by position."""


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


def disagreements(commands: Mapping[str, Mapping[str, Any]], kind: str, version: str) -> list[str]:
    """Return in what the table is less careful than a server, or differs from it.

    Args:
        commands: what ``scripts/record_command_info.py`` records of the server.
        kind: ``redis`` or ``valkey``.
        version: the server's version.
    """
    found = []
    for name, told in commands.items():
        if name in CONTAINERS and name not in ROWS:
            continue
        row = ROWS.get(name)
        if row is None:
            found.append(f"{name}: no row")
            continue
        flags = set(told["flags"])
        if "write" in flags and (row.reads or not row.writes):
            found.append(f"{name}: it writes")
        if row.reads and ("write" in flags or row.writes):
            found.append(f"{name}: the row says that it only reads")
        if "denyoom" in flags and not row.needs_memory:
            found.append(f"{name}: it needs memory")
        if "blocking" in flags and row.blocking == "never":
            found.append(f"{name}: it blocks")
        if "no_multi" in flags and row.in_multi:
            found.append(f"{name}: not allowed in MULTI")
        keys = ",".join(sorted(_notation(name, row), key=lambda text: (text == "?", text))) or "-"
        if told["keys"] is not None and keys != told["keys"] and name not in _KEYS_DIFFER:
            found.append(f"{name}: keys are {told['keys']}, not {keys}")
        first = row.since.get(kind, "0.0") if row.since else "0.0"
        if first is None or _version(first) > _version(version):
            found.append(f"{name}: {kind} {version} has it, the row says {first}")
    return found


def _notation(name: str, row: Any) -> set[str]:
    from tenantlimpyd._commands.table import TABLE

    line = next(line for line in TABLE.splitlines() if line.startswith(f"{name.replace(' ', '|')} "))
    column = line.split()[1]
    return set() if column == "-" else set(column.split(","))
