"""Related fields in pipelines and transactions."""

from __future__ import annotations

import pytest

from tenantlimpyd.exceptions import DoesNotExist, ImplementationError, WrongTenantError
from tenantlimpyd.testing import count_commands
from tests.contrib.related.library import trips


async def execute(colour, pipe):
    return await pipe.aexecute() if colour.awaiting else pipe.execute()


async def call(colour, target, name, *args, **kwargs):
    """Queue a call: of either colour, the pipeline is what it gives."""
    made = getattr(target, f"a{name}" if colour.awaiting else name)(*args, **kwargs)
    if colour.awaiting:
        await made


@pytest.mark.parametrize("transaction", [True, False])
async def test_links_of_every_kind(colour, m, database, transaction):
    ann, bob = await colour.make(m.Person, name="ann"), await colour.make(m.Person, name="bob")
    book = await colour.make(m.Book, title="x")
    for _ in range(2):
        with count_commands(database) as counted, database.pipeline(transaction=transaction) as pipe:
            await call(colour, book.writer, "set", ann)
            await call(colour, book.editor, "hset", bob)
            await call(colour, book.readers, "sadd", ann, bob)
            await call(colour, book.queue, "rpush", bob, ann)
            await call(colour, book.raters, "zadd", {ann: 1})
            results = await execute(colour, pipe)
            assert results[0] is True
            assert results[3] in (2, 4)
    assert trips(counted) <= 2
    assert await colour.every(ann.written()) == await colour.every(bob.edited()) == ["1"]
    assert (
        await colour.every(bob.read()) == await colour.every(ann.queued()) == await colour.every(ann.rated()) == ["1"]
    )


async def test_new_objects_with_links(colour, m, database):
    ann = await colour.make(m.Person, name="ann")
    with count_commands(database) as counted, database.pipeline() as pipe:
        for number in range(50):
            if colour.awaiting:
                await m.Book.acreate(title=str(number), writer=ann, readers=[ann])
            else:
                m.Book(title=str(number), writer=ann, readers=[ann])
        await execute(colour, pipe)
    assert trips(counted) == 2
    assert await colour.count(ann.written()) == await colour.count(ann.read()) == 50


async def test_a_link_by_a_field_that_is_read_first(colour, m, database):
    ann = await colour.make(m.Person, name="ann")
    bob = await colour.make(m.Person, name="bob", boss=ann)
    book = await colour.make(m.Book, title="x")
    with database.pipeline() as pipe:
        await call(colour, book.writer, "set", bob.boss)
        await call(colour, book.readers, "sadd", bob.boss, "zoe")
        if colour.awaiting:
            await m.Book.acreate(title="y", writer=bob.boss, readers=[bob.boss, "zoe"])
        else:
            m.Book(title="y", writer=bob.boss, readers=[bob.boss, "zoe"])
        assert await execute(colour, pipe) == [True, 2, None]
    assert sorted(await colour.every(ann.written())) == sorted(await colour.every(ann.read())) == ["1", "2"]


async def test_following_links(colour, m, database):
    ann = await colour.make(m.Person, name="ann")
    book, other = await colour.make(m.Book, writer=ann), await colour.make(m.Book, title="x")
    with database.pipeline() as pipe:
        await call(colour, book.writer, "instance")
        await call(colour, book.writer, "instance", lazy=True)
        assert await execute(colour, pipe) == [ann, ann]
    with database.pipeline() as pipe:
        await call(colour, other.writer, "instance")
        with pytest.raises(DoesNotExist):
            await execute(colour, pipe)
    with database.pipeline(), pytest.raises(ImplementationError):
        await colour.every(ann.written())


@pytest.mark.parametrize("transaction", [True, False])
async def test_deleting_with_links(colour, m, database, raw, transaction):
    people = [await colour.make(m.Person, name=name) for name in "abc"]
    book = await colour.make(m.Book, writer="a", readers=["a", "b", "c"], queue=["a", "b", "a", "z"])
    with count_commands(database) as counted, database.pipeline(transaction=transaction) as pipe:
        for person in people:
            await call(colour, person, "delete")
        await call(colour, book.title, "set", "y")
        results = await execute(colour, pipe)
    assert results == [None, None, None, True]
    assert trips(counted) <= 4
    assert set(raw.keys()) == {
        *("lib:book:collection", "lib:book:max_pk", "lib:book:1:title", "lib:book:title:y"),
        *("lib:book:1:queue", "lib:book:queue:z"),
    }
    assert raw.lrange("lib:book:1:queue", 0, -1) == ["z"]


async def test_linking_and_deleting_in_one_pipeline(colour, m, database, raw):
    ann, bob = await colour.make(m.Person, name="ann"), await colour.make(m.Person, name="bob")
    book = await colour.make(m.Book, writer=ann)
    with database.pipeline() as pipe:
        await call(colour, book.writer, "set", bob)
        await call(colour, book.readers, "sadd", ann)
        await call(colour, ann, "delete")
        assert await execute(colour, pipe) == [True, 1, None]
    assert await colour(book.writer, "get") == "bob"
    assert not raw.exists("lib:book:1:readers", "lib:book:readers:ann")


async def test_removing_links_alone(colour, m, database):
    ann = await colour.make(m.Person, name="ann")
    book = await colour.make(m.Book, writer=ann, readers=[ann])
    with database.pipeline() as pipe:
        await call(colour, ann.written, "remove_instance")
        await execute(colour, pipe)
    assert await colour(book.writer, "get") is None
    assert await colour.every(ann.read()) == ["1"]


async def test_a_transaction_with_watches(colour, m, database):
    ann = await colour.make(m.Person, name="ann")
    book = await colour.make(m.Book, title="x")

    if colour.awaiting:

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
    assert await colour.every(ann.read()) == ["1"]


async def test_invariant_4_mistakes_show_where_they_are_made(colour, routed, router):
    with router.use_tenant("globex"):
        stranger = await colour.make(routed.Person, name="ann")
    with router.use_tenant("acme"):
        book = await colour.make(routed.Book, title="x")
        with router.pipeline() as pipe:
            await call(colour, book.title, "set", "y")
            with pytest.raises(WrongTenantError):
                await call(colour, book.writer, "set", stranger)
            with pytest.raises(WrongTenantError):
                await call(colour, book.readers, "sadd", stranger)
            assert await execute(colour, pipe) == [True]
        assert await colour(book.readers, "scard") == 0
