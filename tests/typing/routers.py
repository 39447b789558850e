"""What users may write with many databases."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, assert_type

from tenantlimpyd import DatabaseRouter, RedisDatabase, current_tenant
from tenantlimpyd._connections.breaker import BreakerPolicy
from tenantlimpyd._fanout.outcomes import Outcome
from tenantlimpyd.operations import Command, Script
from tenantlimpyd.router.health import HealthReport, Readiness, ServerHealth


def find(tenant: str) -> RedisDatabase | None:
    return RedisDatabase(db=3) if tenant == "initech" else None


def routers_are_made_of_ids_and_databases() -> None:
    DatabaseRouter()
    DatabaseRouter({"acme": RedisDatabase(db=1)})
    DatabaseRouter({}, resolver=find, grammar=re.compile("[a-z]+"))
    assert_type(DatabaseRouter.from_config("tenants.toml"), DatabaseRouter)
    assert_type(DatabaseRouter.from_config(Path("tenants.toml")), DatabaseRouter)
    assert_type(DatabaseRouter.from_config({"tenants": {}}), DatabaseRouter)
    DatabaseRouter({1: RedisDatabase()})  # type: ignore[dict-item]
    DatabaseRouter({"acme": "redis://localhost"})  # type: ignore[dict-item]
    DatabaseRouter({}, find)  # type: ignore[call-arg]


def a_router_is_asked(router: DatabaseRouter) -> None:
    assert_type(router.tenants(), tuple[str, ...])
    assert_type("acme" in router, bool)
    assert_type(len(router), int)
    assert_type(router.database, RedisDatabase)
    assert_type(router.database_for("acme"), RedisDatabase)
    assert_type(current_tenant(), str | None)
    router.add("umbrella", RedisDatabase(db=9))
    router.add(RedisDatabase(), "umbrella")  # type: ignore[arg-type]
    router.remove("umbrella")
    router.database_for(None)  # type: ignore[arg-type]


async def a_router_is_asked_in_asyncio(router: DatabaseRouter) -> None:
    assert_type(await router.adatabase_for("acme"), RedisDatabase)
    router.adatabase_for("acme").key_prefix  # type: ignore[attr-defined]
    router.adatabase_for("acme")  # type: ignore[unused-coroutine]
    router.acheck()  # type: ignore[unused-coroutine]
    for problem in await router.acheck(timeout=1.5):
        assert_type(str(problem), str)


def a_tenant_is_entered(router: DatabaseRouter) -> None:
    with router.use_tenant("acme"), router.use_no_tenant():
        pass
    with router.use_tenant("acme", allow_switch=True):
        pass
    with router.use_tenant(7):  # type: ignore[arg-type]
        pass


async def a_tenant_is_entered_in_asyncio(router: DatabaseRouter) -> None:
    async with router.use_tenant("acme"), router.use_no_tenant():
        pass


def decorated_functions_keep_their_types(router: DatabaseRouter) -> None:
    @router.use_tenant("acme")
    def total(customer: str, *, open_only: bool = False) -> int:
        return len(customer) + open_only

    assert_type(total("Ann", open_only=True), int)
    total(3)  # type: ignore[arg-type]
    total("Ann", open=True)  # type: ignore[call-arg]

    @router.use_tenant("acme")
    def numbers() -> Iterator[int]:
        yield 1

    for number in numbers():
        assert_type(number, int)


async def decorated_coroutines_keep_their_types(router: DatabaseRouter) -> None:
    @router.use_tenant("acme")
    async def total(customer: str) -> int:
        return len(customer)

    assert_type(await total("Ann"), int)
    total("Ann")  # type: ignore[unused-coroutine]
    await total(3)  # type: ignore[arg-type]

    @router.use_tenant("acme")
    async def numbers() -> AsyncIterator[int]:
        yield 1

    async for number in numbers():
        assert_type(number, int)


def walks_give_tenants_and_keys(router: DatabaseRouter) -> None:
    for tenant, key in router.scan_keys(
        match="invoice:*", tenants=["acme"], on_error="collect", timeout=2, concurrency=4
    ):
        assert_type(tenant, str)
        assert_type(key, str)
    for owner, page in router.scan_pages(count=500, type="hash"):
        assert_type(owner, str)
        assert_type(page, list[str])
    with router.scan_keys() as scan:
        next(iter(scan))
    assert_type(scan.outcomes["acme"].seconds, float)
    assert_type(scan.outcomes["acme"].ok, bool)
    assert_type(scan.outcomes["acme"].interrupted, bool)
    assert_type(scan.token(), str)
    assert_type(scan.exact, bool)
    router.scan_keys(unique=True, resume=scan.token())
    router.scan_pages(unique=50_000)
    router.scan_keys(on_error="ignore")  # type: ignore[arg-type]
    router.scan_keys(resume=5)  # type: ignore[arg-type]


def commands_are_sent_to_all_tenants(router: DatabaseRouter) -> None:
    assert_type(router.fan_out(Command("DBSIZE")), dict[str, Outcome[Any]])
    assert_type(router.fan_out(Script("return 1"), timeout=1), dict[str, Outcome[Any]])
    assert_type(router.fan_out(count), dict[str, Outcome[int]])
    router.fan_out("DBSIZE")  # type: ignore[call-overload]


async def commands_are_sent_to_all_tenants_in_asyncio(router: DatabaseRouter) -> None:
    assert_type(await router.afan_out(Command("DBSIZE")), dict[str, Outcome[Any]])
    router.afan_out(Command("DBSIZE"))  # type: ignore[unused-coroutine]


async def walks_give_tenants_and_keys_in_asyncio(router: DatabaseRouter) -> None:
    async for tenant, key in router.ascan_keys(match="invoice:*"):
        assert_type(tenant, str)
        assert_type(key, str)
    async with router.ascan_pages() as scan:
        async for owner, page in scan:
            assert_type(owner, str)
            assert_type(page, list[str])
    for _refused in router.ascan_keys():  # type: ignore[attr-defined]
        pass


def count(database: RedisDatabase) -> int:
    return sum(1 for _ in database.scan_keys())


async def acount(database: RedisDatabase) -> int:
    return len([key async for key in database.ascan_keys()])


def outcomes_carry_the_function_s_type(router: DatabaseRouter) -> None:
    for tenant, outcome in router.fan_out(count, tenants=["acme"], on_error="collect").items():
        assert_type(tenant, str)
        assert_type(outcome.value, int | None)
        assert_type(outcome.seconds, float)
    router.fan_out(len)  # type: ignore[arg-type]


async def outcomes_carry_the_coroutine_s_type(router: DatabaseRouter) -> None:
    outcomes = await router.afan_out(acount, timeout=1.0)
    assert_type(outcomes["acme"].value, int | None)
    router.afan_out(acount)  # type: ignore[unused-coroutine]
    await router.afan_out(count)  # type: ignore[arg-type]


def tenants_move(router: DatabaseRouter) -> None:
    DatabaseRouter({}, resolver=find, resolver_cache=1000)
    DatabaseRouter({}, resolver=find, resolver_cache="1000")  # type: ignore[arg-type]
    assert_type(router.replace("acme", RedisDatabase(db=2)), RedisDatabase)
    assert_type(router.forget("acme"), bool)
    router.replace("acme", None)  # type: ignore[arg-type]


async def servers_are_asked_how_they_are(router: DatabaseRouter) -> None:
    assert_type(router.health(timeout=1.0, tenants=["acme"]), HealthReport)
    report = await router.ahealth()
    assert_type(report, HealthReport)
    assert_type(report.servers, tuple[ServerHealth, ...])
    assert_type(report.tenants["acme"].ok, bool)
    verdict = Readiness.quorum(0.5).judge(report)
    assert_type(verdict.ready, bool)
    Readiness.named("acme", servers=["redis-1:6379"])
    Readiness.quorum("half")  # type: ignore[arg-type]
    RedisDatabase(breaker=BreakerPolicy(failures=5), sentinel={"master": "m", "hosts": ["h:1"]})
