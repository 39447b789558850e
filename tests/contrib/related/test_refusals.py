"""Refused links: to objects of other tenants (invariant 4), databases and models, and to objects that are not stored."""

from __future__ import annotations

import pytest

from tenantlimpyd.contrib.related import FKStringField, RelatedModel
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import DataError, DoesNotExist, ImplementationError, NoTenantError, WrongTenantError
from tenantlimpyd.router import DatabaseRouter
from tenantlimpyd.testing import count_commands
from tests.contrib.related.related_models import KINDS, make_models
from tests.support.models import define

pytestmark = pytest.mark.slow

COMMANDS = {
    "writer": {
        "set": lambda v: ((v,), {}),
        "setnx": lambda v: ((v,), {}),
        "getset": lambda v: ((v,), {}),
        "proxy_set": lambda v: ((v,), {}),
        "append": lambda v: ((v,), {}),
        "index": lambda v: ((v,), {}),
        "deindex": lambda v: ((v,), {}),
    },
    "editor": {
        "hset": lambda v: ((v,), {}),
        "hsetnx": lambda v: ((v,), {}),
        "proxy_set": lambda v: ((v,), {}),
    },
    "readers": {
        "sadd": lambda v: (("ok", v), {}),
        "srem": lambda v: (("ok", v), {}),
        "sismember": lambda v: ((v,), {}),
        "smismember": lambda v: (("ok", v), {}),
        "proxy_set": lambda v: ((["ok", v],), {}),
        "index": lambda v: ((["ok", v],), {}),
    },
    "queue": {
        "rpush": lambda v: (("ok", v), {}),
        "lpush": lambda v: (("ok", v), {}),
        "rpushx": lambda v: ((v,), {}),
        "lpushx": lambda v: ((v,), {}),
        "linsert": lambda v: (("before", "ok", v), {}),
        "lset": lambda v: ((0, v), {}),
        "lrem": lambda v: ((0, v), {}),
        "lpos": lambda v: ((v,), {}),
        "lrank": lambda v: ((v,), {}),
        "lcontains": lambda v: ((v,), {}),
        "lcount": lambda v: ((v,), {}),
        "proxy_set": lambda v: ((("ok", v),), {}),
    },
    "raters": {
        "zadd": lambda v: (({"ok": 1, v: 2},), {}),
        "zincrby": lambda v: ((2, v), {}),
        "zrem": lambda v: (("ok", v), {}),
        "zscore": lambda v: ((v,), {}),
        "zmscore": lambda v: ((["ok", v],), {}),
        "zrank": lambda v: ((v,), {}),
        "zrevrank": lambda v: ((v,), {}),
        "proxy_set": lambda v: (({v: 2},), {}),
    },
}
GIVEN = {
    "writer": lambda v: v,
    "editor": lambda v: v,
    "readers": lambda v: ["ok", v],
    "queue": lambda v: v,
    "raters": lambda v: {v: 1},
}


async def refuses(call, book, error, value):
    """Assert that every command that accepts objects refuses this one without sending anything."""
    for name, commands in COMMANDS.items():
        for command, arguments in commands.items():
            args, kwargs = arguments(value)
            takes_no_field = isinstance(value, FKStringField) and command in ("index", "deindex")
            wanted = DataError if command == "append" or takes_no_field else error
            with count_commands() as counted, pytest.raises(wanted):
                await call(getattr(book, name), command, *args, **kwargs)
            assert counted.commands == 0, (name, command)
    model = type(book)
    for name, made in GIVEN.items():
        with count_commands() as counted, pytest.raises(error):
            await call.create(model, title="x", **{name: made(value)})
        assert counted.commands == 0, name
    with count_commands() as counted, pytest.raises(error):
        await call(book, "hmset", editor=value)
    for name in KINDS:
        with pytest.raises(error):
            model.collection(**{name: value})
        with pytest.raises(error):
            model.collection(**{f"{name}__in": ["ok", value]})
        with pytest.raises(error):
            await call(model, "get", **{name: value})
        with pytest.raises(error):
            await call(model, "get_or_connect", **{name: value})
        with pytest.raises(error):
            await call(model, "exists", **{name: value})
    assert counted.commands == 0


@pytest.mark.invariant(4)
async def test_object_of_another_tenant_is_not_linked_to(call, routed, router):
    with router.use_tenant("globex"):
        stranger = await call.create(routed.Person, name="ann")
        theirs = await call.create(routed.Person, name="bob", boss=stranger)
    with router.use_tenant("acme"):
        ann = await call.create(routed.Person, name="ann")
        book = await call.create(routed.Book, title="x", writer=ann)
        await refuses(call, book, WrongTenantError, stranger)
        await refuses(call, book, WrongTenantError, theirs.boss)
        with pytest.raises(WrongTenantError):
            ann.written(readers=stranger)
        with pytest.raises(WrongTenantError):
            book.readers(boss=stranger)
        with pytest.raises(
            WrongTenantError, match=r"belongs to tenant 'globex', and can't be linked to by 'writer' .* 'acme'"
        ):
            await call(book.writer, "set", stranger)
        assert await call(book.writer, "get") == "ann"
        assert await call.list(routed.Book.collection()) == ["1"]


@pytest.mark.invariant(4)
async def test_object_can_not_be_changed_from_another_tenant(call, routed, router):
    with router.use_tenant("acme"):
        ann = await call.create(routed.Person, name="ann")
        book = await call.create(routed.Book, title="x")
    with router.use_tenant("globex"):
        with pytest.raises(WrongTenantError):
            await call(book.writer, "set", ann)
        with pytest.raises(WrongTenantError):
            await call(book.writer, "instance")
        with pytest.raises(WrongTenantError):
            await call(ann, "delete")
        with pytest.raises(WrongTenantError):
            await call(ann.written, "remove_instance")
        with pytest.raises(WrongTenantError):
            await call.create(routed.Book, writer=ann)


@pytest.mark.invariant(3)
async def test_related_collections_stay_with_their_tenant(call, routed, router):
    with router.use_tenant("acme"):
        ann = await call.create(routed.Person, name="ann")
        book = await call.create(routed.Book, title="x", writer=ann, readers=[ann])
        inside = [ann.written(), book.readers()]
    with router.use_tenant("globex"):
        other = await call.create(routed.Person, name="ann")
        await call.create(routed.Book, title="y", writer=other, readers=[other])
        for found in [*inside, ann.written(), book.readers()]:
            with pytest.raises(WrongTenantError):
                await call.list(found)
        assert await call.list(other.written(title="x")) == []
    for found in [*inside, ann.written(), book.readers()]:  # with no tenant current nothing is wrong
        assert len(await call.list(found)) == 1
    assert await call(book.writer, "instance") == ann
    with pytest.raises(NoTenantError):
        routed.Book.collection(writer=ann)


async def test_relations_are_known_whatever_tenant_was_current_when_they_were_defined(call, router):
    with router.use_tenant("acme"):
        m = make_models(router)
    for tenant in ("globex", "acme"):
        with router.use_tenant(tenant):
            ann = await call.create(m.Person, name="ann")
            book = await call.create(m.Book, writer=ann)
            assert await call.list(ann.written().instances()) == [book]
            assert await call(book.writer, "instance") == ann
            await call(ann, "delete")
            assert await call(book.writer, "get") is None


async def test_deletion_in_one_tenant_keeps_the_links_of_others(call, routed, router):
    books = {}
    for tenant in ("globex", "acme"):
        with router.use_tenant(tenant):
            ann = await call.create(routed.Person, name="ann")
            books[tenant] = await call.create(routed.Book, writer=ann, readers=[ann])
    with router.use_tenant("acme"):
        await call(ann, "delete")
        assert await call(books["acme"].writer, "get") is None
    with router.use_tenant("globex"):
        assert await call(books["globex"].writer, "get") == "ann"


async def test_object_in_another_database_is_not_linked_to(call, m, flushed_server):
    with RedisDatabase(**flushed_server.settings, db=6) as elsewhere:
        others = make_models(elsewhere)
        stranger = await call.create(others.Person, name="ann")
        book = await call.create(m.Book, title="x")
        await refuses(call, book, ImplementationError, stranger)
        with pytest.raises(ImplementationError, match=r"in another database .* a relation needs both in one"):
            await call(book.writer, "set", stranger)
        await elsewhere.aclose()


async def test_object_of_another_router_is_not_linked_to(call, routed, router, flushed_server):
    second = DatabaseRouter({"acme": RedisDatabase(**flushed_server.settings, db=7)})
    others = make_models(second)
    with router.use_tenant("acme"), second.use_tenant("acme"):
        stranger = await call.create(others.Person, name="ann")
        book = await call.create(routed.Book, title="x")
        with pytest.raises(ImplementationError, match="in another database"):
            await call(book.writer, "set", stranger)
    await second.aclose()
    second.close()


async def test_shared_model_is_not_linked_to_from_a_routed_one(call, routed, router, database):
    shared = make_models(database)
    ann = await call.create(shared.Person, name="ann")
    with router.use_tenant("acme"):
        book = await call.create(routed.Book, title="x")
        with pytest.raises(
            ImplementationError, match="To remember an object elsewhere, keep its pk in a field that is no"
        ):
            await call(book.writer, "set", ann)


async def test_object_of_another_model_is_not_linked_to(call, m, database):
    stranger = await call.create(define(database, "Robot", (m.Person,)), name="ann")
    book = await call.create(m.Book, title="x")
    await refuses(call, book, ImplementationError, stranger)
    with pytest.raises(
        ImplementationError, match="an object of Robot can't be linked to by 'writer' of Book, which stands for"
    ):
        await call(book.writer, "set", stranger)
    sequel = define(database, "Sequel", (RelatedModel,), namespace="lib", of=FKStringField("Book"))
    with pytest.raises(ImplementationError, match="what 'of' of Sequel links to can't be linked to"):
        await call(book.writer, "set", (await call.create(sequel, of=book)).of)


async def test_object_that_is_not_stored_is_not_linked_to(call, m):
    book = await call.create(m.Book, title="x")
    gone = await call.create(m.Person, name="ann")
    await call(gone, "delete")
    with pytest.raises(ValueError, match="has no pk yet"):
        await call(book.writer, "set", m.Person())
    for command, args in [("set", (gone,)), ("setnx", (gone,))]:
        with pytest.raises(DoesNotExist, match="was deleted"):
            await call(book.writer, command, *args)
    with pytest.raises(DoesNotExist):
        await call.create(m.Book, title="y", readers=["ok", gone])
    assert await call.list(m.Book.collection()) == ["1"]


async def test_value_that_is_neither_object_nor_pk_is_refused(call, m):
    book = await call.create(m.Book, title="x")
    for value in (None, True, object(), [1], book.title):
        with pytest.raises(DataError):
            await call(book.writer, "set", value)
        with pytest.raises(DataError):
            await call(book.readers, "sadd", "ok", value)
        with pytest.raises(DataError):
            await call.create(m.Book, writer=value)
    with pytest.raises(ImplementationError, match="no index of the field 'writer'"):
        m.Book.collection(writer__city="Rome")


async def test_pks_are_accepted_without_a_check(call, m):
    book = await call.create(m.Book, title="x", writer="nobody", readers=[1, "2"])
    assert await call(book.writer, "get") == "nobody"
    assert await call.list(book.readers()) == []
    assert await call.list(m.Book.collection(readers=1)) == ["1"]
