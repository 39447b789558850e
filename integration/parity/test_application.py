"""An application of limpyd works after its imports were changed (``sed s/limpyd/tenantlimpyd/``), with its existing data."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integration.parity.keyspace import content_of
from tests.support.servers import ServerHandle

BOOKSHOP = Path(__file__).parent / "application" / "bookshop"
DAY = ("report", "change", "report")
LEFT_BEHIND = b":__collection__:"
"""In keys that limpyd leaves behind for 300 seconds (P45)."""

Run = Callable[..., list[Any]]


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, Path]:
    """The application as it was written, and as it is after the one change; each in a folder of its own."""
    folders = {name: tmp_path / name for name in ("limpyd", "tenantlimpyd")}
    shutil.copytree(BOOKSHOP, folders["limpyd"] / "bookshop", ignore=shutil.ignore_patterns("__pycache__"))
    (folders["tenantlimpyd"] / "bookshop").mkdir(parents=True)
    for source in sorted((folders["limpyd"] / "bookshop").iterdir()):
        moved = folders["tenantlimpyd"] / "bookshop" / source.name
        with moved.open("wb") as file:
            subprocess.run(["sed", "s/limpyd/tenantlimpyd/", source], check=True, stdout=file)
    return folders


@pytest.fixture
def run(programs: dict[str, Path], server: ServerHandle) -> Run:
    """``run("limpyd", 4, "fill")``: run steps of the application on a database, and return what they told."""

    def run(library: str, db: int, *steps: str) -> list[Any]:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "bookshop", *steps],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=programs[library],
            env={
                "PYTHONPATH": str(programs[library]),
                "PYTHONIOENCODING": "utf-8",
                "BOOKSHOP_REDIS": json.dumps({**server.settings, "db": db}),
            },
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


def keyspace(server: ServerHandle, db: int) -> dict[bytes, Any]:
    with server.client(db=db, decode_responses=False) as client:
        return {key: held for key, held in content_of(client).items() if LEFT_BEHIND not in key}


def test_application_uses_every_part_of_limpyd(programs: dict[str, Path]) -> None:
    written = "\n".join(source.read_text("utf-8") for source in (programs["limpyd"] / "bookshop").iterdir())
    assert written.count("\n") > 400
    imported = set(re.findall(r"^from limpyd(\S*) import|^import limpyd", written, re.MULTILINE))
    assert imported == {
        *("", ".exceptions", ".fields", ".indexes"),
        *(".contrib.collection", ".contrib.database", ".contrib.indexes", ".contrib.related"),
    }
    moved = "\n".join(source.read_text("utf-8") for source in (programs["tenantlimpyd"] / "bookshop").iterdir())
    assert not re.search(r"(?<!tenant)limpyd", moved)


def test_application_works_after_changing_its_import(run: Run, server: ServerHandle) -> None:
    filled = run("limpyd", 4, "fill")
    before = keyspace(server, 4)
    day = run("limpyd", 4, *DAY)
    after = keyspace(server, 4)
    assert len(filled) + len(day) > 100

    # From nothing
    assert run("tenantlimpyd", 5, "fill") == filled
    assert keyspace(server, 5) == before
    assert run("tenantlimpyd", 5, *DAY) == day
    assert keyspace(server, 5) == after

    # On the data that is there
    assert run("limpyd", 6, "fill") == filled
    assert run("tenantlimpyd", 6, *DAY) == day
    assert keyspace(server, 6) == after

    # And back
    assert run("tenantlimpyd", 7, "fill") == filled
    assert run("limpyd", 7, *DAY) == day
    assert keyspace(server, 7) == after
