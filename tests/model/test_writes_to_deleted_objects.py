"""A write to an object that another client has deleted is refused and leaves nothing, whether the field is indexed or not."""

from __future__ import annotations

import pytest

from tenantlimpyd import fields
from tenantlimpyd.exceptions import DoesNotExist, ResponseError
from tenantlimpyd.testing import count_commands
from tests.support.models import define
from tests.support.multi_value_models import everything as keyspace
from tests.support.pipelines import piped

WRITES = [
    ("text", "set", ("x",)),
    ("text", "setnx", ("x",)),
    ("text", "getset", ("x",)),
    ("text", "append", ("x",)),
    ("text", "setrange", (2, "x")),
    ("text", "setbit", (7, 1)),
    ("text", "setex", (9, "x")),
    ("text", "psetex", (9000, "x")),
    ("number", "incr", ()),
    ("number", "decr", (5,)),
    ("number", "incrbyfloat", (1.5,)),
    ("entry", "hset", ("x",)),
    ("entry", "hsetnx", ("x",)),
    ("count", "hincrby", ()),
    ("count", "hincrbyfloat", (1.5,)),
    ("queue", "rpush", ("x", "y")),
    ("queue", "lpush", ("x",)),
    ("tags", "sadd", ("x", "y")),
    ("scores", "zadd", ({"x": 1},)),
    ("scores", "zincrby", (2.5, "x")),
    ("table", "hset", ("a", "x")),
    ("table", "hsetnx", ("a", "x")),
    ("table", "hmset", ({"a": "x", "b": "y"},)),
    ("table", "hincrby", ("n", 2)),
    ("table", "hincrbyfloat", ("n", 2.5)),
    (None, "hmset", ()),
]
BODY = {
    "text": fields.StringField,
    "number": fields.StringField,
    "entry": fields.InstanceHashField,
    "count": fields.InstanceHashField,
    "queue": fields.ListField,
    "tags": fields.SetField,
    "scores": fields.SortedSetField,
    "table": fields.HashField,
}
IDS = [f"{field}-{command}" for field, command, _ in WRITES]


@pytest.fixture
def item(database):
    return define(database, "Item", namespace="spec", **{name: kind() for name, kind in BODY.items()})


async def stored(call, item):
    """Return a new object that is stored, without any value."""
    made = await call.create(item)
    await call(made.pk, "get")
    return made


async def write(call, handle, field, command, args):
    if field is None:
        return await call(handle, command, entry="x", count=1)
    return await call(getattr(handle, field), command, *args)


@pytest.mark.parametrize("found", ["read", "lazy"])
@pytest.mark.parametrize(("field", "command", "args"), WRITES, ids=IDS)
async def test_write_to_an_object_deleted_by_another_client_is_refused_in_one_round_trip(
    call, item, raw, field, command, args, found
):
    kept = await call.create(item)
    await write(call, kept, field, command, args)  # the script is loaded
    await call(kept, "delete")
    made = await stored(call, item)
    handle = item.lazy_connect(made.known_pk)
    if found == "read":
        await call(handle, "connect")
    await call(made, "delete")
    before = keyspace(raw)
    with count_commands() as sent, pytest.raises(DoesNotExist, match="nothing was written"):
        await write(call, handle, field, command, args)
    assert sent.trips == 1, sent
    assert keyspace(raw) == before


@pytest.mark.parametrize("transaction", [False, True])
async def test_pipeline_writes_to_the_objects_that_exist_and_refuses_the_others(call, item, raw, database, transaction):
    there, gone = await stored(call, item), await stored(call, item)
    handle = item.lazy_connect(gone.known_pk)
    await call(handle, "connect")
    await call(gone, "delete")
    async with piped(call, database, transaction) as pipe:
        await call(there.text, "set", "x")
        await call(handle.text, "set", "x")
        await call(there.queue, "rpush", "x")
        await call(handle.queue, "rpush", "x")
        results = await call(pipe, "execute", raise_on_error=False)
    assert results[::2] == [True, 1]
    assert [type(result) for result in results[1::2]] == [DoesNotExist] * 2
    assert keyspace(raw).keys() == {
        "spec:item:max_pk", "spec:item:collection", "spec:item:1:text", "spec:item:1:queue"
    }  # fmt: skip


@pytest.mark.parametrize(("field", "command", "args"), WRITES, ids=IDS)
async def test_write_stores_a_new_object_first(call, item, raw, field, command, args):
    made = await call.create(item)
    await write(call, made, field, command, args)
    assert raw.smembers("spec:item:collection") == {"1"}


@pytest.mark.slow
async def test_content_larger_than_a_script_takes_is_written_whole_or_refused(call, item, raw):
    made = await stored(call, item)
    handle = item.lazy_connect(made.known_pk)
    await call(handle, "connect")
    many = [str(number) for number in range(20_000)]
    assert await call(made.queue, "rpush", *many) == 20_000
    assert await call(made.queue, "lpush", *many) == 40_000
    assert await call(made.tags, "sadd", *many) == 20_000
    assert await call(made.scores, "zadd", dict.fromkeys(many, 1)) == 20_000
    assert await call(made.table, "hmset", dict.fromkeys(many, "x")) is True
    assert raw.lrange("spec:item:1:queue", 0, -1) == many[::-1] + many
    assert (raw.scard("spec:item:1:tags"), raw.zcard("spec:item:1:scores"), raw.hlen("spec:item:1:table")) == (
        20_000,
    ) * 3
    with pytest.raises((ResponseError, ValueError)):
        await call(made.scores, "zadd", {**dict.fromkeys(many, 2), "last": "no number"})
    assert raw.zscore("spec:item:1:scores", "0") == 1
    await call(made, "delete")
    before = keyspace(raw)
    for field, command, args in [
        (handle.queue, "rpush", many), (handle.tags, "sadd", many), (handle.table, "hmset", [dict.fromkeys(many, 1)])
    ]:  # fmt: skip
        with pytest.raises(DoesNotExist):
            await call(field, command, *args)
    assert keyspace(raw) == before


async def test_expiry_for_more_sub_keys_than_a_script_takes_is_refused_for_a_deleted_object(call, item, raw):
    made = await stored(call, item)
    handle = item.lazy_connect(made.known_pk)
    await call(handle, "connect")
    many = dict.fromkeys(map(str, range(5000)), "x")
    assert await call(made.table, "hsetex", many, ex=100) is True
    assert raw.hlen("spec:item:1:table") == 5000
    await call(made, "delete")
    with pytest.raises(DoesNotExist):
        await call(handle.table, "hsetex", many, ex=100)
    assert keyspace(raw).keys() == {"spec:item:max_pk"}


async def test_value_of_another_type_is_refused_by_the_server_and_stays(call, item, raw):
    made = await stored(call, item)
    raw.set("spec:item:1:queue", "text")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await call(made.queue, "rpush", "x")
    assert raw.get("spec:item:1:queue") == "text"


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("start", [2**53, -(2**53), 2**63 - 2, -(2**63) + 2])
async def test_counters_return_exact_integers_beyond_2_to_the_53(call, database, indexed, start):
    counter = define(
        database, "Counter", namespace="spec", text=fields.StringField(indexable=indexed),
        entry=fields.InstanceHashField(indexable=indexed), table=fields.HashField(indexable=indexed),
        tags=fields.SetField(indexable=indexed),
    )  # fmt: skip
    made = await call.create(counter, text=start, entry=start, table={"n": start})
    step = 1 if start > 0 else -1
    assert await call(made.text, "incr", step) == start + step
    assert await call(made.text, "decr", step) == start
    assert await call(made.entry, "hincrby", step) == start + step
    assert await call(made.table, "hincrby", "n", step) == start + step
    with pytest.raises(ResponseError):
        await call(made.entry, "hincrby", 10**30)
