"""What users may write with each kind of field, blocking and awaiting."""

import datetime
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import assert_type

from tenantlimpyd import RedisDatabase, fields, model
from tenantlimpyd.contrib.collection import ExtendedCollectionManager
from tenantlimpyd.contrib.indexes import DateTimeIndex, EqualIndexWith, MultiIndexes, ScoredEqualIndex
from tenantlimpyd.indexes import BaseIndex, EqualIndex, NumberRangeIndex, TextRangeIndex


class Song(model.RedisModel):
    database = RedisDatabase(db=15)
    collection_manager = ExtendedCollectionManager
    code = fields.PKField()
    title = fields.StringField(indexable=True, indexes=[TextRangeIndex])
    released = fields.StringField(indexable=True, indexes=[DateTimeIndex], lockable=False)
    length = fields.InstanceHashField(default=0)
    credits = fields.HashField(indexable=True)
    tags = fields.SetField(indexable=True, indexes=[EqualIndex, NumberRangeIndex])
    lines = fields.ListField(unique=True)
    charts = fields.SortedSetField()


def declarations_are_checked() -> None:
    fields.StringField(indexeable=True)  # type: ignore[call-arg]
    fields.SetField(True)  # type: ignore[call-arg]
    fields.ListField(indexes=[str])  # type: ignore[list-item]
    fields.PKField(unique=True)  # type: ignore[call-arg]


def strings(song: Song) -> None:
    assert_type(song.title.get(), str | None)
    assert_type(song.title.set("x"), bool)
    assert_type(song.title.getdel(), str | None)
    assert_type(song.title.getex(ex=datetime.timedelta(hours=1)), str | None)
    assert_type(song.title.incr(2), int)
    assert_type(song.title.incrbyfloat(0.5), float)
    assert_type(song.title.append("y"), int)
    assert_type(song.title.exists(), bool)
    assert_type(song.title.expire(10), bool)
    assert_type(song.title.ttl(), int)
    assert_type(song.title.delete(), int)
    song.title.set(None)  # type: ignore[arg-type]
    song.title.set(["a"])  # type: ignore[arg-type]
    song.title.incr("2")  # type: ignore[arg-type]
    song.title.getrange(0)  # type: ignore[call-arg]
    song.title.expire(3.5)  # type: ignore[arg-type]


async def strings_in_asyncio(song: Song) -> None:
    assert_type(await song.title.agetdel(), str | None)
    assert_type(await song.title.aincr(), int)
    assert_type(await song.title.attl(), int)
    await song.title.aset(None)  # type: ignore[arg-type]
    song.title.aappend("x")  # type: ignore[unused-coroutine]
    seconds: int = song.title.attl()  # type: ignore[assignment]


def instance_hash_fields(song: Song) -> None:
    assert_type(song.length.hget(), str | None)
    assert_type(song.length.hset(3), int)
    assert_type(song.length.hincrby(2), int)
    assert_type(song.length.hexists(), bool)
    assert_type(song.hmget("length"), list[str | None])
    assert_type(song.hmset(length=3), bool)
    assert_type(song.hgetall(), dict[str, str])
    song.length.hset("length", 3)  # type: ignore[call-arg]
    song.length.expire(3)  # type: ignore[attr-defined]
    song.hmget(3)  # type: ignore[arg-type]


async def instance_hash_fields_in_asyncio(song: Song) -> None:
    assert_type(await song.length.ahincrby(2), int)
    assert_type(await song.ahmget("length"), list[str | None])
    song.ahmset(length=3)  # type: ignore[unused-coroutine]


def hashes(song: Song) -> None:
    assert_type(song.credits.hgetall(), dict[str, str])
    assert_type(song.credits.hget("text"), str | None)
    assert_type(song.credits.hset("text", "Ann"), int)
    assert_type(song.credits.hmget("text", "music"), list[str | None])
    assert_type(song.credits.hmset({"text": "Ann"}, music="Bob"), bool)
    assert_type(song.credits.hexists("text"), bool)
    assert_type(song.credits.hexpire(10, "text"), list[int])
    assert_type(song.credits.hgetdel("text", "music"), list[str | None])
    assert_type(song.credits.hgetex("text", ex=10), list[str | None])
    assert_type(song.credits.hsetex({"text": "x"}, ex=10), bool)
    assert_type(song.length.hgetdel(), str | None)
    assert_type(song.length.hexpire(10), int)
    assert_type(song.credits.hscan("t*"), Iterator[tuple[str, str]])
    song.credits.hget()  # type: ignore[call-arg]
    song.credits.hset("text")  # type: ignore[call-arg]
    song.credits.hmset(["text"])  # type: ignore[arg-type]


async def hashes_in_asyncio(song: Song) -> None:
    assert_type(await song.credits.ahgetall(), dict[str, str])
    async for subkey, value in song.credits.ahscan():
        assert_type((subkey, value), tuple[str, str])
    song.credits.ahset("text", "Ann")  # type: ignore[unused-coroutine]
    await song.credits.ahget()  # type: ignore[call-arg]
    for _ in song.credits.ahscan():  # type: ignore[attr-defined]
        pass


def sets(song: Song) -> None:
    assert_type(song.tags.smembers(), AbstractSet[str])
    assert_type(song.tags.sadd("a", 1, b"c"), int)
    assert_type(song.tags.sismember("a"), bool)
    assert_type(song.tags.smismember("a", "b"), list[bool])
    assert_type(song.tags.sscan(), Iterator[str])
    song.tags.sadd(["a"])  # type: ignore[arg-type]
    song.tags.scard("a")  # type: ignore[call-arg]
    song.tags.rpush("a")  # type: ignore[attr-defined]


async def sets_in_asyncio(song: Song) -> None:
    assert_type(await song.tags.asmembers(), AbstractSet[str])
    async for value in song.tags.asscan():
        assert_type(value, str)
    song.tags.asadd("a")  # type: ignore[unused-coroutine]


def lists(song: Song) -> None:
    assert_type(song.lines.lmembers(), list[str])
    assert_type(song.lines.rpush("a", "b"), int)
    assert_type(song.lines.lindex(0), str | None)
    assert_type(song.lines.lrange(0, -1), list[str])
    assert_type(song.lines.lcontains("a"), bool)
    assert_type(song.lines.lrank("a"), int | None)
    assert_type(song.lines.lmove("LEFT", "RIGHT"), str | None)
    song.lines.lset(0)  # type: ignore[call-arg]
    song.lines.ltrim("0", -1)  # type: ignore[arg-type]


async def lists_in_asyncio(song: Song) -> None:
    assert_type(await song.lines.almembers(), list[str])
    song.lines.arpush("a")  # type: ignore[unused-coroutine]
    for _ in song.lines.almembers():  # type: ignore[attr-defined]
        pass


def sorted_sets(song: Song) -> None:
    assert_type(song.charts.zadd({"a": 1}, True), int)
    assert_type(song.charts.zscore("a"), float | None)
    assert_type(song.charts.zmscore(["a", "b"]), list[float | None])
    assert_type(song.charts.zincrby(1, "a"), float)
    assert_type(song.charts.zpopmin(), list[tuple[str, float]])
    assert_type(song.charts.zmembers(), list[str])
    assert_type(song.charts.zscan(), Iterator[tuple[str, float]])
    song.charts.zadd({"a": []})  # type: ignore[dict-item]
    song.charts.zincrby("a", 1)  # type: ignore[arg-type]
    song.charts.zcount(1)  # type: ignore[call-arg]


async def sorted_sets_in_asyncio(song: Song) -> None:
    assert_type(await song.charts.azscore("a"), float | None)
    async for member, score in song.charts.azscan():
        assert_type((member, score), tuple[str, float])
    song.charts.azadd({"a": 1})  # type: ignore[unused-coroutine]


def pks(song: Song) -> None:
    assert_type(song.code, fields.PKField)
    assert_type(song.code.get(), str)
    assert_type(song.code.exists(), bool)
    song.code.sadd("a")  # type: ignore[attr-defined]


async def pks_in_asyncio(song: Song) -> None:
    assert_type(await song.code.aget(), str)
    assert_type(await song.code.aexists("x"), bool)
    song.code.aset("x")  # type: ignore[unused-coroutine]


def indexes_are_configured() -> None:
    assert_type(EqualIndex.configure(prefix="p", transform=str.lower), type[BaseIndex])
    assert_type(ScoredEqualIndex.configure(score_field="length"), type[BaseIndex])
    assert_type(EqualIndexWith.configure(other_fields=["length"], unique=True), type[BaseIndex])
    assert_type(MultiIndexes.compose([EqualIndex, DateTimeIndex], key="k"), type[MultiIndexes])
    MultiIndexes.compose(EqualIndex)  # type: ignore[arg-type]
    MultiIndexes.compose([EqualIndex], prefix="p")  # type: ignore[call-arg]


def indexes_are_maintained(song: Song) -> None:
    song.title.index()
    song.title.get_index(index_class=TextRangeIndex).rebuild(chunk_size=100)
    assert_type(song.title.get_for_instance("x"), fields.StringField)
    song.title.rebuild_indexes(aggressive=True)  # type: ignore[call-arg]


async def indexes_are_maintained_in_asyncio(song: Song) -> None:
    await song.title.aindex()
    await song.title.arebuild_indexes(chunk_size=100)
    song.title.aclear_indexes()  # type: ignore[unused-coroutine]


def collections(song: Song) -> None:
    plain = Song.collection(title="x")
    plain.filter(title="x")  # type: ignore[attr-defined]
    manager = ExtendedCollectionManager[Song, str]
    found = Song.collection(manager, title="x").filter(title="x").intersect(["a"]).sort(by="title")
    for values in found.values("title"):
        assert_type(values, dict[str, str | None])
    assert_type("x" in found, bool)
    assert_type(found.store(ttl=5).stored_key, str | None)
    for each in Song.instances(title="x"):
        assert_type(each, Song)
    Song.collection(title="x").sort(alpha="yes")  # type: ignore[arg-type]
    found.values(3)  # type: ignore[arg-type]
    found.store(ttl="5")  # type: ignore[arg-type]


async def collections_in_asyncio(song: Song) -> None:
    found = Song.collection(title="x")
    assert_type(await found.acount(), int)
    assert_type(await found.alist(), list[str])
    assert_type(await found.aitem(0), str)
    assert_type(await found.acontains("x"), bool)
    assert_type(await found.instances().alist(), list[Song])
    found.acount()  # type: ignore[unused-coroutine]
    if await found.acount() > "1":  # type: ignore[operator]
        pass
    pks: list[str] = found.alist()  # type: ignore[assignment]
