"""Where the keys of a command are among its words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import attrs

__all__ = ["KeyPositions"]

_SPECIFICATION = re.compile(
    r"""
    (?P<counted>\#)?
    (?: (?P<keyword>[A-Z]+) @ )?
    (?P<begin>-?\d+)
    (?: \.\. (?P<last>[+-]\d+)? )?
    (?: / (?P<step>\d+) )?
    (?: : (?P<share>\d+) )?
    """,
    re.VERBOSE,
)


@attrs.frozen
class _Specification:
    """One rule for finding keys, as one key specification of ``COMMAND INFO``.

    Attributes:
        begin: the word where the search begins: a position, or where the keyword is looked for from (negative: from the end).
        keyword: the word that stands before the keys, if any.
        counted: whether the word at ``begin`` is the number of keys.
        last: the last key, relative to the first (0: one key) or, where negative, to the end of the command.
        step: words from one key to the next.
        share: the keys are only the first of so many equal parts of what follows.
    """

    begin: int
    keyword: str | None
    counted: bool
    last: int
    step: int
    share: int

    def positions(self, words: Sequence[Any]) -> list[int]:
        """Return the positions of keys among the words of a command; empty where the keyword is missing.

        Raises:
            ValueError: If the word for the number of keys is no number, or counts more keys than there are words.
        """
        first = self.begin
        if self.keyword is not None:
            found = self._keyword_position(words)
            if found is None:
                return []
            first = found + 1
        if self.counted:
            if first >= len(words):
                raise ValueError("the number of keys is missing")
            count = int(words[first])
            end = first + 1 + count * self.step
            if count < 0 or end > len(words):
                raise ValueError(f"the command has fewer words than its {count} keys need")
            return list(range(first + 1, end, self.step))
        if self.last >= 0:
            end = first + self.last + 1
        elif self.share > 1:
            end = first + (len(words) - first) // self.share
        else:
            end = len(words) + self.last + 1
        return list(range(first, min(end, len(words)), self.step))

    def _keyword_position(self, words: Sequence[Any]) -> int | None:
        assert self.keyword is not None  # noqa: S101 - asked for specifications with a keyword only
        if self.begin < 0:
            candidates = range(len(words) + self.begin, 0, -1)
        else:
            candidates = range(self.begin, len(words))
        return next((at for at in candidates if _text(words[at]).upper() == self.keyword), None)


def _text(word: Any) -> str:
    return bytes(word).decode(errors="replace") if isinstance(word, bytes | bytearray | memoryview) else str(word)


@attrs.frozen
class KeyPositions:
    """Where the keys of a command are.

    Attributes:
        complete: whether the positions name all keys that the command may touch.
    """

    _specifications: tuple[_Specification, ...]
    complete: bool

    @classmethod
    def unknown(cls) -> KeyPositions:
        """Return the positions of a command of which nothing is known."""
        return cls((), complete=False)

    @classmethod
    def parse(cls, notation: str) -> KeyPositions:
        """Return the positions that the column ``keys`` of the command table describes.

        Raises:
            ValueError: If the notation is malformed.
        """
        if notation == "-":
            return cls((), complete=True)
        parts = notation.split(",")
        return cls(tuple(_parse(part) for part in parts if part != "?"), complete="?" not in parts)

    def positions(self, words: Sequence[Any]) -> list[int]:
        """Return the positions of keys among the words of a command, in ascending order.

        Args:
            words: the command's words. Its name is word 0; a subcommand's name is word 1.

        Raises:
            ValueError: If the words do not form a valid command, so that its keys are not certain.
        """
        found = {at for each in self._specifications for at in each.positions(words)}
        return sorted(found)

    def __bool__(self) -> bool:
        return bool(self._specifications) or not self.complete


def _parse(part: str) -> _Specification:
    match = _SPECIFICATION.fullmatch(part)
    if match is None:
        raise ValueError(f"malformed key positions: {part!r}")
    is_range = ".." in part
    last = 0 if not is_range else int(match["last"] or -1)
    return _Specification(
        begin=int(match["begin"]),
        keyword=match["keyword"],
        counted=match["counted"] is not None,
        last=last,
        step=int(match["step"] or 1),
        share=int(match["share"] or 1),
    )
