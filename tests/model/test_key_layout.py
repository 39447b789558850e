"""The names and types of keys are exactly those of limpyd."""

from __future__ import annotations

import pytest

from tenantlimpyd import fields, model
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.indexes import EqualIndex
from tests.support.models import keyspace, make_person

VALUES = {"name": "Ann", "email": "a@x:y", "note": "n", "city": "Rome", "age": 30}
LAYOUT = {
    "spec:person:collection": {"1"},
    "spec:person:max_pk": "1",
    "spec:person:1:name": "Ann",
    "spec:person:1:email": "a@x:y",
    "spec:person:1:note": "n",
    "spec:person:1:hash": {"city": "Rome", "age": "30"},
    "spec:person:name:Ann": {"1"},
    "spec:person:email:a@x:y": {"1"},
    "spec:person:city:Rome": {"1"},
}


async def test_keys_of_a_model_its_objects_and_indexes(call, person, raw):
    p = await call.create(person, **VALUES)
    assert keyspace(raw) == LAYOUT
    assert p.key == p.age.key == p.city.key == "spec:person:1:hash"
    assert p.name.key == "spec:person:1:name"
    assert person.collection_key() == "spec:person:collection"
    assert person.make_key("a", 1, "b") == "a:1:b"
    assert person.sort_wildcard() == "spec:person:*:hash"
    assert person.get_field("name").sort_wildcard == p.name.sort_wildcard == "spec:person:*:name"
    assert p.age.sort_wildcard == "spec:person:*:hash->age"


async def test_without_a_namespace_names_start_with_a_colon(call, database, raw):
    hosted_by = database

    class Plain(model.RedisModel):
        database = hosted_by

    p = await call.create(Plain)
    await call(p.pk, "get")
    assert keyspace(raw) == {":plain:collection": {"1"}, ":plain:max_pk": "1"}


async def test_index_key_has_prefix_and_key_before_the_value(call, database, raw):
    hosted_by = database

    class Ix(model.RedisModel):
        database = hosted_by
        namespace = "spec"
        pk = fields.PKField()
        eqp = fields.StringField(indexable=True, indexes=[EqualIndex.configure(prefix="pfx")])
        eqk = fields.StringField(indexable=True, indexes=[EqualIndex.configure(key="kk")])
        eqpk = fields.InstanceHashField(indexable=True, indexes=[EqualIndex.configure(prefix="pfx", key="kk")])
        eqt = fields.StringField(
            indexable=True, indexes=[EqualIndex, EqualIndex.configure(prefix="rev", transform=lambda v: v[::-1])]
        )

    await call.create(Ix, pk="1", eqp="V", eqk="V", eqpk="V", eqt="Vw")
    sets = {key for key, held in keyspace(raw).items() if isinstance(held, set)}
    assert sets == {
        "spec:ix:collection", "spec:ix:eqp:pfx:V", "spec:ix:eqk:kk:V", "spec:ix:eqpk:pfx:kk:V", "spec:ix:eqt:Vw",
        "spec:ix:eqt:rev:wV",
    }  # fmt: skip
    await call(await call(Ix, "get", "1"), "delete")
    assert keyspace(raw) == {}


@pytest.mark.parametrize("prefix", ["t1:", "glob*[x]?:", "{tag}", "é:"])
async def test_key_prefix_precedes_every_key_and_separates_tenants(call, raw, flushed_server, prefix):
    with (
        RedisDatabase(**flushed_server.settings, key_prefix=prefix) as one,
        RedisDatabase(**flushed_server.settings, key_prefix=f"{prefix}other:") as two,
    ):
        first, second = make_person(one), make_person(two)
        p = await call.create(first, **VALUES)
        assert keyspace(raw) == {prefix + key: held for key, held in LAYOUT.items()}
        assert p.name.key == f"{prefix}spec:person:1:name"
        assert p.city.sort_wildcard == f"{prefix}spec:person:*:hash->city"
        assert await call(second, "exists", name="Ann") is False
        q = await call.create(second, **VALUES)
        await call(q, "hmset", city="Oslo")
        await call(q.name, "append", "a")
        for cls, name in ((first, "Ann"), (second, "Anna")):
            assert await call.list(cls.collection(name=name)) == ["1"]
            assert await call.slice(cls.collection(name=name, email="a@x:y"), slice(0, 5)) == ["1"]
            found = await call(cls, "get", email="a@x:y")
            assert await call.scan(found, "scan_keys") == {
                f"spec:person:1:{e}" for e in ("name", "email", "note", "hash")
            }
            assert len(await call.scan(cls, "scan_model_keys")) == len(LAYOUT)
        await call(q, "delete")
        await call(p, "delete")
        assert set(keyspace(raw)) == {f"{prefix}spec:person:max_pk", f"{prefix}other:spec:person:max_pk"}
        await one.aclose()
        await two.aclose()
