"""Tenants whose every key and value tells whose it is, and a look at whole servers for those that are elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tenantlimpyd import DatabaseRouter, RedisDatabase

__all__ = ["KEYS", "Plot", "found_hits", "make_router", "seed", "strays"]

KEYS = 32
"""How many keys of each kind a tenant has; their names are the same for all."""


@attrs.frozen
class Plot:
    """Where one tenant lives.

    Attributes:
        tenant: the tenant id.
        settings: how to connect, maybe through a proxy.
        direct: how to connect to the server itself.
        db, prefix: the keyspace there.
    """

    tenant: str
    settings: Mapping[str, Any]
    direct: Mapping[str, Any]
    db: int
    prefix: str = ""


def make_router(plots: Iterable[Plot]) -> DatabaseRouter:
    """Return a router over the plots; lost commands are tried once more, without a pause, and no breaker refuses any."""
    return DatabaseRouter(
        {
            plot.tenant: RedisDatabase(
                **plot.settings,
                db=plot.db,
                key_prefix=plot.prefix,
                socket_timeout=5,
                socket_connect_timeout=5,
                retry=Retry(NoBackoff(), 1),
                breaker=None,
            )
            for plot in plots
        }
    )


def seed(plots: Iterable[Plot]) -> None:
    """Store what reads expect."""
    for plot in plots:
        with redis.Redis(**plot.direct, db=plot.db) as client, client.pipeline(transaction=False) as pipeline:
            for number in range(KEYS):
                pipeline.set(f"{plot.prefix}me:{number}", f"{plot.tenant}:{number}")
                pipeline.set(f"{plot.prefix}own:{plot.tenant}:{number}", f"{plot.tenant}:{number}")
            pipeline.execute()


def strays(plots: Iterable[Plot]) -> list[str]:
    """Look at every key of every database of the plots' servers; return what is not where it belongs, in words."""
    by_server: dict[tuple[Any, ...], list[Plot]] = {}
    for plot in plots:
        by_server.setdefault((plot.direct["host"], plot.direct["port"]), []).append(plot)
    found: list[str] = []
    for there in by_server.values():
        with redis.Redis(**there[0].direct) as client:
            databases = [int(name[2:]) for name in client.info("keyspace")]
        for db in databases:
            with redis.Redis(**there[0].direct, db=db, decode_responses=True) as client:
                found += _strays_in(client, db, [plot for plot in there if plot.db == db])
    return found


def _strays_in(client: redis.Redis, db: int, plots: list[Plot]) -> list[str]:
    found = []
    for key in client.scan_iter(count=1000):
        owners = [plot for plot in plots if key.startswith(plot.prefix)]
        if len(owners) != 1:
            found.append(f"db {db}: key {key!r} is in no tenant's keyspace")
            continue
        (owner,) = owners
        found += [
            f"db {db}: key {key!r} of {owner.tenant} holds {word!r}"
            for word in _words(client, key)
            if not _belongs(word, owner.tenant)
        ]
        name = key.removeprefix(owner.prefix)
        if name.startswith("own:") and not name.startswith(f"own:{owner.tenant}:"):
            found.append(f"db {db}: key {key!r} is of another tenant than {owner.tenant}")
    return found


def _words(client: redis.Redis, key: str) -> list[str]:
    """Return every word in a key's content that names a tenant."""
    kind = client.type(key)
    if kind == "hash":
        return list(client.hkeys(key))
    if kind == "set":
        return list(client.smembers(key))
    return [client.get(key)]


def _belongs(word: str, tenant: str) -> bool:
    return word == tenant or word.startswith((f"{tenant}:", f"{tenant}-"))


def found_hits(plots: Iterable[Plot]) -> Counter[str]:
    """Return how many writes each tenant's keyspace has counted; no later write can hide an earlier one."""
    hits: Counter[str] = Counter()
    for plot in plots:
        with redis.Redis(**plot.direct, db=plot.db, decode_responses=True) as client:
            for number in range(KEYS):
                for count in client.hvals(f"{plot.prefix}hits:{number}"):
                    hits[plot.tenant] += int(count)
    return hits
