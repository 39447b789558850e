"""check() asks the servers: invariant 6 where settings are not enough."""

from __future__ import annotations

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import UnknownTenantError
from tenantlimpyd.router import DatabaseRouter
from tenantlimpyd.router.checks import Problem
from tests.support.deviating_server import DeviatingServer

ONCE = Retry(NoBackoff(), 0)


async def both(router, **arguments):
    """Return the result of the sync and the async form, which must be equal."""
    found = router.check(**arguments)
    again = await router.acheck(**arguments)
    assert [(each.kind, each.tenants) for each in found] == [(each.kind, each.tenants) for each in again]
    assert all(isinstance(each, Problem) and str(each) == each.message for each in found)
    await router.aclose()
    return found


async def test_check_of_distinct_servers_finds_no_problem(router):
    assert await both(router) == []


async def test_check_of_a_router_without_tenants_finds_no_problem():
    assert await both(DatabaseRouter()) == []


@pytest.mark.invariant(6)
async def test_two_names_of_one_server(flushed_server):
    settings = flushed_server.settings
    router = DatabaseRouter(
        {
            "tcp": RedisDatabase(**settings, db=1),
            "unix": RedisDatabase(unix_socket_path=flushed_server.unix_socket, db=1),
            "elsewhere": RedisDatabase(unix_socket_path=flushed_server.unix_socket, db=2),
        }
    )
    (problem,) = await both(router)
    assert problem.kind == "shared-keyspace"
    assert set(problem.tenants) == {"tcp", "unix"}
    assert "share keys" in problem.message
    assert "run id" in problem.message


@pytest.mark.invariant(6)
async def test_aliases_and_prefixes(flushed_server):
    tcp = flushed_server.settings
    unix = {"unix_socket_path": flushed_server.unix_socket}
    router = DatabaseRouter(
        {
            "a": RedisDatabase(**tcp, db=1, key_prefix="a:"),
            "ab": RedisDatabase(**unix, db=1, key_prefix="a:b:"),
            "abc": RedisDatabase(host="127.1", port=tcp["port"], db=1, key_prefix="a:b:c:"),
            "b": RedisDatabase(**unix, db=1, key_prefix="b:"),
            "dedicated": RedisDatabase(**unix, db=2, key_prefix="a:"),
        }
    )
    found = await both(router)
    assert {(each.kind, each.tenants) for each in found} == {
        ("shared-keyspace", ("a", "ab")),
        ("shared-keyspace", ("a", "abc")),
        ("shared-keyspace", ("ab", "abc")),
    }


async def test_unreachable_servers_are_reported(router, flushed_server):
    router.add("dead", RedisDatabase(host="127.0.0.1", port=1, retry=ONCE))
    router.add("range", RedisDatabase(**flushed_server.settings, db=4000, retry=ONCE))
    router.add(
        "password", RedisDatabase(**flushed_server.settings, db=9, username="nobody", password="hunter2", retry=ONCE)
    )
    found = {each.tenants: each for each in await both(router, timeout=2)}
    assert set(found) == {("dead",), ("range",), ("password",)}
    assert {each.kind for each in found.values()} == {"unreachable"}
    assert "127.0.0.1:1, db 0" in found["dead",].message
    assert "out of range" in found["range",].message
    assert "hunter2" not in "".join(map(str, found.values()))


async def test_server_of_a_user_without_info_is_reported_as_unverified(router, flushed_server):
    with redis.Redis(**flushed_server.settings) as admin:
        admin.execute_command("ACL", "SETUSER", "checker", "on", ">pw", "~*", "+@all", "-info")
        router.add("secretive", RedisDatabase(**flushed_server.settings, db=9, username="checker", password="pw"))
        (problem,) = await both(router)
        admin.acl_deluser("checker")
    assert (problem.kind, problem.tenants) == ("unverified", ("secretive",))


@pytest.mark.parametrize("right", ["multi", "exec", "discard"])
async def test_servers_whose_transactions_are_not_used_are_reported_once(router, flushed_server, right):
    with redis.Redis(**flushed_server.settings) as admin:
        admin.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">pw", "~*", "&*", "+@all", f"-{right}")
        settings = {**flushed_server.settings, "username": "limited", "password": "pw"}
        for db in (9, 10):
            router.add(f"limited{db}", RedisDatabase(**settings, db=db))
        (problem,) = await both(router)
        admin.acl_deluser("limited")
    assert (problem.kind, problem.tenants) == ("no-transactions", ("limited9", "limited10"))
    assert "MULTI, SELECT, EXEC and DISCARD" in problem.message
    assert right in problem.message
    assert "pw" not in problem.message


@pytest.mark.parametrize("kind", ["runs the others", "leaves the transaction", "no transactions"])
async def test_servers_whose_transactions_deviate_are_reported(flushed_server, kind):
    with DeviatingServer(flushed_server.port, kind) as server:
        router = DatabaseRouter({"acme": RedisDatabase(host="127.0.0.1", port=server.port, db=1)})
        (problem,) = await both(router)
        router.close()
    assert problem.kind == "no-transactions"


async def test_check_may_be_limited_to_some_tenants(router):
    router.add("dead", RedisDatabase(host="127.0.0.1", port=1, retry=ONCE))
    assert await both(router, tenants=["acme", "globex"]) == []
    with pytest.raises(UnknownTenantError):
        router.check(tenants=["nobody"])


async def test_probe_tells_what_servers_are(router):
    outcomes = router._probe()
    aoutcomes = await router._aprobe()
    assert set(outcomes) == set(router.tenants())
    facts = outcomes["acme"].value
    assert facts == aoutcomes["globex"].value
    assert facts.name in {"redis", "valkey"}
    assert facts.version[0].isdigit()
    await router.aclose()
