"""Invariants 1 to 4, with models on a real server, in sync and async."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tenantlimpyd import current_tenant, fields, model
from tenantlimpyd.contrib.collection import ExtendedCollectionManager
from tenantlimpyd.exceptions import ImplementationError, NoTenantError, UnknownTenantError, WrongTenantError
from tenantlimpyd.router import DatabaseRouter


@pytest.fixture
def invoice_model(router):
    class Invoice(model.RedisModel):
        database = router
        number = fields.StringField(indexable=True)
        amount = fields.InstanceHashField()

    return Invoice


# Invariant 1: no tenant, no database


@pytest.mark.invariant(1)
async def test_routed_model_without_a_tenant_is_refused(router, invoice_model):
    uses = [
        lambda: invoice_model(number="1"),
        invoice_model.collection,
        lambda: invoice_model.get(number="1"),
        lambda: invoice_model.exists(pk=1),
        lambda: invoice_model.lazy_connect(1),
        lambda: router.database,
        lambda: router.connection,
        lambda: router.aconnection,
        router._current_placement,
    ]
    for use in uses:
        with pytest.raises(NoTenantError, match=r"with router\.use_tenant"):
            use()
    with pytest.raises(NoTenantError):
        await invoice_model.acreate(number="1")
    with router.use_tenant("acme"), router.use_no_tenant():
        for use in uses:
            with pytest.raises(NoTenantError):
                use()
    assert all(router.database_for(tenant).connection.dbsize() == 0 for tenant in router.tenants())


@pytest.mark.invariant(1)
def test_new_thread_has_no_tenant(router, invoice_model):
    raised = []

    def work():
        try:
            invoice_model(number="1")
        except NoTenantError as error:
            raised.append(error)

    with router.use_tenant("acme"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(5)
    assert len(raised) == 1
    assert router.database_for("acme").connection.dbsize() == 0


@pytest.mark.invariant(1)
def test_only_tenant_is_not_the_default(router):
    lonely = DatabaseRouter({"acme": router.database_for("acme")})
    with pytest.raises(NoTenantError):
        _ = lonely.database


@pytest.mark.invariant(1)
def test_tenant_of_another_router_does_not_count(router, invoice_model):
    other = DatabaseRouter({"acme": router.database_for("acme")})
    with other.use_tenant("acme"), pytest.raises(NoTenantError):
        invoice_model(number="1")


@pytest.mark.invariant(1)
def test_removed_tenant_is_refused(router, invoice_model):
    with router.use_tenant("acme"):
        router.remove("acme")
        with pytest.raises(UnknownTenantError):
            _ = router.database
        with pytest.raises(UnknownTenantError):
            invoice_model(number="1")


# Invariant 2: resolved at call, mutated never


def shape(*things):
    """Return everything of objects and classes that entering a tenant could change."""
    return [(thing, {name: id(value) for name, value in vars(thing).items()}) for thing in things]


@pytest.mark.invariant(2)
async def test_entering_changes_a_context_variable_and_nothing_else(router, invoice_model):
    with router.use_tenant("globex"):
        invoice = invoice_model(number="1")
        made = [invoice, invoice.number, invoice_model.collection(number="1")]
    databases = [router.database_for(tenant) for tenant in router.tenants()]
    things = [router, *databases, invoice_model, *type(invoice_model).__mro__[:1], *made[:2]]
    watched = [thing for thing in things if hasattr(thing, "__dict__")]
    before = shape(*watched)
    with router.use_tenant("acme"):
        assert shape(*watched) == before
        _ = router.database
        async with router.use_tenant("globex"):
            assert shape(*watched) == before
            assert router.database is databases[1]
        assert router.database is databases[0]
    assert shape(*watched) == before


@pytest.mark.invariant(2)
async def test_database_is_resolved_at_each_use(router, invoice_model):
    for tenant in router.tenants():
        with router.use_tenant(tenant):
            invoice_model(number=tenant)
            await invoice_model.acreate(number=tenant, amount=1)
    for tenant in router.tenants():
        with router.use_tenant(tenant):
            assert len(invoice_model.collection(number=tenant)) == 2
            assert {each.number.get() for each in invoice_model.instances()} == {tenant}
    await router.aclose()


@pytest.mark.invariant(2)
async def test_concurrent_tasks_use_their_own_tenants(router, invoice_model):
    async def work(tenant, number):
        async with router.use_tenant(tenant):
            made = await invoice_model.acreate(number=f"{tenant}-{number}")
            await asyncio.sleep(0)
            return await made.number.aget() == f"{tenant}-{number}" and current_tenant() == tenant

    done = await asyncio.gather(*(work(tenant, number) for number in range(8) for tenant in router.tenants()))
    assert all(done)
    for tenant in router.tenants():
        with router.use_tenant(tenant):
            assert {each.number.get() for each in invoice_model.instances()} == {f"{tenant}-{n}" for n in range(8)}
    await router.aclose()


@pytest.mark.invariant(2)
def test_concurrent_threads_use_their_own_tenants(router, invoice_model):
    wrong = []

    def work(tenant):
        for number in range(10):
            with router.use_tenant(tenant):
                if invoice_model(number=f"{tenant}-{number}").number.get() != f"{tenant}-{number}":
                    wrong.append(tenant)

    threads = [threading.Thread(target=work, args=(tenant,)) for tenant in router.tenants()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert wrong == []
    for tenant in router.tenants():
        with router.use_tenant(tenant):
            assert {each.number.get() for each in invoice_model.instances()} == {f"{tenant}-{n}" for n in range(10)}


# Invariant 3: objects keep their tenant


@pytest.mark.invariant(3)
async def test_object_keeps_its_tenant(router, invoice_model):
    with router.use_tenant("acme"):
        invoice = invoice_model(number="F-1", amount=3)
        collection = invoice_model.collection(number="F-1")
    assert invoice.number.get() == "F-1"  # no tenant is current: the object uses its own
    assert await invoice.amount.ahget() == "3"
    assert list(collection) == ["1"]
    assert len(collection) == 1
    assert router.database_for("globex").connection.dbsize() == 0
    await router.aclose()


@pytest.mark.invariant(3)
async def test_object_is_refused_under_another_tenant(router, invoice_model):
    with router.use_tenant("acme"):
        invoice = invoice_model(number="F-1", amount=3)
        collection = invoice_model.collection(number="F-1")
    with router.use_tenant("globex"):
        for use in (
            invoice.number.get,
            lambda: invoice.number.set("x"),
            invoice.amount.hget,
            lambda: invoice.hmset(amount=5),
            invoice.delete,
            lambda: list(collection),
            lambda: len(collection),
        ):
            with pytest.raises(WrongTenantError, match="belongs to tenant 'acme', and 'globex' is current"):
                use()
        with pytest.raises(WrongTenantError):
            await invoice.number.aget()
        with router.use_no_tenant():
            assert invoice.number.get() == "F-1"
        with router.use_tenant("acme"):
            assert invoice.number.get() == "F-1"
    assert invoice.number.get() == "F-1"
    await router.aclose()


@pytest.mark.invariant(3)
async def test_coroutine_keeps_the_tenant_it_was_made_under(router, invoice_model):
    with router.use_tenant("acme"):
        invoice = invoice_model(number="F-1")
        reading, writing = invoice.number.aget(), invoice.number.aset("F-2")
    with router.use_tenant("globex"):
        assert await reading == "F-1"
        await writing
    assert invoice.number.get() == "F-2"
    assert router.database_for("globex").connection.dbsize() == 0
    await router.aclose()


@pytest.mark.invariant(3)
async def test_scan_keeps_its_tenant(router):
    router.database_for("acme").connection.set("of-acme", 1)
    router.database_for("globex").connection.set("of-globex", 1)
    with router.use_tenant("acme"):
        keys, akeys = router.database.scan_keys(), router.database.ascan_keys()
    with router.use_tenant("globex"):
        assert list(keys) == ["of-acme"]
        assert [key async for key in akeys] == ["of-acme"]
    await router.aclose()


@pytest.mark.invariant(3)
def test_database_is_part_of_equality_and_hash(router, invoice_model):
    with router.use_tenant("acme"):
        one, again = invoice_model(number="1"), invoice_model.lazy_connect(1)
    with router.use_tenant("globex"):
        other = invoice_model(number="1")
    assert one.pk.get() == "1"
    assert one == again
    assert hash(one) == hash(again)
    assert one != other
    assert len({one, again, other}) == 2


@pytest.mark.invariant(3)
def test_objects_of_a_tenant_that_was_removed_are_refused(router, invoice_model):
    with router.use_tenant("acme"):
        invoice = invoice_model(number="1")
        some = invoice_model.collection()
    database = router.remove("acme")
    with pytest.raises(WrongTenantError, match="before tenant 'acme' was removed"):
        invoice.number.get()
    router.add("acme", database)  # the same name and keyspace, but the keys may have been changed in between
    with router.use_tenant("acme"):
        for use in (invoice.number.get, lambda: list(some)):
            with pytest.raises(WrongTenantError):
                use()
        assert invoice_model.get(number="1").number.get() == "1"


# Invariant 4: relations never cross. What relates objects today is a query that names another object


@pytest.mark.invariant(4)
def test_object_of_another_tenant_is_refused_in_a_query(router, invoice_model):
    with router.use_tenant("acme"):
        invoice = invoice_model(number="1")
        number, some = invoice.number, invoice_model.collection(manager=ExtendedCollectionManager)
    with router.use_tenant("globex"):
        invoice_model(number="1")
        mine = invoice_model.collection(manager=ExtendedCollectionManager)
        for other in (invoice, number):
            with pytest.raises(WrongTenantError):
                mine.filter(number=other)
        with pytest.raises(WrongTenantError):
            mine.intersect(some)


# The registry is kept once, on the router


def test_duplicate_model_name_on_a_router_is_refused_under_any_tenant(router, invoice_model):
    def define(fields_of):
        return type("Invoice", (model.RedisModel,), {"database": router, "__module__": __name__, **fields_of})

    for tenant in (None, "acme", "globex"):
        scope = router.use_no_tenant() if tenant is None else router.use_tenant(tenant)
        with scope, pytest.raises(ImplementationError, match="Invoice"):
            define({"other": fields.StringField()})
    assert list(router._models.values()) == [invoice_model]
    assert all(not router.database_for(tenant)._models for tenant in router.tenants())


def test_model_moves_from_a_database_to_a_router(router, database):
    main = database

    class Note(model.RedisModel):
        database = main
        text = fields.StringField()

    Note(text="main")
    Note.use_database(router)
    with pytest.raises(NoTenantError):
        Note(text="x")
    with router.use_tenant("acme"):
        assert list(Note.collection()) == []
        assert Note(text="x").text.get() == "x"
    assert router.database_for("acme").connection.dbsize() > 0
