"""Mistakes: collected, each under the key it is at."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable

import attrs

from tenantlimpyd.exceptions import shown

__all__ = ["Problems", "Wrong", "dotted", "meant", "path_shown"]

_BARE = re.compile(r"[A-Za-z0-9_-]{1,128}")
_LONGEST_GUESS = 64
_LONGEST_PATH = 4096


class Wrong(Exception):  # noqa: N818 - never leaves this package
    """A value can't be what it is; its text says why, with no secret in it."""


@attrs.define
class Problems:
    """What was found so far, in the order of the file."""

    found: list[str] = attrs.Factory(list)

    def add(self, key: str, text: str) -> None:
        """Add a mistake; ``key`` is empty where it is about the whole."""
        self.found.append(f"{key}: {text}" if key else text)


def dotted(*names: object) -> str:
    """Return keys as TOML writes them: ``tenants.acme.db``, ``tenants."a b"``; escaped, and cut short where they are long."""
    return ".".join(map(_one, names))


def _one(name: object) -> str:
    if not isinstance(name, str):
        return shown(name)
    if _BARE.fullmatch(name):
        return name
    return json.dumps(name) if len(name) <= _LONGEST_GUESS else json.dumps(name[:_LONGEST_GUESS] + "...")


def meant(name: object, known: Iterable[str]) -> str:
    """Return a question such as ``did you mean 'port'?``, or nothing where no known name is near."""
    if not isinstance(name, str) or len(name) > _LONGEST_GUESS:
        return ""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else ""


def path_shown(path: object) -> str:
    """Return a path in quotes: escaped, and whole unless it is longer than paths can be."""
    text = str(path)
    return repr(text) if len(text) <= _LONGEST_PATH else shown(text)
