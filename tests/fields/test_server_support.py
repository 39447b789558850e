"""Commands that not every server has: their effect, and the error on servers without them."""

from __future__ import annotations

import datetime

import pytest
import redis

from tenantlimpyd import fields, model
from tenantlimpyd._commands import ROWS, servers_with
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.embedded import EmbeddedServer
from tenantlimpyd.exceptions import DataError, ImplementationError, UniquenessError, UnsupportedCommandError
from tenantlimpyd.testing import count_commands
from tests.support.models import assert_indexes_right
from tests.support.multi_value_models import assert_entries_right, everything, make_bag

NEWER = [name for name, row in ROWS.items() if row.value_type == "hash" and row.since]


@pytest.fixture
def bag(database):
    return make_bag(database)


async def test_hgetdel_of_a_hash_deletes_and_returns_and_the_index_follows(call, bag, raw):
    p = await call.create(bag, hash_plain={"a": 1, "b": 2}, hash_indexed={"a": 1, "b": 2, "c": ""})
    for name in ("hash_plain", "hash_indexed"):
        field = getattr(p, name)
        assert await call(field, "hgetdel", "a", "nope") == ["1", None]
        assert await call(field, "hgetall") == {"b": "2"} | ({"c": ""} if name == "hash_indexed" else {})
        assert_entries_right(raw, bag)
    assert await call(p.hash_indexed, "hgetdel", "c", "b") == ["", "2"]
    assert_entries_right(raw, bag)
    assert await call(p.hash_indexed, "hset", "a", "back") == 1
    with pytest.raises(redis.ResponseError):
        await call(p.hash_plain, "hgetdel")
    assert_entries_right(raw, bag)


@pytest.mark.slow
async def test_hgetdel_of_a_hash_with_many_sub_keys(call, bag, raw):
    values = {str(number): number for number in range(9000)}
    p = await call.create(bag, hash_plain=values, hash_indexed=values)
    assert await call(p.hash_plain, "hgetdel", *values) == [*map(str, values.values())]
    assert await call(p.hash_indexed, "hgetdel", *values) == [*map(str, values.values())]
    assert [key for key in raw.scan_iter(count=1000) if "hash" in key] == []


async def test_hgetdel_of_an_instance_hash_field(call, person, raw):
    p = await call.create(person, city="Rome", badge="7", age=3)
    assert await call(p.age, "hgetdel") == "3"
    assert await call(p.city, "hgetdel") == "Rome"
    with count_commands(person.database) as counted:
        assert await call(p.badge, "hgetdel") == "7"
    assert counted.trips == 1
    assert await call(p.badge, "hgetdel") is None
    assert_indexes_right(raw, person)
    await call.create(person, badge="7")
    with pytest.raises(UniquenessError):
        await call(p.badge, "hset", "7")


async def test_hgetex_and_hsetex_of_a_hash(call, bag, raw):
    p = await call.create(bag, hash_plain={"a": 1, "b": 2}, hash_indexed={"a": 1})
    key = "spec:bag:1:hash_plain"
    assert await call(p.hash_plain, "hgetex", "a", "nope") == ["1", None]
    assert raw.httl(key, "a") == [-1]
    assert await call(p.hash_plain, "hgetex", "a", ex=datetime.timedelta(hours=1)) == ["1"]
    assert 3590 < raw.httl(key, "a")[0] <= 3600
    assert await call(p.hash_plain, "hgetex", "a", persist=True) == ["1"]
    assert raw.httl(key, "a") == [-1]
    assert await call(p.hash_plain, "hsetex", {"c": 3}, px=3_600_000) is True
    assert 3590 < raw.httl(key, "c")[0] <= 3600
    assert await call(p.hash_plain, "hsetex", {"c": 4}, keepttl=True, fxx=True) is True
    assert 3590 < raw.httl(key, "c")[0] <= 3600
    assert await call(p.hash_plain, "hsetex", {"c": 5}, fnx=True) is False
    assert await call(p.hash_plain, "hgetall") == {"a": "1", "b": "2", "c": "4"}
    before = everything(raw)
    for command, args, options, error in [
        ("hgetex", ("a",), {"ex": 1, "persist": True}, DataError),
        ("hgetex", (), {}, redis.ResponseError),
        ("hsetex", ({},), {"ex": 1}, DataError),
        ("hsetex", ({"a": 1},), {"ex": 1, "px": 1}, DataError),
        ("hsetex", ({"a": 1},), {"fnx": True, "fxx": True}, DataError),
        ("hsetex", ({"a": None},), {"ex": 1}, DataError),
    ]:
        with pytest.raises(error):
            await call(p.hash_plain, command, *args, **options)
    for command, args, options in [("hgetex", ("a",), {"ex": 1}), ("hsetex", ({"a": 2},), {"ex": 1})]:
        with pytest.raises(ImplementationError, match="index entries"):
            await call(p.hash_indexed, command, *args, **options)
    assert await call(p.hash_indexed, "hgetex", "a", persist=True) == ["1"]
    assert everything(raw) == before


async def test_instance_hash_field_expires_unless_it_is_indexed(call, person, raw):
    p = await call.create(person, city="Rome", age=3)
    in_an_hour = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    for command, when in [
        ("hexpire", 3600),
        ("hpexpire", datetime.timedelta(hours=1)),
        ("hexpireat", in_an_hour),
        ("hpexpireat", in_an_hour),
    ]:
        assert await call(p.age, command, when) == 1
        assert await call(p.age, command, when, nx=True) == 0
        assert 3500 < await call(p.age, "httl") <= 3600
        assert 3500_000 < await call(p.age, "hpttl") <= 3600_000
        assert abs(await call(p.age, "hexpiretime") - in_an_hour.timestamp()) < 100
        assert abs(await call(p.age, "hpexpiretime") / 1000 - in_an_hour.timestamp()) < 100
        assert await call(p.age, "hpersist") == 1
        assert await call(p.age, "hpersist") == -1
        with pytest.raises(ImplementationError, match="index entries"):
            await call(p.city, command, when)
    assert await call(p.city, "httl") == -1
    assert await call(p.badge, "httl") == -2
    assert await call(p.age, "hexpire", 0) == 2
    assert await call(p.age, "hget") is None
    assert_indexes_right(raw, person)


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A server that doesn't know the newer commands."""
    missing = tmp_path_factory.mktemp("old") / "missing.conf"
    missing.write_text("".join(f'rename-command {word} ""\n' for word in NEWER))
    with EmbeddedServer(options={"include": str(missing)}) as server:
        yield server


async def test_error_of_an_unsupported_command_names_the_servers_that_have_it(call, old):
    database = RedisDatabase(**old.settings)
    with redis.Redis(**old.settings, decode_responses=True) as raw:
        raw.flushall()
        person, bag = _models(database)
        p = await call.create(person, city="Rome", age=3)
        b = await call.create(bag, hash_plain={"a": 1}, hash_indexed={"a": 1})
        before = everything(raw)
        for target, command, args in [
            (b.hash_plain, "hexpire", (10, "a")),
            (b.hash_plain, "hpexpireat", (10, "a")),
            (b.hash_plain, "httl", ("a",)),
            (b.hash_plain, "hpersist", ("a",)),
            (b.hash_plain, "hgetdel", ("a",)),
            (b.hash_indexed, "hgetdel", ("a",)),
            (b.hash_plain, "hgetex", ("a",)),
            (b.hash_plain, "hsetex", ({"a": 2}, 10)),
            (p.age, "hexpire", (10,)),
            (p.age, "hgetdel", ()),
            (p.city, "hgetdel", ()),
        ]:
            wanted = f"this server has no {command.upper()}: it came with {servers_with(command.upper())}"
            with pytest.raises(UnsupportedCommandError, match=wanted) as caught:
                await call(target, command, *args)
            assert isinstance(caught.value, ImplementationError)
            assert isinstance(caught.value, redis.ResponseError)
            assert everything(raw) == before
        for transaction in (False, True):
            with database.pipeline(transaction=transaction) as pipe:
                await call(b.hash_plain, "hexpire", 10, "a")
                with pytest.raises(redis.ResponseError, match="HEXPIRE"):
                    await call(pipe, "execute")
            assert everything(raw) == before
    database.close()
    await database.aclose()


def _models(hosted_by):
    class Person(model.RedisModel):
        database = hosted_by
        city = fields.InstanceHashField(indexable=True)
        age = fields.InstanceHashField()

    class Bag(model.RedisModel):
        database = hosted_by
        hash_plain = fields.HashField()
        hash_indexed = fields.HashField(indexable=True)

    return Person, Bag
