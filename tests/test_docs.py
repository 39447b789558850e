"""The pages of the documentation: the first example of each runs by itself, and no line of code is too long to be read."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WIDTH = 88
"""The characters of a line of code that fit into the column of the built pages."""
INSTALLED = {"attrs", "redis", "structlog", "tenantlimpyd"}
"""What `pip install tenantlimpyd` brings, beside the standard library."""

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the language and the text of each block of code of a page."""
    return [(found[1], found[2]) for found in _BLOCK.finditer(page.read_text("utf-8"))]


def first_examples() -> dict[str, tuple[Path, str]]:
    """Return the first Python example of each page that has one, by the page's name."""
    examples = {}
    for page in PAGES:
        code = next((text for language, text in blocks(page) if language == "python"), None)
        if code is not None:
            examples[str(page.relative_to(ROOT))] = page, code
    return examples


FIRST_EXAMPLES = first_examples()


def test_pages_with_examples_are_found():
    assert len(FIRST_EXAMPLES) >= 18


@pytest.mark.slow
@pytest.mark.parametrize("name", FIRST_EXAMPLES)
def test_first_example_of_a_page_runs_by_itself(name, tmp_path):
    _, code = FIRST_EXAMPLES[name]
    done = subprocess.run(
        [sys.executable, "-"], input=code, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", FIRST_EXAMPLES)
def test_first_example_imports_only_what_the_page_installs(name):
    page, code = FIRST_EXAMPLES[name]
    imported = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.partition(".")[0])
    commands = re.findall(r"pip install (.*)", page.read_text("utf-8").partition("```python")[0])
    assert {each for each in imported - INSTALLED - sys.stdlib_module_names if each not in " ".join(commands)} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_of_code_fit_into_their_column(page):
    long = [line for _, text in blocks(page) for line in text.splitlines() if len(line) > WIDTH]
    assert long == []


def test_lines_of_code_in_docstrings_fit_into_their_column():
    long = []
    for path in (ROOT / "tenantlimpyd").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            block = False
            for line in (ast.get_docstring(node) or "").splitlines():
                block = line.endswith("::") or (block and line[:4].strip() == "")
                if block and not line.endswith("::") and len(line) - 4 > WIDTH:
                    long.append((path.name, line))
    assert long == []


def test_reference_lists_public_names_only():
    text = "".join(page.read_text("utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
    names = re.findall(r"^\.\. auto\w+:: (\S+)$", text, re.MULTILINE)
    assert len(names) > 80
    assert [name for name in names if any(part.startswith("_") for part in name.split("."))] == []
