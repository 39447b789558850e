"""Figures as a table of Markdown, and a page of documentation that has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["Page"]

HEAD = """\
| | work | beside | ratio | quartiles | aim | µs | beside, µs |
| --- | --- | --- | --: | --: | --: | --: | --: |
"""
BEGINS, ENDS = "<!-- figures -->", "<!-- end of the figures -->"


class Page:
    """The lines of the table, and what they were taken with.

    Attributes:
        environment: what the figures were taken with.
    """

    def __init__(self) -> None:
        self.environment = ""
        self._lines: list[str] = []
        self._tables: list[str] = []

    def add(self, *cells: str) -> None:
        """Add a line."""
        self._lines.append(f"| {' | '.join(cells)} |\n")

    def say(self, text: str) -> None:
        """Add a remark on the line before."""
        self._lines.append(f"| | {text} | | | | | | |\n")

    def table(self, title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Add a table of its own, below: what is no comparison."""
        lines = [head, ["--:"] * len(head), *rows]
        self._tables.append(f"\n{title}:\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines))

    def __str__(self) -> str:
        table = f"{HEAD}{''.join(self._lines)}" if self._lines else ""
        return f"{BEGINS}\n\nTaken with {self.environment}:\n\n{table}{''.join(self._tables)}\n{ENDS}"

    def write(self, path: Path) -> None:
        """Replace the figures of a page by these.

        Raises:
            SystemExit: the page has no place for them.
        """
        page, number = re.subn(f"{BEGINS}.*?{ENDS}", lambda _: str(self), path.read_text("utf-8"), flags=re.DOTALL)
        if number != 1:
            raise SystemExit(f"{path} has no figures to replace: put {BEGINS} and {ENDS} where they belong")
        path.write_text(page, "utf-8")
