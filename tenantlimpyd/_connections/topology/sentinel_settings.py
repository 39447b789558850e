"""Where the sentinels of a master are: the setting ``sentinel``, checked, compared by value, shown without secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from tenantlimpyd.exceptions import shown

__all__ = ["DEFAULT_PORT", "DEFAULT_TIMEOUT", "SentinelSettings", "read_sentinel"]

DEFAULT_PORT = 26379
DEFAULT_TIMEOUT = 1.0
"""Seconds for connecting to a sentinel, and for its reply, where ``socket_timeout`` says nothing else."""

_EXAMPLE = "{'master': 'mymaster', 'hosts': ['sentinel-1:26379', 'sentinel-2:26379']}"
_HOST = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^\s/@:\[\]]+)(?::([0-9]{1,5}))?")


@attrs.frozen
class SentinelSettings:
    """A master by its name, and the sentinels that know where it is.

    Attributes:
        master: its name, as the sentinels are configured.
        hosts: host and port of each sentinel, in the order given.
        settings: further settings of redis-py for connecting to the sentinels, such as their password; not the master's.
    """

    master: str
    hosts: tuple[tuple[str, int], ...]
    settings: tuple[tuple[str, Any], ...] = attrs.field(default=(), repr=False)

    @property
    def server(self) -> str:
        """Its name among servers: the master and its sentinels, in whatever order they were given."""
        return f"{self.master}@{','.join(sorted(f'{host.lower()}:{port}' for host, port in self.hosts))}"


def read_sentinel(value: Any) -> tuple[SentinelSettings | None, list[str]]:
    """Return the setting, and what is wrong with it. Its further settings are not checked here."""
    if isinstance(value, SentinelSettings):
        return value, []
    if not isinstance(value, Mapping):
        return None, [f"sentinel must be a mapping such as {_EXAMPLE}, not {shown(value)}"]
    given = {str(name): held for name, held in value.items()}
    master, listed = given.pop("master", None), given.pop("hosts", None)
    problems = []
    if not isinstance(master, str) or not re.fullmatch(r"[A-Za-z0-9._-]{1,256}", master):
        problems.append(f"sentinel: master must be the master's name, such as 'mymaster', not {shown(master)}")
    hosts: list[tuple[str, int]] = []
    if isinstance(listed, str | bytes) or not isinstance(listed, Sequence) or not listed:
        problems.append("sentinel: hosts must be a list of sentinels, such as ['sentinel-1:26379', 'sentinel-2:26379']")
    else:
        for entry in listed:
            if (host := _host(entry)) is None:
                problems.append(
                    "sentinel: each of hosts must be 'host:port', such as 'sentinel-1:26379' (what was given is hidden, since "
                    "it may hold a password)"
                )
            elif host not in hosts:
                hosts.append(host)
    if problems:
        return None, problems
    return SentinelSettings(str(master), tuple(hosts), tuple(sorted(given.items()))), []


def _host(entry: Any) -> tuple[str, int] | None:
    if isinstance(entry, Sequence) and not isinstance(entry, str | bytes) and len(entry) == 2:
        name, port = entry
        if not isinstance(name, str) or not isinstance(port, int) or isinstance(port, bool):
            return None
        entry = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    if not isinstance(entry, str) or (match := _HOST.fullmatch(entry)) is None:
        return None
    port = DEFAULT_PORT if match[2] is None else int(match[2])
    return (match[1].strip("[]"), port) if 0 < port < 65_536 else None
