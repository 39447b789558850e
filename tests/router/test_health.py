"""Health checks: one command per server, the report for tenants, and readiness policies."""

from __future__ import annotations

import json
import time

import pytest

from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.embedded import EmbeddedServer, free_port
from tenantlimpyd.exceptions import ConfigurationError, InvalidTenantError, ServerUnavailableError, UnknownTenantError
from tenantlimpyd.router import DatabaseRouter
from tenantlimpyd.router.health import HealthReport, Readiness, ServerHealth
from tests.connections.test_breaker_on_servers import silent


async def health(router, call, **options):
    return await call(router, "health", **options)


@pytest.fixture
def router(server):
    """Fifty tenants on a healthy server, three on one that is down."""
    tenants = {f"well-{number}": RedisDatabase(**server.settings, db=number) for number in range(50)}
    gone = free_port()
    for number in range(3):
        tenants[f"gone-{number}"] = RedisDatabase(host="127.0.0.1", port=gone, db=number, password="p-secret")
    with DatabaseRouter(tenants) as made:
        yield made


async def test_health_report_has_servers_and_tenants(router, server, call):
    report = await health(router, call)
    assert not report.ok
    well, gone = report.servers
    assert (well.server, well.ok, well.breaker, well.error) == (f"127.0.0.1:{server.port}", True, "closed", None)
    assert well.tenants == tuple(f"well-{number}" for number in range(50))
    assert (gone.ok, gone.breaker, gone.error) == (False, "open", "ConnectionError")
    assert report.tenants["gone-1"] is gone
    assert report.count() == (50, 53)
    told = json.loads(json.dumps(report.as_dict()))
    assert (told["ok"], told["tenants"], told["tenants_ok"]) == (False, 53, 50)
    assert told["servers"][1]["tenants"] == 3
    assert "secret" not in repr(report) + json.dumps(told)
    before = router.database_for("gone-0").server.breaker.status
    again = await health(router, call)
    assert again.servers[1].error == "ConnectionError"  # it was checked: the state of the breaker may be outdated
    assert again.servers[1].seconds < 1
    assert router.database_for("gone-0").server.breaker.status.failures <= before.failures + 1


async def test_health_check_closes_the_breaker_of_a_recovered_server(call):
    with EmbeddedServer() as server:
        database = RedisDatabase(**server.settings, breaker={"seconds": 3600, "max_open_seconds": 3600})
        router = DatabaseRouter({"acme": database})
        server.kill()
        assert [each.breaker for each in (await health(router, call)).servers] == ["open"]
        server.start()
        with pytest.raises(ServerUnavailableError):
            database.connection.ping()
        (well,) = (await health(router, call)).servers
        assert (well.ok, well.breaker) == (True, "closed")
        assert database.connection.ping()
        await router.aclose()


async def test_health_check_sends_one_command_to_each_server(server, call):
    router = DatabaseRouter({f"t{number}": RedisDatabase(**server.settings, db=number) for number in range(60)})
    commands = router.database_for("t0").connection
    before = commands.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"]
    assert (await health(router, call)).ok
    assert commands.info("commandstats")["cmdstat_ping"]["calls"] == before + 1
    await router.aclose()


async def test_health_check_may_be_limited_to_some_tenants(router, call):
    report = await health(router, call, tenants=["well-1", "well-2"])
    assert report.ok
    assert [server.tenants for server in report.servers] == [("well-1", "well-2")]
    for wrong, error in ((["nobody"], UnknownTenantError), (["*"], InvalidTenantError), ("well-1", TypeError)):
        with pytest.raises(error):
            await health(router, call, tenants=wrong)
    with router._request_scope("well-1"):
        assert (await health(router, call, tenants=["well-2"])).ok


async def test_health_check_resolves_unknown_tenants(server):
    async def resolver(tenant):
        return RedisDatabase(**server.settings, db=1) if tenant == "found" else None

    router = DatabaseRouter(resolver=resolver)
    assert (await router.ahealth(tenants=["found"])).count() == (1, 1)
    await router.aclose()


async def test_health_check_of_a_silent_server_takes_its_timeout(server, call):
    with silent() as port:
        router = DatabaseRouter(
            {"hangs": RedisDatabase(host="127.0.0.1", port=port), "well": RedisDatabase(**server.settings)}
        )
        began = time.monotonic()
        report = await health(router, call, timeout=0.2)
        assert time.monotonic() - began < 2
        assert [each.ok for each in report.servers] == [False, True]
        assert report.servers[0].error == "TimeoutError"
        await router.aclose()


async def test_error_reply_is_healthy_but_wrong_password_is_not(server, call):
    with EmbeddedServer(password="right", acl=["user weak on >weak -@all +hello"]) as other:
        where = {"host": "127.0.0.1", "port": other.port}
        router = DatabaseRouter(
            {
                "out-of-range": RedisDatabase(**server.settings, db=1_000_000),
                "weak": RedisDatabase(**where, username="weak", password="weak", protocol=2),
                "wrong": RedisDatabase(**where, password="wrong", db=1),
            }
        )
        report = await health(router, call)
        assert [each.ok for each in report.servers] == [True, True, False]
        assert report.servers[2].error == "AuthenticationError"
        await router.aclose()


def test_starting_a_router_opens_no_connection(server):
    with EmbeddedServer() as fresh:
        router = DatabaseRouter({f"t{number}": RedisDatabase(**fresh.settings, db=number) for number in range(10)})
        router.database_for("t1")
        probe = RedisDatabase(**fresh.settings, client_name="probe", shared=False)
        with probe, router.use_tenant("t2"):
            assert probe.connection.info("stats")["total_connections_received"] <= 2  # its own, and that of starting
        router.close()


# Readiness


def made(*servers):
    return HealthReport(
        tuple(
            ServerHealth(name, ok, "closed", 0.1, None, tuple(f"{name}-{number}" for number in range(tenants)))
            for name, ok, tenants in servers
        ),
        0.1,
    )


WELL = made(("a", True, 3), ("b", True, 1))
HALF = made(("a", True, 2), ("b", False, 2))
GONE = made(("a", False, 3), ("b", False, 1))
EMPTY = made()


@pytest.mark.parametrize(
    ("readiness", "expected"),
    [
        (Readiness.all(), [True, False, False, True]),
        (Readiness.none(), [True, True, True, True]),
        (Readiness.quorum(0.5), [True, True, False, True]),
        (Readiness.quorum(0.51), [True, False, False, True]),
        (Readiness.quorum(1), [True, True, False, False]),
        (Readiness.quorum(3), [True, False, False, False]),
        (Readiness.named("a-0"), [True, True, False, False]),
        (Readiness.named("a-0", "b-0"), [True, False, False, False]),
        (Readiness.named("nobody"), [False, False, False, False]),
        (Readiness.named(servers=["a"]), [True, True, False, False]),
        (Readiness.named("a-0", servers=["b"]), [True, False, False, False]),
    ],
    ids=str,
)
def test_readiness_policies_judge_reports(readiness, expected):
    assert [readiness.judge(report).ready for report in (WELL, HALF, GONE, EMPTY)] == expected


def test_readiness_result_says_why():
    assert Readiness.all().judge(HALF).reason == "2 of 4 tenants can be served"
    assert Readiness.named("b-0", servers=["x"]).judge(HALF).reason == "not well: 'b-0', 'x'"
    assert Readiness.named("b-0").wanted == ("b-0",)
    assert Readiness.named("b-0", servers=["x"]).wanted is None


def test_server_with_two_sets_of_credentials_must_be_healthy_with_both():
    report = made(("a", True, 1), ("a", False, 1))
    assert not Readiness.named(servers=["a"]).judge(report).ready


@pytest.mark.parametrize("given", [0, -1, 1.1, 0.0, True, "half", float("nan")])
def test_quorum_must_be_a_number(given):
    with pytest.raises(ConfigurationError, match="a quorum is a number of tenants, or a fraction"):
        Readiness.quorum(given)


def test_named_servers_may_be_given_by_another_name_of_the_same_host(flushed_server):
    with DatabaseRouter({"acme": RedisDatabase(**flushed_server.settings, db=1)}) as router:
        report = router.health()
    assert [each.server for each in report.servers] == [f"127.0.0.1:{flushed_server.port}"]
    for host in ("127.0.0.1", "localhost", "LOCALHOST."):
        assert Readiness.named(servers=[f"{host}:{flushed_server.port}"]).judge(report).ready
    assert not Readiness.named(servers=[f"redis-1:{flushed_server.port}"]).judge(report).ready


def test_named_readiness_needs_tenants_or_servers():
    with pytest.raises(ConfigurationError, match="name tenants or servers"):
        Readiness.named()
    with pytest.raises(ConfigurationError, match="several names"):
        Readiness.named(servers="a")
    with pytest.raises(ConfigurationError, match="servers must be names such as 'redis-1:6379', not 6379"):
        Readiness.named(servers=[6379])
