"""Sentinel: discovery of the master, failover, and the identity of a server."""

from __future__ import annotations

import asyncio
import time

import attrs
import pytest
import redis
import redis.asyncio.sentinel
import redis.sentinel
from redis.backoff import NoBackoff
from redis.retry import Retry

from tenantlimpyd._connections.deadline import Deadline
from tenantlimpyd._connections.topology import sentinel as sentinel_topology
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.embedded import EmbeddedServer, free_port
from tenantlimpyd.exceptions import ConfigurationError, SharedKeyspaceError
from tenantlimpyd.router import DatabaseRouter
from tests.connections.test_breaker_on_servers import silent
from tests.support.chaos_proxy import ChaosProxy
from tests.support.tls import Authority
from tests.support.waiting import aeventually, eventually

pytestmark = pytest.mark.slow

OUT_OF_REACH = {"master": "mymaster", "hosts": ["192.0.2.1:26379", "192.0.2.2"]}
FAST = {"seconds": 0.05, "max_open_seconds": 0.2}


@attrs.define
class Group:
    """A master, its replica and a sentinel, each with its own password."""

    master: EmbeddedServer
    replica: EmbeddedServer
    sentinel: EmbeddedServer

    @property
    def settings(self):
        return {
            "sentinel": {
                "master": "mymaster",
                "hosts": [f"127.0.0.1:{self.sentinel.port}"],
                "password": "for-the-sentinel",
            },
            "password": "for-the-data",
            "breaker": FAST,
        }

    def ask(self, *command):
        with redis.Redis(**self.sentinel.settings) as client:
            return client.execute_command(*command)

    def role(self, server):
        with redis.Redis(**server.settings) as client:
            return client.info("replication")


@pytest.fixture
def group():
    common = {"masterauth": "for-the-data", "repl-diskless-sync-delay": 0, "repl-ping-replica-period": 1}
    with (
        EmbeddedServer(password="for-the-data", options=common) as master,
        EmbeddedServer(
            password="for-the-data", options={**common, "replicaof": ("127.0.0.1", str(master.port))}
        ) as replica,
        EmbeddedServer(password="for-the-sentinel", sentinel=True) as sentinel,
    ):
        made = Group(master, replica, sentinel)
        made.ask("SENTINEL", "MONITOR", "mymaster", "127.0.0.1", master.port, 1)
        for name, value in (
            ("auth-pass", "for-the-data"),
            ("down-after-milliseconds", 1000),
            ("failover-timeout", 1000),
        ):
            made.ask("SENTINEL", "SET", "mymaster", name, value)
        eventually(lambda: made.role(replica)["master_link_status"] == "up", 45)
        with redis.Redis(**sentinel.settings) as client:
            eventually(lambda: client.sentinel_slaves("mymaster"), 45)
        yield made


async def run(database, call, *command):
    return await call.result(call.client(database).execute_command(*command))


async def until_done(database, call, *command, seconds=15.0):
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await run(database, call, *command)
        except redis.ConnectionError:
            assert time.monotonic() < deadline, "it was not followed in time"
            await asyncio.sleep(0.01)


async def test_commands_follow_a_failover(group, call):
    router = DatabaseRouter(
        {name: RedisDatabase(**group.settings, db=db) for db, name in enumerate(("acme", "globex"), 1)}
    )
    for tenant in router.tenants():
        assert await run(router.database_for(tenant), call, "SET", "mine", tenant)
    assert router.check() == []
    eventually(lambda: group.role(group.replica)["slave_repl_offset"] >= group.role(group.master)["master_repl_offset"])
    group.master.kill()
    for tenant in router.tenants():
        database = router.database_for(tenant)
        assert await until_done(database, call, "SET", "after", tenant)
        assert await run(database, call, "MGET", "mine", "after") == [tenant, tenant]
    assert group.role(group.replica)["role"] == "master"
    await router.aclose()


async def test_demoted_master_gets_no_write(group, call):
    """The old master and its connections stay open; the READONLY error makes them find the new master."""
    async with RedisDatabase(**group.settings) as database:
        assert await run(database, call, "SET", "key", "before")
        group.ask("SENTINEL", "FAILOVER", "mymaster")
        with redis.Redis(**group.master.settings) as old, redis.Redis(**group.sentinel.settings) as sentinel:
            eventually(lambda: sentinel.sentinel_get_master_addr_by_name("mymaster")[1] == group.replica.port, 45)
            old.replicaof("127.0.0.1", group.replica.port)  # the sentinel does so too, 10 s later
            assert old.client_list(_type="normal")
            assert await run(database, call, "SET", "key", "after")  # the READONLY error does not reach the caller
        with redis.Redis(**group.replica.settings, decode_responses=True) as new:
            assert new.get("key") == "after"


async def test_server_that_reports_another_role_is_not_used(group, call):
    """The address from the sentinels may be outdated: the server is asked for its role before any command."""
    async with RedisDatabase(**{**group.settings, "breaker": None}, retry=Retry(NoBackoff(), 2)) as database:
        assert await run(database, call, "SET", "key", "value")
        eventually(
            lambda: group.role(group.replica)["slave_repl_offset"] >= group.role(group.master)["master_repl_offset"]
        )
        client = call.client(database)
        master, named = client.connection_pool.locator, []

        def outdated():
            named.append(group.replica.port)
            return master._set_address(("127.0.0.1", group.replica.port))

        async def aoutdated():
            return outdated()

        group.ask("SENTINEL", "REMOVE", "mymaster")  # or the sentinel would promote the replica
        master._address = None
        master.get_master_address = outdated if not call.is_async else aoutdated
        group.master.kill()
        with pytest.raises(redis.ConnectionError, match="name as the master, reports the role slave"):
            await run(database, call, "GET", "key")
        assert len(named) > 1  # looked up again for each attempt
        with redis.Redis(**group.replica.settings) as promoted:
            promoted.replicaof("NO", "ONE")
        assert await until_done(database, call, "GET", "key") == "value"


async def test_tls_to_the_sentinels_and_to_the_master(group, tmp_path, monkeypatch, call):
    authority = Authority(tmp_path)
    with (
        ChaosProxy("127.0.0.1", group.master.port, authority.server_context()) as master,
        ChaosProxy("127.0.0.1", group.sentinel.port, authority.server_context()) as sentinel,
    ):
        found = sentinel_topology._Master._set_address
        # The sentinel itself connects without TLS.
        monkeypatch.setattr(
            sentinel_topology._Master, "_set_address", lambda self, _: found(self, ("127.0.0.1", master.port))
        )
        settings = {**group.settings, **authority.client_settings}
        settings["sentinel"] |= {"hosts": [f"127.0.0.1:{sentinel.port}"], **authority.client_settings}
        async with RedisDatabase(**settings, db=3) as database:
            assert await run(database, call, "SET", "key", "value")
            pool = call.client(database).connection_pool
            (connection,) = pool.idle
            assert isinstance(connection, redis.SSLConnection | redis.asyncio.SSLConnection)
            assert connection.port == master.port
        clear = {**settings, "sentinel": {**settings["sentinel"], "ssl": False}}
        for name in authority.client_settings:
            clear["sentinel"].pop(name)
        async with RedisDatabase(**clear) as database:
            with pytest.raises((redis.ConnectionError, redis.TimeoutError)):
                await run(database, call, "GET", "key")
    with redis.Redis(**group.master.settings, db=3, decode_responses=True) as client:
        assert client.get("key") == "value"


async def test_user_without_permission_for_role_is_served(group, call):
    with redis.Redis(**group.master.settings) as admin:
        admin.execute_command("ACL", "SETUSER", "weak", "on", ">weak", "~*", "+@all", "-role")
    async with RedisDatabase(**{**group.settings, "username": "weak", "password": "weak"}) as database:
        assert await run(database, call, "SET", "key", "value")


async def test_connections_in_use_during_a_failover_are_closed_on_release(group, call):
    async with RedisDatabase(**group.settings, max_connections=4) as database:
        client = call.client(database)
        pool = client.connection_pool

        async def checkout():
            return await call.result(pool.get_connection())

        held = await checkout()
        pool.locator._address = ("127.0.0.1", 1)  # as if the sentinels had named another one before
        held.host, held.port = pool.locator._address
        other = await checkout()  # asks the sentinels
        assert (other.host, other.port) == ("127.0.0.1", group.master.port)
        for connection in (held, other):
            await call.result(pool.release(connection))
        assert not held.is_connected
        assert other.is_connected


async def test_unknown_master_raises_the_error_of_redis_py(group, call):
    settings = group.settings
    settings["sentinel"]["master"] = "another"
    kind = (redis.sentinel if not call.is_async else redis.asyncio.sentinel).MasterNotFoundError
    async with RedisDatabase(**settings) as database:
        with pytest.raises(kind, match="another") as caught:
            await run(database, call, "PING")
        assert isinstance(caught.value, redis.ConnectionError)
        assert "for-the" not in str(caught.value)
        assert database.server.breaker.may_refuse


async def test_unreachable_and_silent_sentinels_are_skipped(group, call):
    with silent() as port:
        settings = group.settings
        hosts = [f"127.0.0.1:{free_port()}", f"127.0.0.1:{port}", *settings["sentinel"]["hosts"]]
        settings["sentinel"] |= {"hosts": hosts, "socket_timeout": 0.2}
        async with RedisDatabase(**settings) as database:
            assert await run(database, call, "PING")


def test_deadline_holds_while_sentinels_hang():
    with silent() as first, silent() as second:
        sentinel = {"master": "mymaster", "hosts": [f"127.0.0.1:{first}", f"127.0.0.1:{second}"], "socket_timeout": 20}
        with RedisDatabase(sentinel=sentinel) as database:
            began = time.monotonic()
            with Deadline(0.3).applied(), pytest.raises((redis.ConnectionError, redis.TimeoutError)):
                database.connection.ping()
            assert time.monotonic() - began < 2
            router = DatabaseRouter({"acme": database})
            outcome = router.fan_out(lambda each: each.connection.ping(), timeout=0.3, on_error="collect")["acme"]
            assert isinstance(outcome.error, redis.ConnectionError | redis.TimeoutError)
            assert time.monotonic() - began < 4


async def test_close_closes_connections_to_sentinels(group, call):
    async with RedisDatabase(**group.settings) as database:
        await run(database, call, "PING")
    with redis.Redis(**group.sentinel.settings) as client:
        await aeventually(lambda: len([each for each in client.client_list() if each["lib-name"] == "redis-py"]) == 1)


def test_keyspaces_of_sentinel_settings_are_compared_by_master_and_hosts():
    database = RedisDatabase(sentinel=OUT_OF_REACH, db=3)
    assert database.settings.server == "mymaster@192.0.2.1:26379,192.0.2.2:26379"
    turned = {"master": "mymaster", "hosts": [("192.0.2.2", 26379), "192.0.2.1"]}
    same = RedisDatabase(sentinel=turned, db=3)
    assert same.keyspace == database.keyspace
    with pytest.raises(SharedKeyspaceError):
        DatabaseRouter({"acme": database, "globex": same})
    other = RedisDatabase(sentinel={**OUT_OF_REACH, "master": "other"}, db=3)
    DatabaseRouter({"acme": database, "globex": other})
    assert database.settings != RedisDatabase(sentinel={**OUT_OF_REACH, "password": "s"}, db=3).settings
    assert database.settings == RedisDatabase(sentinel=dict(OUT_OF_REACH), db=3).settings


def test_check_finds_one_master_under_two_names(group):
    settings = group.settings
    other = {**settings, "sentinel": {**settings["sentinel"], "hosts": [f"localhost:{group.sentinel.port}"]}}
    plain = {"host": "127.0.0.1", "port": group.master.port, "password": "for-the-data"}
    router = DatabaseRouter(
        {"acme": RedisDatabase(**settings), "globex": RedisDatabase(**other), "initech": RedisDatabase(**plain)}
    )
    assert [problem.kind for problem in router.check()] == ["shared-keyspace"] * 3
    router.close()


def test_nothing_secret_is_shown():
    sentinel = {**OUT_OF_REACH, "username": "u-secret", "password": "p-secret"}
    database = RedisDatabase(sentinel=sentinel, password="d-secret")
    shown = [repr(database), repr(database.settings), repr(database.settings.sentinel), repr(database.connection)]
    shown += [repr(database.connection.connection_pool), repr(database.connection.connection_pool.make_connection())]
    assert "secret" not in " ".join(shown)
    assert "mymaster@" in repr(database)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sentinel": "mymaster"}, "sentinel must be a mapping such as"),
        ({"sentinel": {"hosts": ["h"]}}, "master must be the master's name"),
        ({"sentinel": {"master": "a b", "hosts": ["h"]}}, "master must be the master's name"),
        ({"sentinel": {"master": "m"}}, "hosts must be a list of sentinels"),
        ({"sentinel": {"master": "m", "hosts": "h:1"}}, "hosts must be a list of sentinels"),
        ({"sentinel": {"master": "m", "hosts": ["redis://:p-secret@h:1"]}}, "each of hosts must be 'host:port'"),
        ({"sentinel": {"master": "m", "hosts": ["h:0"]}}, "each of hosts must be 'host:port'"),
        ({"sentinel": {"master": "m", "hosts": [("h", "p-secret")]}}, "each of hosts must be 'host:port'"),
        ({"sentinel": {"master": "m", "hosts": ["h"], "passwort": "p-secret"}}, "sentinel: unknown setting 'passwort'"),
        ({"sentinel": {"master": "m", "hosts": ["h"], "db": 1}}, "db does not belong there"),
        ({"sentinel": {"master": "m", "hosts": ["h"], "socket_timeout": 0}}, "sentinel: socket_timeout must be"),
        ({"sentinel": {"master": "m", "hosts": ["h"]}, "host": "h"}, "sentinel and host are given together"),
        ({"sentinel": {"master": "m", "hosts": ["h"]}, "url": "redis://h"}, "sentinel and host are given together"),
        ({"sentinel": {"master": "m", "hosts": ["h"]}, "unix_socket_path": "/s"}, "are given together"),
    ],
)
def test_wrong_sentinel_settings_are_refused(given, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        RedisDatabase(**given)
    assert "secret" not in str(caught.value)


def test_host_may_be_an_ipv6_address():
    for entry in ("[::1]:7000", ("::1", 7000)):
        database = RedisDatabase(sentinel={"master": "m", "hosts": [entry]})
        assert database.settings.sentinel.hosts == (("::1", 7000),)
