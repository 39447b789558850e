"""Write the differences into ``docs/migrating.md``: ``python -m integration.parity.page``. A test fails if that is due."""

from __future__ import annotations

from pathlib import Path

from integration.parity.expected import Line, read

__all__ = ["PAGE", "with_tables"]

PAGE = Path(__file__).parents[2] / "docs" / "migrating.md"
START, END = "<!-- made from integration/parity/differences.toml -->", "<!-- end of what is made -->"


def _row(line: Line) -> str:
    here = line.here if line.state != "kept" else f"*Kept.* {line.here}"
    cells = (line.number, line.limpyd, here, line.reason)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _table(lines: list[Line]) -> str:
    return "\n".join(["| | limpyd | here | reason |", "| --- | --- | --- | --- |", *map(_row, lines)])


def with_tables(text: str) -> str:
    """Return the page with the tables as the file says.

    Raises:
        ValueError: the page has no place for them.
    """
    head, start, rest = text.partition(START)
    _, end, tail = rest.partition(END)
    if not start or not end:
        raise ValueError(f"{PAGE.name} has no lines {START!r} and {END!r}")
    lines = read()
    pitfalls = [line for line in lines if line.number.startswith("P")]
    others = [line for line in lines if not line.number.startswith("P")]
    made = f"### limpyd's pitfalls\n\n{_table(pitfalls)}\n\n### Other differences\n\n{_table(others)}"
    return f"{head}{START}\n\n{made}\n\n{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
