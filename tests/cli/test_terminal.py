"""On a terminal: the progress bar, the keys, and the table at the end."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def on_terminal(command, *, stdout_too):
    """Run a command with stderr, and perhaps stdout, on a terminal; return exit code, stdout, and what the terminal got."""
    own, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs if stdout_too else subprocess.PIPE, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                seen += (part := os.read(own, 65536))
            except OSError:  # Linux reports the end of a terminal this way
                break
            if not part:
                break
        out = b"" if stdout_too else process.stdout.read()
        os.close(own)
        return process.wait(timeout=30), out.decode(), seen.decode()


def scan(config):
    return [sys.executable, "-m", "tenantlimpyd", "scan", "invoice:*", "-c", str(config)]


def test_terminal_shows_keys_progress_bar_and_table(config):
    code, _, seen = on_terminal(scan(config), stdout_too=True)
    assert code == 0
    for words in ("globex", "invoice:9", "tenants", "4 keys of 3 tenants"):
        assert words in seen
    assert seen.index("\x1b[?25l") < seen.index("\x1b[?25h")  # the cursor is hidden and shown again


def test_keys_go_to_a_pipe_and_the_progress_to_the_terminal(config):
    code, out, seen = on_terminal(scan(config), stdout_too=False)
    assert code == 0
    assert sorted(out.splitlines()) == ["acme\tinvoice:1", "acme\tinvoice:2", "globex\tinvoice:1", "initech\tinvoice:9"]
    assert "invoice" not in seen
    assert "4 keys of 3 tenants" in seen
