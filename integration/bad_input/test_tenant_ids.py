"""Malformed tenant ids in every method of the router: one clear error, and no command."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from integration.bad_input.malformed_ids import HOSTILE, IDS, everything_on, is_readable
from tenantlimpyd import DatabaseRouter, RedisDatabase, current_tenant, fields, model
from tenantlimpyd.exceptions import InvalidTenantError, UnknownTenantError
from tests.support.servers import ServerHandle

asked: list[str] = []


def resolver(tenant: str) -> None:
    asked.append(tenant)


@pytest.fixture
def router(server: ServerHandle) -> Iterator[DatabaseRouter]:
    asked.clear()
    databases = {tenant: RedisDatabase(**server.settings, db=db) for db, tenant in enumerate(["acme", "globex"], 1)}
    with DatabaseRouter(databases, resolver=resolver) as router:
        for tenant in router.tenants():
            router.database_for(tenant).connection.set("mine", tenant)
        yield router


def enter(router: DatabaseRouter, tenant: Any) -> None:
    with router.use_tenant(tenant):
        router.database.connection.set("written", "by nobody")


async def aenter(router: DatabaseRouter, tenant: Any) -> None:
    async with router.use_tenant(tenant):
        await router.database.aconnection.set("written", "by nobody")


def decorate(router: DatabaseRouter, tenant: Any) -> None:
    router.use_tenant(tenant)(lambda: router.database.connection.set("written", "by nobody"))()


DOORS: dict[str, Callable[[DatabaseRouter, Any], Any]] = {
    "use_tenant": enter,
    "decorator": decorate,
    "request_scope": lambda router, tenant: router._request_scope(tenant).__enter__(),
    "database_for": lambda router, tenant: router.database_for(tenant),
    "check_id": lambda router, tenant: router._check_id(tenant),
    "remove": lambda router, tenant: router.remove(tenant),
    "add": lambda router, tenant: router.add(tenant, RedisDatabase(host="127.0.0.1", port=1)),
    "scan_keys": lambda router, tenant: list(router.scan_keys(tenants=["acme", tenant])),
    "fan_out": lambda router, tenant: router.fan_out(
        lambda database: database.connection.set("written", "by nobody"), tenants=["acme", tenant]
    ),
    "check": lambda router, tenant: router.check(tenants=[tenant]),
    "constructor": lambda _, tenant: DatabaseRouter({tenant: RedisDatabase()}),
}
ASYNC_DOORS: dict[str, Callable[[DatabaseRouter, Any], Awaitable[Any]]] = {
    "use_tenant": aenter,
    "adatabase_for": lambda router, tenant: router.adatabase_for(tenant),
    "afan_out": lambda router, tenant: router.afan_out(
        lambda database: database.aconnection.set("written", "by nobody"), tenants=["acme", tenant]
    ),
    "acheck": lambda router, tenant: router.acheck(tenants=[tenant]),
}


def refused(call: Callable[[], Any]) -> None:
    started = time.monotonic()
    with pytest.raises(InvalidTenantError) as raised:
        call()
    assert time.monotonic() - started < 1
    assert is_readable(raised.value), str(raised.value)
    assert len(str(raised.value.tenant)) < 300
    assert current_tenant() is None


@pytest.mark.parametrize("name", HOSTILE)
def test_malformed_ids_are_refused(router: DatabaseRouter, server: ServerHandle, name: str) -> None:
    before = everything_on(server)
    for door, go in DOORS.items():
        if door == "constructor" and not _hashable(HOSTILE[name]):
            continue
        refused(lambda go=go: go(router, HOSTILE[name]))
    assert HOSTILE[name] not in router
    assert router.tenants() == ("acme", "globex")
    assert asked == []
    assert everything_on(server) == before


@pytest.mark.parametrize("name", HOSTILE)
async def test_malformed_ids_are_refused_by_async_forms(
    router: DatabaseRouter, server: ServerHandle, name: str
) -> None:
    before = everything_on(server)
    for go in ASYNC_DOORS.values():
        with pytest.raises(InvalidTenantError) as raised:
            await go(router, HOSTILE[name])
        assert is_readable(raised.value)
    assert asked == []
    assert everything_on(server) == before
    await router.aclose()


@given(IDS)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_fuzzed_ids_are_refused(router: DatabaseRouter, server: ServerHandle, tenant: Any) -> None:
    for door, go in DOORS.items():
        if door == "constructor" and not _hashable(tenant):
            continue
        refused(lambda go=go: go(router, tenant))
    assert asked == []
    assert {db: set(keys) for db, keys in everything_on(server).items()} == {1: {b"mine"}, 2: {b"mine"}}


@given(IDS)
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_fuzzed_ids_are_refused_by_async_forms(router: DatabaseRouter, server: ServerHandle, tenant: Any) -> None:
    async def doors() -> None:
        for go in ASYNC_DOORS.values():
            with pytest.raises(InvalidTenantError) as raised:
                await go(router, tenant)
            assert is_readable(raised.value)

    asyncio.run(doors())
    assert {db: set(keys) for db, keys in everything_on(server).items()} == {1: {b"mine"}, 2: {b"mine"}}


def test_unknown_tenant_is_refused(router: DatabaseRouter, server: ServerHandle) -> None:
    before = everything_on(server)
    for door in ("use_tenant", "decorator", "database_for", "remove", "scan_keys", "fan_out"):
        with pytest.raises(UnknownTenantError) as raised:
            DOORS[door](router, "nobody")
        assert is_readable(raised.value)
        assert raised.value.tenant == "nobody"
    assert asked == ["nobody"]  # once: that it is unknown is remembered
    assert everything_on(server) == before


def test_failed_entry_keeps_the_previous_tenant(router: DatabaseRouter) -> None:
    class Thing(model.RedisModel):
        database = router
        name = fields.StringField()

    with router.use_tenant("acme"):
        with pytest.raises(InvalidTenantError):
            enter(router, "glob*")
        with pytest.raises(UnknownTenantError):
            enter(router, "nobody")
        assert current_tenant() == "acme"
        Thing(name="x")
    assert "tenantlimpyd" not in router
    assert len(router.database_for("acme").connection.keys("*thing*")) == 3
    assert router.database_for("globex").connection.keys("*thing*") == []


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
