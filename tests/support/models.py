"""Helpers of the tests of models: models, the keyspace, and the expected index entries."""

from __future__ import annotations

from typing import Any

from tenantlimpyd import fields, model


def define(host: Any, name: str = "Thing", bases: tuple[type, ...] = (model.RedisModel,), /, **body: Any) -> Any:
    """Return a model class with this body, bound to a host."""
    return model.MetaRedisModel(name, bases, {"database": host, **body})


def make_person(hosted_by: Any) -> Any:
    """Return a model with a field of each kind."""

    class Person(model.RedisModel):
        database = hosted_by
        namespace = "spec"
        name = fields.StringField(indexable=True)
        email = fields.StringField(unique=True)
        note = fields.StringField()
        city = fields.InstanceHashField(indexable=True)
        badge = fields.InstanceHashField(unique=True)
        age = fields.InstanceHashField()

    return Person


def content(client: Any, key: Any) -> Any:
    """Return the content of a key, whatever its type."""
    kind = client.type(key)
    kind = kind.decode() if isinstance(kind, bytes) else kind
    if kind == "string":
        return client.get(key)
    if kind == "hash":
        return client.hgetall(key)
    assert kind == "set", f"no key of a model is a {kind}"
    return set(client.smembers(key))


def keyspace(client: Any) -> dict[Any, Any]:
    """Return all keys of a database with their content."""
    return {key: content(client, key) for key in client.scan_iter(count=1000)}


def indexed(client: Any, cls: Any) -> dict[str, set[str]]:
    """Return the index sets that the stored values of a model require (equality, no prefix, key or transform)."""
    wanted: dict[str, set[str]] = {}
    for pk in client.smembers(f"{cls._name}:collection"):
        for name, field in cls._class_fields.items():
            if not field.indexable:
                continue
            if isinstance(field, fields.InstanceHashField):
                value = client.hget(f"{cls._name}:{pk}:hash", name)
            else:
                value = client.get(f"{cls._name}:{pk}:{name}")
            if value is not None:
                wanted.setdefault(f"{cls._name}:{name}:{value}", set()).add(pk)
    return wanted


def assert_indexes_right(client: Any, cls: Any) -> None:
    """Compare the index sets with those that the values require."""
    there = {
        key: set(client.smembers(key))
        for key in client.scan_iter(count=1000, _type="set")
        if key != f"{cls._name}:collection"
    }
    assert there == indexed(client, cls)
