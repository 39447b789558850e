"""Invalid configurations: each mistake is reported under its key, all at once, without secrets."""

from __future__ import annotations

import pickle

import pytest

from tenantlimpyd import DatabaseRouter
from tenantlimpyd.config import databases
from tenantlimpyd.exceptions import ConfigurationError


def mistakes(source):
    with pytest.raises(ConfigurationError) as caught:
        databases(source)
    return list(caught.value.problems)


def one(source):
    (problem,) = mistakes(source)
    return problem


def tenant(**table):
    return {"tenants": {"acme": table}}


def server(**table):
    return {"servers": {"main": table}, "tenants": {"acme": {"server": "main"}}}


@pytest.mark.parametrize(
    ("source", "start", "words"),
    [
        (tenant(host="h", db=-1), "tenants.acme.db: ", "a whole number from 0 to 2147483647, not -1"),
        (tenant(host="h", db="1"), "tenants.acme.db: ", "a whole number"),
        (tenant(host="h", db=True), "tenants.acme.db: ", "a whole number"),
        (tenant(host="h", db=10**5000), "tenants.acme.db: ", "not this number"),
        (tenant(host="h", port=0), "tenants.acme.port: ", "from 1 to 65535, not 0"),
        (tenant(host=""), "tenants.acme.host: ", "a host name"),
        (tenant(host="h:6379"), "tenants.acme.host: ", "the port in port"),
        (tenant(host="redis://h"), "tenants.acme.host: ", "goes into url"),
        (tenant(host="h", protocol=4), "tenants.acme.protocol: ", "one of 2, 3"),
        (tenant(host="h", socket_timeout=float("inf")), "tenants.acme.socket_timeout: ", "not inf"),
        (tenant(host="h", socket_timeout=float("nan")), "tenants.acme.socket_timeout: ", "not nan"),
        (tenant(host="h", socket_timeout=10**5000), "tenants.acme.socket_timeout: ", "seconds"),
        (tenant(host="h", ssl="yes"), "tenants.acme.ssl: ", "true or false, not 'yes'"),
        (tenant(host="h", ssl_cert_reqs="maybe"), "tenants.acme.ssl_cert_reqs: ", "'required', 'optional', 'none'"),
        (tenant(host="h", ssl_min_version="SSLv3"), "tenants.acme.ssl_min_version: ", "TLSv1.2"),
        (
            tenant(host="h", ssl_ca_certs="/no/such/file"),
            "tenants.acme.ssl_ca_certs: ",
            "there is no file '/no/such/file'",
        ),
        (tenant(host="h", ssl_include_verify_flags=["X"]), "tenants.acme.ssl_include_verify_flags: ", "an array of"),
        (tenant(host="h", encoding="klingon"), "tenants.acme.encoding: ", "an encoding"),
        (tenant(host="h", client_name="\ud800"), "tenants.acme.client_name: ", "text"),
        (tenant(host="h", client_name=None), "tenants.acme.client_name: ", "text, not a NoneType"),
        (tenant(unix_socket_path="redis.sock"), "tenants.acme.unix_socket_path: ", "an absolute path"),
        (tenant(host="h", unix_socket_path="/r"), "tenants.acme: ", "unix_socket_path and host or port"),
        (tenant(url="http://h"), "tenants.acme.url: ", "can't be read"),
        (tenant(url="redis://h?mode=red"), "tenants.acme.url: ", "unknown setting 'mode'"),
        (tenant(url="redis://h/1", db=2), "tenants.acme: ", "db is given twice"),
        (tenant(host="h", prot=1), "tenants.acme.prot: ", "did you mean 'port'?"),
        (tenant(host="h", xyzzy=1), "tenants.acme.xyzzy: ", "allowed are server, key_prefix"),
        (tenant(host="h", retry=3), "tenants.acme.retry: ", "for code, not for files"),
        (tenant(host="h", connection_pool=3), "tenants.acme.connection_pool: ", "unknown"),
        (tenant(host="h", eu={"db": 1}), "tenants.acme.eu: ", 'in quotes: [tenants."acme.eu"]'),
        (tenant(host="h", **{"a b\n": 1}), 'tenants.acme."a b\\n": ', "unknown"),
        (tenant(host="h", key_prefix=5), "tenants.acme.key_prefix: ", "must be text such as 'acme:', not 5"),
        (tenant(host="h", key_prefix="x" * 513), "tenants.acme.key_prefix: ", "at most 512"),
        (tenant(db=1), "tenants.acme: ", "says no server: give it server"),
        (tenant(server="main"), "tenants.acme.server: ", "there is no server main: the configuration has no table"),
        (tenant(server=5), "tenants.acme.server: ", "the name of a server"),
        ({"tenants": {"acme": 5}}, "tenants.acme: ", "must be a table"),
        ({"tenants": {"acme": [{}]}}, "tenants.acme: ", "an array of tables"),
        ({"tenants": []}, "tenants: ", "must be a table"),
        ({"tenants": {}, "servers": 5}, "servers: ", "must be a table"),
        ({"tenants": {"a b": {"host": "h"}}}, 'tenants."a b": ', "no tenant id"),
        ({"tenants": {5: {"host": "h"}}}, "tenants.5: ", "no tenant id"),
        ({"tenants": {}, "server": {}}, "server: ", "did you mean 'servers'?"),
        ({"tenants": {}, 5: {}}, "5: ", "servers and tenants"),
        ({}, "tenants: ", "missing"),
        ({"tenants": {}, "servers": {"": {"host": "h"}}}, 'servers."": ', "text"),
        ({"tenants": {}, "servers": {"main": {}}}, "servers.main: ", "says no server: give it url"),
        (server(host="h", key_prefix="x"), "servers.main.key_prefix: ", "each needs its own"),
        (server(host="h", server="x"), "servers.main.server: ", "tables of tenants"),
    ],
)
def test_mistake_is_reported_under_its_key(source, start, words):
    problem = one(source)
    assert problem.startswith(start)
    assert words in problem
    assert problem.isprintable()


def test_unknown_server_suggests_a_similar_name():
    source = {
        "servers": {"main": {"host": "h"}},
        "tenants": {"acme": {"server": "mian"}, "globex": {"server": "xyzzy"}},
    }
    assert mistakes(source) == [
        "tenants.acme.server: there is no server mian; did you mean 'main'?",
        "tenants.globex.server: there is no server xyzzy; there are main",
    ]


@pytest.mark.parametrize("address", [{"host": "x"}, {"port": 1}, {"url": "redis://x"}, {"unix_socket_path": "/x"}])
def test_tenant_of_a_server_can_not_have_an_address(address):
    source = {"servers": {"main": {"host": "h"}}, "tenants": {"acme": {"server": "main", **address}}}
    assert one(source).startswith(f"tenants.acme.{next(iter(address))}: server says where it is")


def test_servers_url_and_the_tenants_db_contradict():
    source = {"servers": {"main": {"url": "redis://h/0"}}, "tenants": {"acme": {"server": "main", "db": 1}}}
    assert one(source).startswith("tenants.acme: db is given twice")


def test_mistake_of_a_server_is_reported_once_not_per_tenant():
    source = {
        "servers": {"main": {"host": "h", "port": 0}},
        "tenants": {f"t{n}": {"server": "main", "db": n} for n in range(10)},
    }
    assert one(source).startswith("servers.main.port: ")


def test_all_mistakes_are_reported_at_once():
    source = {
        "sever": {},
        "servers": {"main": {"host": "h", "port": 0}, "other": {"urk": 1}},
        "tenants": {"acme": {"server": "main", "db": -1}, "a b": {"host": "h", "prot": 1}, "globex": {}},
    }
    keys = [problem.split(": ")[0] for problem in mistakes(source)]
    assert keys == [
        "sever",
        "servers.main.port",
        "servers.other.urk",
        "servers.other",
        "tenants.acme.db",
        'tenants."a b"',
        'tenants."a b".prot',
        "tenants.globex",
    ]


def test_all_shared_keyspaces_are_reported():
    source = {
        "servers": {"main": {"host": "127.0.0.1"}, "alias": {"host": "LOCALHOST"}},
        "tenants": {
            "plain": {"server": "main"},
            "same": {"server": "alias"},
            "inside": {"server": "main", "key_prefix": "a:"},
            "deeper": {"server": "main", "key_prefix": "a:b:"},
            "separate": {"server": "main", "db": 1, "key_prefix": "a:"},
            "sibling": {"server": "main", "db": 1, "key_prefix": "b:"},
            "child": {"server": "main", "db": 1, "key_prefix": "b:c"},
        },
    }
    found = mistakes(source)
    told = {tuple(problem.split(": would share keys with ")[n].split(": ")[0] for n in (0, 1)) for problem in found}
    assert told == {
        ("tenants.same", "tenants.plain"),
        ("tenants.inside", "tenants.same"),
        ("tenants.deeper", "tenants.inside"),
        ("tenants.child", "tenants.sibling"),
    }
    assert len(found) == 4


def test_problems_of_a_shared_keyspace_grow_linearly():
    assert len(mistakes({"tenants": {f"t{n}": {"host": "h"} for n in range(1000)}})) == 999


# Files


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[tenants.acme]\nhost = \n", "line 2"),
        (b"[tenants.acme]\nhost = '\xff'\n", "line 2: not UTF-8"),
        (b"a = " + b"[" * 100_000, "without bounds"),
        (b"a = " + b"9" * 5000, "without bounds"),
        (b"[tenants.acme]\nhost = 'h'\n[tenants.acme]\n", "line 3"),
    ],
)
def test_invalid_toml_is_reported_with_its_line(tmp_path, content, words):
    path = tmp_path / "tenants.toml"
    path.write_bytes(content)
    problem = one(path)
    assert problem.startswith(f"'{path}'")
    assert words in problem


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("/no/such/file.toml", "can't be read: No such file"),
        ("/", "is a folder"),
        ("", "is a folder"),
        ("a\0b", "can't be the path of a file"),
        ("\ud800", "can't be"),
        ("x" * 10_000, "can't be"),
        ("[tenants.acme]\ndb = 1", "tomllib.loads"),
        ("/dev/zero", "is longer than"),
        (b"tenants.toml", "the path of a TOML file, or a mapping"),
        (5, "not 5"),
        (None, "not None"),
        ([], "not a list"),
    ],
)
def test_unreadable_file_is_reported(source, words):
    assert words in one(source)


def test_error_names_the_file_and_can_be_pickled(tmp_path):
    path = tmp_path / "tenants.toml"
    path.write_text("[tenants.acme]\nprot = 1\nport = 0\n")
    with pytest.raises(ConfigurationError) as caught:
        DatabaseRouter.from_config(path)
    assert caught.value.__notes__ == [f"in '{path}'"]
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.problems == caught.value.problems
    assert str(again).startswith("2 mistakes:\n- tenants.acme.prot: ")


# Secrets


@pytest.mark.parametrize(
    ("table", "start", "words"),
    [
        ({"password_env": "NO_SUCH_VARIABLE"}, "tenants.acme.password_env: ", "NO_SUCH_VARIABLE is not set"),
        ({"password_env": "EMPTY_VARIABLE"}, "tenants.acme.password_env: ", "EMPTY_VARIABLE is empty"),
        ({"password_env": "BYTES_VARIABLE"}, "tenants.acme.password_env: ", "not UTF-8"),
        ({"password_env": "a=b"}, "tenants.acme.password_env: ", "the name of an environment variable"),
        ({"password_env": 5}, "tenants.acme.password_env: ", "the name of an environment variable"),
        ({"password_file": "/no/such/secret"}, "tenants.acme.password_file: ", "can't be read: No such file"),
        ({"password_file": "/"}, "tenants.acme.password_file: ", "can't be read: Is a directory"),
        ({"password_file": "a\0"}, "tenants.acme.password_file: ", "can't be the path"),
        ({"password_file": ""}, "tenants.acme.password_file: ", "the path of a file"),
        ({"password_file": "/dev/null"}, "tenants.acme.password_file: ", "is empty"),
        ({"password_file": "/dev/zero"}, "tenants.acme.password_file: ", "more than one line"),
        ({"password": 5}, "tenants.acme.password: ", "must be text"),
    ],
)
def test_missing_password_is_reported(monkeypatch, table, start, words):
    monkeypatch.setenv("EMPTY_VARIABLE", "")
    monkeypatch.setenv("BYTES_VARIABLE", "\udcff")
    monkeypatch.delenv("NO_SUCH_VARIABLE", raising=False)
    problem = one(tenant(host="h", **table))
    assert problem.startswith(start)
    assert words in problem


def test_two_sources_of_a_password_are_refused(monkeypatch):
    monkeypatch.setenv("SHOP_PASSWORD", "x")
    assert one(tenant(host="h", password="x", password_env="SHOP_PASSWORD")) == (
        "tenants.acme: password and password_env are given together: keep one"
    )


SECRET = "hunter2"


@pytest.mark.parametrize(
    "table",
    [
        {"url": f"redis://:{SECRET}@h:port"},
        {"url": f"http://:{SECRET}@h"},
        {"url": f"redis://:{SECRET}@h/1", "db": 2},
        {"url": f"redis://:{SECRET}@h", "password": "x"},
        {"url": [f"redis://:{SECRET}@h"]},
        {"host": f"redis://:{SECRET}@h"},
        {"host": f":{SECRET}@h"},
        {"host": "h", "password": [SECRET]},
        {"host": "h", "password": f"{SECRET}\0"},
        {"host": "h", "pasword": SECRET},
        {"host": "h", "password_env": SECRET},
        {"host": "h", "password_file": SECRET},
        {"host": "h", "ssl_password": {"x": SECRET}},
        {"host": "h", "port": f"redis://:{SECRET}@h"},
        {"host": "h", "ssl_ca_data": 5, "password": SECRET, "port": 0},
    ],
)
def test_no_message_shows_a_secret(table):
    for problem in mistakes(tenant(**table)):
        assert SECRET not in problem


def test_url_given_as_a_servers_name_is_hidden():
    for servers in ({}, {"main": {"host": "h"}}):
        with pytest.raises(ConfigurationError) as caught:
            databases({"servers": servers, "tenants": {"acme": {"server": "redis://user:hunter2@redis-1:6379"}}})
        assert "hunter2" not in str(caught.value)
        assert "goes into url" in str(caught.value)


def test_key_given_as_a_files_path_is_hidden_and_a_bad_path_is_no_system_error():
    for path in ("-----BEGIN PRIVATE KEY-----\nhunter2", "a" * 300):
        with pytest.raises(ConfigurationError) as caught:
            databases({"tenants": {"acme": {"host": "h", "ssl": True, "ssl_keyfile": path}}})
        assert "hunter2" not in str(caught.value)
        assert "tenants.acme.ssl_keyfile" in str(caught.value)


def test_custom_grammar_applies_to_the_configuration():
    source = {"tenants": {"acme/eu": {"host": "h"}}}
    assert DatabaseRouter.from_config(source, grammar="[a-z/]+").tenants() == ("acme/eu",)
    with pytest.raises(ConfigurationError, match="acme/eu"):
        DatabaseRouter.from_config(source)
