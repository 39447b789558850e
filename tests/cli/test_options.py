"""The options of all commands: the configuration and its errors, logging, the version."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version

import pytest

pytestmark = pytest.mark.slow


def lines(text):
    return [line.strip() for line in text.splitlines()]


def test_version_is_printed(cli, process):
    assert cli("--version").stdout == f"tenantlimpyd {version('tenantlimpyd')}\n"
    assert process("--version").stdout == f"tenantlimpyd {version('tenantlimpyd')}\n"


def test_help_names_every_command(cli):
    told = cli("--help").stdout
    for command in ("demo", "tenants", "check", "scan"):
        assert re.search(rf"\b{command}\b", told)


@pytest.mark.parametrize("command", ["tenants", "check", "scan"])
def test_missing_configuration_is_a_usage_error(cli, command):
    result = cli(command)
    assert result.exit_code == 2
    assert "give --config FILE, or set TENANTLIMPYD_CONFIG" in result.stderr
    assert result.stdout == ""


def test_configuration_is_an_option_before_or_after_the_command_or_a_variable(cli, config, monkeypatch, tmp_path):
    assert cli("tenants", "--config", config).exit_code == 0
    assert cli("--config", config, "tenants").exit_code == 0
    monkeypatch.setenv("TENANTLIMPYD_CONFIG", str(tmp_path / "other.toml"))
    assert cli("tenants").exit_code == 2
    assert cli("tenants", "--config", config).exit_code == 0
    assert cli("--config", config, "tenants").exit_code == 0
    assert cli("--config", tmp_path / "other.toml", "tenants", "--config", config).exit_code == 0
    monkeypatch.setenv("TENANTLIMPYD_CONFIG", str(config))
    assert cli("tenants").exit_code == 0


@pytest.mark.parametrize("command", ["tenants", "check", "scan"])
def test_all_mistakes_of_a_configuration_are_reported(cli, tmp_path, command):
    path = tmp_path / "tenants.toml"
    path.write_text('[tenants.acme]\nhost = "h"\nprot = 1\ndb = -1\npassword = 5\n')
    result = cli(command, "-c", path)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert lines(result.stderr) == [
        f"Wrong configuration in '{path}':",
        "tenants.acme.prot: unknown; did you mean 'port'?",
        "tenants.acme.db: must be a whole number from 0 to 2147483647, not -1",
        "tenants.acme.password: must be text, not this number",
    ]


def test_missing_file_is_reported(process, tmp_path):
    result = process("tenants", "-c", tmp_path / "none.toml")
    assert result.returncode == 2
    assert "none.toml' can't be read: No such file or directory" in result.stderr
    assert "Traceback" not in result.stderr


def test_log_events_are_shown_only_on_demand(cli, broken_config):
    arguments = ("check", "-c", broken_config, "--timeout", "0.3")
    quiet = cli(*arguments)
    assert "tenant_failed" not in quiet.stderr  # the command reports it itself
    for told in (cli(*arguments, "--verbose"), cli("-v", *arguments)):
        assert "tenant_failed" in told.stderr
        assert "fan_out_started" in told.stderr
        assert "tenant_failed" not in told.stdout


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_missing_extra_cli_says_what_to_install(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; from tenantlimpyd.cli import main; main()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 1
    assert (
        result.stderr
        == f"The command line needs {missing}, which is not installed. Run: pip install 'tenantlimpyd[cli]'\n"
    )


def test_missing_extra_demo_says_what_to_install(cli, monkeypatch):
    monkeypatch.delitem(sys.modules, "tenantlimpyd.demo", raising=False)
    monkeypatch.delitem(sys.modules, "tenantlimpyd.demo.story", raising=False)
    monkeypatch.setitem(sys.modules, "httpx", None)
    result = cli("demo")
    assert result.exit_code == 1
    assert "The demo needs httpx, which is not installed. Run: pip install 'tenantlimpyd[demo]'" in result.stderr
