"""The lines of ``differences.toml``, and the conditions under which a random program may meet one."""

from __future__ import annotations

import fnmatch
import tomllib
from collections import Counter
from pathlib import Path

import attrs

__all__ = ["FILE", "Expected", "Line", "read"]

FILE = Path(__file__).with_name("differences.toml")


@attrs.frozen
class Line:
    """One line of the file.

    Attributes:
        number: ``P1`` to ``P58``: a pitfall of limpyd's; ``D1`` and so on: another difference.
        limpyd: what limpyd does.
        here: what is done here.
        reason: why, where that isn't plain.
        state: ``fixed``, or ``kept`` where it is as in limpyd.
        tests: where that is shown.
        when: patterns of what a random program tells of a step. A pattern is words with blanks between, all of which must
            be among the step's tags; ``|`` stands between alternatives (``a:b|c`` is ``a:b|a:c``), ``!`` before what must not
            be, ``*`` for anything.
    """

    number: str
    limpyd: str
    here: str
    state: str
    reason: str = ""
    tests: tuple[str, ...] = ()
    when: tuple[tuple[str, ...], ...] = ()

    def claims(self, tags: set[str]) -> bool:
        """Return whether a difference with these tags is this one."""
        return any(all(_fits(word, tags) for word in pattern) for pattern in self.when)


def _fits(word: str, tags: set[str]) -> bool:
    first, *others = word.removeprefix("!").split("|")
    kind = first.partition(":")[0] + ":" if ":" in first else ""
    choices = [first, *(each if ":" in each else kind + each for each in others)]
    return any(fnmatch.filter(tags, each) for each in choices) != word.startswith("!")


def read() -> list[Line]:
    """Return the lines of the file, in order."""
    with FILE.open("rb") as file:
        table = tomllib.load(file)
    return [
        Line(
            number=number,
            tests=tuple(values.pop("tests", ())),
            when=tuple(tuple(pattern.split()) for pattern in values.pop("when", ())),
            **values,
        )
        for number, values in table.items()
    ]


class Expected:
    """All lines, and how often a random program met each."""

    def __init__(self) -> None:
        self.lines = read()
        self.met: Counter[str] = Counter()

    def claims(self, tags: set[str]) -> bool:
        """Return whether a difference with these tags is in the file."""
        for line in self.lines:
            if line.claims(tags):
                self.met[line.number] += 1
                return True
        return False
