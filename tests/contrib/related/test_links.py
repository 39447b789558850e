"""Links are made, read, followed and found, by objects, pks, and fields that link to objects."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tenantlimpyd import fields, model
from tenantlimpyd.collection import CollectionManager
from tenantlimpyd.contrib.collection import ExtendedCollectionManager
from tenantlimpyd.contrib.related import (
    FKStringField,
    M2MSetField,
    RelatedCollection,
    RelatedModel,
    SimpleValueRelatedFieldMixin,
)
from tenantlimpyd.exceptions import DoesNotExist, ImplementationError, UniquenessError
from tenantlimpyd.testing import count_commands
from tests.contrib.related.related_models import make_models, round_trips
from tests.support.models import define

pytestmark = pytest.mark.slow


async def people(call, m, *names):
    return [await call.create(m.Person, name=name) for name in names]


# How a link is made


@pytest.fixture(params=["object", "pk", "field"])
async def given(request, call, m):
    """A link to Ann in one of its forms, and Ann."""
    ann, _ = await people(call, m, "ann", "zoe")
    if request.param == "field":
        return (await call.create(m.Person, name="who has a boss", boss=ann)).boss, ann
    return (ann if request.param == "object" else "ann"), ann


async def test_foreign_key_is_set_read_and_found(call, m, given):
    value, ann = given
    book = await call.create(m.Book, title="x")
    assert await call(book.writer, "set", value) is True
    assert await call(book.writer, "get") == "ann"
    assert await call(book.writer, "setnx", value) is False
    assert await call(book.writer, "getset", value) == "ann"
    assert await call(book.writer, "set", value=value) is True
    assert await call(book.writer, "proxy_set", value) is True
    assert await call(book.editor, "hsetnx", value) is True
    assert await call(book.editor, "hset", value) == 0
    assert await call(book.editor, "proxy_set", value) == 0
    assert await call(book, "hmset", editor=value) is True
    assert await call(book.editor, "hget") == "ann"
    assert await call(book.writer, "instance") == await call(book.editor, "instance") == ann


async def test_set_of_links_is_written_and_found(call, m, given):
    value, _ = given
    book = await call.create(m.Book, title="x")
    assert await call(book.readers, "sadd", value, "zoe") == 2
    assert await call(book.readers, "sismember", value) is True
    assert await call(book.readers, "smismember", value, "nobody") == [True, False]
    assert await call(book.readers, "proxy_set", [value]) == 0
    assert await call(book.readers, "srem", value) == 1
    assert await call(book.readers, "smembers") == {"zoe"}


async def test_list_of_links_is_written_and_found(call, m, given):
    value, _ = given
    book = await call.create(m.Book, title="x")
    assert await call(book.queue, "rpushx", value) == 0
    assert await call(book.queue, "rpush", value, "zoe") == 2
    assert await call(book.queue, "lpush", "zoe", value) == 4
    assert await call(book.queue, "lpushx", value) == 5
    assert await call(book.queue, "rpushx", value) == 6
    assert await call(book.queue, "linsert", "before", value, value) == 7
    assert await call(book.queue, "lset", -2, value) is True
    assert await call(book.queue, "lmembers") == ["ann", "ann", "ann", "zoe", "ann", "ann", "ann"]
    assert await call(book.queue, "lpos", value, 2) == 1
    assert await call(book.queue, "lrank", value) == 0
    assert await call(book.queue, "lcontains", value) is True
    assert await call(book.queue, "lcount", value) == 6
    assert await call(book.queue, "lrem", 0, value) == 6
    assert await call(book.queue, "proxy_set", (value,)) == 2


async def test_sorted_set_of_links_is_written_and_found(call, m, given):
    value, _ = given
    book = await call.create(m.Book, title="x")
    assert await call(book.raters, "zadd", {value: 1, "zoe": 2}) == 2
    assert await call(book.raters, "zadd", {value: 3}, True) == 1
    assert await call(book.raters, "zadd", ann=4, ch=True) == 1
    assert await call(book.raters, "zadd", mapping={value: 5}) == 0
    assert await call(book.raters, "zscore", value) == 5
    assert await call(book.raters, "zmscore", [value, "nobody"]) == [5, None]
    assert await call(book.raters, "zincrby", 2, value) == 7
    assert await call(book.raters, "zrank", value) == 1
    assert await call(book.raters, "zrevrank", value, withscore=True) == [0, 7.0]
    assert await call(book.raters, "proxy_set", {value: 1}) == 0
    assert await call(book.raters, "zrem", value) == 1
    assert await call(book.raters, "zmembers") == ["zoe"]


async def test_new_objects_are_created_with_links(call, m, given):
    value, ann = given
    book = await call.create(
        m.Book, writer=value, editor=value, readers=[value, "zoe"], queue=(value, value), raters={value: 3}
    )
    assert await call(book.writer, "get") == await call(book.editor, "hget") == "ann"
    assert await call(book.readers, "smembers") == {"ann", "zoe"}
    assert await call(book.queue, "lmembers") == ["ann", "ann"]
    assert await call(book.raters, "zmembers") == ["ann"]
    one = await call.create(m.Book, readers=value, queue=value)
    assert await call(one.queue, "lmembers") == ["ann"]
    found, created = await call(m.Book, "get_or_connect", title="y", writer=value)
    assert created
    assert await call(found.writer, "instance") == ann


async def test_filters_accept_objects_and_pks(call, m, given):
    value, _ = given
    book = await call.create(m.Book, title="x", writer="ann", readers=["ann", "zoe"], queue=["ann"], raters={"ann": 1})
    await call.create(m.Book, title="x", writer="zoe")
    for name in ("writer", "readers", "queue", "raters"):
        assert await call.list(m.Book.collection(**{name: value})) == [book._pk]
        assert await call.list(m.Book.collection(**{f"{name}__eq": value, "title": "x"})) == [book._pk]
        assert await call.list(m.Book.collection(**{f"{name}__in": [value]})) == [book._pk]
        assert await call.count(m.Book.collection().filter(**{name: value})) == 1
    assert await call(m.Book, "get", writer=value) == book
    assert await call(m.Book, "exists", writer=value) is True


async def test_indexes_of_links_can_be_rebuilt(call, m, given):
    value, ann = given
    if isinstance(value, SimpleValueRelatedFieldMixin):
        value = ann  # limpyd reads fields when a link is made, not here
    book = await call.create(m.Book, title="x")
    await call(book.writer, "index", value)
    await call(book.readers, "index", [value])
    await call(book.queue, "index", value)
    assert await call.list(m.Book.collection(writer=value, readers=value, queue=value)) == ["1"]
    await call(book.writer, "deindex", value)
    assert await call.list(m.Book.collection(writer=value)) == []
    assert book.writer.from_python(value) == "ann"
    assert m.Book.get_field("readers").from_python_many(value, "zoe") == ["ann", "zoe"]


async def test_link_given_as_a_field_that_links_to_the_same_object(call, m, database):
    note = define(database, "Note", (RelatedModel,), namespace="lib", by=FKStringField("Person"))
    ann, _ = await people(call, m, "ann", "zoe")
    written = await call.create(note, by=ann)
    book = await call.create(m.Book, writer=written.by, readers=[written.by, "zoe"])
    assert await call(book.writer, "get") == "ann"
    with count_commands(database) as counted:
        await call(book.readers, "srem", written.by, written.by, "zoe")
    assert round_trips(counted) == 2
    assert await call(book.readers, "smembers") == set()


async def test_post_command_gets_links_as_pks(call, m):
    seen = []

    class Noted(m.Book):
        def post_command(self, sender, name, result, args, kwargs):
            seen.append((sender.name, name, args))
            return result

    ann, zoe = await people(call, m, "ann", "zoe")
    book = await call.create(Noted, title="x")
    await call(book.writer, "set", ann)
    await call(book.readers, "sadd", zoe)
    await call(book.raters, "zadd", {ann: 1})
    assert seen == [("writer", "set", ("ann",)), ("readers", "sadd", ("zoe",)), ("raters", "zadd", ({"ann": 1},))]


# Following links


async def test_instance_follows_a_foreign_key(call, m, database):
    (ann,) = await people(call, m, "ann")
    book = await call.create(m.Book, writer=ann, editor="nobody")
    with count_commands(database) as counted:
        assert await call(book.writer, "instance") == ann
    assert round_trips(counted) == 2
    with count_commands(database) as counted:
        lazy = await call(book.editor, "instance", lazy=True)
    assert round_trips(counted) == 1
    assert not lazy.connected
    assert lazy._pk == "nobody"
    with pytest.raises(DoesNotExist, match="there is no Person with pk 'nobody'"):
        await call(book.editor, "instance")


async def test_instance_of_an_empty_foreign_key_is_an_error(call, m):
    book = await call.create(m.Book, title="x")
    with pytest.raises(DoesNotExist, match="'writer' of <Book '1'> links to nothing"):
        await call(book.writer, "instance")
    with pytest.raises(DoesNotExist, match="links to nothing"):
        await call(book.editor, "hset", book.writer)
    with pytest.raises(DoesNotExist, match="not stored yet"):
        await call(m.Book().writer, "instance")


async def test_many_to_many_field_gives_a_collection_of_linked_objects(call, m, database):
    ann, bob, _ = await people(call, m, "ann", "bob", "cyd")
    await call(ann.city, "set", "Rome")
    book = await call.create(
        m.Book, readers=["bob", "ann", "ghost"], queue=["bob", "ann", "bob", "ghost"], raters={"ann": 2, "bob": 1}
    )
    with count_commands(database) as counted:
        assert sorted(await call.list(book.readers())) == ["ann", "bob"]
        assert sorted(await call.list(book.queue.collection())) == ["ann", "bob"]
        assert await call.list(book.raters().sort()) == ["ann", "bob"]
        assert await call.slice(book.raters(), slice(0, 5)) == ["bob", "ann"]
        assert await call.list(book.readers(city="Rome")) == ["ann"]
        assert await call.list(book.queue.collection(city="Rome").instances()) == [ann]
        assert await call.count(book.readers()) == 2
        assert await call.list(book.readers().sort(by="-city", alpha=True).values_list("city", flat=True)) == [
            "Rome",
            None,
        ]
        assert await call.list(book.readers().instances().sort(by_score=book.raters)) == [bob, ann]
    assert round_trips(counted) == 9


async def test_related_name_gives_a_collection_of_linking_objects(call, m, database):
    ann, bob = await people(call, m, "ann", "bob")
    first = await call.create(m.Book, title="b", writer=ann, readers=[ann, bob], queue=[bob], raters={bob: 2, ann: 1})
    second = await call.create(m.Book, title="a", writer=ann, editor=bob)
    with count_commands(database) as counted:
        assert sorted(await call.list(ann.written())) == ["1", "2"]
        assert await call.list(ann.written(title="a").instances()) == [second]
        assert await call.list(bob.edited()) == ["2"]
        assert await call.list(bob.queued().instances()) == [first]
        assert await call.list(bob.rated()) == ["1"]
        assert await call.count(ann.read()) == 1
        assert await call.slice(ann.written().sort(by="title", alpha=True), slice(0, 1)) == ["2"]
        assert await call.list(ann.written().sort(by="title", alpha=True).values("title")) == [
            {"title": "a"},
            {"title": "b"},
        ]
        assert await call.list(ann.written().intersect(bob.read())) == ["1"]
        assert await call.list(ann.written(readers=bob)) == ["1"]
        assert await call.list(bob.written()) == []
    assert round_trips(counted) == 11
    assert type(ann.written()) is ExtendedCollectionManager


async def test_related_collection_is_evaluated_lazily(call, m):
    ann, bob = await people(call, m, "ann", "bob")
    written = ann.written()
    await call.create(m.Book, writer=ann)
    book = await call.create(m.Book, writer=bob)
    assert await call.list(written) == ["1"]
    await call(book.writer, "set", ann)
    assert sorted(await call.list(ann.written())) == ["1", "2"]
    assert await call.list(bob.written()) == []
    await call(book, "delete")
    assert await call.list(ann.written()) == ["1"]


def test_building_related_collections_sends_no_command(m, database):
    ann = m.Person(name="ann")
    book = m.Book(writer=ann)
    with count_commands(database) as counted:
        found = ann.written(title="x"), book.readers(), ann.related_collections, repr(ann.written)
    assert counted.commands == 0
    assert found[2] == ["reports", "written", "edited", "read", "queued", "rated"]
    assert found[3] == "<RelatedCollection of Book by writer>"


def test_related_collection_of_an_object_without_pk_is_refused(m):
    for nobody in (m.Person(), m.Book()):
        with pytest.raises((DoesNotExist, ValueError), match=r"no pk yet|not stored yet"):
            nobody.written() if isinstance(nobody, m.Person) else nobody.readers()
    with pytest.raises(ImplementationError, match="the field of an instance"):
        m.Book.get_field("readers")()
    with pytest.raises(ImplementationError, match="the field of an instance"):
        m.Book.get_field("writer").instance()


def test_unknown_attribute_is_an_attribute_error(m):
    ann = m.Person(name="ann")
    for name in ("nothing", "_nothing", "writer"):
        assert not hasattr(ann, name)
        with pytest.raises(AttributeError, match=f"'Person' object has no attribute '{name}'"):
            getattr(ann, name)


def test_attribute_error_of_a_property_is_not_replaced(database):
    def broken(self):
        raise AttributeError("inside")

    odd = define(database, "Odd", (RelatedModel,), broken=property(broken))
    with pytest.raises(AttributeError, match="inside"):
        _ = odd().broken


async def test_model_links_to_itself(call, m):
    ann = await call.create(m.Person, name="ann")
    bob = await call.create(m.Person, name="bob", boss=ann)
    await call(ann.boss, "set", ann)
    assert sorted(await call.list(ann.reports())) == ["ann", "bob"]
    assert await call(bob.boss, "instance") == ann
    assert sorted(await call.list(m.Person.collection(boss=bob.boss))) == ["ann", "bob"]


async def test_unique_foreign_key_refuses_a_second_link(call, database):
    holder = define(database, "Holder", (RelatedModel,), name=fields.StringField())
    badge = define(
        database,
        "Badge",
        (RelatedModel,),
        holder=FKStringField(holder, unique=True),
        guests=M2MSetField(holder, unique=True, related_name="guest_badges"),
    )
    ann, bob = await call.create(holder, name="a"), await call.create(holder, name="b")
    await call.create(badge, holder=ann, guests=[bob])
    for values in ({"holder": ann}, {"guests": [bob]}):
        with pytest.raises(UniquenessError):
            await call.create(badge, **values)
    other = await call.create(badge, holder=bob)
    with pytest.raises(UniquenessError):
        await call(other.holder, "set", ann)
    for field, taken in ((other.holder, ann), (other.guests, [bob])):
        with pytest.raises(UniquenessError):
            await call(field, "check_uniqueness", taken)
    assert await call(badge, "get", holder=bob) == other


async def test_model_that_is_not_related_may_link(call, m, database):
    note = define(
        database, "Note", namespace="lib", by=FKStringField("Person", related_name="notes"), of=M2MSetField("Person")
    )
    ann = await call.create(m.Person, name="ann")
    written = await call.create(note, by=ann, of=[ann])
    assert await call(written.by, "instance") == ann
    assert await call.list(written.of()) == ["ann"]
    assert await call.list(ann.notes().instances()) == [written]
    assert type(ann.notes()) is CollectionManager
    await call(ann, "delete")
    assert await call(written.by, "get") is None


async def test_custom_collection_manager_of_the_target_is_used(call, database):
    class OnlyBig(ExtendedCollectionManager):
        def __init__(self, model):
            super().__init__(model)
            self._add_filters(size="big")

    body = {"size": fields.StringField(indexable=True), "namespace": "x"}
    own = define(database, "Own", (RelatedModel,), collection_manager=OnlyBig, **body)
    plain = define(database, "Plain", (RelatedModel,), collection_manager=CollectionManager, **body)
    box = define(database, "Box", namespace="x", own=M2MSetField(own), plain=M2MSetField(plain))
    for cls in (own, plain):
        for size in ("big", "small"):
            await call.create(cls, size=size)
    packed = await call.create(box, own=["1", "2"], plain=["1", "2"])
    assert await call.list(packed.own()) == ["1"]
    assert sorted(await call.list(packed.plain())) == ["1", "2"]


# Custom fields and collections


async def test_custom_related_fields_convert_objects(call, m, database):
    class Loud(fields.StringField):
        def _shout(self, value, times=1):
            return (yield from self._set(str(value) * times))

    class FKLoud(SimpleValueRelatedFieldMixin, Loud):
        _commands_with_single_value_from_python: ClassVar = ["shout", "set", "getset", "setnx"]

    class Bunch(fields.SetField):
        def _only(self, *values):
            yield from self._delete()
            return (yield from self._sadd(*values))

    class M2MBunch(M2MSetField, Bunch):
        _commands_with_many_values_from_python: ClassVar = [*M2MSetField._commands_with_many_values_from_python, "only"]

    owner = define(
        database,
        "Owner",
        namespace="lib",
        link=FKLoud("Person", related_name="linked"),
        links=M2MBunch("Person", related_name="bunched"),
    )
    ann, bob = await people(call, m, "ann", "bob")
    made = await call.create(owner, link=ann, links=[ann])
    assert await call(made.link, "get") == "ann"
    await call(made.link, "shout", bob, times=2)
    assert await call(made.link, "get") == "bobbob"
    await call(made.link, "shout", value=bob)
    await call(made.links, "only", bob, ann)
    assert await call(made.link, "getset", bob) == "bob"
    assert await call.list(bob.linked()) == await call.list(bob.bunched()) == ["1"]
    await call(bob, "delete")
    assert await call(made.link, "get") is None
    assert await call(made.links, "smembers") == {"ann"}


def test_unknown_name_among_converting_commands_is_refused():
    with pytest.raises(ImplementationError, match="names the command 'fly', and has no operation _fly"):

        class FKFlying(SimpleValueRelatedFieldMixin, fields.StringField):
            _commands_with_single_value_from_python: ClassVar = ["fly"]


async def test_custom_related_collection_class_is_used(call, m, database):
    class Counted(RelatedCollection):
        def __call__(self, **filters):
            return super().__call__(**filters).sort(by="title", alpha=True)

    class FKCounted(FKStringField):
        related_collection_class = Counted

    define(
        database,
        "Paper",
        (RelatedModel,),
        namespace="lib",
        title=fields.StringField(),
        by=FKCounted("Person", related_name="papers"),
    )
    (ann,) = await people(call, m, "ann")
    paper = database._models["lib:paper"]
    await call.create(paper, title="b", by=ann)
    await call.create(paper, title="a", by=ann)
    assert isinstance(ann.papers, Counted)
    assert await call.list(ann.papers()) == ["2", "1"]


async def test_submodel_has_its_own_relations(call, m, database):
    novel = define(database, "Novel", (m.Book,), genre=fields.StringField())
    (ann,) = await people(call, m, "ann")
    book, one = await call.create(m.Book, writer=ann), await call.create(novel, writer=ann, readers=[ann])
    assert await call.list(ann.written().instances()) == [book]
    assert await call.list(ann.novel_written().instances()) == [one]
    await call(ann, "delete")
    assert await call(one.writer, "get") is None
    assert await call(one.readers, "smembers") == set()
    assert await call(book.writer, "get") is None


async def test_keys_equal_those_of_limpyd_after_the_prefix(flushed_server, call, raw):
    from tenantlimpyd.database import RedisDatabase

    database = RedisDatabase(**flushed_server.settings, db=0, key_prefix="p:")
    m = make_models(database)
    ann = await call.create(m.Person, name="ann")
    await call.create(m.Book, writer=ann, editor=ann, readers=[ann], queue=[ann], raters={ann: 1})
    assert set(raw.keys()) == {
        *("p:lib:person:collection", "p:lib:book:collection", "p:lib:book:max_pk"),
        *(
            "p:lib:book:1:writer",
            "p:lib:book:1:hash",
            "p:lib:book:1:readers",
            "p:lib:book:1:queue",
            "p:lib:book:1:raters",
        ),
        *(f"p:lib:book:{name}:ann" for name in ("writer", "editor", "readers", "queue", "raters")),
    }
    assert await call.list(ann.read()) == ["1"]
    await call(ann, "delete")
    assert set(raw.keys()) == {"p:lib:book:collection", "p:lib:book:max_pk"}
    await database.aclose()
    database.close()


def test_related_models_have_the_methods_of_models(m):
    assert issubclass(RelatedModel, model.RedisModel)
    assert m.Person.collection_manager is ExtendedCollectionManager


async def test_links_can_be_sorted_by_and_fetched_as_values(call, m):
    ann, bob = await people(call, m, "ann", "bob")
    await call.create(m.Book, title="x", writer=bob, editor=ann)
    await call.create(m.Book, title="y", writer=ann)
    by_writer = m.Book.collection().sort(by="writer", alpha=True)
    assert await call.list(by_writer.values_list("writer", "editor")) == [("ann", None), ("bob", "ann")]
    fetched = await call.list(by_writer.fetch("writer"))
    assert [each.fetched["writer"] for each in fetched] == ["ann", "bob"]
    assert await call(m.Book.lazy_connect(1), "hmget", "editor") == ["ann"]


async def test_defaults_of_link_fields_are_stored(call, m, database):
    (ann,) = await people(call, m, "ann")
    note = define(
        database,
        "Note",
        namespace="lib",
        by=FKStringField("Person", default="ann"),
        seen=M2MSetField("Person", related_name="seen_notes", default=["ann", "bob"]),
        of=FKStringField("Person", related_name="notes_of", default=ann),
        text=fields.StringField(),
    )
    made = await call.create(note, text="x")
    assert await call(made.by, "instance") == await call(made.of, "instance") == ann
    assert await call.list(ann.seen_notes()) == ["1"]
