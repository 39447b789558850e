"""Unusual values: stored as they are, returned as text, or refused."""

from __future__ import annotations

import enum

import pytest
from redis.exceptions import DataError

from tenantlimpyd import fields, model
from tests.support.models import assert_indexes_right, keyspace


class Modeing(enum.StrEnum):
    RED = "red"


class Mixed(str, enum.Enum):  # noqa: UP042 - its str() is its name, its value is what redis-py sends
    GREEN = "green"


class Shouting(str):
    __slots__ = ()

    def __str__(self):
        return self.upper()


VALUES = [
    ("text", "text"), ("", ""), (" ", " "), ("a:b:c", "a:b:c"), ("*?[x]^-\\", "*?[x]^-\\"), ("é漢😀", "é漢😀"),
    ("\x00\r\n\t", "\x00\r\n\t"), (b"bytes", "bytes"), (b"", ""), ("é".encode(), "é"), (bytearray(b"array"), "array"),
    (memoryview(b"view"), "view"), (0, "0"), (-7, "-7"), (10**30, str(10**30)), (1.5, "1.5"), (0.1, "0.1"), (1e22, "1e+22"),
    (1.0, "1.0"), (float("inf"), "inf"), (float("nan"), "nan"), (Modeing.RED, "red"), (Mixed.GREEN, "green"),
    (Shouting("quiet"), "quiet"), ("x" * 100_000, "x" * 100_000),
]  # fmt: skip


@pytest.mark.parametrize("how", ["created", "set", "set blindly"])
async def test_value_is_stored_found_and_removed_by_its_text(call, person, raw, how):
    for value, text in VALUES:
        if how == "created":
            p = await call.create(person, name=value, email=value, city=value, badge=value, note=value)
        else:
            p = await call.create(person, name="before", city="before")
            if how == "set blindly":
                p = person.lazy_connect(p._pk)
            await call(p.name, "set", value)
            await call(p.email, "set", value)
            await call(p, "hmset", city=value, badge=value)
            await call(p.note, "set", value)
        for field in (p.name, p.email, p.city, p.badge, p.note):
            assert await call(field, "proxy_get") == text, value
        assert await call.list(person.collection(name=value, city=value)) == [p._pk], value
        assert (await call(person, "get", email=value, badge=value)) == p
        assert_indexes_right(raw, person)
        await call(p, "delete")
    assert set(keyspace(raw)) == {"spec:person:max_pk"}


@pytest.mark.parametrize("value", [None, True, False, object(), ["a"], ("a",), {"a": 1}, 1j])
async def test_value_refused_by_redis_py_changes_nothing(call, person, raw, value):
    p = await call.create(person, name="n", email="e", note="o", city="c", badge="b", age=1)
    before = keyspace(raw)
    for handle in (p, person.lazy_connect(1)):
        for target, command, args, kwargs in [
            (handle.name, "set", (value,), {}),
            (handle.name, "getset", (value,), {}),
            (handle.name, "append", (value,), {}),
            (handle.email, "set", (value,), {}),
            (handle.note, "set", (value,), {}),
            (handle.city, "hset", (value,), {}),
            (handle.badge, "hset", (value,), {}),
            (handle.age, "hset", (value,), {}),
            (handle, "hmset", (), {"age": 2, "city": value}),
            (handle, "hmset", (), {"age": value}),
        ]:
            with pytest.raises(DataError):
                await call(target, command, *args, **kwargs)
    assert keyspace(raw) == before


async def test_bytes_that_are_not_text_are_stored_by_a_plain_field_and_refused_by_its_getter(call, person, raw):
    p = await call.create(person, note="x")
    assert await call(p.note, "set", b"\xff\xfe") is True
    assert await call(p.age, "hset", b"\xff") == 1
    for target, command in [(p.note, "get"), (p.age, "hget"), (p, "hgetall")]:
        with pytest.raises(UnicodeDecodeError):
            await call(target, command)
    assert await call(p.note, "strlen") == 2
    await call(p, "delete")
    assert set(keyspace(raw)) == {"spec:person:max_pk"}


async def test_pks_of_any_type_become_text(call, database, raw):
    hosted_by = database

    class Odd(model.RedisModel):
        database = hosted_by
        pk = fields.PKField()
        name = fields.StringField(indexable=True)

    for value, text in [
        ("a:b", "a:b"), (0, "0"), (1.5, "1.5"), (b"bytes", "bytes"), ("é*?[", "é*?["), (" ", " "), ("\n", "\n"),
        (Mixed.GREEN, "green"), (False, "False"),
    ]:  # fmt: skip
        p = await call.create(Odd, pk=value, name="same")
        assert await call(p.pk, "get") == text
        assert (await call(Odd, "get", value)) == p == (await call(Odd, "get", pk=text))
        assert raw.get(f":odd:{text}:name") == "same"
    assert_indexes_right(raw, Odd)
    for found in await call.list(Odd.instances(name="same")):
        await call(found, "delete")
    assert keyspace(raw) == {}


async def test_pk_field_may_override_normalize(call, database, raw):
    hosted_by = database

    class LowerPK(fields.PKField):
        def normalize(self, value):
            return super().normalize(value).lower()

    class Country(model.RedisModel):
        database = hosted_by
        code = LowerPK()
        name = fields.StringField(indexable=True)

    await call.create(Country, code="FR", name="France")
    assert raw.smembers(":country:collection") == {"fr"}
    assert (await call(Country, "get", "Fr"))._pk == "fr"
    assert (await call(Country, "get", code="FR", name="France"))._pk == "fr"
    assert await call(Country, "exists", pk="fR") is True
    assert await call(Country.get_field("code"), "exists", "FR") is True
    assert await call.list(Country.collection(code="FR")) == ["fr"]
    assert Country.lazy_connect("FR")._pk == "fr"
    found = Country.afrom_pks(["FR"]) if call.is_async else Country.from_pks(["FR"])
    assert [p._pk for p in await call.list(found)] == ["fr"]
    p = Country()
    await call(p.code, "set", "DE")
    assert p._pk == "de"


def test_result_of_from_python_is_indexed(database, raw):
    class Trimmed(fields.StringField):
        def from_python(self, value):
            return super().from_python(value).strip()

    hosted_by = database

    class Thing(model.RedisModel):
        database = hosted_by
        f = Trimmed(indexable=True)

    p = Thing(f=" x ")
    assert raw.smembers(":thing:f:x") == {"1"}
    p.f.set("y ")
    p.f.delete()
    assert set(keyspace(raw)) == {":thing:collection", ":thing:max_pk"}
