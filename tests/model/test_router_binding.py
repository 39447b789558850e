"""Models bound to a router: invariants 1 to 3 of the design, as far as models go."""

from __future__ import annotations

import asyncio

import pytest

from tenantlimpyd import fields, model
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import ImplementationError, NoTenantError, WrongTenantError
from tenantlimpyd.router import DatabaseRouter
from tenantlimpyd.testing import count_commands
from tests.support.models import make_person


@pytest.fixture
async def router(flushed_server):
    databases = {
        "acme": RedisDatabase(**flushed_server.settings, db=1),
        "globex": RedisDatabase(**flushed_server.settings, db=2, key_prefix="g:"),
    }
    made = DatabaseRouter(databases)
    yield made
    await made.aclose()
    made.close()


@pytest.fixture
def routed(router):
    return make_person(router)


@pytest.mark.invariant(1)
async def test_routed_model_without_a_tenant_is_refused(call, routed, router):
    with router.use_tenant("acme"):
        p = await call.create(routed, name="Ann")
    with count_commands() as sent:
        for command, args, kwargs in [
            ("get", (1,), {}),
            ("get", (), {"name": "Ann"}),
            ("get_or_connect", (), {"name": "Ann"}),
            ("exists", (), {"pk": 1}),
            ("from_pks", ([1],), {}),
            ("scan_model_keys", (), {}),
        ]:
            with pytest.raises(NoTenantError):
                await call(routed, command, *args, **kwargs)
        for build in (
            lambda: routed(name="Ann"),
            lambda: routed(1),
            routed,
            lambda: routed.lazy_connect(1),
            routed.collection,
            lambda: routed.instances(name="Ann"),
            routed.get_connection,
            routed.sort_wildcard,
            lambda: routed.get_field("pk").collection(),
            lambda: routed.get_field("name").connection,
        ):
            with pytest.raises(NoTenantError):
                build()
    assert sent.trips == 0
    assert await call(p.name, "get") == "Ann"  # an object keeps its tenant


@pytest.mark.invariant(2)
def test_defining_models_and_entering_tenants_changes_no_class(routed, router):
    before = {key: value for key, value in vars(routed).items() if not key.startswith("__")}
    with router.use_tenant("acme"):
        routed(name="x").name.set("y")
        with router.use_tenant("globex"):
            list(routed.instances())
    assert {key: value for key, value in vars(routed).items() if not key.startswith("__")} == before
    assert routed.database is router


@pytest.mark.invariant(3)
async def test_object_keeps_the_tenant_it_was_made_under(call, routed, router):
    with router.use_tenant("acme"):
        p, found = await call.create(routed, name="Ann"), routed.collection(name="Ann")
        objects = routed.instances(name="Ann")
        keys = routed.ascan_model_keys() if call.is_async else routed.scan_model_keys()
    with router.use_tenant("globex"):
        q = await call.create(routed, name="Bob")
        assert p._pk == q._pk
        assert p != q
        assert len({p, q}) == 2
    await call(p.name, "append", "!")
    assert await call.list(found(name="Ann")) == []
    assert await call.list(objects) == []
    assert len(await call.list(keys)) == 4
    assert router.database_for("acme").connection.get("spec:person:1:name") == "Ann!"
    assert router.database_for("globex").connection.get("g:spec:person:1:name") == "Bob"
    assert "acme" in repr(p)


@pytest.mark.invariant(3)
async def test_object_is_refused_under_another_tenant(call, routed, router):
    with router.use_tenant("acme"):
        p, found = await call.create(routed, name="Ann"), routed.collection(name="Ann")
        evaluated = await call.list(found)
        fresh = routed()
    with router.use_tenant("globex"), count_commands() as sent:
        for target, command, args in [
            (p.name, "get", ()),
            (p.name, "set", ("x",)),
            (p.note, "set", ("x",)),
            (p.name, "exists", ()),
            (p.pk, "get", ()),
            (p.pk, "exists", ()),
            (p, "hgetall", ()),
            (p, "delete", ()),
            (p, "connect", ()),
            (fresh.name, "set", ("x",)),
        ]:
            with pytest.raises(WrongTenantError):
                await call(target, command, *args)
        for use in (
            lambda: list(found),
            lambda: len(found),
            lambda: found[0],
            lambda: found[0:1],
            lambda: p.connection,
            lambda: p.name.connection,
            p.scan_keys,
        ):
            with pytest.raises(WrongTenantError):
                use()
        with pytest.raises(WrongTenantError):
            await call.list(found)
        assert sent.trips == 0
        repr(p), p == p  # noqa: PLR0124
    assert evaluated == ["1"]


async def test_coroutine_keeps_the_tenant_it_was_made_under(routed, router):
    with router.use_tenant("acme"):
        making, existing = routed.acreate(name="Ann"), routed.aexists(name="Ann")
    with router.use_tenant("globex"):
        await making
        assert await existing is True
        assert await routed.aexists(name="Ann") is False


async def test_concurrent_tasks_of_two_tenants_use_their_own_databases(routed, router):
    async def work(tenant):
        async with router.use_tenant(tenant):
            for number in range(10):
                p = await routed.acreate(name=tenant, email=f"{number}@x")
                await p.name.aappend(str(number))
                assert await routed.collection(email=f"{number}@x").alist() == [p._pk]

    await asyncio.gather(work("acme"), work("globex"))
    for tenant in ("acme", "globex"):
        with router.use_tenant(tenant):
            assert sorted(p.name.get() for p in routed.instances()) == sorted(f"{tenant}{n}" for n in range(10))


def test_router_registers_each_model_name_once(routed, router):
    for tenant in ("acme", "globex"):
        with router.use_tenant(tenant), pytest.raises(ImplementationError, match="has that name"):

            class Person(model.RedisModel):
                database = router
                namespace = "spec"
                other = fields.StringField()

        assert router.database_for(tenant)._models == {}
    assert router._models == {"spec:person": routed}
