"""The command line in this process and in another one, with a configuration of three tenants."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import redis
import structlog
from typer.testing import CliRunner

ROOT = Path(__file__).parents[2]
SECRET = "hunter2"

TENANTS = """
[servers.main]
url = "redis://127.0.0.1:{port}"

[tenants.acme]
server = "main"
db = 41

[tenants.globex]
server = "main"
db = 42
key_prefix = "globex:"

[tenants.initech]
server = "main"
db = 42
key_prefix = "initech:"
"""


@pytest.fixture(autouse=True)
def logging_as_before():
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("TENANTLIMPYD_CONFIG", "COLUMNS", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cli():
    """Run the command line in this process."""
    from tenantlimpyd.cli.app import app

    def run(*arguments):
        return CliRunner().invoke(app, list(map(str, arguments)), prog_name="tenantlimpyd")

    return run


@pytest.fixture
def process():
    """Run the command line as a process."""

    def run(*arguments, **keywords):
        command = [sys.executable, "-W", "error", "-m", "tenantlimpyd", *map(str, arguments)]
        given = {"capture_output": True, "text": True, "timeout": 50, "cwd": ROOT, **keywords}
        return subprocess.run(command, check=False, **given)

    return run


@pytest.fixture
def config(tmp_path, flushed_server):
    """The path of a configuration of three tenants on the server, with a few keys each."""
    path = tmp_path / "tenants.toml"
    path.write_text(TENANTS.format(port=flushed_server.port))
    with redis.Redis(**flushed_server.settings, db=41) as acme, redis.Redis(**flushed_server.settings, db=42) as others:
        acme.mset({"invoice:1": "x", "invoice:2": "x", "note:1": "x"})
        others.mset({"globex:invoice:1": "x", "initech:note:1": "x", "elsewhere": "x"})
        others.hset("initech:invoice:9", "a", "b")
    return path


@pytest.fixture
def broken_config(config):
    """The same, with a tenant whose server refuses connections."""
    with config.open("a") as file:
        file.write(f'\n[tenants.dead]\nhost = "127.0.0.1"\nport = 1\npassword = "{SECRET}"\n')
    return config
