"""Related fields in pipelines and transactions."""

from __future__ import annotations

import pytest

from tenantlimpyd.exceptions import DoesNotExist, ImplementationError, WrongTenantError
from tenantlimpyd.testing import count_commands
from tests.contrib.related.related_models import trips

pytestmark = pytest.mark.slow


async def execute(mode, pipe):
    return await pipe.aexecute() if mode.awaiting else pipe.execute()


async def call(mode, target, name, *args, **kwargs):
    """Queue a call: of either mode, the pipeline is what it gives."""
    made = getattr(target, f"a{name}" if mode.awaiting else name)(*args, **kwargs)
    if mode.awaiting:
        await made


@pytest.mark.parametrize("transaction", [True, False])
async def test_links_of_every_kind(mode, m, database, transaction):
    ann, bob = await mode.make(m.Person, name="ann"), await mode.make(m.Person, name="bob")
    book = await mode.make(m.Book, title="x")
    for _ in range(2):
        with count_commands(database) as counted, database.pipeline(transaction=transaction) as pipe:
            await call(mode, book.writer, "set", ann)
            await call(mode, book.editor, "hset", bob)
            await call(mode, book.readers, "sadd", ann, bob)
            await call(mode, book.queue, "rpush", bob, ann)
            await call(mode, book.raters, "zadd", {ann: 1})
            results = await execute(mode, pipe)
            assert results[0] is True
            assert results[3] in (2, 4)
    assert trips(counted) <= 2
    assert await mode.every(ann.written()) == await mode.every(bob.edited()) == ["1"]
    assert await mode.every(bob.read()) == await mode.every(ann.queued()) == await mode.every(ann.rated()) == ["1"]


async def test_new_objects_with_links(mode, m, database):
    ann = await mode.make(m.Person, name="ann")
    with count_commands(database) as counted, database.pipeline() as pipe:
        for number in range(50):
            if mode.awaiting:
                await m.Book.acreate(title=str(number), writer=ann, readers=[ann])
            else:
                m.Book(title=str(number), writer=ann, readers=[ann])
        await execute(mode, pipe)
    assert trips(counted) == 2
    assert await mode.count(ann.written()) == await mode.count(ann.read()) == 50


async def test_a_link_by_a_field_that_is_read_first(mode, m, database):
    ann = await mode.make(m.Person, name="ann")
    bob = await mode.make(m.Person, name="bob", boss=ann)
    book = await mode.make(m.Book, title="x")
    with database.pipeline() as pipe:
        await call(mode, book.writer, "set", bob.boss)
        await call(mode, book.readers, "sadd", bob.boss, "zoe")
        if mode.awaiting:
            await m.Book.acreate(title="y", writer=bob.boss, readers=[bob.boss, "zoe"])
        else:
            m.Book(title="y", writer=bob.boss, readers=[bob.boss, "zoe"])
        assert await execute(mode, pipe) == [True, 2, None]
    assert sorted(await mode.every(ann.written())) == sorted(await mode.every(ann.read())) == ["1", "2"]


async def test_following_links(mode, m, database):
    ann = await mode.make(m.Person, name="ann")
    book, other = await mode.make(m.Book, writer=ann), await mode.make(m.Book, title="x")
    with database.pipeline() as pipe:
        await call(mode, book.writer, "instance")
        await call(mode, book.writer, "instance", lazy=True)
        assert await execute(mode, pipe) == [ann, ann]
    with database.pipeline() as pipe:
        await call(mode, other.writer, "instance")
        with pytest.raises(DoesNotExist):
            await execute(mode, pipe)
    with database.pipeline(), pytest.raises(ImplementationError):
        await mode.every(ann.written())


@pytest.mark.parametrize("transaction", [True, False])
async def test_deleting_with_links(mode, m, database, raw, transaction):
    people = [await mode.make(m.Person, name=name) for name in "abc"]
    book = await mode.make(m.Book, writer="a", readers=["a", "b", "c"], queue=["a", "b", "a", "z"])
    with count_commands(database) as counted, database.pipeline(transaction=transaction) as pipe:
        for person in people:
            await call(mode, person, "delete")
        await call(mode, book.title, "set", "y")
        results = await execute(mode, pipe)
    assert results == [None, None, None, True]
    assert trips(counted) <= 4
    assert set(raw.keys()) == {
        *("lib:book:collection", "lib:book:max_pk", "lib:book:1:title", "lib:book:title:y"),
        *("lib:book:1:queue", "lib:book:queue:z"),
    }
    assert raw.lrange("lib:book:1:queue", 0, -1) == ["z"]


async def test_linking_and_deleting_in_one_pipeline(mode, m, database, raw):
    ann, bob = await mode.make(m.Person, name="ann"), await mode.make(m.Person, name="bob")
    book = await mode.make(m.Book, writer=ann)
    with database.pipeline() as pipe:
        await call(mode, book.writer, "set", bob)
        await call(mode, book.readers, "sadd", ann)
        await call(mode, ann, "delete")
        assert await execute(mode, pipe) == [True, 1, None]
    assert await mode(book.writer, "get") == "bob"
    assert not raw.exists("lib:book:1:readers", "lib:book:readers:ann")


async def test_removing_links_alone(mode, m, database):
    ann = await mode.make(m.Person, name="ann")
    book = await mode.make(m.Book, writer=ann, readers=[ann])
    with database.pipeline() as pipe:
        await call(mode, ann.written, "remove_instance")
        await execute(mode, pipe)
    assert await mode(book.writer, "get") is None
    assert await mode.every(ann.read()) == ["1"]


async def test_a_transaction_with_watches(mode, m, database):
    ann = await mode.make(m.Person, name="ann")
    book = await mode.make(m.Book, title="x")

    if mode.awaiting:

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
    assert await mode.every(ann.read()) == ["1"]


async def test_invariant_4_mistakes_show_where_they_are_made(mode, routed, router):
    with router.use_tenant("globex"):
        stranger = await mode.make(routed.Person, name="ann")
    with router.use_tenant("acme"):
        book = await mode.make(routed.Book, title="x")
        with router.pipeline() as pipe:
            await call(mode, book.title, "set", "y")
            with pytest.raises(WrongTenantError):
                await call(mode, book.writer, "set", stranger)
            with pytest.raises(WrongTenantError):
                await call(mode, book.readers, "sadd", stranger)
            assert await execute(mode, pipe) == [True]
        assert await mode(book.readers, "scard") == 0
