"""Arguments of an embedded server, checked, and as a configuration file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from tenantlimpyd.embedded.ports import HOST
from tenantlimpyd.exceptions import ConfigurationError, shown

__all__ = ["Configuration", "Option"]

Option = str | int | float | bool | Sequence[str]

_DECIDED = {
    "aclfile": "acl=",
    "bind": "nothing: an embedded server listens on 127.0.0.1 only",
    "daemonize": "nothing: the server is a child of this process",
    "databases": "databases=",
    "dir": "data_dir=",
    "logfile": "nothing: read .log",
    "pidfile": "nothing: read .pid",
    "port": "port=",
    "requirepass": "password=",
    "supervised": "nothing: the server is a child of this process",
    "unixsocket": "nothing: read .unix_socket",
    "unixsocketperm": "nothing: the socket is private to this user",
}


@attrs.frozen
class Configuration:
    """What a server is started with, its port apart.

    Raises:
        ConfigurationError: something is out of range, or an option is one the class decides.
    """

    password: str | None = attrs.field(repr=False)
    acl: tuple[str, ...] = attrs.field(repr=False)
    databases: int
    options: Mapping[str, Option] = attrs.field(repr=False)

    def __attrs_post_init__(self) -> None:
        problems = [
            f"The option {shown(name)} is decided by EmbeddedServer. Use {instead}."
            for name, instead in _DECIDED.items()
            if name in self.options
        ]
        problems += [
            f"The option {shown(name)} is no configuration name: write it as in the server's configuration file."
            for name in self.options
            if not name.replace("-", "").isalnum()
        ]
        if not 0 < self.databases <= 1_000_000:
            problems.append(f"databases is {shown(self.databases)}: give 1 to 1000000.")
        if self.password == "":
            problems.append("password is empty: give one, or None for a server without.")
        if any("\n" in line or not line.startswith("user ") for line in self.acl):
            problems.append('acl takes a list of lines, each "user NAME RULES..." and without a line break.')
        if problems:
            raise ConfigurationError(problems)

    def write(self, directory: Path, data: Path, port: int) -> Path:
        """Write the configuration file (and the ACL file) into ``directory``, and return its path.

        A file and not arguments: every user of the machine can read a command line.
        """
        settings: dict[str, Option] = {
            "port": port,
            "bind": HOST,
            "dir": str(data),
            "databases": self.databases,
            "unixsocket": str(directory / "socket"),
            "unixsocketperm": "700",
            "save": "",
        }
        if self.acl:
            lines = list(self.acl)
            if self.password is not None:  # beside an ACL file the server ignores requirepass
                digest = hashlib.sha256(self.password.encode()).hexdigest()
                lines.append(f"user default on #{digest} ~* &* +@all")
            settings["aclfile"] = str(directory / "acl")
            (directory / "acl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        elif self.password is not None:
            settings["requirepass"] = self.password
        settings.update(self.options)
        path = directory / "conf"
        path.write_text("".join(_line(name, value) for name, value in settings.items()), encoding="utf-8")
        return path

    def without_secrets(self, text: str) -> str:
        """Return ``text`` with every password given in the arguments blotted out."""
        secrets = [] if self.password is None else [self.password]
        for line in self.acl:
            secrets += [rule[1:] for rule in line.split() if rule[0] in ">#"]
        secrets += [str(value) for name, value in self.options.items() if name.endswith(("auth", "pass"))]
        for secret in filter(None, secrets):
            text = text.replace(secret, "(hidden)")
        return text


def _line(name: str, value: Option) -> str:
    if isinstance(value, bool):
        value = "yes" if value else "no"
    values = [str(value)] if isinstance(value, str | int | float) else list(value)
    return " ".join([name, *map(_quoted, values)]) + "\n"


def _quoted(value: str) -> str:
    plain = value.isascii() and value.isprintable() and not set(value) & set("\"\\'")
    return f'"{value}"' if plain else '"' + "".join(f"\\x{byte:02x}" for byte in value.encode()) + '"'
