"""From a path, or a mapping, to a document."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from tenantlimpyd.config.problems import path_shown
from tenantlimpyd.exceptions import ConfigurationError, shown

__all__ = ["Document", "read"]

_MOST_BYTES = 64 * 1024 * 1024  # a million tenants; a device or a log file given by mistake is not read to its end


@attrs.frozen
class Document:
    """A configuration as it was written.

    Attributes:
        content: the tables.
        folder: where relative paths in it start.
        name: the file, as it may stand in a message; None: it came as a mapping.
    """

    content: Mapping[str, Any]
    folder: Path
    name: str | None


def read(source: str | os.PathLike[str] | Mapping[str, Any]) -> Document:
    """Return the document.

    Raises:
        ConfigurationError: it can't be read, or is not TOML.
    """
    if isinstance(source, Mapping):
        return Document(source, Path(), None)
    try:
        path = os.fspath(source)
    except TypeError:
        path = None
    if not isinstance(path, str):
        raise ConfigurationError(f"a configuration is the path of a TOML file, or a mapping, not {shown(source)}")
    if "\n" in path:
        raise ConfigurationError(
            "a configuration is the path of a TOML file, not its text: give tomllib.loads(text) for that"
        )
    name = path_shown(path)
    return Document(_parsed(_text(path, name), name), Path(path).parent, name)


def _text(path: str, name: str) -> str:
    try:
        if Path(path).is_dir():
            raise ConfigurationError(f"{name} is a folder: give the path of a TOML file in it")
        with open(path, "rb") as file:  # noqa: PTH123 - Path refuses some of what open can report on
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{name} can't be read: {error.strerror or type(error).__name__}") from error
    except ValueError:  # a NUL, or a lone surrogate
        raise ConfigurationError(f"{name} can't be the path of a file") from None
    if len(content) > _MOST_BYTES:
        raise ConfigurationError(f"{name} is longer than {_MOST_BYTES} bytes: is it a configuration?")
    try:
        return content.decode("utf-8-sig")  # some editors write a byte order mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{name}, line {line}: not UTF-8, which TOML must be") from None


def _parsed(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{name} is not TOML: {error}") from None
    except (ValueError, RecursionError):  # numbers of thousands of digits; tables nested a thousand deep
        raise ConfigurationError(f"{name} is not TOML that can be read: a number or a nesting without bounds") from None
