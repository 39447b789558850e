"""Find disagreements of indexes and values in the raw keyspace, by limpyd's key layout and without either library."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import attrs
import redis

from integration.atomicity.schema import BASE, UNIQUE

__all__ = ["Audit", "audit"]

Place = tuple[str, str, float | None]
"""An entry: the index's key, the member, and its score; None in a set."""

TEXT = ":TEXT-RANGE-SEPARATOR:"
LINKS = ("boss", "buddy", "friends", "chain", "rated")
FIELDS = ("email", "badge", "handle", "city", "title", "age", "tags", "log", "marks", "info", *LINKS)
IN_THE_HASH = ("badge", "city", "age", "boss")
OF_ONE_KEY = ("note", "hash", *(field for field in FIELDS if field not in IN_THE_HASH))


@attrs.frozen
class Audit:
    """What was found.

    Attributes:
        objects: how many there are.
        entries: how many index entries there are.
        stale: entries that no stored value calls for.
        missing: entries that a stored value calls for, and are not there.
        owners: unique values that more than one object has.
        orphans: keys of objects that are not there.
    """

    objects: int
    entries: int
    stale: list[Place]
    missing: list[Place]
    owners: list[tuple[str, str, tuple[str, ...]]]
    orphans: list[str]

    @property
    def wrong(self) -> int:
        """How many things are wrong."""
        return len(self.stale) + len(self.missing) + len(self.owners) + len(self.orphans)

    def __str__(self) -> str:
        return (
            f"{self.objects} objects, {self.entries} index entries: {len(self.stale)} stale, {len(self.missing)} missing, "
            f"{len(self.owners)} unique values with two owners, {len(self.orphans)} keys without their object"
        )


def audit(client: redis.Redis) -> Audit:
    """Compare every index entry with every value. Nobody may write meanwhile."""
    live = client.smembers(f"{BASE}:collection")
    wanted: set[Place] = set()
    owners: dict[tuple[str, str], list[str]] = defaultdict(list)
    for pk in sorted(live):
        for field, values in _values(client, pk).items():
            for value in values:
                wanted.add(_entry(pk, field, value))
                if field in UNIQUE:
                    owners[field, value].append(pk)
    there, orphans = _there(client, live)
    return Audit(
        objects=len(live),
        entries=len(there),
        stale=sorted(there - wanted),
        missing=sorted(wanted - there),
        owners=[(field, value, tuple(pks)) for (field, value), pks in owners.items() if len(pks) > 1],
        orphans=orphans,
    )


def _values(client: redis.Redis, pk: str) -> dict[str, list[Any]]:
    """Return an object's indexed values by field; of ``info``, pairs."""
    base = f"{BASE}:{pk}"
    one = {field: client.get(f"{base}:{field}") for field in ("email", "handle", "title", "buddy")}
    hashed = client.hmget(f"{base}:hash", *IN_THE_HASH)
    one |= dict(zip(IN_THE_HASH, hashed, strict=True))
    return {
        **{field: [value] for field, value in one.items() if value is not None},
        "tags": list(client.smembers(f"{base}:tags")),
        "log": client.lrange(f"{base}:log", 0, -1),
        "marks": client.zrange(f"{base}:marks", 0, -1),
        "friends": list(client.smembers(f"{base}:friends")),
        "chain": client.lrange(f"{base}:chain", 0, -1),
        "rated": client.zrange(f"{base}:rated", 0, -1),
        "info": list(client.hgetall(f"{base}:info").items()),
    }


def _entry(pk: str, field: str, value: Any) -> Place:
    if field in ("handle", "title"):
        return f"{BASE}:{field}:text-range", f"{value}{TEXT}{pk}", 0.0
    if field == "age":
        return f"{BASE}:{field}:number-range", pk, float(value)
    if field == "info":
        return f"{BASE}:{field}:{value[0]}:{value[1]}", pk, None
    return f"{BASE}:{field}:{value}", pk, None


def _there(client: redis.Redis, live: set[str]) -> tuple[set[Place], list[str]]:
    """Return all index entries, and the keys of objects that are not live. Locks and counters are neither."""
    entries: set[Place] = set()
    orphans = []
    for key in client.scan_iter(count=1000):
        first, _, rest = key.removeprefix(f"{BASE}:").partition(":")
        if first in FIELDS and rest:
            if client.type(key) == "zset":
                entries |= {(key, member, score) for member, score in client.zrange(key, 0, -1, withscores=True)}
            else:
                entries |= {(key, member, None) for member in client.smembers(key)}
        elif rest in OF_ONE_KEY and first not in live:
            orphans.append(key)
    return entries, sorted(orphans)
