"""Prints figures beside redis-py and other libraries, all from this run: ``python -m benchmarks``, or ``make bench``;
``python -m benchmarks walks growth`` some parts of them alone.

They are figures, not a test: the exit code is 0 whatever they are.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import acases, cases, memory, others, rotating, walks
from benchmarks.page import Page
from benchmarks.pairs import Figure, acompare, compare
from benchmarks.setting import Setting, environment, one_tenant, settings_line

WIDTH = 132
PARTS = {
    "commands": "single commands and objects, beside redis-py",
    "libraries": "the same works in limpyd, rom and walrus",
    "rotation": "one tenant after the other",
    "walks": "walks over many databases",
    "growth": "how walks grow",
    "memory": "memory of idle tenants",
}
NOTE = "Ratio: our time over the peer's, the median of paired rounds (A B B A), with quartiles. Lower is better."


class Report:
    """The table, filled line by line; the page gets the same lines."""

    def __init__(self, console: Console, page: Page) -> None:
        self._console = console
        self._page = page
        self._part = ""
        self._tables: list[Table] = []
        self._table = Table(box=None, pad_edge=False, header_style="bold")
        self._table.add_column("work")
        self._table.add_column("beside")
        for name in ("ratio", "quartiles", "aim", "ours, µs", "peer, µs"):
            self._table.add_column(name, justify="right", no_wrap=True)

    def section(self, title: str) -> None:
        """Begin a part of the table."""
        self._part = title
        self._table.add_row(f"[bold]{title}")
        self._console.print(f"... {title}", style="dim")

    def add(self, name: str, peer: str, figure: Figure, aim: float | None = None) -> None:
        """Add a comparison."""
        mark = "" if aim is None else f"≤ {aim:.2f}"
        if aim is not None and figure.ratio > aim:
            mark += " (missed)"
        digits = 2 if figure.ratio >= 0.1 else 4
        spread = "one run" if figure.rounds == 1 else f"{figure.low:.{digits}f}-{figure.high:.{digits}f}"
        cells = (name, peer, f"{figure.ratio:.{digits}f}", spread, mark, f"{figure.ours:,.1f}", f"{figure.peer:,.1f}")
        self._table.add_row("  " + cells[0], *cells[1:])
        self._page.add(self._part, *cells)

    def say(self, text: str) -> None:
        """Add a line that is no comparison."""
        self._table.add_row("  " + text)
        self._page.say(text)

    def table(self, title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Add a table of its own."""
        self._console.print(f"... {title}", style="dim")
        table = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
        for name in head:
            table.add_column(name, justify="right")
        kept = list(rows)
        for row in kept:
            table.add_row(*row)
        self._tables.append(table)
        self._page.table(title[0].upper() + title[1:], head, kept)

    def print(self) -> None:
        """Print what was added."""
        for table in ([self._table] if self._table.rows else []) + self._tables:
            self._console.print()
            self._console.print(table)


def blocking(setting: Setting, report: Report, seconds: float) -> None:
    """Measure what blocks."""
    report.section("blocking")
    with setting.router.use_tenant("acme"):
        for case in [*cases.commands(setting), *cases.objects(setting)]:
            figure = compare(case.ours, case.theirs, seconds=seconds, repeat=case.repeat)
            report.add(case.name, case.peer, figure, case.aim)
    report.add("enter and leave a tenant", "redis-py GET", _entering(setting, seconds))


def comparing(setting: Setting, report: Report, seconds: float) -> None:
    """Measure other libraries, beside what our cases are compared with."""
    with setting.router.use_tenant("acme"):
        setting.peer.flushdb()  # as many objects as a query finds, and no more
        objects = cases.objects(setting)
    for name, library in others.LIBRARIES.items():
        report.section(name)
        for case in library.cases(setting, objects):
            report.add(case.name, case.peer, compare(case.ours, case.theirs, seconds=seconds, repeat=case.repeat))


def _entering(setting: Setting, seconds: float) -> Figure:
    def enter(repeat: int) -> None:
        for _ in range(repeat):
            with setting.router.use_tenant("acme"):
                pass

    return compare(enter, cases.gets(setting.peer), seconds=seconds, repeat=20)


async def awaiting(setting: Setting, report: Report, seconds: float) -> None:
    """Measure what awaits."""
    report.section("asyncio")
    async with setting.apeer() as peer, setting.apeer() as second, setting.router.use_tenant("acme"):
        for case in await acases.cases(setting, peer, second):
            figure = await acompare(case.ours, case.theirs, seconds=seconds, repeat=case.repeat)
            report.add(case.name, case.peer, figure, case.aim)
    await setting.router.aclose()


def rotate(report: Report, seconds: float) -> None:
    """Measure commands that go to one tenant's database after the other's."""
    report.section(f"{rotating.TENANTS:,} tenants in turn, at most {rotating.CONNECTIONS} connections")
    with rotating.fleet() as fleet:
        for name, peer, figure in rotating.figures(fleet, seconds):
            report.add(name, peer, figure, rotating.AIM)
        for name, peer, figure in asyncio.run(rotating.afigures(fleet, seconds)):
            report.add(name, peer, figure, rotating.AIM)


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("part", nargs="*", metavar="part", help="; ".join(f"{name}: {PARTS[name]}" for name in PARTS))
    parser.add_argument("--seconds", type=float, default=1.8, help="time for each line (default: %(default)s)")
    parser.add_argument("--page", type=Path, help="a page of documentation, whose figures are replaced by these")
    parser.add_argument("--picture", type=Path, help="where to draw how walks grow, as SVG; with --page: beside it")
    given = parser.parse_args(arguments)
    if unknown := [part for part in given.part if part not in PARTS]:
        parser.error(f"there is no part {unknown[0]!r}: choose of {', '.join(PARTS)}")
    parts = set(given.part or PARTS)
    picture = given.picture or (given.page and given.page.with_name("growth.svg"))
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    page = Page()
    report = Report(console, page)
    libraries = others.versions() if "libraries" in parts else None
    started = time.perf_counter()
    with one_tenant() as setting:
        page.environment = environment(setting) + (f"; {libraries}" if libraries else "")
        console.print(page.environment, settings_line(setting), sep="\n", soft_wrap=True)
        if "commands" in parts:
            blocking(setting, report, given.seconds)
            asyncio.run(awaiting(setting, report, given.seconds))
        if "libraries" in parts:
            comparing(setting, report, given.seconds)
    if "rotation" in parts:
        rotate(report, given.seconds)
    if "walks" in parts:
        walks.measure(report, 2 * given.seconds)
    if "growth" in parts:
        walks.grows(report, picture)
    if "memory" in parts:
        memory.measure(report)
    report.print()
    if given.page is not None:
        page.write(given.page)
    console.print(f"\n{NOTE}\nTaken in {time.perf_counter() - started:.0f} s.")


if __name__ == "__main__":
    main()
