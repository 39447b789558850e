"""A look at whole servers, after all: every key of every database must be its own tenant's, and every count possible."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import redis

from integration.isolation.shared.ledger import Ledger
from integration.isolation.shared.spots import Spot, big, by_server, named

__all__ = ["take_inventory"]

_READS = {
    "string": lambda pipeline, key: pipeline.get(key),
    "hash": lambda pipeline, key: pipeline.hgetall(key),
    "set": lambda pipeline, key: pipeline.smembers(key),
    "list": lambda pipeline, key: pipeline.lrange(key, 0, -1),
    "zset": lambda pipeline, key: pipeline.zrange(key, 0, -1),
}


def take_inventory(spots: Iterable[Spot], ledger: Ledger) -> list[str]:
    """Return what is in the wrong place, or is not there, in words."""
    found: list[str] = []
    marks = dict(ledger.marks)
    for client, there in by_server(spots):
        owners = {spot.db: spot.tenant for spot in there}
        for db in sorted(int(name[2:]) for name in client.info("keyspace")):
            if db not in owners:
                found.append(f"db {db} has keys, and is no tenant's")
                continue
            for key, content in _contents(client, db):
                found += _strays(owners[db], key, content)
                if key == "hits":
                    found += _miscounted(owners[db], content, marks)
    found += [f"{field} is nowhere: it was told {mark.told}" for field, mark in marks.items() if mark.told]
    return found


def _contents(client: redis.Redis, db: int) -> Iterable[tuple[str, Any]]:
    with client.pipeline(transaction=False) as pipeline:  # it has a connection of its own
        keys = pipeline.execute_command("SELECT", db).keys().execute()[1]
        pipeline.execute_command("SELECT", db)
        for key in keys:
            pipeline.type(key)
        kinds = pipeline.execute()[1:]
        pipeline.execute_command("SELECT", db)
        for key, kind in zip(keys, kinds, strict=True):
            _READS[kind](pipeline, key)
        return list(zip(keys, pipeline.execute()[1:], strict=True))


def _strays(tenant: str, key: str, content: Any) -> list[str]:
    if key == "big" and content == big(tenant):  # the most of all there is to read
        return []
    if others := (named(key) | named(str(content))) - {tenant}:
        return [f"{key!r} of {tenant} has to do with {', '.join(sorted(others))}"]
    return []


def _miscounted(tenant: str, counts: dict[str, str], marks: dict[str, Any]) -> list[str]:
    found = []
    for field, count in counts.items():
        mark = marks.pop(field, None)
        if mark is None:
            found.append(f"{field} of {tenant} was never written")
        elif not mark.told <= int(count) <= mark.tried:
            found.append(f"{field} of {tenant} stands at {count}: it was told {mark.told} of {mark.tried}")
    return found
