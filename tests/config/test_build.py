"""Valid configurations, from files and mappings."""

from __future__ import annotations

import ssl
import tomllib
from pathlib import Path

import pytest

from tenantlimpyd import DatabaseRouter
from tenantlimpyd._connections.breaker import BreakerPolicy
from tenantlimpyd._connections.settings import KNOWN_SETTINGS
from tenantlimpyd.config import databases
from tenantlimpyd.config.validators import CODE_ONLY, SETTINGS
from tenantlimpyd.exceptions import ConfigurationError

TEXT = """
[servers.main]
url = "redis://redis-1:7000"
socket_timeout = 2.5
client_name = "shop"

[servers.tls]
host = "redis-2"
ssl = true
ssl_min_version = "TLSv1.3"
ssl_cert_reqs = "optional"
ssl_include_verify_flags = ["VERIFY_X509_STRICT"]

[tenants.acme]
server = "main"
db = 1

[tenants."globex.eu"]
server = "main"
db = 2
client_name = "globex"

[tenants.initech]
server = "tls"
key_prefix = "initech:"

[tenants.hooli]
unix_socket_path = "/run/redis.sock"
db = 3
"""


@pytest.fixture(params=["file", "path as text", "mapping"])
def found(request, tmp_path):
    path = tmp_path / "tenants.toml"
    path.write_text(TEXT)
    return databases({"file": path, "path as text": str(path), "mapping": tomllib.loads(TEXT)}[request.param])


def test_tenants_have_the_configured_databases(found):
    assert {tenant: str(database.keyspace) for tenant, database in found.items()} == {
        "acme": "redis-1:7000, db 1",
        "globex.eu": "redis-1:7000, db 2",
        "initech": "redis-2:6379, db 0, prefix 'initech:'",
        "hooli": "/run/redis.sock, db 3",
    }


def test_settings_of_a_tenant_override_those_of_its_server(found):
    assert found["acme"].connection_settings["client_name"] == "shop"
    assert found["globex.eu"].connection_settings["client_name"] == "globex"
    assert found["globex.eu"].connection_settings["socket_timeout"] == 2.5


def test_tls_settings_are_passed_to_redis_py(found):
    settings = found["initech"].connection_settings
    assert settings["ssl_min_version"] is ssl.TLSVersion.TLSv1_3
    assert settings["ssl_include_verify_flags"] == [ssl.VerifyFlags.VERIFY_X509_STRICT]
    assert found["initech"].connection.connection_pool.connection_kwargs["ssl_cert_reqs"] == "optional"


def test_router_is_built_from_a_configuration(tmp_path):
    path = tmp_path / "tenants.toml"
    path.write_text(TEXT)
    with DatabaseRouter.from_config(path, resolver=lambda tenant: None) as router:
        assert router.tenants() == ("acme", "globex.eu", "initech", "hooli")
        assert router.database_for("acme").keyspace.db == 1


def test_configuration_without_tenants_is_valid():
    assert databases({"tenants": {}}) == {}


def test_every_setting_of_redis_py_is_for_files_or_for_code():
    # A new redis-py has new settings: each needs a decision.
    assert SETTINGS.keys() | CODE_ONLY == KNOWN_SETTINGS
    assert {
        "credential_provider",
        "driver_info",
        "lib_name",
        "lib_version",
        "maint_notifications_config",
        "redis_connect_func",
        "retry",
        "retry_on_error",
        "retry_on_timeout",
        "socket_keepalive_options",
        "ssl_ocsp_context",
        "ssl_ocsp_expected_cert",
    } == CODE_ONLY


def test_documentation_names_every_setting():
    page = Path(__file__).parents[2].joinpath("docs/configuration.md").read_text(encoding="utf-8")
    assert [name for name in SETTINGS if f"`{name}`" not in page] == []


# Secrets


def connected_with(database):
    return database.connection.connection_pool.connection_kwargs.get("password")


def test_password_is_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("SHOP_PASSWORD", "hunter2")
    found = databases({"tenants": {"acme": {"host": "h", "password_env": "SHOP_PASSWORD"}}})
    assert connected_with(found["acme"]) == "hunter2"


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_password_is_read_from_a_file_beside_the_configuration(tmp_path, monkeypatch, ending):
    (tmp_path / "secret").write_bytes(" hünter2 ".encode() + ending)
    path = tmp_path / "tenants.toml"
    path.write_text('[tenants.acme]\nhost = "h"\npassword_file = "secret"\n')
    monkeypatch.chdir("/")
    assert connected_with(databases(path)["acme"]) == " hünter2 "


def test_password_of_a_tenant_overrides_that_of_its_server(monkeypatch):
    monkeypatch.setenv("A_PASSWORD", "a")
    monkeypatch.setenv("B_PASSWORD", "b")
    found = databases(
        {
            "servers": {"main": {"host": "h", "password_env": "A_PASSWORD"}},
            "tenants": {
                "acme": {"server": "main"},
                "globex": {"server": "main", "db": 1, "password_env": "B_PASSWORD"},
                "initech": {"server": "main", "db": 2, "password": "c"},
            },
        }
    )
    assert [connected_with(database) for database in found.values()] == ["a", "b", "c"]


def test_files_of_tls_are_found_beside_the_configuration(tmp_path):
    (tmp_path / "ca.pem").touch()
    path = tmp_path / "tenants.toml"
    path.write_text('[tenants.acme]\nhost = "h"\nssl = true\nssl_ca_certs = "ca.pem"\n')
    assert databases(path)["acme"].connection_settings["ssl_ca_certs"] == str(tmp_path / "ca.pem")


def test_byte_order_mark_is_accepted(tmp_path):
    path = tmp_path / "tenants.toml"
    path.write_bytes(b'\xef\xbb\xbf[tenants.acme]\nhost = "h"\n')
    assert list(databases(path)) == ["acme"]


async def test_configured_tenant_is_reached_in_both_modes(server):
    settings = {"host": server.host, "port": server.port}
    with DatabaseRouter.from_config(
        {"servers": {"s": settings}, "tenants": {"acme": {"server": "s", "db": 9}}}
    ) as router:
        assert router.check() == []
        async with router:
            assert await router.acheck() == []


# Sentinels, and breakers


def test_sentinels_are_configured_in_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("SENTINEL_PASSWORD", "s-secret")
    (tmp_path / "password").write_text("d-secret\n")
    path = tmp_path / "tenants.toml"
    path.write_text("""
[servers.main]
sentinel = { master = "mymaster", hosts = ["s1:26379", "s2"], username = "u", password_env = "SENTINEL_PASSWORD" }
password_file = "password"
ssl = true
breaker = { failures = 5, seconds = 1 }

[tenants.acme]
server = "main"
db = 1

[tenants.globex]
server = "main"
db = 2
breaker = false
""")
    found = databases(path)
    acme, globex = found["acme"].settings, found["globex"].settings
    assert acme.server == "mymaster@s1:26379,s2:26379"
    assert acme["password"] == "d-secret"
    assert dict(acme.of_sentinel("s1", 26379))["password"] == "s-secret"
    assert dict(acme.of_sentinel("s1", 26379))["username"] == "u"
    assert acme.breaker == BreakerPolicy(failures=5, seconds=1)
    assert globex.breaker is None
    assert "secret" not in repr(acme)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sentinel": "mymaster"}, "servers.main.sentinel: must be a table with master and hosts"),
        ({"sentinel": {"hosts": ["h"]}}, "servers.main.sentinel: master must be the master's name"),
        ({"sentinel": {"master": "m", "hosts": []}}, "servers.main.sentinel: hosts must be a list"),
        (
            {"sentinel": {"master": "m", "hosts": ["h"], "hots": 1}},
            "servers.main.sentinel.hots: unknown; did you mean 'hosts'",
        ),
        ({"sentinel": {"master": "m", "hosts": ["h"], "db": 1}}, "servers.main.sentinel.db: unknown"),
        (
            {"sentinel": {"master": "m", "hosts": ["h"], "password_env": "UNSET_ONE"}},
            "sentinel.password_env: the environment",
        ),
        ({"sentinel": {"master": "m", "hosts": ["h"], "ssl": "yes"}}, "sentinel.ssl: must be true or false"),
        ({"sentinel": {"master": "m", "hosts": ["h"]}, "host": "h"}, "sentinel and host are given together"),
        ({"host": "h", "breaker": 3}, "servers.main.breaker: must be a table such as"),
        ({"host": "h", "breaker": True}, "servers.main.breaker: must be a table such as"),
        ({"host": "h", "breaker": {"failures": 0}}, "servers.main.breaker: failures must be a whole number"),
        ({"db": 1}, "url, host, port, unix_socket_path or sentinel"),
    ],
)
def test_mistakes_in_sentinels_and_breakers_are_reported(settings, said):
    with pytest.raises(ConfigurationError) as caught:
        databases({"servers": {"main": settings}, "tenants": {"acme": {"server": "main"}}})
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
