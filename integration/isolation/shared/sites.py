"""Sites: where more than a thousand tenants have their databases, and what these hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tenantlimpyd import Budget, DatabaseRouter, RedisDatabase

__all__ = ["BINARY", "KEYS", "LIMITED", "Site", "big", "by_server", "make_router", "make_sites", "named", "seed"]

KEYS = 8
"""The number of ``me:`` keys of a tenant. Their names are the same for all tenants."""
LIMITED = "limited"
"""The ACL user whose rights are revoked and granted."""
BINARY = bytes(range(256))
_BIG_TIMES = 4000
_NAME = re.compile(r"ten-[a-z]\d{4}")


@attrs.frozen
class Site:
    """The place of a tenant's database, and the faults that can happen there.

    Attributes:
        tenant: the tenant id, which all its values name.
        settings: how to connect, ``db`` aside; equal for the tenants of a group, which can share connections.
        direct: how to connect to the server itself.
        db: the number of its database.
        retries: how often redis-py tries once more.
        limited: its user's rights arrived and go.
        beyond: the server has no such database.
    """

    tenant: str
    settings: Mapping[str, Any]
    direct: Mapping[str, Any]
    db: int
    retries: int = 0
    limited: bool = False
    beyond: bool = False


def make_sites(steady: Mapping[str, Any], shaky: Mapping[str, Any], through: Mapping[str, Any]) -> list[Site]:
    """Return tenants of six groups on two servers.

    Args:
        steady: how to connect to the first server.
        shaky: how to connect to the second one.
        through: how to connect to that through a proxy with faults.
    """
    patient = {**steady, "socket_timeout": 5, "socket_connect_timeout": 5}
    impatient = {**steady, "socket_timeout": 0.03, "socket_connect_timeout": 1}
    torn = {**through, "socket_timeout": 0.1, "socket_connect_timeout": 1}
    limited = {**shaky, "username": LIMITED, "password": "pw", "socket_timeout": 1, "socket_connect_timeout": 1}
    return [
        *(Site(f"ten-a{db:04}", patient, steady, db, retries=1) for db in range(600)),
        *(Site(f"ten-b{db:04}", impatient, steady, db) for db in range(600, 800)),
        *(Site(f"ten-c{db:04}", torn, shaky, db, retries=1) for db in range(300)),
        *(Site(f"ten-d{db:04}", limited, shaky, db, limited=True) for db in range(300, 500)),
        *(Site(f"ten-x{db:04}", patient, steady, db, retries=1, beyond=True) for db in range(5000, 5003)),
        *(Site(f"ten-y{db:04}", torn, shaky, db, retries=1, beyond=True) for db in range(5000, 5002)),
    ]


def make_router(sites: Iterable[Site], budget: Budget | None = None) -> DatabaseRouter:
    """Return a router over the sites. There is no circuit breaker, which would keep the faults away."""
    return DatabaseRouter(
        {
            site.tenant: RedisDatabase(
                **site.settings, db=site.db, retry=Retry(NoBackoff(), site.retries), breaker=None
            )
            for site in sites
        },
        budget=budget,
    )


def seed(sites: Iterable[Site]) -> None:
    """Store the values that reads expect."""
    for client, there in by_server(sites):
        with client.pipeline(transaction=False) as pipeline:
            for site in there:
                tenant = site.tenant
                pipeline.execute_command("SELECT", site.db)
                pipeline.mset({f"me:{number}": f"{tenant}:{number}" for number in range(KEYS)})
                pipeline.mset({f"own:{tenant}:{number}": tenant for number in range(KEYS)})
                pipeline.mset({"big": big(tenant), "binary": BINARY + tenant.encode()})
                pipeline.hset("hash", mapping={"me": tenant, "again": tenant})
                pipeline.rpush("list", *[f"{tenant}:{number}" for number in range(3)])
                pipeline.sadd("set", *[f"{tenant}:{number}" for number in range(3)])
                pipeline.zadd("zset", {f"{tenant}:{number}": number for number in range(3)})
            pipeline.execute()


def big(tenant: str) -> str:
    """Return a value of 40,000 bytes, which takes several reads of a socket."""
    return f"{tenant};" * _BIG_TIMES


def named(text: str) -> set[str]:
    """Return the tenants that a text names."""
    return set(_NAME.findall(text))


def by_server(sites: Iterable[Site]) -> Iterator[tuple[redis.Redis, list[Site]]]:
    """Iterate over each server's client, and the sites there that have a database."""
    groups: dict[tuple[Any, ...], list[Site]] = {}
    for site in sites:
        if not site.beyond:
            groups.setdefault((site.direct["host"], site.direct["port"]), []).append(site)
    for there in groups.values():
        # More than UTF-8: what isn't text must be read too.
        with redis.Redis(
            **there[0].direct,
            decode_responses=True,
            encoding_errors="surrogateescape",
            socket_timeout=60,
        ) as client:
            yield client, there
