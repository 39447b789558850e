"""From a table of the file to the settings of a connection."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tenantlimpyd._connections.topology.sentinel_settings import read_sentinel
from tenantlimpyd.config.problems import Problems, Wrong, dotted, meant
from tenantlimpyd.config.secrets import from_env, from_file
from tenantlimpyd.config.validators import ADDRESS, CODE_ONLY, SETTINGS
from tenantlimpyd.exceptions import shown

__all__ = ["SERVER_KEYS", "TENANT_KEYS", "is_table", "settings_of"]

_PASSWORDS = ("password", "password_env", "password_file")
SERVER_KEYS = (*SETTINGS, "password_env", "password_file")
"""What a table of a server may have."""
_SENTINEL_KEYS = (
    *("master", "hosts"),
    *(name for name in SERVER_KEYS if name not in {*ADDRESS, "db", "breaker"}),
)
TENANT_KEYS = ("server", "key_prefix", *SERVER_KEYS)
"""What a table of a tenant may have."""


def is_table(value: Any, key: str, problems: Problems) -> bool:
    """Return whether ``value`` is a table; add a problem if it is not."""
    if isinstance(value, Mapping):
        return True
    problems.add(key, f"must be a table: write [{key}] and its settings below, not {_kind_of(value)}")
    return False


def _kind_of(value: Any) -> str:
    return "an array of tables ([[...]])" if isinstance(value, list) else f"a value ({type(value).__name__})"


def settings_of(
    table: Mapping[Any, Any], where: tuple[object, ...], allowed: tuple[str, ...], folder: Path, problems: Problems
) -> dict[str, Any]:
    """Return those settings of a table that are right, and add a problem for each other.

    Args:
        table: the table.
        where: its own key, in parts.
        allowed: the keys it may have. ``server`` and ``key_prefix`` are left to the caller.
        folder: where relative paths start.
        problems: gets what is wrong.
    """
    settings: dict[str, Any] = {}
    for name, value in table.items():
        key = dotted(*where, name)
        try:
            if name == "password_env":
                settings["password"] = from_env(value)
            elif name == "password_file":
                settings["password"] = from_file(value, folder)
            elif name in SETTINGS and name in allowed:
                settings[name] = SETTINGS[name].of(name, value, folder)
                if name == "sentinel":
                    settings[name] = _sentinel_of(value, (*where, name), folder, problems)
            elif name not in allowed:
                problems.add(key, _unknown(name, value, where, allowed))
        except Wrong as wrong:
            problems.add(key, str(wrong))
    several = [name for name in _PASSWORDS if name in table]
    if len(several) > 1:
        problems.add(dotted(*where), f"{' and '.join(several)} are given together: keep one")
    return settings


def _sentinel_of(
    table: Mapping[Any, Any], where: tuple[object, ...], folder: Path, problems: Problems
) -> dict[str, Any]:
    """Return the setting; its own password may be in the environment, or in a file, too."""
    settings = settings_of(table, where, _SENTINEL_KEYS, folder, problems)
    named = {name: table[name] for name in ("master", "hosts") if name in table}
    for problem in read_sentinel(named)[1]:
        problems.add(dotted(*where), problem.removeprefix("sentinel: "))
    return {**settings, **named}


def needs_address(settings: Mapping[str, Any], table: Mapping[Any, Any]) -> bool:
    """Return whether a table says nothing at all about which server it is, not even wrongly."""
    return not any(name in settings or name in table for name in ADDRESS)


def _unknown(name: Any, value: Any, where: tuple[object, ...], allowed: tuple[str, ...]) -> str:
    if isinstance(name, str) and name in CODE_ONLY:
        return "is a setting for code, not for files: make this RedisDatabase in code, and router.add() it"
    if name == "key_prefix":
        return "belongs into the tables of tenants: each needs its own"
    if name == "server":
        return "belongs into the tables of tenants"
    if guess := meant(name, allowed):
        return f"unknown; {guess}"
    if isinstance(value, Mapping) and isinstance(name, str) and isinstance(where[-1], str):
        whole = dotted(where[0], f"{where[-1]}.{name}")
        return f"unknown; if there is a dot in the name, put it in quotes: [{whole}]"
    if not isinstance(name, str):
        return f"a key is text, not {shown(name)}"
    return f"unknown; allowed are {', '.join(allowed)}"
