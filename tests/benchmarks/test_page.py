"""The figures of the documentation can be replaced without changing the text around them."""

from __future__ import annotations

import pytest

from benchmarks import memory
from benchmarks.__main__ import main
from benchmarks.page import BEGINS, ENDS, Page


def test_figures_of_a_page_are_replaced(tmp_path):
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


def test_page_without_markers_is_refused_and_unchanged(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("text\n", "utf-8")
    with pytest.raises(SystemExit, match="no figures to replace"):
        Page().write(page)
    assert page.read_text("utf-8") == "text\n"


def test_figures_without_comparison_have_their_own_table(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"{BEGINS}{ENDS}", "utf-8")
    figures = Page()
    figures.add("walks", "work", "peer", "1.00", "0.90-1.10", "", "1.0", "1.0")
    figures.say("a remark")
    figures.table("Memory", ["tenants", "bytes"], [("10", "500")])
    figures.write(page)
    assert page.read_text("utf-8").endswith(
        "| walks | work | peer | 1.00 | 0.90-1.10 |  | 1.0 | 1.0 |\n| | a remark | | | | | | |\n\n"
        f"Memory:\n\n| tenants | bytes |\n| --: | --: |\n| 10 | 500 |\n\n{ENDS}"
    )


def test_unknown_part_is_refused_before_anything_starts(capsys):
    with pytest.raises(SystemExit):
        main(["walk"])
    assert (
        "there is no part 'walk': choose of commands, libraries, rotation, walks, growth, memory"
        in capsys.readouterr().err
    )


@pytest.mark.slow
def test_single_part_can_be_run(capsys, monkeypatch):
    monkeypatch.setattr(memory, "NUMBERS", (10,))
    monkeypatch.setattr(memory, "CLIENTS", 5)
    main(["memory"])
    assert "bytes each" in capsys.readouterr().out
