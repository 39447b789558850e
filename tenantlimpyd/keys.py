"""Names of keys: joining, escaping, prefixes. Arithmetic on strings, no I/O."""

from __future__ import annotations

import re

__all__ = ["escape_glob", "make_key"]

_GLOB = re.compile(r"([*?\[\]\\^-])")


def make_key(*parts: object) -> str:
    """Return the parts joined by ``:``, each as its ``str``; limpyd's key layout, which escapes nothing."""
    return ":".join(map(str, parts))


def escape_glob(text: str) -> str:
    r"""Return ``text`` as a Redis glob pattern that matches ``text`` itself and nothing else.

    The special characters are those of Redis's ``stringmatchlen``: ``* ? [ ] \`` and, inside brackets, ``^ -``.
    """
    return _GLOB.sub(r"\\\1", text)
