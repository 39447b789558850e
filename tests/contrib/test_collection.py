"""``ExtendedCollectionManager``: intersecting, values, sorting by score, storing."""

from __future__ import annotations

import pytest

from tenantlimpyd import fields, model
from tenantlimpyd.contrib.collection import DEFAULT_STORE_TTL, SORTED_SCORE, ExtendedCollectionManager, RawFilter
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import DoesNotExist, ImplementationError, ResponseError, WrongTenantError
from tenantlimpyd.router import DatabaseRouter
from tenantlimpyd.testing import count_commands

pytestmark = pytest.mark.slow

NAMES = "cabcab"


def make_song(host):
    class Song(model.RedisModel):
        database = host
        collection_manager = ExtendedCollectionManager
        name = fields.StringField(indexable=True)
        year = fields.InstanceHashField(indexable=True)
        tags = fields.HashField()
        likes = fields.SetField()
        queue = fields.ListField()
        ranks = fields.SortedSetField()

    return Song


@pytest.fixture
def song(database):
    """Six songs; the first holds pks in fields of many values."""
    made = make_song(database)
    for number, name in enumerate(NAMES):
        made(name=name, year=2000 - number)
    first = made(1)
    first.likes.sadd(1, 3, 5, 99)
    first.queue.rpush(4, 3, 3, 1)
    first.ranks.zadd({"2": 0.5, "3": -1, "6": 7})
    first.tags.hset("a", 1)
    return made


@pytest.fixture
def kept(song, raw):
    """Fail at the end if the set of keys has changed."""
    before = {key: raw.type(key) for key in raw.scan_iter()}
    yield
    assert {key: raw.type(key) for key in raw.scan_iter()} == before


# Intersecting


@pytest.mark.usefixtures("kept")
async def test_intersect_accepts_fields_keys_and_iterables(call, song):
    one = await call(song, "get", 1)
    for operand, pks in [
        ([1, "2", 99], ["1", "2"]),
        ((3,), ["3"]),
        ({4, "5"}, ["4", "5"]),
        ([], []),
        ((), []),
        (set(), []),
        ([one, one.pk], ["1"]),
        (one.likes, ["1", "3", "5"]),
        (one.queue, ["1", "3", "4"]),
        (one.likes.key, ["1", "3", "5"]),
        (one.queue.key, ["1", "3", "4"]),
        (RawFilter(one.likes.key), ["1", "3", "5"]),
        ("no-such-key", []),
        (song.collection(name="a"), ["2", "5"]),
        (song.collection(name__in=["a", "b"]).intersect(one.likes), ["3", "5"]),
        (song.collection(name="a").sort(by="-year").instances(), ["2", "5"]),
    ]:
        found = song.collection().intersect(operand)
        assert sorted(await call.list(found)) == pks, operand
        assert await call.count(song.collection().intersect(operand)) == len(pks)
        assert await call.slice(found, slice(None)) == pks
        with count_commands() as sent:
            assert sorted(each._pk for each in await call.list(found.instances())) == pks
        assert sent.trips <= 1
        assert sorted(await call.list(found.filter(name="a"))) == [pk for pk in pks if pk in "25"]
    several = song.collection().intersect(one.likes, [3, 5, 6]).intersect(one.queue)
    assert await call.list(several) == ["3"]


@pytest.mark.usefixtures("kept")
async def test_intersection_with_a_sorted_set_orders_slices_too(call, song):
    one = await call(song, "get", 1)
    for operand in (one.ranks, one.ranks.key):
        found = song.collection().intersect(operand)
        assert await call.list(found) == ["3", "2", "6"]
        assert await call.slice(found, slice(0, 2)) == ["3", "2"]
        assert await call.slice(found, slice(-2, None)) == ["2", "6"]
        assert await call.item(found, -1) == "6"
        assert await call.list(found.values_list("pk", flat=True)) == ["3", "2", "6"]
        assert await call.list(found.sort()) == ["2", "3", "6"]


@pytest.mark.usefixtures("kept")
async def test_wrong_arguments_of_intersect_are_refused(call, song):
    one = await call(song, "get", 1)
    for wrong in ({}, iter([1]), 5, None, one.name, one.year, one.tags, one.pk, song.get_field("likes")):
        with pytest.raises(ValueError, match="intersect"):
            song.collection().intersect(wrong)
    for key in (one.tags.key, one.name.key):
        found = song.collection(name="a").intersect([1, 2], key)
        with pytest.raises(ValueError, match="holds a"):
            await call.list(found.instances())


@pytest.mark.usefixtures("kept")
async def test_filter_accepts_fields_and_objects(call, song):
    one = await call(song, "get", 1)
    assert sorted(await call.list(song.collection().filter(name=one.name))) == ["1", "4"]
    assert await call.list(song.collection().filter(name=one.name, year=one.year)) == ["1"]
    assert await call.list(song.collection().filter(pk=one).filter(pk=one.pk)) == ["1"]

    def nested():
        return song.collection().intersect(song.collection(name=one.name), [one.year, 4])

    await call.list(nested())  # the script is loaded from here on
    with count_commands() as sent:
        assert await call.list(nested()) == ["4"]
    assert sent.trips == 2


# Values


@pytest.mark.usefixtures("kept")
async def test_values_of_many_objects_take_one_round_trip(call, song):
    found = song.collection(name__in=["a", "b"])
    await call.list(found.values())
    with count_commands() as sent:
        assert await call.list(found.values("pk", "year", "name")) == [
            {"pk": str(pk), "year": str(2001 - pk), "name": NAMES[pk - 1]} for pk in (2, 3, 5, 6)
        ]
    assert sent.trips == 1
    assert await call.list(found.values()) == [
        {"pk": str(pk), "name": NAMES[pk - 1], "year": str(2001 - pk)} for pk in (2, 3, 5, 6)
    ]
    assert await call.list(found.values_list("name", "year")) == [
        (NAMES[pk - 1], str(2001 - pk)) for pk in (2, 3, 5, 6)
    ]
    assert await call.list(found.values_list("name", flat=True)) == ["a", "b", "a", "b"]
    assert await call.slice(found.sort(by="year").values_list("pk", flat=True), slice(1, 3)) == ["5", "3"]
    assert await call.item(found.values("pk"), -1) == {"pk": "6"}
    assert await call.count(found.values("pk")) == 4
    assert await call.list(song.collection(pk=2).values_list("name")) == [("a",)]
    assert await call.list(song.collection(pk=9).values_list("name")) == []
    assert await call.list(song.collection(name__in=[]).values()) == []
    assert await call.list(song.collection(pk=2).values("name").primary_keys()) == ["2"]
    assert song.collection(pk=2).values("name") == [{"name": "a"}]


def test_values_of_unknown_fields_are_refused(song):
    for wrong in ("likes", "tags", "nothing", 5):
        with pytest.raises(ValueError, match="values"):
            song.collection().values("name", wrong)
        with pytest.raises(ValueError, match="values_list"):
            song.collection().values_list(wrong)
    for names in ((), ("name", "year")):
        with pytest.raises(ValueError, match="one field"):
            song.collection().values_list(*names, flat=True)


async def test_missing_values_are_none_and_pks_may_be_text(call, database):
    hosted_by = database

    class Word(model.RedisModel):
        database = hosted_by
        collection_manager = ExtendedCollectionManager
        text = fields.PKField()
        note = fields.StringField()
        size = fields.InstanceHashField()

    for text in ("b", "a"):
        await call.create(Word, text=text)
    assert await call.list(Word.collection().values("text", "note", "size")) == [
        {"text": "a", "note": None, "size": None},
        {"text": "b", "note": None, "size": None},
    ]


# By score


@pytest.mark.usefixtures("kept")
async def test_sort_by_score_orders_objects(call, song):
    one = await call(song, "get", 1)
    for by_score in (one.ranks, one.ranks.key):
        found = song.collection().sort(by_score=by_score)
        assert await call.list(found) == ["1", "4", "5", "3", "2", "6"]
        assert await call.slice(found, slice(2, 5)) == ["5", "3", "2"]
        assert await call.item(found, -1) == "6"
        assert await call.slice(found, slice(-2, None)) == ["2", "6"]
        assert await call.list(song.collection(name="a").sort(by_score=by_score, desc=True)) == ["2", "5"]
    assert (await call.list(song.collection().sort(by_score=f"-{one.ranks.key}")))[:3] == ["6", "2", "3"]
    found = song.collection(pk=6).sort(by_score=one.ranks)
    assert await call.list(found.values("name", SORTED_SCORE)) == [{"name": "b", "sorted_score": "7.0"}]
    every = song.collection().sort(by_score=one.ranks)
    assert await call.list(every.values_list(SORTED_SCORE, flat=True)) == ["-inf"] * 3 + ["-1.0", "0.5", "7.0"]
    assert await call.list(song.collection(pk=6).values_list(SORTED_SCORE)) == [(None,)]
    assert await call.list(every.sort().values_list(SORTED_SCORE, flat=True)) == [None] * 6
    assert [each._pk for each in await call.slice(every.instances(), slice(4, 6))] == ["2", "6"]


@pytest.mark.usefixtures("kept")
async def test_sort_by_score_as_text(call, song, raw):
    one = await call(song, "get", 1)
    raw.zadd(one.ranks.key, {"1": 10, "5": 9})
    found = song.collection().sort(by_score=one.ranks, alpha=True)
    assert await call.list(found) == ["4", "3", "2", "1", "6", "5"]  # none, "-1", "0.5", "10", "7", "9"
    assert (await call.list(found.values_list(SORTED_SCORE, flat=True)))[:2] == ["-inf", "-1.0"]


@pytest.mark.usefixtures("kept")
@pytest.mark.pitfall(36)
async def test_sort_by_a_missing_key_keeps_all_objects(call, song):
    found = song.collection().sort(by_score="no-such-key")
    assert await call.slice(found, slice(0, 2)) == ["1", "2"]
    assert await call.count(found) == 6
    one = await call(song, "get", 1)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await call.list(song.collection(name__in=["a", "b"]).sort(by_score=one.likes.key))


async def test_wrong_arguments_of_sort_by_score_are_refused(call, song):
    one = await call(song, "get", 1)
    for options in (
        {"by_score": one.ranks, "by": "name"},
        {"by_score": 5},
        {"by_score": one.likes},
        {"by_score": one.name},
        {"by_score": song.get_field("ranks")},
    ):
        with pytest.raises(ValueError, match=r"sort|by_score"):
            song.collection().sort(**options)


# Storing


async def test_storing_keeps_the_order_and_expires(call, song, raw):
    stored = await call(song.collection(name__in=["a", "b"]).sort(by="year"), "store")
    assert stored.stored_key.startswith(f"{song._name}:__collection__:store:")
    assert 0 < raw.ttl(stored.stored_key) <= DEFAULT_STORE_TTL == 60
    pks = ["6", "5", "3", "2"]
    for found in (stored, stored(), await call(song.collection(), "from_stored", stored.stored_key)):
        assert await call.list(found) == pks
        assert await call.count(found()) == 4
        for wanted in (
            slice(0, 2),
            slice(-3, -1),
            slice(None, None, -1),
            slice(3, 0, -2),
            slice(2, 99),
            slice(9, None),
        ):
            assert await call.slice(found, wanted) == pks[wanted]
        assert (await call.item(found, 1), await call.item(found, -1), await call.item(found, -4)) == (
            "5",
            "2",
            "6",
        )
        with pytest.raises(IndexError):
            await call.item(found, -5)
        assert await call.list(found.sort()) == ["2", "3", "5", "6"]
        assert await call.list(found.filter(name="a")) == ["5", "2"]
        assert await call.list(found.intersect([2, 3])) == ["3", "2"]
        assert await call.list(found(pk=3)) == ["3"]
        assert await call.list(found.values_list("name", flat=True)) == list("baba")
    await call(await call(song, "get", 5), "delete")
    assert [each._pk for each in await call.list(stored.instances())] == ["6", "3", "2"]
    assert len(await call.list(stored.instances(lazy=True))) == 4
    assert [key for key in raw.scan_iter() if "__collection__" in key] == [stored.stored_key]


async def test_storing_takes_one_round_trip_for_any_order(call, song, raw):
    one = await call(song, "get", 1)
    found = song.collection().sort(by_score=one.ranks)
    await call(found, "store", "warm")
    with count_commands() as sent:
        stored = await call(found, "store", "mine", None)
        assert sent.trips == 1
        assert await call.list(stored) == raw.lrange("mine", 0, -1) == ["1", "4", "5", "3", "2", "6"]
    assert sent.trips == 3  # with the one of the raw client
    assert raw.ttl("mine") == -1
    again = await call(song.collection(pk=3).instances(), "store", "mine", ttl=5)  # pitfall 35
    assert [each._pk for each in await call.list(again)] == ["3"]
    assert 0 < raw.ttl("mine") <= 5
    assert await call.list(await call(song.collection().sort(by="year", start=1, num=2), "store")) == ["5", "4"]
    nothing = await call(song.collection(name="z"), "store", "mine")
    assert not raw.exists("mine")
    raw.rpush("mine", 1)
    assert await call.list(nothing) == []
    for ttl in (0, -1):
        with pytest.raises(ValueError, match="ttl=None"):
            await call(song.collection(), "store", ttl=ttl)


async def test_use_of_a_stored_collection_without_its_key_is_an_error(call, song, raw):
    stored = await call(song.collection(), "store", "s")
    assert await call(stored, "stored_key_exists") is True
    raw.delete("s")
    assert await call(stored, "stored_key_exists") is False
    for ask in (
        lambda: call.list(stored()),
        lambda: call.count(stored()),
        lambda: call.slice(stored, slice(0, 1)),
        lambda: call.list(stored.instances()),
        lambda: call.list(stored.values("name")),
    ):
        with pytest.raises(DoesNotExist, match="stored collection"):
            await ask()
    empty = await call(song.collection(), "from_stored", "s")
    assert await call.list(empty) == []
    with pytest.raises(ValueError, match="stored"):
        await call(empty, "from_stored", "s")
    assert song.collection().stored_key is None
    with pytest.raises(ValueError, match="not a stored"):
        await call(song.collection(), "stored_key_exists")


async def test_keys_have_the_prefix_of_the_database(call, flushed_server, raw):
    raw.sadd("likes", 1, 2)
    raw.zadd("ranks", {"2": 1})
    raw.rpush("list", 2)
    async with RedisDatabase(**flushed_server.settings, db=0, key_prefix="p:") as hosted_by:
        song = make_song(hosted_by)
        for name in "ab":
            await call.create(song, name=name, likes=[1])
        assert await call.list(song.collection().intersect("likes")) == []
        assert await call.list(song.collection().sort(by_score="ranks")) == ["1", "2"]
        assert await call.list(await call(song.collection(), "from_stored", "list")) == []
        raw.sadd("p:likes", 1)
        assert await call.list(song.collection().intersect("likes")) == ["1"]
        assert await call.list(song.collection().intersect("p:likes")) == ["1"]
        assert await call.list(song.collection().intersect(song.lazy_connect(2).likes.key)) == ["1"]
        stored = await call(song.collection(), "store", "list")
        assert stored.stored_key == "p:list"
        assert raw.lrange("list", 0, -1) == ["2"]
        hosted_by.close()


# Tenants


@pytest.mark.invariant(3)
async def test_sources_of_another_tenant_are_refused(call, flushed_server):
    databases = {
        each: RedisDatabase(**flushed_server.settings, db=0, key_prefix=f"{each}:") for each in ("acme", "globex")
    }
    router = DatabaseRouter(databases)
    shared = RedisDatabase(**flushed_server.settings, db=3)
    song, common = make_song(router), make_song(shared)
    with router.use_tenant("acme"):
        theirs = await call.create(song, name="a", likes=[1], ranks={"1": 1})
        found = song.collection(name="a").sort(by="year").values("name")
    with router.use_tenant("globex"):
        await call.create(song, name="b")
        mine = song.collection()
        with count_commands() as sent:
            for given in (
                lambda: mine.filter(name=theirs.name),
                lambda: mine.filter(pk=theirs),
                lambda: mine.filter(name__in=["b", theirs.name]),
                lambda: mine(pk=theirs.pk),
                lambda: song.collection(name=theirs),
                lambda: mine.intersect(theirs.likes),
                lambda: mine.intersect([theirs]),
                lambda: mine.intersect(found),
                lambda: mine.sort(by_score=theirs.ranks),
            ):
                with pytest.raises(WrongTenantError):
                    given()
            with pytest.raises(WrongTenantError):
                await call.list(found)
            with pytest.raises(WrongTenantError):
                await call(found, "store")
        assert sent.trips == 0
        everywhere = await call.create(common, name="b", likes=[1])
        assert await call.list(mine.filter(pk=everywhere)) == [
            "1"
        ]  # an object of a model without a tenant is accepted as its pk
        for given in (everywhere.name, everywhere.likes, common.collection()):
            with pytest.raises(ImplementationError, match="another database"):
                mine.filter(name=given) if given is everywhere.name else mine.intersect(given)
    assert await call.list(found) == [{"name": "a"}]  # with no tenant current, it is still its own
    for each in (router, shared):
        await each.aclose()
        each.close()


async def test_intersection_with_many_pks(call, song, raw):
    everybody = range(1, 20_001)
    raw.sadd(f"{song._name}:collection", *everybody)
    found = song.collection().intersect(list(everybody)).sort(by="nosort")
    assert await call.count(found) == 20_000
    raw.zadd("ranks", {str(pk): -pk for pk in everybody})
    by_score = song.collection().intersect(list(everybody)).sort(by_score="ranks")
    assert await call.slice(by_score, slice(0, 2)) == ["20000", "19999"]
    stored = await call(by_score, "store", "long")
    assert await call.item(stored.intersect(list(everybody)), 1) == "19999"
    assert len(await call.list(by_score.values("pk", "name"))) == 20_000
