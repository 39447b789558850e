"""Request scopes: the tenant is set, also to none, and another one is refused."""

from __future__ import annotations

import asyncio

import pytest

from tenantlimpyd import current_tenant
from tenantlimpyd.context import carry_tenant, frames
from tenantlimpyd.exceptions import InvalidTenantError, TenantSwitchError, UnknownTenantError
from tenantlimpyd.router import DatabaseRouter


@pytest.mark.invariant(5)
async def test_another_tenant_is_refused(call, paper):
    async with call.enter(paper._request_scope("a")):
        async with call.enter(paper.use_tenant("a")):
            assert current_tenant() == "a"
        with pytest.raises(TenantSwitchError, match="'b' can't be entered inside a request of tenant 'a'"):
            await call.enter(paper.use_tenant("b")).__aenter__()
        async with call.enter(paper.use_tenant("b", allow_switch=True)):
            assert current_tenant() == "b"
            with pytest.raises(TenantSwitchError):
                async with call.enter(paper.use_tenant("c")):
                    pytest.fail("entered")
            async with call.enter(paper.use_tenant("a")):
                assert current_tenant() == "a"
        assert current_tenant() == "a"
    assert frames.get() is None


@pytest.mark.invariant(5)
async def test_decorated_functions_and_tasks_are_refused_too(paper):
    @paper.use_tenant("b")
    def plain():
        pytest.fail("ran")

    @paper.use_tenant("b")
    def generator():
        yield pytest.fail("ran")

    @paper.use_tenant("b")
    async def coroutine():
        pytest.fail("ran")

    @paper.use_tenant("b", allow_switch=True)
    async def allowed():
        return current_tenant()

    async with paper._request_scope("a"):
        for call in (plain, lambda: next(generator()), carry_tenant(plain)):
            with pytest.raises(TenantSwitchError):
                call()
        with pytest.raises(TenantSwitchError):
            await coroutine()
        with pytest.raises(TenantSwitchError):
            await asyncio.create_task(coroutine())
        with pytest.raises(TenantSwitchError):
            await asyncio.to_thread(plain)
        assert await allowed() == "b"
        assert current_tenant() == "a"


@pytest.mark.invariant(5)
def test_use_no_tenant_in_a_request_does_not_allow_another_tenant(paper):
    with paper._request_scope("a"), paper.use_no_tenant():
        assert current_tenant() is None
        with pytest.raises(TenantSwitchError), paper.use_tenant("b"):
            pytest.fail("entered")


@pytest.mark.invariant(5)
def test_request_without_tenant_hides_the_outer_tenant(paper):
    with paper.use_tenant("a"):  # the server was started inside a tenant
        with paper._request_scope(None) as nobody:
            assert nobody is None
            assert current_tenant() is None
        with paper._request_scope("b"):
            assert current_tenant() == "b"
        assert current_tenant() == "a"


def test_request_with_allow_switch_may_enter_another_tenant(paper):
    with paper._request_scope("a", allow_switch=True), paper.use_tenant("b"):
        assert current_tenant() == "b"


def test_allow_switch_applies_to_the_inner_request(paper):
    """An application mounted in another one: the inner request decides."""
    with paper._request_scope("a"):
        with paper._request_scope("b", allow_switch=True), paper.use_tenant("c"):
            assert current_tenant() == "c"
        refused = pytest.raises(TenantSwitchError, match="request of tenant 'b'")
        with paper._request_scope("b"), refused, paper.use_tenant("a"):
            pytest.fail("entered")
        assert current_tenant() == "a"


def test_request_does_not_restrict_another_router(paper):
    other = DatabaseRouter({"x": paper.database_for("a")})
    with paper._request_scope("a"), other.use_tenant("x"):
        assert current_tenant() == "x"


def test_tenant_id_of_a_request_is_validated(paper):
    with pytest.raises(InvalidTenantError):
        paper._request_scope("*")
    with pytest.raises(UnknownTenantError):
        paper._request_scope("unknown").__enter__()
    assert frames.get() is None


async def test_bulk_work_in_a_request_is_refused_for_other_tenants(router):
    with router._request_scope("acme"):
        for work in (
            router.scan_keys,
            router.scan_pages,
            router.ascan_keys,
            router.ascan_pages,
            router._probe,
            router.check,
        ):
            with pytest.raises(TenantSwitchError):
                work()
        with pytest.raises(TenantSwitchError):
            router.fan_out(lambda database: database.keyspace.db, tenants=["acme", "globex"])
        with pytest.raises(TenantSwitchError):
            await router.afan_out(lambda database: database.aconnection.ping())
        assert list(router.scan_keys(tenants=["acme"])) == []
        outcomes = router.fan_out(lambda database: current_tenant(), tenants=["acme"])
        assert outcomes["acme"].value == "acme"
        outcomes = router.fan_out(lambda database: current_tenant(), allow_switch=True)
        assert {tenant: outcome.value for tenant, outcome in outcomes.items()} == {
            tenant: tenant for tenant in router.tenants()
        }
        assert list(router.scan_keys(allow_switch=True)) == []
    await router.aclose()
