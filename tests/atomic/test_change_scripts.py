"""The scripts that change objects are all or nothing: with missing permissions, full memory, and unusual data."""

from __future__ import annotations

import pytest
import redis
from redis.exceptions import NoPermissionError, ResponseError

from tenantlimpyd import fields, model
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import ImplementationError, UniquenessError
from tests.support.multi_value_models import held


def keyspace(client):
    """Return all keys with their content, except pk counters."""
    return {key: held(client, key) for key in client.scan_iter(count=1000) if not key.endswith("max_pk")}


@pytest.fixture
def restricted(raw, flushed_server):
    """Return a database of a user who may do everything but some commands."""
    made = []

    def make(*rules: str) -> RedisDatabase:
        raw.execute_command("ACL", "SETUSER", "narrow", "reset", "on", ">secret", "~*", "&*", "+@all", *rules)
        made.append(RedisDatabase(**flushed_server.settings, db=0, username="narrow", password="secret"))
        return made[-1]

    yield make
    for each in made:
        each.close()
    raw.execute_command("ACL", "DELUSER", "narrow")


def define(database, **body):
    return type("Note", (model.RedisModel,), {"database": database, "namespace": "spec", **body})


@pytest.mark.parametrize("command", ["del", "hdel", "srem"])
@pytest.mark.parametrize("many", [False, True])
async def test_deletion_with_missing_permissions_deletes_nothing(call, database, restricted, raw, command, many):
    body = {"text": fields.StringField, "title": fields.InstanceHashField}
    if many:
        body["tags"] = fields.SetField
    given = {"text": "kept", "title": "kept", **({"tags": ["a"]} if many else {})}
    made = await call.create(define(database, **{name: kind() for name, kind in body.items()}), **given)
    theirs = define(restricted(f"-{command}"), **{name: kind() for name, kind in body.items()})
    before = keyspace(raw)
    with pytest.raises(NoPermissionError, match=command):
        await call(theirs.lazy_connect(1), "delete")
    assert keyspace(raw) == before
    await call(made, "delete")
    assert keyspace(raw) == {}


@pytest.mark.parametrize("command", ["sadd", "set", "hset", "rpush", "zadd"])
async def test_creation_with_missing_permissions_stores_nothing(call, restricted, raw, command):
    theirs = define(
        restricted(f"-{command}"),
        a=fields.StringField(indexable=True),
        title=fields.InstanceHashField(),
        text=fields.StringField(),
        li=fields.ListField(),
        z=fields.SortedSetField(indexable=True),
    )
    with pytest.raises(ResponseError):
        await call.create(theirs, a="x", title="t", text="u", li=["1"], z={"m": 1})
    assert keyspace(raw) == {}


def test_field_named_hash_is_refused(database):
    with pytest.raises(ImplementationError):
        define(database, title=fields.InstanceHashField(), hash=fields.StringField())


async def test_outdated_pk_counter_overwrites_no_object(call, database, raw):
    made = define(database, name=fields.StringField(indexable=True), li=fields.ListField(indexable=True))
    await call.create(made, name="a", li=["1"])
    raw.delete("spec:note:max_pk")  # as after a restore of some keys only
    before = keyspace(raw)
    with pytest.raises(UniquenessError, match="set spec:note:max_pk to the highest"):
        await call.create(made, name="b", li=["2"])
    assert keyspace(raw) == before
    raw.set("spec:note:max_pk", 1)
    assert (await call.create(made, name="b"))._pk == "2"


@pytest.mark.slow
async def test_creation_with_many_values(call, database, raw):
    made = define(
        database,
        li=fields.ListField(),
        s=fields.SetField(indexable=True),
        h=fields.HashField(),
        z=fields.SortedSetField(),
    )
    n = 20_000
    await call.create(
        made,
        li=list(range(n)),
        s=[str(i) for i in range(9000)],
        h={str(i): i for i in range(n)},
        z={str(i): i for i in range(n)},
    )
    assert raw.llen("spec:note:1:li") == n
    assert raw.hlen("spec:note:1:h") == n
    assert raw.zcard("spec:note:1:z") == n
    assert raw.scard("spec:note:1:s") == 9000


async def test_empty_text_is_stored_and_indexed(call, database, raw):
    made = define(database, name=fields.StringField(unique=True), s=fields.SetField(indexable=True))
    one = await call.create(made, name="", s=[""])
    assert await call(one.name, "get") == ""
    with pytest.raises(UniquenessError):
        await call.create(made, name="")
    await call(one.name, "set", "b")
    await call(one.name, "set", "")
    await call(one.s, "srem", "")
    await call(one.s, "sadd", "")
    await call(one, "delete")
    assert keyspace(raw) == {}


async def test_empty_pk_is_indexed_or_refused(call, database, raw):
    made = define(database, id=fields.PKField(), name=fields.StringField(indexable=True))
    try:
        one = await call.create(made, id="", name="x")
    except (ValueError, ResponseError):
        assert keyspace(raw) == {}
        return
    await call(one.name, "set", "y")
    assert raw.smembers("spec:note:name:y") == {""}
    raw.set("spec:note:name:z", "no set")
    with pytest.raises(ResponseError):
        await call(one.name, "set", "z")
    assert raw.smembers("spec:note:name:y") == {""}


async def test_creation_on_a_server_without_free_memory_stores_nothing(call, database, raw):
    made = define(
        database, name=fields.StringField(unique=True), text=fields.StringField(), li=fields.ListField(indexable=True)
    )
    one = await call.create(made, name="a", text="b", li=["1"])
    before = keyspace(raw)
    raw.config_set("maxmemory", "1")
    try:
        with pytest.raises(redis.OutOfMemoryError):
            await call(one.li, "rpush", "c")
        with pytest.raises(redis.OutOfMemoryError):
            await call.create(made, name="z", text="y")
        assert keyspace(raw) == before
        # The server lets a script that began with a removal go on although memory is full.
        await call(one.name, "set", "c")
        assert (raw.get("spec:note:1:name"), raw.smembers("spec:note:name:c")) == ("c", {"1"})
        assert not raw.exists("spec:note:name:a")
        await call(one, "delete")
    finally:
        raw.config_set("maxmemory", "0")
    assert keyspace(raw) == {}
