"""Figures as a table of Markdown, and a page of documentation that has them."""

from __future__ import annotations

import re
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

    def add(self, *cells: str) -> None:
        """Add a line."""
        self._lines.append(f"| {' | '.join(cells)} |\n")

    def __str__(self) -> str:
        return f"{BEGINS}\n\nTaken with {self.environment}:\n\n{HEAD}{''.join(self._lines)}\n{ENDS}"

    def write(self, path: Path) -> None:
        """Replace the figures of a page by these.

        Raises:
            SystemExit: the page has no place for them.
        """
        page, number = re.subn(f"{BEGINS}.*?{ENDS}", lambda _: str(self), path.read_text("utf-8"), flags=re.DOTALL)
        if number != 1:
            raise SystemExit(f"{path} has no figures to replace: put {BEGINS} and {ENDS} where they belong")
        path.write_text(page, "utf-8")
