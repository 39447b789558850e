"""The check of whole servers at the end: every key is its tenant's, and no command ran more often than it should."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import redis

from integration.isolation.shared.ledger import Ledger, Mark
from integration.isolation.shared.sites import Site, big, by_server, named

__all__ = ["check_keyspaces"]

_READS = {
    "string": lambda pipeline, key: pipeline.get(key),
    "hash": lambda pipeline, key: pipeline.hgetall(key),
    "set": lambda pipeline, key: pipeline.smembers(key),
    "list": lambda pipeline, key: pipeline.lrange(key, 0, -1),
    "zset": lambda pipeline, key: pipeline.zrange(key, 0, -1),
}


def check_keyspaces(sites: Iterable[Site], ledger: Ledger) -> list[str]:
    """Return descriptions of keys that are misplaced or missing."""
    found: list[str] = []
    marks = {name: attrs.evolve(mark, acknowledged=set(mark.acknowledged)) for name, mark in ledger.marks.items()}
    for client, there in by_server(sites):
        owners = {site.db: site.tenant for site in there}
        for db in sorted(int(name[2:]) for name in client.info("keyspace")):
            if db not in owners:
                found.append(f"db {db} has keys, and is no tenant's")
                continue
            for key, content in _contents(client, db):
                found += _strays(owners[db], key, content)
                if key == "hits":
                    found += _miscounted(owners[db], content, marks, ledger)
    for name, mark in marks.items():
        found += [f"{name}|{number} was acknowledged, and never ran" for number in sorted(mark.acknowledged)[:10]]
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


def _miscounted(tenant: str, counts: dict[str, str], marks: dict[str, Mark], ledger: Ledger) -> list[str]:
    """Return commands that ran more than once or were never sent. Remove those that ran from the marks."""
    found = []
    for field, count in counts.items():
        name, _, number = field.rpartition("|")
        mark = marks.get(name)
        if mark is None or not 0 < int(number) <= mark.attempted:
            found.append(f"{field} of {tenant} was never sent")
            continue
        acknowledged = int(number) in mark.acknowledged
        ledger.executed["acknowledged" if acknowledged else "failed"] += int(count)
        mark.acknowledged.discard(int(number))
        if count != "1":
            found.append(f"{field} of {tenant} ran {count} times, {'acknowledged' if acknowledged else 'and failed'}")
    return found
