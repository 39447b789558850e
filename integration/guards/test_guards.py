"""Each guard is switched off once in a copy of the package: the tests that claim it must fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.guards.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
COPIED = ("tenantlimpyd", "tests", "integration", "examples", "benchmarks", "conftest.py", "pyproject.toml")

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the sources, to be changed."""
    folder = tmp_path_factory.mktemp("guards")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    yield folder
    shutil.rmtree(folder)


def run(folder: Path, tests: tuple[str, ...]) -> tuple[int, int, str]:
    """Run tests of a copy; return how many failed, how many passed, and the output."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=short", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    counts = {what: int(number) for number, what in re.findall(r"(\d+) (failed|passed|error)", done.stdout)}
    return counts.get("failed", 0), counts.get("passed", 0), done.stdout


def test_copy_is_what_is_tested(copy: Path) -> None:
    """Without a mutation the tests of a guard pass; with a syntax error in the copy nothing does."""
    path = copy / "tenantlimpyd" / "exceptions.py"
    text = path.read_text(encoding="utf-8")
    tests = ("tests/connections/test_raw_commands.py", "-k", "pickle")
    failed, passed, output = run(copy, tests)
    assert (failed, passed > 0) == (0, True), output
    try:
        path.write_text(text + "\n)", encoding="utf-8")
        assert run(copy, tests)[1] == 0
    finally:
        path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.guard)
def test_guard_that_is_switched_off_is_missed(copy: Path, mutation: Mutation) -> None:
    path = copy / mutation.path
    text = path.read_text(encoding="utf-8")
    assert text.count(mutation.guarded) == 1, "the guard has changed: change the mutation too"
    try:
        path.write_text(text.replace(mutation.guarded, mutation.unguarded), encoding="utf-8")
        failed, _, output = run(copy, mutation.tests)
    finally:
        path.write_text(text, encoding="utf-8")
    assert failed, f"nothing missed the guard: {mutation.guard}\n{output[-3000:]}"
