"""Every command of StringField, on fields without and with indexes."""

from __future__ import annotations

import datetime

import pytest

from tenantlimpyd.exceptions import ImplementationError, LimpydException, UniquenessError
from tests.support.models import assert_indexes_right

STEPS = [
    # command, arguments, reply, value afterwards
    ("get", (), None, None),
    ("strlen", (), 0, None),
    ("setnx", ("a",), True, "a"),
    ("setnx", ("b",), False, "a"),
    ("getset", ("b",), "a", "b"),
    ("set", ("hello",), True, "hello"),
    ("proxy_set", ("hello",), True, "hello"),
    ("proxy_get", (), "hello", "hello"),
    ("append", (" you",), 9, "hello you"),
    ("append", ("é",), 11, "hello youé"),
    ("getrange", (0, 3), "hell", "hello youé"),
    ("setrange", (6, "YOU"), 11, "hello YOUé"),
    ("strlen", (), 11, "hello YOUé"),
    ("bitcount", (), 43, "hello YOUé"),
    ("bitcount", (0, 0), 3, "hello YOUé"),
    ("bitpos", (1,), 1, "hello YOUé"),
    ("bitpos", (1, 1), 9, "hello YOUé"),
    ("getbit", (1,), 1, "hello YOUé"),
    ("setbit", (2, 0), 1, "Hello YOUé"),
    ("exists", (), True, "Hello YOUé"),
    ("delete", (), 1, None),
    ("delete", (), 0, None),
    ("exists", (), False, None),
    ("append", ("7",), 1, "7"),
    ("incr", (), 8, "8"),
    ("incr", (4,), 12, "12"),
    ("incrby", (-2,), 10, "10"),
    ("decr", (), 9, "9"),
    ("decrby", (4,), 5, "5"),
    ("incrbyfloat", (0.1,), 5.1, "5.1"),
    ("incrbyfloat", (), 6.1, "6.1"),
    ("incrbyfloat", (-6.1,), 0.0, "0"),
    ("incrbyfloat", (3e20,), 3e20, "300000000000000000000"),
    ("delete", (), 1, None),
    ("setrange", (2, "x"), 3, "\x00\x00x"),
    ("delete", (), 1, None),
    ("setrange", (5, ""), 0, None),
    ("setbit", (7, 0), 0, "\x00"),
    ("set", ("",), True, ""),
]


@pytest.mark.parametrize("field", ["note", "name", "email"])
async def test_each_command_does_what_redis_does_and_the_index_follows(call, person, raw, field):
    p = await call.create(person, age=1)
    for command, args, reply, value in STEPS:
        assert await call(getattr(p, field), command, *args) == reply, command
        assert raw.get(f"spec:person:1:{field}") == value, command
        assert_indexes_right(raw, person)


@pytest.mark.parametrize("field", ["note", "name", "email"])
async def test_object_loaded_again_reads_and_writes_the_same_value_and_index(call, person, raw, field):
    await call.create(person, age=1)
    for command, args, reply, value in STEPS:
        other = await call(person, "get", 1)
        assert await call(getattr(other, field), command, *args) == reply, command
        assert raw.get(f"spec:person:1:{field}") == value, command
        assert_indexes_right(raw, person)


async def test_value_expires_by_each_command(call, person, raw):
    note = (await call.create(person, note="a")).note
    key = "spec:person:1:note"
    in_an_hour = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    for command, args in [
        ("expire", (3600,)),
        ("expire", (datetime.timedelta(hours=1),)),
        ("pexpire", (3_600_000,)),
        ("pexpire", (datetime.timedelta(hours=1),)),
        ("expireat", (int(in_an_hour.timestamp()),)),
        ("expireat", (in_an_hour,)),
        ("pexpireat", (int(in_an_hour.timestamp() * 1000),)),
        ("pexpireat", (in_an_hour,)),
        ("setex", (3600, "b")),
        ("setex", (datetime.timedelta(hours=1), "b")),
        ("psetex", (3_600_000, "c")),
        ("psetex", (datetime.timedelta(hours=1), "c")),
    ]:
        assert await call(note, command, *args) is True, command
        assert 3500_000 < raw.pttl(key) <= 3600_000, command
        assert 3500 <= await call(note, "ttl") <= 3600
        assert 3500_000 <= await call(note, "pttl") <= 3600_000
        assert abs(await call(note, "expiretime") - in_an_hour.timestamp()) < 100
        assert abs(await call(note, "pexpiretime") / 1000 - in_an_hour.timestamp()) < 100
        assert await call(note, "persist") is True
        assert await call(note, "persist") is False
        assert await call(note, "ttl") == -1
    assert raw.get(key) == "c"


@pytest.mark.parametrize("option", [{"ex": 60}, {"px": 60_000}, {"ex": datetime.timedelta(minutes=1)}])
async def test_set_takes_an_expiry(call, person, raw, option):
    p = await call.create(person, age=1)
    assert await call(p.note, "set", "a", **option) is True
    assert 50_000 < raw.pttl("spec:person:1:note") <= 60_000


async def test_expiring_tells_when_there_is_no_value(call, person):
    p = await call.create(person, age=1)
    assert await call(p.note, "expire", 10) is False
    assert await call(p.note, "ttl") == -2
    assert await call(p.name, "pttl") == -2
    assert await call(p.name, "persist") is False


@pytest.mark.parametrize("field", ["name", "email"])
@pytest.mark.parametrize(
    ("command", "args", "options"),
    [
        ("expire", (1,), {}),
        ("pexpire", (1,), {}),
        ("expireat", (1,), {}),
        ("pexpireat", (1,), {}),
        ("setex", (1, "b"), {}),
        ("psetex", (1, "b"), {}),
        ("set", ("b",), {"ex": 1}),
        ("set", ("b",), {"px": 1}),
    ],
)
async def test_indexed_value_never_expires(call, person, raw, field, command, args, options):
    p = await call.create(person, **{field: "a"})
    with pytest.raises(ImplementationError, match="index entries"):
        await call(getattr(p, field), command, *args, **options)
    assert raw.get(f"spec:person:1:{field}") == "a"
    assert raw.ttl(f"spec:person:1:{field}") == -1


@pytest.mark.parametrize("field", ["note", "name"])
async def test_contradictory_arguments_are_refused(call, person, raw, field):
    p = await call.create(person, **{field: "1"})
    value = getattr(p, field)
    for error, command, args, options in [
        (LimpydException, "set", ("x",), {"nx": True}),
        (LimpydException, "set", ("x",), {"xx": True}),
        (TypeError, "set", ("x",), {"keepttl": True}),
        (TypeError, "incr", (1.5,), {}),
        (TypeError, "incr", (True,), {}),
        (TypeError, "decr", ("2",), {}),
        (TypeError, "bitcount", (1,), {}),
        (ValueError, "bitpos", (2,), {}),
        (TypeError, "bitpos", (1,), {"end": 3}),
    ]:
        with pytest.raises(error):
            await call(value, command, *args, **options)
    assert raw.get(f"spec:person:1:{field}") == "1"


@pytest.mark.parametrize(
    ("command", "args"),
    [("set", ("taken",)), ("getset", ("taken",)), ("setnx", ("taken",)), ("append", ("n",)), ("setrange", (4, "n"))],
)
async def test_used_unique_value_is_refused_by_each_command(call, person, raw, command, args):
    await call.create(person, email="taken")
    if command in ("append", "setrange"):
        p = await call.create(person, email="take")
    elif command == "setnx":
        p = await call.create(person, age=1)
    else:
        p = await call.create(person, email="mine")
    before = raw.get("spec:person:2:email")
    with pytest.raises(UniquenessError, match=r"'taken' .* 'email' .* pk '1'"):
        await call(p.email, command, *args)
    assert raw.get("spec:person:2:email") == before
    assert_indexes_right(raw, person)
    assert await call(p.email, "set", "free") is True
