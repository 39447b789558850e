"""Settings: what is refused, what is equal, what is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from tenantlimpyd._connections.settings import Keyspace, Settings
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import ConfigurationError

SECRET = "hunter2-very-secret"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hots": "localhost"}, "did you mean 'host'?"),
        ({"zzzzzz": 1}, "the settings are those of redis.Redis"),
        ({"connection_pool": object()}, "makes its own pools"),
        ({"single_connection_client": True}, "makes its own pools"),
        ({"decode_responses": False}, "always decoded"),
        ({"cache_config": object()}, "client-side caching"),
        ({"cache": object()}, "client-side caching"),
        ({"host": 7}, "host must be text"),
        ({"host": ""}, "host must be text"),
        ({"host": "redis://:hunter2@h"}, "a URL goes into url"),
        ({"host": " h"}, "name or an address alone"),
        ({"ssl": "false"}, "ssl must be True or False"),
        ({"socket_timeout": 0}, "number of seconds"),
        ({"socket_timeout": float("inf")}, "number of seconds"),
        ({"encoding_errors": "replace"}, "must be 'strict'"),
        ({"url": "redis://h/acme"}, "the number of a database"),
        ({"url": "redis://h/1/2"}, "the number of a database"),
        ({"unix_socket_path": b"/run/x"}, "unix_socket_path must be text"),
        ({"port": 0}, "from 1 to 65535"),
        ({"port": 65536}, "from 1 to 65535"),
        ({"port": "six"}, "port must be a whole number"),
        ({"port": True}, "port must be a whole number"),
        ({"port": 1.5}, "port must be a whole number"),
        ({"db": -1}, "db must be a whole number"),
        ({"db": "\u0661"}, "db must be a whole number"),
        ({"max_connections": 0}, "max_connections must be"),
        ({"password": 12345}, "password must be text, not a int"),
        ({"username": b"x"}, "username must be text"),
        ({"client_name": 1}, "client_name must be text"),
        ({"socket_timeout": -1}, "socket_timeout must be a number of seconds"),
        ({"socket_timeout": "1"}, "socket_timeout must be a number of seconds"),
        ({"socket_connect_timeout": float("nan")}, "socket_connect_timeout must be a number of seconds"),
        ({"health_check_interval": True}, "health_check_interval must be"),
        ({"protocol": 4}, "protocol must be 2 or 3"),
        ({"retry": None}, "retry must be redis.retry.Retry"),
        ({"retry": 3}, "retry must be redis.retry.Retry"),
        ({"unix_socket_path": "/run/x", "port": 1}, "a server is one or the other"),
        ({"url": 5}, "url must be text"),
        ({"url": "http://localhost"}, "url can't be read"),
        ({"url": "redis://localhost:port/0"}, "url can't be read"),
        ({"url": "redis://localhost?db=two"}, "url can't be read"),
        ({"url": "redis://localhost?mode=red"}, "the url's query: unknown setting 'mode'"),
        ({"url": "redis://localhost/1", "db": 2}, "db is given twice"),
    ],
)
def test_wrong_settings_are_refused_with_a_reason(settings, said):
    with pytest.raises(ConfigurationError) as caught:
        RedisDatabase(**settings)
    assert said in str(caught.value)


def test_all_mistakes_are_reported_at_once():
    with pytest.raises(ConfigurationError) as caught:
        RedisDatabase(prot=1, port="x", db=-3, password=9)
    assert len(caught.value.problems) == 4
    assert str(caught.value).startswith("4 mistakes:\n- ")


@pytest.mark.parametrize("prefix", [5, None, b"a:", "x" * 513, "\ud800"])
def test_key_prefix_must_be_short_text(prefix):
    with pytest.raises(ConfigurationError, match="key_prefix must"):
        RedisDatabase(key_prefix=prefix)


def test_numbers_may_be_text():
    database = RedisDatabase(host="h", port="7000", db="3")
    assert database.keyspace == Keyspace("h:7000", 3, "")


@pytest.mark.parametrize(
    ("url", "server", "db"),
    [
        ("redis://example.org", "example.org:6379", 0),
        ("redis://example.org:7001/5", "example.org:7001", 5),
        ("redis://u:p%40ss@example.org?db=4&socket_timeout=2.5", "example.org:6379", 4),
        ("rediss://example.org/1", "example.org:6379", 1),
        ("unix:///run/redis.sock?db=2", "/run/redis.sock", 2),
        ("redis://", "localhost:6379", 0),
    ],
)
def test_urls_are_parsed_into_settings(url, server, db):
    settings = Settings({"url": url})
    assert (settings.server, settings.db) == (server, db)


def test_url_and_the_settings_it_stands_for_are_equal():
    assert Settings({"url": "redis://u:p@h:1/2"}) == Settings(
        {"host": "h", "port": 1, "db": 2, "username": "u", "password": "p"}
    )
    assert Settings({"url": "rediss://h/2"}) == Settings({"host": "h", "db": 2, "ssl": True})


@pytest.mark.invariant(7)
def test_settings_differ_by_name_even_when_their_values_agree():
    # limpyd joins the values of all settings, so that these two shared one connection.
    one, other = Settings({"ssl": True}), Settings({"retry_on_timeout": True})
    assert one != other
    assert hash(one) != hash(other)


@pytest.mark.invariant(7)
def test_settings_differ_by_type():
    assert Settings({"ssl_check_hostname": True}) != Settings({"ssl_check_hostname": 1})


@given(
    st.dictionaries(
        st.sampled_from(["host", "username", "password", "client_name"]),
        st.text("ab", min_size=1, max_size=2),
    ),
    st.dictionaries(
        st.sampled_from(["host", "username", "password", "client_name"]),
        st.text("ab", min_size=1, max_size=2),
    ),
)
@pytest.mark.invariant(7)
def test_settings_are_equal_only_when_all_of_them_are(left, right):
    assert (Settings(left) == Settings(right)) is (left == right)
    assert left != right or hash(Settings(left)) == hash(Settings(right))


def test_unhashable_values_are_allowed():
    options = {3: 1}
    assert Settings({"socket_keepalive_options": options}) == Settings({"socket_keepalive_options": options})
    hash(Settings({"socket_keepalive_options": options}))


@pytest.mark.parametrize(
    "settings",
    [
        {"password": SECRET},
        {"username": SECRET},
        {"url": f"redis://me:{SECRET}@localhost:6379/0"},
        {"url": f"redis://localhost?password={SECRET}"},
        {"ssl": True, "ssl_password": SECRET},
    ],
)
@pytest.mark.invariant(9)
def test_no_secret_is_in_a_repr(settings):
    database = RedisDatabase(**settings)
    for shown in (database, database.settings, database.keyspace, database.connection):
        assert SECRET not in repr(shown)
        assert SECRET not in str(shown)
    database.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"url": f"redis://me:{SECRET}@localhost:nonsense/0"},
        {"url": f"nonsense://me:{SECRET}@localhost/0"},
        {"url": f"redis://localhost/0?pasword={SECRET}"},
        {"url": f"redis://x:{SECRET}@localhost", "password": "other"},
        {"url": {"password": SECRET}},
        {"password": [SECRET]},
        {"port": {"password": SECRET}},
    ],
)
@pytest.mark.invariant(9)
def test_no_secret_is_in_an_error(settings):
    with pytest.raises(ConfigurationError) as caught:
        RedisDatabase(**settings)
    assert SECRET not in repr(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(("one", "other"), [("localhost", "127.0.0.1"), ("LOCALHOST", "localhost."), ("h", "H")])
def test_names_of_one_host_are_recognized(one, other):
    assert RedisDatabase(host=one).keyspace == RedisDatabase(host=other).keyspace
    assert hash(RedisDatabase(host=one).keyspace) == hash(RedisDatabase(host=other).keyspace)
    assert RedisDatabase(host=one).keyspace.overlaps(RedisDatabase(host=other).keyspace)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "Redis-1", "redis-1.", "::1"])
def test_server_is_named_as_configured(host):
    database = RedisDatabase(host=host, port=6380)
    assert database.settings.server == f"{host}:6380"
    assert str(database.keyspace) == f"{host}:6380, db 0"
    assert repr(database) == f"<RedisDatabase {host}:6380, db 0>"


def test_sync_and_async_retry_policies_are_both_accepted():
    for retry in (Retry(NoBackoff(), 2), AsyncRetry(NoBackoff(), 2)):
        settings = Settings({"retry": retry})
        assert isinstance(settings.for_blocking()["retry"], Retry)
        assert isinstance(settings.for_asyncio()["retry"], AsyncRetry)
        assert settings.for_blocking()["retry"].get_retries() == 2


def test_settings_of_sync_clients_only_are_refused_by_async_clients():
    settings = Settings({"ssl": True, "ssl_validate_ocsp": True})
    settings.for_blocking()
    with pytest.raises(ConfigurationError, match="ssl_validate_ocsp"):
        settings.for_asyncio()


def test_default_host_is_localhost():
    database = RedisDatabase()
    assert database.connection_settings == {"host": "localhost", "port": 6379, "db": 0}
    assert str(database.keyspace) == "localhost:6379, db 0"


def test_connection_settings_are_a_copy():
    database = RedisDatabase(host="h", db=4)
    database.connection_settings["db"] = 5
    assert database.connection_settings == {"host": "h", "db": 4}


def test_repr_escapes_the_prefix():
    assert repr(RedisDatabase(host="h", key_prefix="a\r\n:")) == r"<RedisDatabase h:6379, db 0, prefix 'a\r\n:'>"
