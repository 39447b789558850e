"""The configuration of an embedded server: validation, and the file that the server reads."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from tenantlimpyd.embedded.ports import HOST
from tenantlimpyd.exceptions import ConfigurationError, shown

__all__ = ["Option", "ServerConfiguration"]

Option = str | int | float | bool | Sequence[str]
"""The value of an option: one word, or several."""

_RESERVED_OPTIONS = {
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
class ServerConfiguration:
    """The validated configuration of a server, without its port.

    Attributes:
        password: the password of the default user, or None.
        acl: the lines of an ACL file.
        databases: the number of logical databases.
        options: further options by their names in the configuration file.

    Raises:
        ConfigurationError: If a value is out of range, or if an option is reserved for ``EmbeddedServer``.
    """

    password: str | None = attrs.field(repr=False)
    acl: tuple[str, ...] = attrs.field(repr=False)
    databases: int
    options: Mapping[str, Option] = attrs.field(repr=False)

    def __attrs_post_init__(self) -> None:
        problems = [
            f"The option {shown(name)} is set by EmbeddedServer. Use {instead}."
            for name, instead in _RESERVED_OPTIONS.items()
            if name in self.options
        ]
        problems += [
            f"The option {shown(name)} is not an option name: write it as in the server's configuration file."
            for name in self.options
            if not name.replace("-", "").isalnum()
        ]
        if not 0 < self.databases <= 1_000_000:
            problems.append(f"databases is {shown(self.databases)}: give 1 to 1000000.")
        if self.password == "":
            problems.append("password is empty: give a password, or None for a server without one.")
        if any("\n" in line or not line.startswith("user ") for line in self.acl):
            problems.append('acl takes a list of lines, each "user NAME RULES..." and without a line break.')
        if problems:
            raise ConfigurationError(problems)

    def write(self, directory: Path, data: Path, port: int) -> Path:
        """Write the configuration file and the ACL file, and return the path of the former.

        The options are not passed as arguments, because every user of the machine can read a command line.

        Args:
            directory: where the files and the unix socket go.
            data: where the server writes its data.
            port: the TCP port.
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
            if self.password is not None:  # a server with an ACL file ignores requirepass
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
        """Return ``text`` with every password of the configuration replaced by ``(hidden)``."""
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
