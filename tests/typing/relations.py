"""What users may write with relations, blocking and awaiting."""

from typing import Any, assert_type

from tenantlimpyd import DatabaseRouter, fields
from tenantlimpyd.contrib.collection import ExtendedCollectionManager
from tenantlimpyd.contrib.related import (
    FKInstanceHashField,
    FKStringField,
    M2MListField,
    M2MSetField,
    M2MSortedSetField,
    RelatedCollection,
    RelatedModel,
)

router = DatabaseRouter()


class Person(RelatedModel):
    database = router
    name = fields.PKField()
    city = fields.StringField(indexable=True)
    written: RelatedCollection["Book"]


class Book(RelatedModel):
    database = router
    writer = FKStringField(Person, related_name="written", unique=True)
    editor = FKInstanceHashField(Person, related_name="edited")
    sequel = FKStringField("self")
    publisher: FKStringField["Publisher"] = FKStringField("Publisher")
    readers = M2MSetField(Person, related_name="read")
    queue = M2MListField(Person, related_name="queued")
    raters = M2MSortedSetField(Person, related_name="rated")


class Publisher(RelatedModel):
    database = router
    name = fields.PKField()


def links_are_followed(book: Book) -> None:
    assert_type(book.writer, FKStringField[Person])
    assert_type(book.writer.instance(), Person)
    assert_type(book.editor.instance(lazy=True), Person)
    assert_type(book.publisher.instance(), Publisher)
    assert_type(book.sequel.instance(), Any)
    assert_type(book.writer.get(), str | None)
    assert_type(book.editor.hget(), str | None)
    book.writer.instance(True, 1)  # type: ignore[call-arg]
    publisher: Publisher = book.writer.instance()  # type: ignore[assignment]


async def links_are_followed_in_asyncio(book: Book) -> None:
    assert_type(await book.writer.ainstance(), Person)
    assert_type(await book.editor.ainstance(lazy=True), Person)
    assert_type(await book.writer.aget(), str | None)
    book.writer.ainstance()  # type: ignore[unused-coroutine]


def links_are_made(book: Book, person: Person, publisher: Publisher) -> None:
    assert_type(book.writer.set(person), bool)
    book.writer.set("ann")
    book.writer.set(book.editor)
    book.sequel.set(book)
    assert_type(book.editor.hset(person), int)
    assert_type(book.readers.sadd(person, "bob", book.writer), int)
    assert_type(book.readers.sismember(person), bool)
    assert_type(book.queue.rpush(person), int)
    assert_type(book.queue.linsert("before", "ann", person), int)
    assert_type(book.raters.zadd({person: 1, "bob": 2.5}), int)
    assert_type(book.raters.zscore(person), float | None)
    book.publisher.set(publisher)
    book.writer.set(publisher)  # type: ignore[arg-type]
    book.writer.set(book.publisher)  # type: ignore[arg-type]
    book.readers.sadd(person, publisher)  # type: ignore[arg-type]
    book.queue.rpush(None)  # type: ignore[arg-type]


async def links_are_made_in_asyncio(book: Book, person: Person, publisher: Publisher) -> None:
    assert_type(await book.writer.aset(person), bool)
    assert_type(await book.readers.asadd(person, "bob"), int)
    await book.queue.arpush(person)
    await book.raters.azadd({person: 1})
    await book.writer.aset(publisher)  # type: ignore[arg-type]
    book.writer.aset(person)  # type: ignore[unused-coroutine]
    book.readers.asadd(person)  # type: ignore[unused-coroutine]


def collections_of_what_is_linked(book: Book, person: Person) -> None:
    assert_type(book.readers(city="Rome"), ExtendedCollectionManager[Person, str])
    assert_type(book.readers.collection(), ExtendedCollectionManager[Person, str])
    assert_type(person.written(), ExtendedCollectionManager[Book, str])
    assert_type(person.related_collections, list[str])
    for pk in person.written():
        assert_type(pk, str)
    for book_ in person.written().instances():
        assert_type(book_, Book)
    for reader in book.readers().intersect(book.queue).instances():
        assert_type(reader, Person)
    _ = person.writen()  # type: ignore[attr-defined]
    _ = person.edited()  # type: ignore[attr-defined]


async def collections_of_what_is_linked_in_asyncio(book: Book, person: Person) -> None:
    async for book_ in person.written().instances():
        assert_type(book_, Book)
    assert_type(await person.written().acount(), int)
    assert_type(await book.readers().alist(), list[str])
    await person.written.aremove_instance()
    person.written.aremove_instance()  # type: ignore[unused-coroutine]


def models_are_as_others(person: Person) -> None:
    assert_type(Book.get(writer=person), Book)
    assert_type(Book.collection(writer=person).filter(editor=person), ExtendedCollectionManager[Book, str])
    assert_type(person.delete(), None)


async def models_are_as_others_in_asyncio(person: Person) -> None:
    assert_type(await Book.acreate(writer=person, readers=[person]), Book)
    await person.adelete()
    person.adelete()  # type: ignore[unused-coroutine]


def what_is_no_relation() -> None:
    FKStringField()  # type: ignore[call-arg]
    FKStringField(3)  # type: ignore[arg-type]
    FKStringField(Person, "people")  # type: ignore[call-arg]
    M2MSetField(str)  # type: ignore[type-var]
