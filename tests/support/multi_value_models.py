"""Helpers of the tests of multi-value fields: models, and the expected index entries."""

from __future__ import annotations

from typing import Any

from tenantlimpyd import fields, model
from tenantlimpyd.indexes import EqualIndex

KINDS = {"list": "ListField", "set": "SetField", "zset": "SortedSetField", "hash": "HashField"}


def make_bag(hosted_by: Any) -> Any:
    """Return a model with a plain, an indexed and a unique field of each kind (a hash can't be unique)."""

    class Bag(model.RedisModel):
        database = hosted_by
        namespace = "spec"
        note = fields.StringField()
        list_plain = fields.ListField()
        list_indexed = fields.ListField(indexable=True)
        list_unique = fields.ListField(unique=True)
        set_plain = fields.SetField()
        set_indexed = fields.SetField(indexable=True)
        set_unique = fields.SetField(unique=True)
        zset_plain = fields.SortedSetField()
        zset_indexed = fields.SortedSetField(indexable=True)
        zset_unique = fields.SortedSetField(unique=True)
        hash_plain = fields.HashField()
        hash_indexed = fields.HashField(indexable=True)

    return Bag


def make_folded(hosted_by: Any) -> Any:
    """Return a model whose indexes ignore case."""
    folding = EqualIndex.configure(transform=str.lower)

    class Folded(model.RedisModel):
        database = hosted_by
        namespace = "spec"
        note = fields.StringField()
        list_indexed = fields.ListField(indexable=True, indexes=[folding])
        set_indexed = fields.SetField(indexable=True, indexes=[folding])
        zset_indexed = fields.SortedSetField(indexable=True, indexes=[folding])
        hash_indexed = fields.HashField(indexable=True, indexes=[folding])

    return Folded


def held(client: Any, key: str) -> Any:
    """Return the content of a key, whatever its type."""
    match client.type(key):
        case "list":
            return client.lrange(key, 0, -1)
        case "set":
            return client.smembers(key)
        case "zset":
            return dict(client.zrange(key, 0, -1, withscores=True))
        case "hash":
            return client.hgetall(key)
        case "string":
            return client.get(key)
    return None


def assert_entries_right(client: Any, cls: Any, *, folded: bool = False) -> None:
    """Compare the index entries with those that the content of existing objects requires."""
    wanted: dict[str, set[str]] = {}
    known = {f"{cls._name}:collection", f"{cls._name}:max_pk"}
    for pk in client.smembers(f"{cls._name}:collection"):
        for name, field in cls._class_fields.items():
            key = f"{cls._name}:{pk}:{name}"
            known.add(key)
            if not field.indexable:
                continue
            content = held(client, key) or ()
            for value in content:
                subkey, text = (f"{value}:", content[value]) if isinstance(field, fields.HashField) else ("", value)
                text = text.lower() if folded else text
                wanted.setdefault(f"{cls._name}:{name}:{subkey}{text}", set()).add(pk)
    there = {key: client.smembers(key) for key in client.scan_iter(count=10_000) if key not in known}
    assert there == wanted


def everything(client: Any) -> dict[str, Any]:
    """Return all keys with their content."""
    return {key: held(client, key) for key in client.scan_iter(count=10_000)}
