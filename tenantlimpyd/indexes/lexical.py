"""Comparing texts that stand before a separator in the members of a sorted set.

Redis orders whole members, so the separator takes part: ``foo1:SEP:9`` comes before ``foo:SEP:1``, as ``1`` comes before
``:``. With x for a member's text, v for the value, and all comparisons by bytes:

- x >= v exactly if the member >= v, unless x is a proper prefix of v: then the separator decides about the member, while
  x < v. Such texts are few, and known: the prefixes of v that are followed in it by something up to ``:``.
- x starts with v exactly if the member does, unless v itself runs into the separator.

UTF-8 is ordered as its code points are, so texts and bytes are compared alike.
"""

from __future__ import annotations

import sys

from tenantlimpyd.indexes.pk_sources import LexRange

__all__ = ["equal_to", "lex_range"]


def equal_to(text: str, separator: str) -> tuple[str, str]:
    """Return the bounds of the members with this very text."""
    return f"[{text}{separator}", f"({_after(text + separator)}"


def lex_range(key: str, suffix: str, text: str, separator: str) -> LexRange:
    """Return the members whose texts compare with one as a filter's suffix says.

    Args:
        key: the sorted set.
        suffix: ``eq``, ``gt``, ``gte``, ``lt``, ``lte`` or ``startswith``.
        text: what to compare with.
        separator: what stands between text and pk.
    """
    same = equal_to(text, separator)
    shorter = _prefixes(text, separator)
    if suffix == "eq":
        return LexRange(key, (same,), separator)
    if suffix == "gte":
        return LexRange(key, ((f"[{text}", "+"),), separator, shorter)
    if suffix == "gt":
        return LexRange(key, ((f"[{text}", "+"),), separator, (*shorter, text))
    if suffix == "startswith":
        after = _after(text)
        return LexRange(key, ((f"[{text}", f"({after}" if after else "+"),), separator, _run_over(text, separator))
    below = (("-", f"({text}"), *(equal_to(each, separator) for each in shorter))
    return LexRange(key, below if suffix == "lt" else (*below, same), separator)


def _prefixes(text: str, separator: str) -> tuple[str, ...]:
    """Return the proper prefixes of a text whose members may come after it."""
    return tuple(text[:length] for length, following in enumerate(text) if following <= separator[0])


def _run_over(text: str, separator: str) -> tuple[str, ...]:
    """Return the texts shorter than ``text`` whose members start with it, thanks to their separator."""
    found = [text[:length] for length in range(len(text)) if separator.startswith(text[length:])]
    at = text.find(separator)
    while at >= 0:
        found.append(text[:at])
        at = text.find(separator, at + 1)
    return tuple(dict.fromkeys(found))


def _after(text: str) -> str:
    """Return the first text after all that start with ``text``; empty where there is none."""
    for length in range(len(text), 0, -1):
        code = ord(text[length - 1]) + 1
        if code <= sys.maxunicode:
            return text[: length - 1] + chr(0xE000 if 0xD800 <= code <= 0xDFFF else code)  # no text has surrogates
    return ""
