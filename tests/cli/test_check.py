"""``tenantlimpyd check``."""

from __future__ import annotations

import json

import pytest

from tenantlimpyd.embedded import EmbeddedServer

pytestmark = pytest.mark.slow


def test_check_of_valid_tenants_succeeds(cli, config):
    result = cli("check", "-c", config)
    assert result.exit_code == 0, result.output
    assert result.stdout.count(" ok ") == 3
    assert result.stderr == ""


def test_check_prints_json(process, config, server):
    result = process("check", "-c", config, "--json")
    told = json.loads(result.stdout)
    assert (result.returncode, told["ok"], told["problems"]) == (0, True, [])
    acme = told["tenants"][0]
    assert (acme["tenant"], acme["server"], acme["db"]) == ("acme", f"127.0.0.1:{server.port}", 41)
    assert acme["reached"] is True
    assert acme["product"] in ("valkey", "redis")
    assert acme["version"].split(".")[0].isdecimal()
    assert acme["error"] is None


def test_unreachable_server_is_reported(cli, broken_config):
    result = cli("check", "-c", broken_config, "--timeout", "0.3")
    assert result.exit_code == 1
    assert result.stdout.count(" ok ") == 3
    assert "unreachable" in result.stdout
    assert "tenant 'dead' can't be reached at 127.0.0.1:1, db 0" in result.stderr
    assert "hunter2" not in result.output
    told = json.loads(cli("check", "-c", broken_config, "--timeout", "0.3", "--json").stdout)
    assert not told["ok"]
    assert [(problem["kind"], problem["tenants"]) for problem in told["problems"]] == [("unreachable", ["dead"])]
    assert [tenant["reached"] for tenant in told["tenants"]] == [True, True, True, False]


def test_check_may_be_limited_to_some_tenants(cli, broken_config):
    result = cli("check", "-c", broken_config, "-t", "acme", "--tenant", "globex")
    assert result.exit_code == 0
    assert "initech" not in result.stdout


def test_two_names_of_one_server_are_reported(cli, config, server):
    with config.open("a") as file:
        file.write(f'\n[tenants.alias]\nunix_socket_path = "{server.unix_socket}"\ndb = 41\n')
    result = cli("check", "-c", config)
    assert result.exit_code == 1
    assert "share keys" in result.stderr
    assert result.stdout.count("shared-keyspace") == 2


def test_user_without_info_is_a_warning_unless_strict(cli, tmp_path):
    acl = ["user default off", "user app on >secret ~* +@all -info"]
    with EmbeddedServer(acl=acl) as server:
        path = tmp_path / "tenants.toml"
        path.write_text(f'[tenants.acme]\nport = {server.port}\nusername = "app"\npassword = "secret"\n')
        lenient, strict = cli("check", "-c", path), cli("check", "-c", path, "--strict")
    assert (lenient.exit_code, strict.exit_code) == (0, 1)
    assert "does not tell its run id" in lenient.stderr
    assert "does not tell its run id" in strict.stderr


def test_unknown_and_malformed_tenants_are_usage_errors(cli, config):
    for tenant, words in (("nobody", "no tenant 'nobody'"), ("a b", "is no tenant id")):
        result = cli("check", "-c", config, "-t", tenant)
        assert result.exit_code == 2
        assert words in result.stderr
