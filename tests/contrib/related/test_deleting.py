"""Deleting an object removes the links to it: all of them, with it, in few round trips."""

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
from tests.contrib.related.related_models import make_models, trips
from tests.support.models import define

pytestmark = pytest.mark.slow


async def linked(mode, m, pk="ann"):
    ann = await mode.make(m.Person, name=pk)
    book = await mode.make(
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


async def test_p24_every_kind_of_link_goes(mode, m, raw):
    ann, book = await linked(mode, m)
    assert links(raw) == {"ann", "bob"}
    await mode(ann, "delete")
    assert links(raw) == {"bob"}
    assert raw.lrange("lib:book:1:queue", 0, -1) == ["bob"]
    assert not [key for key in raw.keys("*") if key.endswith(":ann")]
    assert await mode.every(m.Book.collection(readers="bob", queue="bob", raters="bob")) == ["1"]
    assert await mode(book.title, "get") == "x"
    with pytest.raises(DoesNotExist):
        await mode(ann, "delete")


async def test_deleting_what_links_removes_it_from_collections(mode, m, raw):
    ann, book = await linked(mode, m)
    await mode(book, "delete")
    for name in ("written", "edited", "read", "queued", "rated"):
        assert await mode.every(getattr(ann, name)()) == []
    assert set(raw.keys()) == {"lib:person:collection", "lib:book:max_pk"}


async def test_trips(mode, m, database):
    for _ in range(2):  # the second time the server knows the script
        ann, _ = await linked(mode, m)
        with count_commands(database) as counted:
            await mode(ann, "delete")
    assert trips(counted) == 2
    assert (counted.sent[-1][0], counted.sent[-1][-1], len(counted.sent[-1])) == ("MULTI", "EXEC", 2 + 5 + 1)
    nobody = await mode.make(m.Person, name="nobody")
    with count_commands(database) as counted:
        await mode(nobody, "delete")
    assert trips(counted) == 1
    looked_up = await mode.make(m.Person, name="bob", city="Rome")
    await mode.make(m.Book, writer=looked_up)
    with count_commands(database) as counted:
        await mode(m.Person.lazy_connect("bob"), "delete")
    assert trips(counted) == 2


@pytest.mark.parametrize("number", [10, AT_ONCE, AT_ONCE + 1])
async def test_trips_for_many_links(mode, m, database, raw, number):
    ann = await mode.make(m.Person, name="ann")
    with database.pipeline(transaction=False) as pipe:
        for _ in range(number):
            m.Book(writer=ann)
        await pipe.aexecute()
    with count_commands(database) as counted:
        await mode(ann, "delete")
    assert trips(counted) == 2 + number // AT_ONCE
    assert not list(raw.scan_iter("*writer*", count=10_000))


async def test_p25_what_is_left_of_objects_that_are_gone_holds_nothing_up(mode, m, raw):
    ann, _ = await linked(mode, m)
    for name in ("writer", "editor", "readers", "queue", "raters"):
        raw.sadd(f"lib:book:{name}:ann", "ghost")
    raw.set("lib:book:undead:writer", "ann")
    raw.sadd("lib:book:writer:ann", "undead")
    await mode(ann, "delete")
    assert not [key for key in raw.keys("*") if key.endswith(":ann") or "ghost" in key or "undead" in key]
    assert links(raw) == {"bob"}


async def test_an_entry_of_an_object_that_links_to_another_by_now(mode, m, raw):
    ann, book = await linked(mode, m)
    raw.set("lib:book:1:writer", "bob")  # by somebody who knows of no index
    await mode(ann, "delete")
    assert raw.get("lib:book:1:writer") == "bob"
    assert not raw.exists("lib:book:writer:ann")
    assert await mode.every(m.Book.collection(writer="bob")) == ["1"]
    assert await mode(book.writer, "get") == "bob"


async def test_an_object_that_links_to_itself(mode, m, raw, database):
    ann = await mode.make(m.Person, name="ann")
    await mode(ann.boss, "set", ann)
    bob = await mode.make(m.Person, name="bob", boss=ann)
    with count_commands(database) as counted:
        await mode(ann, "delete")
    assert trips(counted) == 2
    assert await mode(bob.boss, "get") is None
    assert set(raw.keys()) == {"lib:person:collection"}
    assert raw.smembers("lib:person:collection") == {"bob"}


async def test_two_that_link_to_one_another(mode, m, raw):
    ann = await mode.make(m.Person, name="ann")
    bob = await mode.make(m.Person, name="bob", boss=ann)
    await mode(ann.boss, "set", bob)
    await mode(ann, "delete")
    await mode(bob, "delete")
    assert not raw.keys()


async def test_an_object_that_is_not_there_takes_no_link_away(mode, m, raw):
    ann, _ = await linked(mode, m)
    raw.srem("lib:person:collection", "ann")
    before = links(raw)
    with pytest.raises(DoesNotExist):
        await mode(ann, "delete")
    assert links(raw) == before


async def test_indexes_of_other_kinds_follow(mode, database, raw):
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
    x, y = await mode.make(target, name="x"), await mode.make(target, name="y")
    every = ("ranged", "scored", "joint", "composed")
    await mode.make(owner, year="1999", **dict.fromkeys(every, x), listed=[x, y, x])
    await mode.make(owner, year="2000", **dict.fromkeys(every, y), listed=[y])
    for name in "abcde":
        assert await mode.every(getattr(x, name)()) == ["1"]
    await mode(x, "delete")
    found = {key: raw.type(key) for key in raw.keys(":owner:*") if not key.startswith((":owner:2", ":owner:max"))}
    assert not [key for key in found if key.endswith(":x")]
    assert raw.zrange(":owner:ranged:text-range", 0, -1) == ["y:TEXT-RANGE-SEPARATOR:2"]
    assert raw.zrange(":owner:composed:r:text-range", 0, -1) == ["y:TEXT-RANGE-SEPARATOR:2"]
    assert sorted(raw.zrange(":owner:listed:text-range", 0, -1)) == [f"y:TEXT-RANGE-SEPARATOR:{pk}" for pk in "12"]
    assert raw.smembers(":owner:joint:equal-with:y:2000") == {"2"}
    assert raw.lrange(":owner:1:listed", 0, -1) == ["y"]
    await mode(y, "delete")
    assert not [key for key in raw.keys("*") if "TEXT" in key or "text-range" in key or "equal-with" in key]


async def test_links_whose_index_takes_several_pks_for_one(mode, database, raw):
    target = define(database, "Target", (RelatedModel,), name=fields.PKField())
    owner = define(
        database,
        "Owner",
        one=FKStringField(target, related_name="a", indexes=[EqualIndex.configure(transform=str.lower)]),
        many=M2MSetField(target, related_name="b", indexes=[EqualIndex.configure(transform=str.lower)]),
    )
    small, big = await mode.make(target, name="x"), await mode.make(target, name="X")
    await mode.make(owner, one=big, many=[small, big])
    await mode.make(owner, one=small, many=[small])
    await mode(small, "delete")
    assert raw.get(":owner:1:one") == "X"
    assert raw.smembers(":owner:1:many") == {"X"}
    assert raw.smembers(":owner:one:x") == raw.smembers(":owner:many:x") == {"1"}
    assert not raw.exists(":owner:2:one", ":owner:2:many")


async def test_more_of_those_than_go_in_one_transaction(mode, database, raw, monkeypatch):
    monkeypatch.setattr(deletion, "AT_ONCE", 3)
    target = define(database, "Target", (RelatedModel,), name=fields.PKField())
    index = EqualIndex.configure(transform=str.lower)
    owner = define(database, "Owner", one=FKStringField(target, indexes=[index]))
    small, big = await mode.make(target, name="x"), await mode.make(target, name="X")
    for number in range(20):
        await mode.make(owner, one=small if number % 2 else big)
    await mode(small, "delete")
    assert sorted(map(int, raw.smembers(":owner:one:x"))) == list(range(1, 21, 2))
    assert raw.smembers(":target:collection") == {"X"}


async def test_links_of_objects_that_the_manager_of_their_model_leaves_out(mode, database, raw):
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
    x, y = await mode.make(target, name="x"), await mode.make(target, name="y")
    hidden = await mode.make(owner, state="hidden", link=x, ranged=x)
    assert await mode.every(x.a()) == []
    await mode(x, "delete")
    assert await mode(hidden.link, "get") is None
    assert await mode(hidden.ranged, "get") is None
    await mode(hidden.link, "set", y)
    await mode(y.a, "remove_instance")
    assert await mode(hidden.link, "get") is None


async def test_several_targets_of_one_name(mode, database):
    m = make_models(database)
    other = define(database, "Person", (RelatedModel,), namespace="other", name=fields.PKField())
    stranger = await mode.make(other, name="ann")
    _, book = await linked(mode, m)
    await mode(stranger, "delete")
    assert await mode(book.writer, "get") == "ann"


async def test_a_step_that_the_server_refuses_deletes_nothing(mode, m, raw):
    ann, _ = await linked(mode, m)
    raw.delete("lib:book:1:readers")
    raw.set("lib:book:1:readers", "no set")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        await mode(ann, "delete")
    assert raw.sismember("lib:person:collection", "ann")
    raw.delete("lib:book:1:readers")
    await mode(ann, "delete")
    assert not raw.exists("lib:person:collection")


def test_links_made_meanwhile_go_too(m, database, raw):
    """Threads link to objects, to the one and to the other, while these are deleted."""
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


async def test_removing_the_links_alone(mode, m, raw, database):
    ann, book = await linked(mode, m)
    await mode.make(m.Book, writer=ann)
    with count_commands(database) as counted:
        await mode(ann.written, "remove_instance")
    assert trips(counted) == 2
    assert await mode.every(ann.written()) == []
    assert await mode.every(ann.edited()) == ["1"]
    assert await mode(book.writer, "get") is None
    await mode(ann.written, "remove_instance")
    assert raw.sismember("lib:person:collection", "ann")


async def test_a_collection_that_deletes_what_links(mode, m, database):
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
    _, book = await linked(mode, m)
    await mode.make(page, book=book)
    await mode.make(page, book=book)
    await mode(book, "delete")
    assert await mode.every(page.collection()) == []


async def test_such_a_collection_needs_both_modes(m, database):
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
