"""The demo checks its own claims: it prints every section, and detects failures."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys

import pytest
from rich.console import Console

from tenantlimpyd.demo import run
from tenantlimpyd.demo.report import Teller
from tenantlimpyd.router import DatabaseRouter

pytestmark = pytest.mark.slow


def test_demo_prints_every_section(process):
    result = process("demo")
    assert (result.returncode, result.stderr) == (0, "")
    assert "WRONG" not in result.stdout
    assert re.findall(r"^(\d)\. ", result.stdout, re.MULTILINE) == ["1", "2", "3", "4", "5", "6"]
    for words in (
        "60 notes are written",
        "404",
        "400",
        "is named: hooli",
        "initech:",
        "nothing strayed",
        "claims held",
    ):
        assert words in result.stdout
    assert "\x1b" not in result.stdout  # no terminal sequences where there is no terminal


def test_interrupted_demo_ends_without_traceback_and_leaves_no_files(tmp_path):
    command = [sys.executable, "-u", "-m", "tenantlimpyd", "demo"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as demo:
        for line in demo.stdout:
            if "notes are written" in line:
                break
        demo.send_signal(signal.SIGINT)
        assert demo.wait(timeout=20) == 130
        assert "Traceback" not in demo.stderr.read()
    assert list(tmp_path.iterdir()) == []


def test_demo_detects_a_tenant_with_the_database_of_another(monkeypatch):
    real = DatabaseRouter._current_placement

    def astray(router):
        with router.use_tenant("acme", allow_switch=True):
            return real(router)

    monkeypatch.setattr(DatabaseRouter, "_current_placement", astray)
    printed = io.StringIO()
    assert run(Console(file=printed, width=200)) is False
    assert "WRONG   globex finds its own 12 notes" in printed.getvalue()


def test_failed_claim_is_counted_and_shown():
    printed = io.StringIO()
    teller = Teller(Console(file=printed, width=200))
    teller.claim("two is two", True)
    teller.claim("two is three", False, [2])
    assert (teller.claims, teller.failures) == (2, 1)
    assert "ok      two is two" in printed.getvalue()
    assert "WRONG   two is three" in printed.getvalue()
    assert "instead: [2]" in printed.getvalue()
