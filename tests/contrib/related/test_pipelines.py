"""Related fields in pipelines and transactions."""

from __future__ import annotations

import pytest

from tenantlimpyd.exceptions import DoesNotExist, ImplementationError, WrongTenantError
from tenantlimpyd.testing import count_commands
from tests.contrib.related.related_models import round_trips

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("transaction", [True, False])
async def test_links_of_every_kind_are_made_in_a_pipeline(call, m, database, transaction):
    ann, bob = await call.create(m.Person, name="ann"), await call.create(m.Person, name="bob")
    book = await call.create(m.Book, title="x")
    for _ in range(2):
        with count_commands(database) as counted, database.pipeline(transaction=transaction) as pipe:
            await call(book.writer, "set", ann)
            await call(book.editor, "hset", bob)
            await call(book.readers, "sadd", ann, bob)
            await call(book.queue, "rpush", bob, ann)
            await call(book.raters, "zadd", {ann: 1})
            results = await call(pipe, "execute")
            assert results[0] is True
            assert results[3] in (2, 4)
    assert round_trips(counted) <= 2
    assert await call.list(ann.written()) == await call.list(bob.edited()) == ["1"]
    assert await call.list(bob.read()) == await call.list(ann.queued()) == await call.list(ann.rated()) == ["1"]


async def test_new_objects_with_links(call, m, database):
    ann = await call.create(m.Person, name="ann")
    with count_commands(database) as counted, database.pipeline() as pipe:
        for number in range(50):
            if call.is_async:
                await m.Book.acreate(title=str(number), writer=ann, readers=[ann])
            else:
                m.Book(title=str(number), writer=ann, readers=[ann])
        await call(pipe, "execute")
    assert round_trips(counted) == 2
    assert await call.count(ann.written()) == await call.count(ann.read()) == 50


async def test_link_given_as_a_field_is_read_before_the_pipeline_executes(call, m, database):
    ann = await call.create(m.Person, name="ann")
    bob = await call.create(m.Person, name="bob", boss=ann)
    book = await call.create(m.Book, title="x")
    with database.pipeline() as pipe:
        await call(book.writer, "set", bob.boss)
        await call(book.readers, "sadd", bob.boss, "zoe")
        if call.is_async:
            await m.Book.acreate(title="y", writer=bob.boss, readers=[bob.boss, "zoe"])
        else:
            m.Book(title="y", writer=bob.boss, readers=[bob.boss, "zoe"])
        assert await call(pipe, "execute") == [True, 2, None]
    assert sorted(await call.list(ann.written())) == sorted(await call.list(ann.read())) == ["1", "2"]


async def test_following_links_in_a_pipeline(call, m, database):
    ann = await call.create(m.Person, name="ann")
    book, other = await call.create(m.Book, writer=ann), await call.create(m.Book, title="x")
    with database.pipeline() as pipe:
        await call(book.writer, "instance")
        await call(book.writer, "instance", lazy=True)
        assert await call(pipe, "execute") == [ann, ann]
    with database.pipeline() as pipe:
        await call(other.writer, "instance")
        with pytest.raises(DoesNotExist):
            await call(pipe, "execute")
    with database.pipeline(), pytest.raises(ImplementationError):
        await call.list(ann.written())


@pytest.mark.parametrize("transaction", [True, False])
async def test_deletion_in_a_pipeline_removes_links(call, m, database, raw, transaction):
    people = [await call.create(m.Person, name=name) for name in "abc"]
    book = await call.create(m.Book, writer="a", readers=["a", "b", "c"], queue=["a", "b", "a", "z"])
    with count_commands(database) as counted, database.pipeline(transaction=transaction) as pipe:
        for person in people:
            await call(person, "delete")
        await call(book.title, "set", "y")
        results = await call(pipe, "execute")
    assert results == [None, None, None, True]
    assert round_trips(counted) <= 4
    assert set(raw.keys()) == {
        *("lib:book:collection", "lib:book:max_pk", "lib:book:1:title", "lib:book:title:y"),
        *("lib:book:1:queue", "lib:book:queue:z"),
    }
    assert raw.lrange("lib:book:1:queue", 0, -1) == ["z"]


async def test_linking_and_deleting_in_one_pipeline(call, m, database, raw):
    ann, bob = await call.create(m.Person, name="ann"), await call.create(m.Person, name="bob")
    book = await call.create(m.Book, writer=ann)
    with database.pipeline() as pipe:
        await call(book.writer, "set", bob)
        await call(book.readers, "sadd", ann)
        await call(ann, "delete")
        assert await call(pipe, "execute") == [True, 1, None]
    assert await call(book.writer, "get") == "bob"
    assert not raw.exists("lib:book:1:readers", "lib:book:readers:ann")


async def test_removing_the_links_of_an_object_in_a_pipeline(call, m, database):
    ann = await call.create(m.Person, name="ann")
    book = await call.create(m.Book, writer=ann, readers=[ann])
    with database.pipeline() as pipe:
        await call(ann.written, "remove_instance")
        await call(pipe, "execute")
    assert await call(book.writer, "get") is None
    assert await call.list(ann.read()) == ["1"]


async def test_links_in_a_watched_transaction(call, m, database):
    ann = await call.create(m.Person, name="ann")
    book = await call.create(m.Book, title="x")

    if call.is_async:

        async def aprogram(pipe):
            before = await book.readers.asmembers()
            pipe.multi()
            await book.readers.asadd(ann)
            return before

        await database.atransaction(aprogram, book.readers)
    else:

        def program(pipe):
            before = book.readers.smembers()
            pipe.multi()
            book.readers.sadd(ann)
            return before

        database.transaction(program, book.readers)
    assert await call.list(ann.read()) == ["1"]


@pytest.mark.invariant(4)
async def test_link_to_another_tenant_is_refused_as_it_is_queued(call, routed, router):
    with router.use_tenant("globex"):
        stranger = await call.create(routed.Person, name="ann")
    with router.use_tenant("acme"):
        book = await call.create(routed.Book, title="x")
        with router.pipeline() as pipe:
            await call(book.title, "set", "y")
            with pytest.raises(WrongTenantError):
                await call(book.writer, "set", stranger)
            with pytest.raises(WrongTenantError):
                await call(book.readers, "sadd", stranger)
            assert await call(pipe, "execute") == [True]
        assert await call(book.readers, "scard") == 0
