"""``tenantlimpyd tenants``."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.slow

SECRETS = """
[servers.main]
url = "redis://someone:hunter2@redis-1:6379"
[tenants.acme]
server = "main"
db = 1
[tenants.globex]
server = "main"
db = 2
key_prefix = "[red]x[/]\\u001b[2J:"
"""


def test_each_tenant_is_listed_with_its_server_and_database(cli, config, server):
    rows = [line for line in cli("tenants", "-c", config).stdout.splitlines() if "│" in line]
    assert [[part.strip() for part in row.strip("│").split("│")] for row in rows] == [
        ["acme", f"127.0.0.1:{server.port}", "41", ""],
        ["globex", f"127.0.0.1:{server.port}", "42", "globex:"],
        ["initech", f"127.0.0.1:{server.port}", "42", "initech:"],
    ]


def test_tenants_are_listed_as_json(cli, config, server):
    told = [json.loads(line) for line in cli("tenants", "-c", config, "--json").stdout.splitlines()]
    assert told[1] == {"tenant": "globex", "server": f"127.0.0.1:{server.port}", "db": 42, "prefix": "globex:"}
    assert len(told) == 3


def test_secrets_are_hidden_and_control_characters_escaped(cli, tmp_path):
    path = tmp_path / "tenants.toml"
    path.write_text(SECRETS)
    for arguments in ((), ("--json",), ("--verbose",)):
        result = cli("tenants", "-c", path, *arguments)
        assert result.exit_code == 0
        assert "hunter2" not in result.output
        assert "someone" not in result.output
        assert "\x1b" not in result.output
    assert "[red]x[/]\\x1b[2J:" in cli("tenants", "-c", path).stdout
