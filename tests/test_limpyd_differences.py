"""The list of differences from limpyd: complete, covered by tests, and in the documentation."""

from __future__ import annotations

import re
from pathlib import Path

from integration.parity.expected import read
from integration.parity.page import PAGE, with_tables

TESTS = Path(__file__).parent


def test_every_pitfall_of_limpyd_is_listed_once():
    numbers = [line.number for line in read()]
    assert [number for number in numbers if number.startswith("P")] == [f"P{number}" for number in range(1, 59)]
    assert [number for number in numbers if number.startswith("D")] == [
        f"D{number}" for number in range(1, len(numbers) - 57)
    ]


def test_kept_pitfalls_have_a_reason():
    for line in read():
        assert line.state in ("fixed", "kept", "open")
        assert line.limpyd
        assert line.here
        assert line.reason or line.state != "kept"


def test_each_pitfall_has_a_test_with_its_marker():
    shown = set()
    for file in TESTS.rglob("test_*.py"):
        shown.update(re.findall(r"@pytest\.mark\.pitfall\((\d+)\)", file.read_text(encoding="utf-8")))
    wanted = {line.number for line in read() if line.number.startswith("P") and line.state != "open"}
    assert wanted <= {f"P{number}" for number in shown}


def test_documentation_has_the_listed_differences():
    text = PAGE.read_text(encoding="utf-8")
    assert with_tables(text) == text, "run: python -m integration.parity.page"
