"""The figures of the documentation can be taken anew without touching the text around them."""

from __future__ import annotations

import pytest

from benchmarks.page import BEGINS, ENDS, Page


def test_the_figures_of_a_page_are_replaced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{BEGINS}\n| old |\n{ENDS}\n\nafter\n", "utf-8")
    figures = Page()
    figures.environment = r"a machine of \1"
    figures.add("blocking", "work", "peer", "1.00", "0.90-1.10", "≤ 1.05", "1.0", "1.0")
    for _ in range(2):
        figures.write(page)
    text = page.read_text("utf-8")
    assert text.startswith(f"before\n\n{BEGINS}\n\nTaken with a machine of \\1:\n\n| |")
    assert text.endswith(f"| blocking | work | peer | 1.00 | 0.90-1.10 | ≤ 1.05 | 1.0 | 1.0 |\n\n{ENDS}\n\nafter\n")
    assert "old" not in text


def test_a_page_without_a_place_for_figures_is_refused_and_kept(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("text\n", "utf-8")
    with pytest.raises(SystemExit, match="no figures to replace"):
        Page().write(page)
    assert page.read_text("utf-8") == "text\n"
