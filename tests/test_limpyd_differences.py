"""The list of differences from limpyd: whole, shown by tests, and what the documentation says."""

from __future__ import annotations

import re
from pathlib import Path

from integration.parity.expected import read
from integration.parity.page import PAGE, with_tables

TESTS = Path(__file__).parent


def test_every_pitfall_is_listed_once():
    numbers = [line.number for line in read()]
    assert [number for number in numbers if number.startswith("P")] == [f"P{number}" for number in range(1, 59)]
    assert [number for number in numbers if number.startswith("D")] == [
        f"D{number}" for number in range(1, len(numbers) - 57)
    ]


def test_what_is_kept_has_a_reason():
    for line in read():
        assert line.state in ("fixed", "kept", "open")
        assert line.limpyd
        assert line.here
        assert line.reason or line.state != "kept"


def test_each_pitfall_has_a_test_under_its_number():
    shown = set()
    for file in TESTS.rglob("test_*.py"):
        for name in re.findall(r"def test_((?:p\d\d_)+)", file.read_text(encoding="utf-8")):
            shown.update(f"P{int(number)}" for number in re.findall(r"\d\d", name))
    wanted = {line.number for line in read() if line.number.startswith("P") and line.state != "open"}
    assert wanted <= shown


def test_the_page_says_what_the_file_says():
    text = PAGE.read_text(encoding="utf-8")
    assert with_tables(text) == text, "run: python -m integration.parity.page"
