"""Filters: sub-keys, prefixes, several values, ranges, fields and objects on the right, indexes of several fields."""

from __future__ import annotations

import pytest

from tenantlimpyd import fields, model
from tenantlimpyd.contrib.indexes import EqualIndexWith
from tenantlimpyd.exceptions import DoesNotExist, ImplementationError
from tenantlimpyd.indexes import BaseIndex, Entry, EqualIndex
from tenantlimpyd.indexes.pk_sources import LexRange, Nothing, ScoreRange, Whole
from tenantlimpyd.keys import make_key
from tenantlimpyd.testing import count_commands

pytestmark = pytest.mark.slow

SEPARATOR = ":SEP:"


class Scores(BaseIndex):
    """Numbers, in one sorted set."""

    handled_suffixes = frozenset({"lt", "gte"})
    handle_uniqueness = False

    def entries(self, name, pk, *args):
        return {Entry(make_key(name, self.field.name, "scores"), pk, float(args[-1]))}

    def source(self, name, suffix, value, *subkeys):
        low, high = ("-inf", f"({value}") if suffix == "lt" else (str(value), "+inf")
        return ScoreRange(make_key(name, self.field.name, "scores"), low, high)


class Texts(BaseIndex):
    """Texts, in one sorted set of members with a pk at the end."""

    handled_suffixes = frozenset({"startswith", "after"})
    handle_uniqueness = False

    def entries(self, name, pk, *args):
        return {Entry(make_key(name, self.field.name, "texts"), f"{args[-1]}{SEPARATOR}{pk}", 0.0)}

    def source(self, name, suffix, value, *subkeys):
        key = make_key(name, self.field.name, "texts")
        if suffix == "startswith":
            return LexRange(key, ((f"[{value}", f"[{value}\xff"),), SEPARATOR)
        return LexRange(key, ((f"[{value}", "+"),), SEPARATOR, without=(value,))


class Ranked(BaseIndex):
    """A sorted set for each value."""

    handled_suffixes = frozenset({"ranked"})
    handle_uniqueness = False

    def entries(self, name, pk, *args):
        return {Entry(make_key(name, self.field.name, "ranked", args[-1]), pk, -float(pk))}

    def source(self, name, suffix, value, *subkeys):
        return Whole(make_key(name, self.field.name, "ranked", value), "zset")


@pytest.fixture
def book(database):
    hosted_by = database

    class Book(model.RedisModel):
        database = hosted_by
        title = fields.StringField(indexes=[EqualIndex, Texts], indexable=True)
        pages = fields.InstanceHashField(indexes=[EqualIndex, Scores], indexable=True)
        tags = fields.HashField(indexable=True)
        shelf = fields.StringField(
            indexes=[EqualIndex.configure(prefix="low", transform=str.lower), Ranked], indexable=True
        )
        owner = fields.StringField()

    rows = [("ant", 10, "A"), ("anthem", 20, "B"), ("bee", 30, "A"), (f"an{SEPARATOR}t", 40, "B"), ("ant", 50, "A")]
    for number, (title, pages, shelf) in enumerate(rows):
        Book(title=title, pages=pages, shelf=shelf, tags={"odd": number % 2, "n": number})
    return Book


FOUND = [
    ({"tags__odd": 1}, "24"),
    ({"tags__odd__eq": 0}, "135"),
    ({"tags__odd__in": [0, 1]}, "12345"),
    ({"tags__n__in": ["1", 2], "tags__odd": 0}, "3"),
    ({"tags__nothing": 1}, ""),
    ({"title__in": ["bee", "ant", "ant", "zoo"]}, "135"),
    ({"title__in": {"bee"}, "pages": 30}, "3"),
    ({"title__in": []}, ""),
    ({"title__in": [], "pages": 30}, ""),
    ({"title__in": (), "pages__in": [10, 30], "pk": 3}, ""),
    ({"shelf__low": "a"}, "135"),
    ({"shelf__low__eq": "a"}, "135"),
    ({"shelf__low__in": ["a"]}, "135"),
    ({"shelf__low__in": ["a", "b"], "title": "ant"}, "15"),
    ({"shelf__low__in": ["A"]}, ""),
    ({"pages__lt": 30}, "12"),
    ({"pages__gte": 20, "pages__lt": 50}, "234"),
    ({"pages__gte": 20, "title": "ant"}, "5"),
    ({"pages__gte": 20, "pk": 3}, "3"),
    ({"pages__gte": 20, "pk": 1}, ""),
    ({"title__startswith": "ant"}, "125"),
    ({"title__startswith": "an", "pages__gte": 20}, "245"),
    ({"title__after": "ant"}, "23"),
    ({"title__startswith": "q"}, ""),
    ({"shelf__ranked": "A"}, "135"),
    ({"shelf__ranked": "A", "tags__odd": 0, "pages__lt": 50}, "13"),
]


@pytest.mark.parametrize(
    ("filters", "pks"), FOUND, ids=[f"{number}-{'-'.join(each)}" for number, (each, _) in enumerate(FOUND)]
)
async def test_filters_find_matching_objects_in_one_round_trip(call, book, raw, filters, pks):
    before = {key: raw.type(key) for key in raw.scan_iter()}
    assert await call.list(book.collection(**filters)) is not None  # the script is loaded from now on
    with count_commands() as sent:
        assert sorted(await call.list(book.collection(**filters))) == list(pks)
    assert sent.trips <= 1, sent
    for ask in (
        lambda: call.count(book.collection(**filters)),
        lambda: call.list(book.instances(**filters)),
        lambda: call.slice(book.collection(**filters), slice(1, 3)),
        lambda: call.list(book.instances(**filters).fetch("title", "pages")),
    ):
        await ask()
        with count_commands() as sent:
            await ask()
        assert sent.trips <= 1, sent
    assert await call.count(book.collection(**filters)) == len(pks)
    assert sorted(each._pk for each in await call.list(book.instances(**filters))) == list(pks)
    assert bool(await call(book, "exists", **filters)) is bool(pks)
    if len(pks) == 1:
        assert (await call(book, "get", **filters))._pk == pks
    assert {key: raw.type(key) for key in raw.scan_iter()} == before


async def test_scored_index_orders_items_slices_and_objects(call, book):
    found = book.collection(shelf__ranked="A")
    assert await call.list(found) == ["5", "3", "1"]
    assert await call.slice(found, slice(0, 2)) == ["5", "3"]
    assert await call.item(found, -1) == "1"
    assert await call.slice(found, slice(-2, None)) == ["3", "1"]
    assert await call.list(found(tags__odd=0)) == ["5", "3", "1"]
    assert [each._pk for each in await call.list(found.instances())] == ["5", "3", "1"]


@pytest.mark.pitfall(8)
@pytest.mark.pitfall(9)
async def test_empty_filter_finds_nothing_and_several_prefixes_are_accepted(call, book):
    assert await call.list(book.collection(title__in=[], shelf__low="a")) == []
    assert await call.list(book.collection(shelf__low="a")(title__in=iter(()))) == []
    with count_commands() as sent:
        assert await call.count(book.collection(title__in=[], shelf__low="a")) == 0
    assert sent.trips == 0  # no object can match: no command is sent
    assert sorted(await call.list(book.collection(shelf__low__in="ab"))) == list("12345")


async def test_several_values_may_come_from_an_iterator(call, book):
    found = book.collection(title__in=iter(["ant", "bee"]))
    assert await call.count(found) == 3
    assert sorted(await call.list(found)) == ["1", "3", "5"]


async def test_filter_values_may_be_fields_and_objects(call, book):
    third = await call(book, "get", 3)
    found = book.collection(title=third.title)
    assert await call.list(found) == ["3"]
    await call(third.title, "set", "ant")
    assert sorted(await call.list(found())) == ["1", "3", "5"]  # read when it is evaluated
    assert await call.list(found(pages=third.pages)) == ["3"]
    assert sorted(await call.list(book.collection(title__in=["anthem", third.title]))) == ["1", "2", "3", "5"]
    assert await call.list(book.collection(title=third.owner)) == []  # it has no value
    for pk in (third, third.pk):
        assert await call.list(book.collection(pk=pk)) == ["3"]
    await call(third.owner, "set", "5")
    assert await call.list(book.collection(pk=third.owner)) == ["5"]
    with count_commands() as sent:
        await call.list(book.collection(title=third.title, pages=third.pages, shelf__low="a"))
    assert sent.trips == 2


def test_wrong_filters_are_refused_before_any_command(book):
    unsaved = book.lazy_connect(1).__class__._placed(book.database._current_placement())
    with count_commands() as sent:
        for filters, error in [
            ({"nothing": 1}, AttributeError),
            ({"owner": 1}, ImplementationError),
            ({"tags": 1}, ImplementationError),
            ({"tags__": 1}, ImplementationError),
            ({"tags__a__b__eq": 1}, ImplementationError),
            ({"title__gt": 1}, ImplementationError),
            ({"title__low": 1}, ImplementationError),
            ({"shelf": "a"}, ImplementationError),
            ({"title": None}, ImplementationError),
            ({"pk__in": [1]}, ImplementationError),
            ({"pk": ""}, ValueError),
            ({"title": book.get_field("title")}, ValueError),
            ({"title": book.lazy_connect(1).tags}, ValueError),
            ({"title": book}, ValueError),
            ({"title": unsaved}, DoesNotExist),
            ({"title": unsaved.title}, DoesNotExist),
            ({"title__in": 5}, TypeError),
        ]:
            with pytest.raises(error):
                book.collection(**filters)
    assert sent.trips == 0


@pytest.fixture
def pair(database):
    hosted_by = database

    class Pair(model.RedisModel):
        database = hosted_by
        one = fields.StringField(indexes=[EqualIndexWith.configure(other_fields=["two"]), EqualIndex], indexable=True)
        two = fields.StringField()

    for one, two in ("ax", "ay", "bx"):
        Pair(one=one, two=two)
    return Pair


async def test_index_of_several_fields_answers_filters_on_all_of_them(call, pair):
    with count_commands() as sent:
        assert await call.list(pair.collection(one="a", two="y")) == ["2"]
    assert [words[0] for words in sent.sent] == ["SMEMBERS"]
    assert await call.list(pair.collection(one="a")(two="x")) == ["1"]
    assert sorted(await call.list(pair.collection(one__in=["a", "b"], two="x"))) == ["1", "3"]
    assert sorted(await call.list(pair.collection(one__in=["a", "b"], two__in=["x", "y"]))) == ["1", "2", "3"]
    assert await call.list(pair.collection(one__in=[], two="x")) == []
    assert await call.list(pair.collection(one="a", two="x")(one="b")) == []
    assert sorted(await call.list(pair.collection(one="a"))) == ["1", "2"]
    with pytest.raises(ImplementationError, match=r"together with the other fields|one, two"):
        await call.list(pair.collection(two="x"))


def test_intersection_of_no_source_is_empty():
    from tenantlimpyd.collection.plan import AllOf, Members, all_of
    from tenantlimpyd.indexes.pk_sources import AnyOf

    key = Whole("k")
    assert all_of([key, key]) == key
    assert all_of([key, AnyOf(())]) == Nothing()
    assert all_of([AnyOf((Nothing(), key)), key]) == key
    assert all_of([AllOf((key, AllOf((Members(("1",)),))))]) == AllOf((key, Members(("1",))))
    assert all_of([key, Members(())]) == Nothing()


async def test_filter_with_more_pks_than_one_script_command_accepts(call, book, raw):
    name = book._name
    raw.zadd(f"{name}:pages:scores", {str(pk): pk for pk in range(100, 20_100)})
    raw.zadd(f"{name}:title:texts", {f"many{SEPARATOR}{pk}": 0 for pk in range(100, 20_100)})
    assert await call.count(book.collection(pages__gte=100)) == 20_000
    both = book.collection(pages__gte=100, title__startswith="many")
    assert await call.count(both) == 20_000
    assert await call.slice(both, slice(0, 2)) == ["100", "101"]
    assert len(await call.list(both)) == 20_000
    assert await call.list(both.instances()) == []
    values = [f"t{number}" for number in range(10_000)]
    assert await call.list(book.collection(title__in=[*values, "bee"], pages__gte=0)) == ["3"]
