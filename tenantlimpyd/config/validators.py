"""Which settings a file may have, and what each may be."""

from __future__ import annotations

import codecs
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from tenantlimpyd._connections.breaker import BreakerPolicy
from tenantlimpyd._connections.settings import KNOWN_SETTINGS, SECRET_SETTINGS, Settings
from tenantlimpyd.config.problems import Wrong, path_shown
from tenantlimpyd.exceptions import ConfigurationError, shown

__all__ = ["ADDRESS", "CODE_ONLY", "SETTINGS", "Kind", "seen"]

ADDRESS = ("url", "host", "port", "unix_socket_path", "sentinel")
"""The settings that say which server it is."""

_TYPES = {
    dict: "a table",
    list: "an array",
    str: "this text",
    bool: "a boolean",
    int: "this number",
    float: "this number",
}
_LARGEST_SHOWN = 10**30  # Python refuses to write out numbers of thousands of digits, which hexadecimal TOML can hold


@attrs.frozen
class Kind:
    """What a value may be.

    Attributes:
        allowed: in words, to stand after "must be".
        read: returns the value to use, given the one written and the folder of the file; raises ValueError where it may not
            be so, and :class:`Wrong` with a reason of its own.
    """

    allowed: str
    read: Callable[[Any, Path], Any]

    def of(self, name: str, value: Any, folder: Path) -> Any:
        """Return the value to use.

        Raises:
            Wrong: it may not be so.
        """
        try:
            return self.read(value, folder)
        except ValueError:
            raise Wrong(f"must be {self.allowed}, not {seen(name, value)}") from None


def seen(name: str, value: Any) -> str:
    """Return a value as a message may show it: secrets, and what may hold one, by type alone."""
    hidden = name in SECRET_SETTINGS or (isinstance(value, str) and ("@" in value or "://" in value))
    if hidden or not isinstance(value, str | int | float) or (isinstance(value, int) and abs(value) > _LARGEST_SHOWN):
        return _TYPES.get(type(value), f"a {type(value).__name__}")
    return shown(value)


def _refuse(when: bool) -> None:
    if when:
        raise ValueError


def _text(value: Any, folder: Path | None = None) -> str:  # noqa: ARG001
    _refuse(not isinstance(value, str) or not value or "\0" in value)
    value.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
    return str(value)


def _host(value: Any, folder: Path) -> str:
    host = _text(value, folder)
    _refuse(any(mark.isspace() or mark in "/@?#" or not mark.isprintable() for mark in host) or host.count(":") == 1)
    return host


def _path(value: Any, folder: Path) -> str:
    path = folder / _text(value, folder)
    if "\n" in str(path):
        raise Wrong("must be the path of a file, not its content (hidden)")
    try:
        there = path.exists()
    except OSError as error:
        raise Wrong(f"must be the path of a file that can be read: {error.strerror}") from None
    if not there:
        raise Wrong(f"there is no file {path_shown(path)}")
    return str(path)


def _socket(value: Any, folder: Path) -> str:
    _refuse(not Path(_text(value, folder)).is_absolute())
    return str(value)


def _flag(value: Any, folder: Path) -> bool:  # noqa: ARG001
    _refuse(not isinstance(value, bool))
    return bool(value)


def _codec(value: Any, folder: Path) -> str:
    try:
        codecs.lookup(_text(value, folder))
    except LookupError:
        raise ValueError from None
    return str(value)


def _url(value: Any, folder: Path) -> str:
    try:
        Settings({"url": _text(value, folder)})
    except ConfigurationError as error:
        raise Wrong("; ".join(problem.removeprefix("url ") for problem in error.problems)) from None
    return str(value)


def _number(low: int, high: int) -> Kind:
    def read(value: Any, folder: Path) -> int:  # noqa: ARG001
        _refuse(not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high)
        return int(value)

    return Kind(f"a whole number from {low} to {high}", read)


def _seconds(*, least: str) -> Kind:
    def read(value: Any, folder: Path) -> float:  # noqa: ARG001
        _refuse(not isinstance(value, int | float) or isinstance(value, bool))
        _refuse(not 0 <= value <= 86_400 or (value == 0 and least != "0"))
        return value  # type: ignore[no-any-return]

    return Kind(f"a number of seconds, {least} to 86400", read)


def _one_of(choices: Mapping[Any, Any]) -> Kind:
    def read(value: Any, folder: Path) -> Any:  # noqa: ARG001
        _refuse(not isinstance(value, str | int) or isinstance(value, bool) or value not in choices)
        return choices[value]

    return Kind(f"one of {', '.join(map(repr, choices))}", read)


def _several_of(choices: Mapping[str, Any]) -> Kind:
    def read(value: Any, folder: Path) -> list[Any]:  # noqa: ARG001
        _refuse(not isinstance(value, list) or not all(isinstance(name, str) and name in choices for name in value))
        return [choices[name] for name in value]

    return Kind(f"an array of {', '.join(map(repr, choices))}", read)


def _breaker(value: Any, folder: Path) -> BreakerPolicy | None:  # noqa: ARG001
    if value is False:
        return None
    _refuse(not isinstance(value, Mapping))
    try:
        return Settings({"breaker": dict(value)}).breaker
    except ConfigurationError as error:
        raise Wrong("; ".join(problem.removeprefix("breaker: ") for problem in error.problems)) from None


def _sentinel(value: Any, folder: Path) -> dict[str, Any]:  # noqa: ARG001
    _refuse(not isinstance(value, Mapping))
    return dict(value)


_TEXT = Kind("text", _text)
_PATH = Kind("the path of a file", _path)
_FLAG = Kind("true or false", _flag)
_LARGEST = 2**31 - 1
_ERROR_HANDLERS = ("strict", "ignore", "replace", "surrogateescape", "backslashreplace")
_TLS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
_VERIFY_FLAGS = {flag.name: flag for flag in ssl.VerifyFlags if flag.name is not None}

_KINDS: dict[str, Kind] = {
    "url": Kind("text such as 'redis://redis-1:6379/0'", _url),
    "host": Kind("a host name or address such as 'redis-1', with the port in port (a URL goes into url)", _host),
    "port": _number(1, 65_535),
    "unix_socket_path": Kind("an absolute path such as '/run/redis.sock'", _socket),
    "sentinel": Kind(
        "a table with master and hosts, such as {master = 'mymaster', hosts = ['sentinel-1:26379']}", _sentinel
    ),
    "db": _number(0, _LARGEST),
    "username": _TEXT,
    "password": _TEXT,
    "client_name": _TEXT,
    "protocol": _one_of({2: 2, 3: 3}),
    "max_connections": _number(1, _LARGEST),
    "socket_timeout": _seconds(least="more than 0"),
    "socket_connect_timeout": _seconds(least="more than 0"),
    "socket_keepalive": _FLAG,
    "socket_read_size": _number(1, _LARGEST),
    "health_check_interval": _seconds(least="0"),
    "ssl": _FLAG,
    "ssl_ca_certs": _PATH,
    "ssl_ca_path": _PATH,
    "ssl_ca_data": _TEXT,
    "ssl_certfile": _PATH,
    "ssl_keyfile": _PATH,
    "ssl_password": _TEXT,
    "ssl_cert_reqs": _one_of({name: name for name in ("required", "optional", "none")}),
    "ssl_check_hostname": _FLAG,
    "ssl_min_version": _one_of(_TLS),
    "ssl_ciphers": _TEXT,
    "ssl_include_verify_flags": _several_of(_VERIFY_FLAGS),
    "ssl_exclude_verify_flags": _several_of(_VERIFY_FLAGS),
    "ssl_validate_ocsp": _FLAG,
    "ssl_validate_ocsp_stapled": _FLAG,
    "encoding": Kind("the name of an encoding such as 'utf-8'", _codec),
    "encoding_errors": _one_of({name: name for name in _ERROR_HANDLERS}),
    "legacy_responses": _FLAG,
    "breaker": Kind("a table such as {failures = 3, seconds = 0.5, longest = 10.0}, or false", _breaker),
}

SETTINGS: Mapping[str, Kind] = {name: kind for name, kind in _KINDS.items() if name in KNOWN_SETTINGS}
"""The settings a file may have, by name."""

CODE_ONLY = KNOWN_SETTINGS - SETTINGS.keys()
"""The settings that no file has: they take Python objects, or redis-py is about to drop them."""
