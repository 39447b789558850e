"""Passwords that are not in the file: from the environment, or from files of their own."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from tenantlimpyd.config.problems import Wrong, path_shown

__all__ = ["from_env", "from_file"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
# What follows the usual style is a name and is shown. Anything else may be a password in the wrong place.
_SURELY_A_NAME = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")
_MOST_BYTES = 64 * 1024


def from_env(name: Any) -> str:
    """Return the password that an environment variable holds.

    Raises:
        Wrong: no name, not set, empty, or not text.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Wrong("must be the name of an environment variable, such as 'REDIS_PASSWORD'")
    told = name if _SURELY_A_NAME.fullmatch(name) else "it names"
    value = os.environ.get(name)
    if value is None:
        raise Wrong(f"the environment variable {told} is not set")
    if not value:
        raise Wrong(f"the environment variable {told} is empty")
    return _utf8(value, f"what the environment variable {told} holds")


def from_file(name: Any, folder: Path) -> str:
    """Return the password that a file holds, without the line break it ends with.

    Args:
        name: the path.
        folder: where a relative path starts.

    Raises:
        Wrong: no path, no file that can be read, empty, not text, or more than one line.
    """
    if not isinstance(name, str) or not name:
        raise Wrong("must be the path of a file, such as '/run/secrets/redis'")
    try:
        with open(folder / name, "rb") as file:  # noqa: PTH123 - as in reading
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        start = "" if Path(name).is_absolute() else f" (a relative path starts at {path_shown(folder)})"
        raise Wrong(f"the file it names can't be read: {error.strerror or type(error).__name__}{start}") from None
    except ValueError:
        raise Wrong("can't be the path of a file") from None
    content = content.removesuffix(b"\n").removesuffix(b"\r")
    if not content:
        raise Wrong("the file it names is empty")
    if len(content) > _MOST_BYTES or b"\n" in content:
        raise Wrong("the file it names holds more than one line: it must hold the password alone")
    return _utf8(content.decode("utf-8", "surrogateescape"), "what the file holds")


def _utf8(value: str, what: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Wrong(f"{what} is not UTF-8") from None
    return value
