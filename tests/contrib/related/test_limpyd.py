"""Random programs on limpyd and here: replies, errors and keyspaces are the same.

Left out is what limpyd gets wrong: deleting what a list links to (P24; the links are removed first), ``hsetnx`` (P6),
taking one of several copies out of a list, and inserting into a list what is not inserted after all.
"""

from __future__ import annotations

import importlib
import warnings
from types import SimpleNamespace

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integration.parity.keyspace import content_of
from integration.parity.libraries import LIMPYD, OURS
from tests.contrib.related.related_models import KINDS

pytestmark = pytest.mark.slow

PEOPLE = ("ann", "bob", "cyd")
people = st.sampled_from(PEOPLE)
values = st.tuples(st.sampled_from(["object", "pk", "field"]), people)
several = st.lists(values, min_size=1, max_size=3)
scores = st.integers(-3, 3)


def on(name, command, *args):
    return st.tuples(st.just("field"), st.integers(0, 5), st.just(name), st.just(command), st.tuples(*args))


steps = st.one_of(
    st.tuples(st.just("person"), people, st.none() | values),
    st.tuples(
        st.just("book"), st.none() | values, st.none() | values, several, several, st.dictionaries(people, scores)
    ),
    *(on("writer", command, values) for command in ("set", "setnx", "getset", "proxy_set")),
    *(on("writer", command) for command in ("get", "delete", "instance", "exists")),
    on("editor", "hset", values),
    *(on("editor", command) for command in ("hget", "hdel", "instance")),
    *(on("readers", command, several) for command in ("sadd", "srem")),
    on("readers", "sismember", values),
    *(on("queue", command, several) for command in ("rpush", "lpush")),
    *(on("queue", command, values) for command in ("rpushx", "lpushx")),
    on("queue", "lrem", st.just(0), values),
    on("queue", "linsert", st.sampled_from(["before", "after"]), people, values),
    on("queue", "lset", st.integers(0, 2), values),
    *(on("queue", command) for command in ("lpop", "rpop", "lmembers", "llen")),
    on("raters", "zadd", st.dictionaries(people, scores, min_size=1)),
    on("raters", "zincrby", scores, values),
    on("raters", "zrem", several),
    *(on("raters", command, values) for command in ("zscore", "zrank", "zrevrank")),
    st.tuples(st.just("call"), st.integers(0, 5), st.sampled_from(["readers", "queue", "raters"]), st.booleans()),
    st.tuples(st.just("reverse"), people, st.sampled_from(["written", "edited", "read", "queued", "rated", "reports"])),
    st.tuples(st.just("filter"), st.sampled_from(KINDS), values),
    st.tuples(st.just("delete person"), people),
    st.tuples(st.just("delete book"), st.integers(0, 5)),
)
COPIES = {"lpop", "rpop", "lset"}
NOT_ALWAYS = {"lpushx", "rpushx", "linsert"}


class Side:
    """One library with the same models."""

    def __init__(self, library, settings, db):
        self.library = library
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            related = importlib.import_module(f"{library.name}.contrib.related")
        self.database = library.connect(settings, db)
        self.raw = redis.Redis(**settings, db=db)
        self.models = self._models(related)

    def _models(self, related):
        library, host = self.library, self.database

        class Base(related.RelatedModel):
            database = host
            namespace = "lib"
            abstract = True

        class Person(Base):
            name = library.fields.PKField()
            city = library.fields.StringField(indexable=True)
            boss = related.FKStringField("self", related_name="reports")

        class Book(Base):
            title = library.fields.StringField(indexable=True)
            writer = related.FKStringField(Person, related_name="written")
            editor = related.FKInstanceHashField("Person", related_name="edited")
            readers = related.M2MSetField("Person", related_name="read")
            queue = related.M2MListField("lib:Person", related_name="queued")
            raters = related.M2MSortedSetField(Person, related_name="rated")

        return SimpleNamespace(Person=Person, Book=Book)

    def value(self, given):
        """Return an object, a pk, or a field that links to it."""
        if not isinstance(given, tuple):
            return given
        form, name = given
        if form == "pk" or not self.models.Person.exists(pk=name):
            return name
        if form == "object":
            return self.models.Person(name)
        if not self.models.Person.exists(pk=f"under {name}"):
            self.models.Person(name=f"under {name}", boss=name)
        field = self.models.Person(f"under {name}").boss
        return field if field.get() is not None else name

    def book(self, number):
        pks = sorted(self.models.Book.collection(), key=int)
        return self.models.Book(pks[number % len(pks)]) if pks else None

    def run(self, step):
        """Execute a step; return its result as plain data."""
        try:
            return self.plain(getattr(self, f"do_{step[0].replace(' ', '_')}")(*step[1:]))
        except Exception as error:  # noqa: BLE001 - compared
            return type(error).__name__

    def plain(self, reply):
        if hasattr(reply, "_pk"):
            return type(reply).__name__, reply._pk
        return sorted(reply) if isinstance(reply, set) else reply

    def do_person(self, name, boss):
        self.models.Person(name=name, city="Rome", **({} if boss is None else {"boss": self.value(boss)}))

    def do_book(self, writer, editor, readers, queue, raters):
        links = {"writer": writer, "editor": editor}
        given = {name: self.value(link) for name, link in links.items() if link is not None}
        given["readers"] = [self.value(each) for each in readers]
        given["queue"] = [self.value(each) for each in queue]
        self.models.Book(title="x", **given, **({"raters": raters} if raters else {}))

    def do_field(self, number, name, command, args):
        book = self.book(number)
        if book is None:
            return None
        field = getattr(book, name)
        if command in COPIES and len(set(field.lmembers())) < field.llen():
            return "copies"
        if command in NOT_ALWAYS and (args[1] if command == "linsert" else field.lindex(0)) not in field.lmembers():
            return "nothing would be added"
        given = []
        for each in args:
            given += [self.value(one) for one in each] if isinstance(each, list) else [self.value(each)]
        return getattr(field, command)(*given)

    def do_call(self, number, name, filtered):
        book = self.book(number)
        if book is None:
            return None
        found = getattr(book, name)(city="Rome") if filtered else getattr(book, name).collection()
        return sorted(found)

    def do_reverse(self, name, related_name):
        return sorted(getattr(self.models.Person(name), related_name)())

    def do_filter(self, name, value):
        return sorted(self.models.Book.collection(**{name: self.value(value)}))

    def do_delete_person(self, name):
        person = self.models.Person(name)
        for book in list(person.queued().instances()):
            book.queue.lrem(0, person)
        person.delete()

    def do_delete_book(self, number):
        book = self.book(number)
        if book is not None:
            book.delete()

    def content(self):
        found = content_of(self.raw)
        return {key: held for key, held in found.items() if b":__collection__:" not in key and b"lock-for" not in key}


@pytest.fixture
def sides(server):
    both = Side(LIMPYD, server.settings, 10), Side(OURS, server.settings, 11)
    yield both
    for side in both:
        side.library.disconnect(side.database)
        side.raw.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=st.lists(steps, min_size=5, max_size=25))
def test_replies_and_keyspaces_equal_those_of_limpyd(sides, program):
    for side in sides:
        side.raw.flushdb()
    start = [("person", name, None) for name in PEOPLE] + [("book", None, None, [("pk", "ann")], [("pk", "bob")], {})]
    for step in [*start, *program]:
        limpyds, ours = (side.run(step) for side in sides)
        assert ours == limpyds, step
    assert sides[1].content() == sides[0].content()


def test_limpyd_and_tenantlimpyd_read_the_data_of_each_other(server, sides):
    limpyd, ours = sides
    for writer in sides:
        limpyd.raw.flushall()
        ann, bob = (writer.models.Person(name=name, city="Rome") for name in ("ann", "bob"))
        writer.models.Book(writer=ann, editor=bob, readers=[ann, bob], queue=[bob, ann], raters={"ann": 2, "bob": 1})
        if writer is limpyd:
            limpyd.raw.execute_command("SWAPDB", 10, 11)
        else:
            ours.raw.execute_command("SWAPDB", 11, 10)
        reader = ours if writer is limpyd else limpyd
        person = reader.models.Person("ann")
        assert [sorted(getattr(person, name)()) for name in ("written", "edited", "read", "queued", "rated")] == [
            ["1"],
            [],
            ["1"],
            ["1"],
            ["1"],
        ]
        book = reader.models.Book("1")
        assert book.editor.instance()._pk == "bob"
        assert [sorted(getattr(book, name)(city="Rome")) for name in ("readers", "queue", "raters")] == [
            ["ann", "bob"]
        ] * 3
