"""Deleting an object removes all links to it, in few round trips."""

from __future__ import annotations

import threading

import pytest
import redis

from tenantlimpyd import fields
from tenantlimpyd.contrib.collection import ExtendedCollectionManager
from tenantlimpyd.contrib.indexes import EqualIndexWith, MultiIndexes, ScoredEqualIndex
from tenantlimpyd.contrib.related import (
    FKStringField,
    M2MListField,
    M2MSetField,
    RelatedCollection,
    RelatedModel,
    deletion,
)
from tenantlimpyd.contrib.related.deletion import AT_ONCE
from tenantlimpyd.exceptions import DoesNotExist, ImplementationError
from tenantlimpyd.indexes import EqualIndex, TextRangeIndex
from tenantlimpyd.testing import count_commands
from tests.contrib.related.related_models import make_models, round_trips
from tests.support.models import define

pytestmark = pytest.mark.slow


async def linked(call, m, pk="ann"):
    ann = await call.create(m.Person, name=pk)
    book = await call.create(
        m.Book,
        title="x",
        writer=ann,
        editor=ann,
        readers=[ann, "bob"],
        queue=[ann, "bob", ann],
        raters={ann: 1, "bob": 2},
    )
    return ann, book


def links(raw, storage="lib:book"):
    return {
        *("get", raw.get(f"{storage}:1:writer")),
        *("hget", raw.hget(f"{storage}:1:hash", "editor")),
        *raw.smembers(f"{storage}:1:readers"),
        *raw.lrange(f"{storage}:1:queue", 0, -1),
        *raw.zrange(f"{storage}:1:raters", 0, -1),
    } - {"get", "hget", None}


@pytest.mark.pitfall(24)
async def test_deletion_removes_every_kind_of_link(call, m, raw):
    ann, book = await linked(call, m)
    assert links(raw) == {"ann", "bob"}
    await call(ann, "delete")
    assert links(raw) == {"bob"}
    assert raw.lrange("lib:book:1:queue", 0, -1) == ["bob"]
    assert not [key for key in raw.keys("*") if key.endswith(":ann")]
    assert await call.list(m.Book.collection(readers="bob", queue="bob", raters="bob")) == ["1"]
    assert await call(book.title, "get") == "x"
    with pytest.raises(DoesNotExist):
        await call(ann, "delete")


async def test_deleted_linking_object_leaves_related_collections(call, m, raw):
    ann, book = await linked(call, m)
    await call(book, "delete")
    for name in ("written", "edited", "read", "queued", "rated"):
        assert await call.list(getattr(ann, name)()) == []
    assert set(raw.keys()) == {"lib:person:collection", "lib:book:max_pk"}


async def test_deletion_takes_two_round_trips(call, m, database):
    for _ in range(2):  # the second time, the script is loaded
        ann, _ = await linked(call, m)
        with count_commands(database) as counted:
            await call(ann, "delete")
    assert round_trips(counted) == 2
    assert (counted.sent[-1][0], counted.sent[-1][-1], len(counted.sent[-1])) == ("MULTI", "EXEC", 2 + 5 + 1)
    nobody = await call.create(m.Person, name="nobody")
    with count_commands(database) as counted:
        await call(nobody, "delete")
    assert round_trips(counted) == 1
    looked_up = await call.create(m.Person, name="bob", city="Rome")
    await call.create(m.Book, writer=looked_up)
    with count_commands(database) as counted:
        await call(m.Person.lazy_connect("bob"), "delete")
    assert round_trips(counted) == 2


@pytest.mark.parametrize("number", [10, AT_ONCE, AT_ONCE + 1])
async def test_round_trips_of_deletion_grow_by_batches_of_links(call, m, database, raw, number):
    ann = await call.create(m.Person, name="ann")
    with database.pipeline(transaction=False) as pipe:
        for _ in range(number):
            m.Book(writer=ann)
        await pipe.aexecute()
    with count_commands(database) as counted:
        await call(ann, "delete")
    assert round_trips(counted) == 2 + number // AT_ONCE
    assert not list(raw.scan_iter("*writer*", count=10_000))


@pytest.mark.pitfall(25)
async def test_index_entries_of_deleted_objects_do_not_prevent_deletion(call, m, raw):
    ann, _ = await linked(call, m)
    for name in ("writer", "editor", "readers", "queue", "raters"):
        raw.sadd(f"lib:book:{name}:ann", "ghost")
    raw.set("lib:book:undead:writer", "ann")
    raw.sadd("lib:book:writer:ann", "undead")
    await call(ann, "delete")
    assert not [key for key in raw.keys("*") if key.endswith(":ann") or "ghost" in key or "undead" in key]
    assert links(raw) == {"bob"}


async def test_link_changed_without_its_index_is_kept(call, m, raw):
    ann, book = await linked(call, m)
    raw.set("lib:book:1:writer", "bob")  # by a client that does not update the index
    await call(ann, "delete")
    assert raw.get("lib:book:1:writer") == "bob"
    assert not raw.exists("lib:book:writer:ann")
    assert await call.list(m.Book.collection(writer="bob")) == ["1"]
    assert await call(book.writer, "get") == "bob"


async def test_object_that_links_to_itself_is_deleted(call, m, raw, database):
    ann = await call.create(m.Person, name="ann")
    await call(ann.boss, "set", ann)
    bob = await call.create(m.Person, name="bob", boss=ann)
    with count_commands(database) as counted:
        await call(ann, "delete")
    assert round_trips(counted) == 2
    assert await call(bob.boss, "get") is None
    assert set(raw.keys()) == {"lib:person:collection"}
    assert raw.smembers("lib:person:collection") == {"bob"}


async def test_objects_that_link_to_each_other_are_deleted(call, m, raw):
    ann = await call.create(m.Person, name="ann")
    bob = await call.create(m.Person, name="bob", boss=ann)
    await call(ann.boss, "set", bob)
    await call(ann, "delete")
    await call(bob, "delete")
    assert not raw.keys()


async def test_deleting_a_missing_object_removes_no_link(call, m, raw):
    ann, _ = await linked(call, m)
    raw.srem("lib:person:collection", "ann")
    before = links(raw)
    with pytest.raises(DoesNotExist):
        await call(ann, "delete")
    assert links(raw) == before


async def test_other_indexes_of_removed_links_are_updated(call, database, raw):
    target = define(database, "Target", (RelatedModel,), name=fields.PKField())
    owner = define(
        database,
        "Owner",
        year=fields.StringField(indexable=True),
        ranged=FKStringField(target, related_name="a", indexes=[TextRangeIndex]),
        scored=FKStringField(target, related_name="b", indexes=[ScoredEqualIndex.configure(score_field="year")]),
        joint=FKStringField(
            target, related_name="c", indexes=[EqualIndex, EqualIndexWith.configure(other_fields=["year"])]
        ),
        composed=FKStringField(
            target, related_name="d", indexes=[MultiIndexes.compose([EqualIndex, TextRangeIndex.configure(prefix="r")])]
        ),
        listed=M2MListField(target, related_name="e", indexes=[TextRangeIndex]),
    )
    x, y = await call.create(target, name="x"), await call.create(target, name="y")
    every = ("ranged", "scored", "joint", "composed")
    await call.create(owner, year="1999", **dict.fromkeys(every, x), listed=[x, y, x])
    await call.create(owner, year="2000", **dict.fromkeys(every, y), listed=[y])
    for name in "abcde":
        assert await call.list(getattr(x, name)()) == ["1"]
    await call(x, "delete")
    found = {key: raw.type(key) for key in raw.keys(":owner:*") if not key.startswith((":owner:2", ":owner:max"))}
    assert not [key for key in found if key.endswith(":x")]
    assert raw.zrange(":owner:ranged:text-range", 0, -1) == ["y:TEXT-RANGE-SEPARATOR:2"]
    assert raw.zrange(":owner:composed:r:text-range", 0, -1) == ["y:TEXT-RANGE-SEPARATOR:2"]
    assert sorted(raw.zrange(":owner:listed:text-range", 0, -1)) == [f"y:TEXT-RANGE-SEPARATOR:{pk}" for pk in "12"]
    assert raw.smembers(":owner:joint:equal-with:y:2000") == {"2"}
    assert raw.lrange(":owner:1:listed", 0, -1) == ["y"]
    await call(y, "delete")
    assert not [key for key in raw.keys("*") if "TEXT" in key or "text-range" in key or "equal-with" in key]


async def test_links_with_a_transforming_index_are_removed_exactly(call, database, raw):
    target = define(database, "Target", (RelatedModel,), name=fields.PKField())
    owner = define(
        database,
        "Owner",
        one=FKStringField(target, related_name="a", indexes=[EqualIndex.configure(transform=str.lower)]),
        many=M2MSetField(target, related_name="b", indexes=[EqualIndex.configure(transform=str.lower)]),
    )
    small, big = await call.create(target, name="x"), await call.create(target, name="X")
    await call.create(owner, one=big, many=[small, big])
    await call.create(owner, one=small, many=[small])
    await call(small, "delete")
    assert raw.get(":owner:1:one") == "X"
    assert raw.smembers(":owner:1:many") == {"X"}
    assert raw.smembers(":owner:one:x") == raw.smembers(":owner:many:x") == {"1"}
    assert not raw.exists(":owner:2:one", ":owner:2:many")


async def test_more_transformed_links_than_one_transaction_holds(call, database, raw, monkeypatch):
    monkeypatch.setattr(deletion, "AT_ONCE", 3)
    target = define(database, "Target", (RelatedModel,), name=fields.PKField())
    index = EqualIndex.configure(transform=str.lower)
    owner = define(database, "Owner", one=FKStringField(target, indexes=[index]))
    small, big = await call.create(target, name="x"), await call.create(target, name="X")
    for number in range(20):
        await call.create(owner, one=small if number % 2 else big)
    await call(small, "delete")
    assert sorted(map(int, raw.smembers(":owner:one:x"))) == list(range(1, 21, 2))
    assert raw.smembers(":target:collection") == {"X"}


async def test_links_of_objects_hidden_by_their_manager_are_removed(call, database, raw):
    class Visible(ExtendedCollectionManager):
        def __init__(self, model):
            super().__init__(model)
            self._add_filters(state="visible")

    target = define(database, "Target", (RelatedModel,), name=fields.PKField())
    owner = define(
        database,
        "Owner",
        (RelatedModel,),
        collection_manager=Visible,
        state=fields.StringField(indexable=True),
        link=FKStringField(target, related_name="a"),
        ranged=FKStringField(target, related_name="b", indexes=[TextRangeIndex]),
    )
    x, y = await call.create(target, name="x"), await call.create(target, name="y")
    hidden = await call.create(owner, state="hidden", link=x, ranged=x)
    assert await call.list(x.a()) == []
    await call(x, "delete")
    assert await call(hidden.link, "get") is None
    assert await call(hidden.ranged, "get") is None
    await call(hidden.link, "set", y)
    await call(y.a, "remove_instance")
    assert await call(hidden.link, "get") is None


async def test_targets_with_equal_names_keep_the_links_of_each_other(call, database):
    m = make_models(database)
    other = define(database, "Person", (RelatedModel,), namespace="other", name=fields.PKField())
    stranger = await call.create(other, name="ann")
    _, book = await linked(call, m)
    await call(stranger, "delete")
    assert await call(book.writer, "get") == "ann"


async def test_refused_step_deletes_nothing(call, m, raw):
    ann, _ = await linked(call, m)
    raw.delete("lib:book:1:readers")
    raw.set("lib:book:1:readers", "no set")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        await call(ann, "delete")
    assert raw.sismember("lib:person:collection", "ann")
    raw.delete("lib:book:1:readers")
    await call(ann, "delete")
    assert not raw.exists("lib:person:collection")


def test_links_made_during_deletion_are_removed(m, database, raw):
    """Threads link to objects while these are deleted."""
    books = [m.Book(title=str(number)) for number in range(6)]
    ending = threading.Event()
    errors = []

    def link(number):
        book = books[number]
        while not ending.is_set():
            try:
                for target in m.Person.collection().instances(lazy=True):
                    book.writer.set(target)
                    book.queue.rpush(target, target)
                    if number % 2:
                        book.readers.sadd(target)
            except Exception as error:  # noqa: BLE001 - shown below
                errors.append(error)
                return

    threads = [threading.Thread(target=link, args=(number,)) for number in range(len(books))]
    people = [m.Person(name=f"p{number}") for number in range(60)]
    for thread in threads:
        thread.start()
    for person in people[:-5]:
        person.delete()
        assert not raw.sismember("lib:person:collection", person.known_pk if person.has_pk else "")
    ending.set()
    for thread in threads:
        thread.join()
    assert not errors
    # A link to a pk needs no object, so one made after the deletion stays. Entries and values agree in any case.
    for name, read in (("writer", raw.get), ("queue", lambda key: raw.lrange(key, 0, -1)), ("readers", raw.smembers)):
        for book in books:
            stored = read(f"lib:book:{book._pk}:{name}") or []
            stored = {stored} if isinstance(stored, str) else set(stored)
            entries = {key.rpartition(":")[2] for key in raw.keys(f"lib:book:{name}:*") if raw.sismember(key, book._pk)}
            assert stored == entries
    for person in people[-5:]:
        person.delete()
        assert not raw.keys(f"lib:book:*:{person._pk}")


async def test_links_can_be_removed_without_deleting_the_object(call, m, raw, database):
    ann, book = await linked(call, m)
    await call.create(m.Book, writer=ann)
    with count_commands(database) as counted:
        await call(ann.written, "remove_instance")
    assert round_trips(counted) == 2
    assert await call.list(ann.written()) == []
    assert await call.list(ann.edited()) == ["1"]
    assert await call(book.writer, "get") is None
    await call(ann.written, "remove_instance")
    assert raw.sismember("lib:person:collection", "ann")


async def test_custom_related_collection_deletes_linking_objects(call, m, database):
    class Cascade(RelatedCollection):
        def remove_instance(self):
            for each in self().instances():
                each.delete()

        async def aremove_instance(self):
            async for each in self().instances():
                await each.adelete()

    class FKCascade(FKStringField):
        related_collection_class = Cascade

    page = define(database, "Page", (RelatedModel,), namespace="lib", book=FKCascade("Book", related_name="pages"))
    _, book = await linked(call, m)
    await call.create(page, book=book)
    await call.create(page, book=book)
    await call(book, "delete")
    assert await call.list(page.collection()) == []


async def test_custom_related_collection_needs_a_sync_and_an_async_form(m, database):
    class Blocking(RelatedCollection):
        def remove_instance(self):
            super().remove_instance()

    class FKBlocking(FKStringField):
        related_collection_class = Blocking

    define(database, "Page", (RelatedModel,), namespace="lib", book=FKBlocking("Book", related_name="pages"))
    book = m.Book(title="x")
    with pytest.raises(ImplementationError, match="Blocking overrides remove_instance, and not aremove_instance"):
        await book.adelete()
    book.delete()
