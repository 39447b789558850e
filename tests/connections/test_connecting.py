"""Every way to connect, and failed connections."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tenantlimpyd.database import RedisDatabase
from tests.support.chaos_proxy import ChaosProxy
from tests.support.tls import Authority
from tests.support.waiting import open_connections

ONCE = Retry(NoBackoff(), 0)


async def used_in_both_modes(database: RedisDatabase, word: str) -> None:
    database.connection.set("word", word)
    assert database.connection.get("word") == word
    assert await database.aconnection.get("word") == word
    assert list(database.scan_keys()) == ["word"]
    assert [key async for key in database.ascan_keys()] == ["word"]
    await database.aclose()


@pytest.mark.parametrize("protocol", [2, 3, "2", "3"], ids=repr)
async def test_connects_with_resp2_and_resp3(opened, protocol):
    database = opened(db=3, protocol=protocol)
    await used_in_both_modes(database, "x")
    hello = database.connection.execute_command("CLIENT", "LIST", "ID", database.connection.client_id())
    assert f"resp={protocol}" in str(hello) or any(entry.get("resp") == str(protocol) for entry in hello)


async def test_connects_over_a_unix_socket(opened, flushed_server, client_name):
    database = RedisDatabase(unix_socket_path=flushed_server.unix_socket, db=4, client_name=client_name)
    assert database.keyspace.server == flushed_server.unix_socket
    await used_in_both_modes(database, "u")
    assert opened(db=4).connection.get("word") == "u"
    database.close()


async def test_connects_by_url(opened, flushed_server):
    database = RedisDatabase(url=f"{flushed_server.url}/5")
    await used_in_both_modes(database, "l")
    assert opened(db=5).connection.get("word") == "l"
    database.close()


async def test_connects_by_unix_url(flushed_server):
    database = RedisDatabase(url=f"unix://{flushed_server.unix_socket}?db=6")
    await used_in_both_modes(database, "l")
    database.close()


async def test_user_without_permission_for_info_is_served(opened, guarded_server):
    user = guarded_server("noinfo", "~*", "&*", "+@all", "-info", "-client")
    database = opened(db=2, username=user, password="s3cret-password", client_name=None)
    await used_in_both_modes(database, "a")
    with pytest.raises(redis.exceptions.NoPermissionError):
        _ = database.redis_version


@pytest.mark.parametrize("user", ["nobody", "known"])
async def test_wrong_password_raises_the_error_of_redis_py_without_the_password(
    opened, guarded_server, client_name, flushed_server, user
):
    guarded_server("known", "~*", "+@all")
    database = opened(db=1, retry=ONCE, username=user, password="wr0ng-password")
    with pytest.raises(redis.AuthenticationError) as caught:
        database.connection.ping()
    with pytest.raises(redis.AuthenticationError) as caught_async:
        await database.aconnection.ping()
    for error in (caught.value, caught_async.value):
        assert "wr0ng" not in str(error)
    assert open_connections(flushed_server, client_name) == []


async def test_database_number_out_of_range_leaves_no_connection_behind(opened, client_name, flushed_server):
    database = opened(db=64, retry=ONCE)
    for _ in range(2):  # twice, since redis-py alone would continue in database 0
        with pytest.raises(redis.ResponseError, match="out of range"):
            database.connection.set("stray", "1")
        with pytest.raises(redis.ResponseError, match="out of range"):
            await database.aconnection.set("stray", "1")
    assert open_connections(flushed_server, client_name) == []
    assert opened(db=0).connection.dbsize() == 0


async def test_connects_over_tls(tmp_path, flushed_server):
    authority = Authority(tmp_path)
    with ChaosProxy(flushed_server.host, flushed_server.port, authority.server_context()) as proxy:
        database = RedisDatabase(host="127.0.0.1", port=proxy.port, db=7, **authority.client_settings)
        await used_in_both_modes(database, "tls")
        database.close()
        clear = RedisDatabase(host="127.0.0.1", port=proxy.port, db=7, retry=ONCE, socket_timeout=1)
        with pytest.raises(redis.ConnectionError):
            clear.connection.ping()
        stranger = RedisDatabase(host="127.0.0.1", port=proxy.port, ssl=True, retry=ONCE)
        with pytest.raises(redis.ConnectionError, match=r"(?i)certificate"):
            stranger.connection.ping()
        for each in (clear, stranger):
            each.close()


async def test_refused_connection_is_retried_by_the_retry_policy():
    database = RedisDatabase(host="127.0.0.1", port=1, retry=ONCE)
    with pytest.raises(redis.ConnectionError, match="refused"):
        database.connection.ping()
    with pytest.raises(redis.ConnectionError):
        await database.aconnection.ping()
    await database.aclose()


@pytest.mark.slow
def test_import_and_definition_open_no_connection():
    program = """
        import socket, threading
        def refuse(*args, **kwargs): raise AssertionError("connected")
        socket.socket.connect = refuse
        before = threading.active_count()
        import tenantlimpyd, logging, structlog
        from tenantlimpyd import RedisDatabase, DatabaseRouter
        from tenantlimpyd import model, fields
        database = RedisDatabase(host="192.0.2.1")
        router = DatabaseRouter({"acme": database})
        class Person(model.RedisModel):
            database = router
            name = fields.StringField()
        database.connection, database.scan_keys(), router.scan_keys()
        with router.use_tenant("acme"):
            Person.collection()
        database.connect(host="192.0.2.2")
        router.close()
        assert threading.active_count() == before
        assert not structlog.is_configured()
        assert not logging.getLogger().handlers
    """
    subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)], check=True, timeout=50, capture_output=True
    )


async def test_version_is_asked_once(database):
    version = database.redis_version
    assert len(version) == 3
    assert all(isinstance(number, int) for number in version)
    assert database.redis_version is version
    assert await database.aredis_version() == version
    await database.aclose()


async def test_call_script_returns_replies_and_raises_errors(database):
    script = {"lua": "return {KEYS[1], ARGV[1]}"}
    assert database.call_script(script, ["k"], ["a"]) == ["k", "a"]
    assert await database.acall_script(script, ["k"], ["b"]) == ["k", "b"]
    with pytest.raises(redis.ResponseError):
        database.call_script({"lua": "return redis.error_reply('no')"})
    await database.aclose()


def test_database_can_not_be_pickled(database):
    import pickle

    with pytest.raises(TypeError, match="holds connections"):
        pickle.dumps(database)
