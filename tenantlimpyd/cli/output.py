"""Printing: for people on a terminal, for programs in a pipe, and never what a terminal would obey."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tenantlimpyd.exceptions import ConfigurationError, TenantError

__all__ = ["FAILED", "WRONG_USE", "cell", "console", "counted", "printable", "reporting", "table", "warn"]

FAILED = 1
WRONG_USE = 2
_ENDED_BY_SIGPIPE = 141
_WIDTH_OF_FILES = 200


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # for reporting(); Rich would end the process with 1, which means something else here


def console(*, stderr: bool = False) -> Console:
    """Return a console on stdout or stderr as they are now. In a file or a pipe, lines have room."""
    found = _Console(stderr=stderr, highlight=False, soft_wrap=False)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found.width = _WIDTH_OF_FILES
    return found


def printable(text: str) -> str:
    r"""Return text with control characters, invisible ones and undecodable bytes escaped as Python writes them.

    Backslashes are doubled, so that two keys are never printed alike.
    """
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(
        mark if mark.isprintable() and mark != "\\" else mark.encode("unicode_escape").decode() for mark in text
    )


def counted(number: int, word: str) -> str:
    """Return ``1 tenant``, ``2 tenants``."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def cell(value: Any, style: str = "") -> Text:
    """Return a value for a table: no markup in it is obeyed."""
    return Text(printable(str(value)), style=style, overflow="fold")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Sequence[str] = ()) -> Table:
    """Return a table of texts.

    Args:
        title: what stands above it.
        columns: their headings.
        rows: their values.
        right: columns that hold numbers.
    """
    made = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(value if isinstance(value, Text) else cell(value) for value in row))
    return made


def warn(*lines: str, style: str = "red") -> None:
    """Print lines on stderr."""
    stderr = console(stderr=True)
    for line in lines:
        stderr.print(Text("\n".join(map(printable, line.splitlines()))), style=style, soft_wrap=True)


@contextlib.contextmanager
def reporting() -> Iterator[None]:
    """Turn errors that are the user's to mend into a message and an exit code; end quietly when nobody reads any more."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # Whatever is still buffered is for nobody. The exit code is the one of a command that SIGPIPE ended.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(_ENDED_BY_SIGPIPE) from None
    except OSError as error:
        # Errors of servers are none: this is a full disk, or a file that can't be written.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        warn(f"Stopped, because the output can't be written: {error}")
        raise typer.Exit(FAILED) from None
    except ConfigurationError as error:
        where = ", ".join(getattr(error, "__notes__", []))
        warn(f"Wrong configuration{' ' + where if where else ''}:", *(f"  {problem}" for problem in error.problems))
        raise typer.Exit(WRONG_USE) from None
    except TenantError as error:
        warn(str(error))
        raise typer.Exit(WRONG_USE) from None
