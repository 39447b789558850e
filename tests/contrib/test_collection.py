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
    """Raises at the end if a key has come or gone."""
    before = {key: raw.type(key) for key in raw.scan_iter()}
    yield
    assert {key: raw.type(key) for key in raw.scan_iter()} == before


# Intersecting


@pytest.mark.usefixtures("kept")
async def test_intersecting_with_all_kinds(mode, song):
    one = await mode(song, "get", 1)
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
        assert sorted(await mode.every(found)) == pks, operand
        assert await mode.count(song.collection().intersect(operand)) == len(pks)
        assert await mode.slice(found, slice(None)) == pks
        with count_commands() as sent:
            assert sorted(each._pk for each in await mode.every(found.instances())) == pks
        assert sent.trips <= 1
        assert sorted(await mode.every(found.filter(name="a"))) == [pk for pk in pks if pk in "25"]
    several = song.collection().intersect(one.likes, [3, 5, 6]).intersect(one.queue)
    assert await mode.every(several) == ["3"]


@pytest.mark.usefixtures("kept")
async def test_sorted_sets_give_their_order_to_slices_too(mode, song):
    one = await mode(song, "get", 1)
    for operand in (one.ranks, one.ranks.key):
        found = song.collection().intersect(operand)
        assert await mode.every(found) == ["3", "2", "6"]
        assert await mode.slice(found, slice(0, 2)) == ["3", "2"]
        assert await mode.slice(found, slice(-2, None)) == ["2", "6"]
        assert await mode.item(found, -1) == "6"
        assert await mode.every(found.values_list("pk", flat=True)) == ["3", "2", "6"]
        assert await mode.every(found.sort()) == ["2", "3", "6"]


@pytest.mark.usefixtures("kept")
async def test_what_can_not_be_intersected(mode, song):
    one = await mode(song, "get", 1)
    for wrong in ({}, iter([1]), 5, None, one.name, one.year, one.tags, one.pk, song.get_field("likes")):
        with pytest.raises(ValueError, match="intersect"):
            song.collection().intersect(wrong)
    for key in (one.tags.key, one.name.key):
        found = song.collection(name="a").intersect([1, 2], key)
        with pytest.raises(ValueError, match="holds a"):
            await mode.every(found.instances())


@pytest.mark.usefixtures("kept")
async def test_filter_takes_fields_and_objects(mode, song):
    one = await mode(song, "get", 1)
    assert sorted(await mode.every(song.collection().filter(name=one.name))) == ["1", "4"]
    assert await mode.every(song.collection().filter(name=one.name, year=one.year)) == ["1"]
    assert await mode.every(song.collection().filter(pk=one).filter(pk=one.pk)) == ["1"]

    def nested():
        return song.collection().intersect(song.collection(name=one.name), [one.year, 4])

    await mode.every(nested())  # from here on the server knows the script
    with count_commands() as sent:
        assert await mode.every(nested()) == ["4"]
    assert sent.trips == 2


# Values


@pytest.mark.usefixtures("kept")
async def test_values_of_many_objects_take_one_trip(mode, song):
    found = song.collection(name__in=["a", "b"])
    await mode.every(found.values())
    with count_commands() as sent:
        assert await mode.every(found.values("pk", "year", "name")) == [
            {"pk": str(pk), "year": str(2001 - pk), "name": NAMES[pk - 1]} for pk in (2, 3, 5, 6)
        ]
    assert sent.trips == 1
    assert await mode.every(found.values()) == [
        {"pk": str(pk), "name": NAMES[pk - 1], "year": str(2001 - pk)} for pk in (2, 3, 5, 6)
    ]
    assert await mode.every(found.values_list("name", "year")) == [
        (NAMES[pk - 1], str(2001 - pk)) for pk in (2, 3, 5, 6)
    ]
    assert await mode.every(found.values_list("name", flat=True)) == ["a", "b", "a", "b"]
    assert await mode.slice(found.sort(by="year").values_list("pk", flat=True), slice(1, 3)) == ["5", "3"]
    assert await mode.item(found.values("pk"), -1) == {"pk": "6"}
    assert await mode.count(found.values("pk")) == 4
    assert await mode.every(song.collection(pk=2).values_list("name")) == [("a",)]
    assert await mode.every(song.collection(pk=9).values_list("name")) == []
    assert await mode.every(song.collection(name__in=[]).values()) == []
    assert await mode.every(song.collection(pk=2).values("name").primary_keys()) == ["2"]
    assert song.collection(pk=2).values("name") == [{"name": "a"}]


def test_values_of_wrong_fields(song):
    for wrong in ("likes", "tags", "nothing", 5):
        with pytest.raises(ValueError, match="values"):
            song.collection().values("name", wrong)
        with pytest.raises(ValueError, match="values_list"):
            song.collection().values_list(wrong)
    for names in ((), ("name", "year")):
        with pytest.raises(ValueError, match="one field"):
            song.collection().values_list(*names, flat=True)


async def test_values_that_are_not_there_and_pks_that_are_no_numbers(mode, database):
    hosted_by = database

    class Word(model.RedisModel):
        database = hosted_by
        collection_manager = ExtendedCollectionManager
        text = fields.PKField()
        note = fields.StringField()
        size = fields.InstanceHashField()

    for text in ("b", "a"):
        await mode.make(Word, text=text)
    assert await mode.every(Word.collection().values("text", "note", "size")) == [
        {"text": "a", "note": None, "size": None},
        {"text": "b", "note": None, "size": None},
    ]


# By score


@pytest.mark.usefixtures("kept")
async def test_sorting_by_score(mode, song):
    one = await mode(song, "get", 1)
    for by_score in (one.ranks, one.ranks.key):
        found = song.collection().sort(by_score=by_score)
        assert await mode.every(found) == ["1", "4", "5", "3", "2", "6"]
        assert await mode.slice(found, slice(2, 5)) == ["5", "3", "2"]
        assert await mode.item(found, -1) == "6"
        assert await mode.slice(found, slice(-2, None)) == ["2", "6"]
        assert await mode.every(song.collection(name="a").sort(by_score=by_score, desc=True)) == ["2", "5"]
    assert (await mode.every(song.collection().sort(by_score=f"-{one.ranks.key}")))[:3] == ["6", "2", "3"]
    found = song.collection(pk=6).sort(by_score=one.ranks)
    assert await mode.every(found.values("name", SORTED_SCORE)) == [{"name": "b", "sorted_score": "7.0"}]
    every = song.collection().sort(by_score=one.ranks)
    assert await mode.every(every.values_list(SORTED_SCORE, flat=True)) == ["-inf"] * 3 + ["-1.0", "0.5", "7.0"]
    assert await mode.every(song.collection(pk=6).values_list(SORTED_SCORE)) == [(None,)]
    assert await mode.every(every.sort().values_list(SORTED_SCORE, flat=True)) == [None] * 6
    assert [each._pk for each in await mode.slice(every.instances(), slice(4, 6))] == ["2", "6"]


@pytest.mark.usefixtures("kept")
async def test_scores_as_text(mode, song, raw):
    one = await mode(song, "get", 1)
    raw.zadd(one.ranks.key, {"1": 10, "5": 9})
    found = song.collection().sort(by_score=one.ranks, alpha=True)
    assert await mode.every(found) == ["4", "3", "2", "1", "6", "5"]  # none, "-1", "0.5", "10", "7", "9"
    assert (await mode.every(found.values_list(SORTED_SCORE, flat=True)))[:2] == ["-inf", "-1.0"]


@pytest.mark.usefixtures("kept")
async def test_p36_no_scores_at_all(mode, song):
    found = song.collection().sort(by_score="no-such-key")
    assert await mode.slice(found, slice(0, 2)) == ["1", "2"]
    assert await mode.count(found) == 6
    one = await mode(song, "get", 1)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await mode.every(song.collection(name__in=["a", "b"]).sort(by_score=one.likes.key))


async def test_wrong_scores(mode, song):
    one = await mode(song, "get", 1)
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


async def test_storing_keeps_the_order_and_expires(mode, song, raw):
    stored = await mode(song.collection(name__in=["a", "b"]).sort(by="year"), "store")
    assert stored.stored_key.startswith(f"{song._name}:__collection__:store:")
    assert 0 < raw.ttl(stored.stored_key) <= DEFAULT_STORE_TTL == 60
    pks = ["6", "5", "3", "2"]
    for found in (stored, stored(), await mode(song.collection(), "from_stored", stored.stored_key)):
        assert await mode.every(found) == pks
        assert await mode.count(found()) == 4
        for wanted in (
            slice(0, 2),
            slice(-3, -1),
            slice(None, None, -1),
            slice(3, 0, -2),
            slice(2, 99),
            slice(9, None),
        ):
            assert await mode.slice(found, wanted) == pks[wanted]
        assert (await mode.item(found, 1), await mode.item(found, -1), await mode.item(found, -4)) == (
            "5",
            "2",
            "6",
        )
        with pytest.raises(IndexError):
            await mode.item(found, -5)
        assert await mode.every(found.sort()) == ["2", "3", "5", "6"]
        assert await mode.every(found.filter(name="a")) == ["5", "2"]
        assert await mode.every(found.intersect([2, 3])) == ["3", "2"]
        assert await mode.every(found(pk=3)) == ["3"]
        assert await mode.every(found.values_list("name", flat=True)) == list("baba")
    await mode(await mode(song, "get", 5), "delete")
    assert [each._pk for each in await mode.every(stored.instances())] == ["6", "3", "2"]
    assert len(await mode.every(stored.instances(lazy=True))) == 4
    assert [key for key in raw.scan_iter() if "__collection__" in key] == [stored.stored_key]


async def test_storing_takes_one_trip_and_any_order(mode, song, raw):
    one = await mode(song, "get", 1)
    found = song.collection().sort(by_score=one.ranks)
    await mode(found, "store", "warm")
    with count_commands() as sent:
        stored = await mode(found, "store", "mine", None)
        assert sent.trips == 1
        assert await mode.every(stored) == raw.lrange("mine", 0, -1) == ["1", "4", "5", "3", "2", "6"]
    assert sent.trips == 3  # with the one of the raw client
    assert raw.ttl("mine") == -1
    again = await mode(song.collection(pk=3).instances(), "store", "mine", ttl=5)  # pitfall 35
    assert [each._pk for each in await mode.every(again)] == ["3"]
    assert 0 < raw.ttl("mine") <= 5
    assert await mode.every(await mode(song.collection().sort(by="year", start=1, num=2), "store")) == ["5", "4"]
    nothing = await mode(song.collection(name="z"), "store", "mine")
    assert not raw.exists("mine")
    raw.rpush("mine", 1)
    assert await mode.every(nothing) == []
    for ttl in (0, -1):
        with pytest.raises(ValueError, match="ttl=None"):
            await mode(song.collection(), "store", ttl=ttl)


async def test_a_stored_collection_that_is_gone(mode, song, raw):
    stored = await mode(song.collection(), "store", "s")
    assert await mode(stored, "stored_key_exists") is True
    raw.delete("s")
    assert await mode(stored, "stored_key_exists") is False
    for ask in (
        lambda: mode.every(stored()),
        lambda: mode.count(stored()),
        lambda: mode.slice(stored, slice(0, 1)),
        lambda: mode.every(stored.instances()),
        lambda: mode.every(stored.values("name")),
    ):
        with pytest.raises(DoesNotExist, match="stored collection"):
            await ask()
    empty = await mode(song.collection(), "from_stored", "s")
    assert await mode.every(empty) == []
    with pytest.raises(ValueError, match="stored"):
        await mode(empty, "from_stored", "s")
    assert song.collection().stored_key is None
    with pytest.raises(ValueError, match="not a stored"):
        await mode(song.collection(), "stored_key_exists")


async def test_keys_are_looked_for_under_the_prefix(mode, flushed_server, raw):
    raw.sadd("likes", 1, 2)
    raw.zadd("ranks", {"2": 1})
    raw.rpush("list", 2)
    async with RedisDatabase(**flushed_server.settings, db=0, key_prefix="p:") as hosted_by:
        song = make_song(hosted_by)
        for name in "ab":
            await mode.make(song, name=name, likes=[1])
        assert await mode.every(song.collection().intersect("likes")) == []
        assert await mode.every(song.collection().sort(by_score="ranks")) == ["1", "2"]
        assert await mode.every(await mode(song.collection(), "from_stored", "list")) == []
        raw.sadd("p:likes", 1)
        assert await mode.every(song.collection().intersect("likes")) == ["1"]
        assert await mode.every(song.collection().intersect("p:likes")) == ["1"]
        assert await mode.every(song.collection().intersect(song.lazy_connect(2).likes.key)) == ["1"]
        stored = await mode(song.collection(), "store", "list")
        assert stored.stored_key == "p:list"
        assert raw.lrange("list", 0, -1) == ["2"]
        hosted_by.close()


# Tenants


async def test_invariant_3_nothing_of_one_tenant_selects_objects_of_another(mode, flushed_server):
    databases = {
        each: RedisDatabase(**flushed_server.settings, db=0, key_prefix=f"{each}:") for each in ("acme", "globex")
    }
    router = DatabaseRouter(databases)
    shared = RedisDatabase(**flushed_server.settings, db=3)
    song, common = make_song(router), make_song(shared)
    with router.use_tenant("acme"):
        theirs = await mode.make(song, name="a", likes=[1], ranks={"1": 1})
        found = song.collection(name="a").sort(by="year").values("name")
    with router.use_tenant("globex"):
        await mode.make(song, name="b")
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
                await mode.every(found)
            with pytest.raises(WrongTenantError):
                await mode(found, "store")
        assert sent.trips == 0
        everywhere = await mode.make(common, name="b", likes=[1])
        assert await mode.every(mine.filter(pk=everywhere)) == ["1"]  # an object of all tenants stands for its pk
        for given in (everywhere.name, everywhere.likes, common.collection()):
            with pytest.raises(ImplementationError, match="another database"):
                mine.filter(name=given) if given is everywhere.name else mine.intersect(given)
    assert await mode.every(found) == [{"name": "a"}]  # with no tenant current, it is still its own
    for each in (router, shared):
        await each.aclose()
        each.close()


async def test_many_pks(mode, song, raw):
    everybody = range(1, 20_001)
    raw.sadd(f"{song._name}:collection", *everybody)
    found = song.collection().intersect(list(everybody)).sort(by="nosort")
    assert await mode.count(found) == 20_000
    raw.zadd("ranks", {str(pk): -pk for pk in everybody})
    by_score = song.collection().intersect(list(everybody)).sort(by_score="ranks")
    assert await mode.slice(by_score, slice(0, 2)) == ["20000", "19999"]
    stored = await mode(by_score, "store", "long")
    assert await mode.item(stored.intersect(list(everybody)), 1) == "19999"
    assert len(await mode.every(by_score.values("pk", "name"))) == 20_000
