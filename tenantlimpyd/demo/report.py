"""What the demo says, and whether it was right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["Teller"]


class Teller:
    """Prints the demo's steps, and keeps count of what was not as it should be."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._step = 0
        self.claims = 0
        self.failures = 0

    def step(self, title: str) -> None:
        """Begin a step."""
        self._step += 1
        self._console.print()
        self._console.print(Text(f"{self._step}. {title}", style="bold"))

    def say(self, sentence: str) -> None:
        """Print a sentence."""
        self._console.print(Text(f"   {sentence}"))

    def claim(self, sentence: str, holds: bool, otherwise: object = "") -> None:
        """Print a sentence, and whether it holds.

        Args:
            sentence: what should be so.
            holds: whether it is.
            otherwise: what is so instead; printed where it does not hold.
        """
        self.claims += 1
        mark = Text("   ok      ", style="green") if holds else Text("   WRONG   ", style="bold red")
        self._console.print(mark + Text(sentence))
        if not holds:
            self.failures += 1
            self._console.print(Text(f"           instead: {otherwise!r}", style="red"))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Print a table."""
        made = Table()
        for column in columns:
            made.add_column(column, overflow="fold")
        for row in rows:
            made.add_row(*(Text(str(value)) for value in row))
        self._console.print(made)
