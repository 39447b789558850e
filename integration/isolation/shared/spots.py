"""A thousand and more tenants, a database each, on few connections: where they live and what they hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tenantlimpyd import Budget, DatabaseRouter, RedisDatabase

__all__ = ["BINARY", "KEYS", "LIMITED", "Spot", "big", "by_server", "make_router", "named", "seed", "spots_on"]

KEYS = 8
"""How many ``me:`` keys a tenant has; their names are the same for all."""
LIMITED = "limited"
"""The ACL user whose rights come and go."""
BINARY = bytes(range(256))
_BIG_TIMES = 4000
_NAME = re.compile(r"ten-[a-z]\d{4}")


@attrs.frozen
class Spot:
    """Where one tenant lives, and what may go wrong there.

    Attributes:
        tenant: the tenant id, which all its values name.
        settings: how to connect, ``db`` aside; equal for the tenants of a group, which can share connections.
        direct: how to connect to the server itself.
        db: the number of its database.
        retries: how often redis-py tries once more.
        limited: its user's rights come and go.
        beyond: the server has no such database.
    """

    tenant: str
    settings: Mapping[str, Any]
    direct: Mapping[str, Any]
    db: int
    retries: int = 0
    limited: bool = False
    beyond: bool = False


def spots_on(steady: Mapping[str, Any], shaky: Mapping[str, Any], through: Mapping[str, Any]) -> list[Spot]:
    """Return tenants of six groups on two servers.

    Args:
        steady: how to connect to the first server.
        shaky: how to connect to the second one.
        through: how to connect to that through a proxy with faults.
    """
    patient = {**steady, "socket_timeout": 5, "socket_connect_timeout": 5}
    hasty = {**steady, "socket_timeout": 0.03, "socket_connect_timeout": 1}
    torn = {**through, "socket_timeout": 0.1, "socket_connect_timeout": 1}
    limited = {**shaky, "username": LIMITED, "password": "pw", "socket_timeout": 1, "socket_connect_timeout": 1}
    return [
        *(Spot(f"ten-a{db:04}", patient, steady, db, retries=1) for db in range(600)),
        *(Spot(f"ten-b{db:04}", hasty, steady, db) for db in range(600, 800)),
        *(Spot(f"ten-c{db:04}", torn, shaky, db, retries=1) for db in range(300)),
        *(Spot(f"ten-d{db:04}", limited, shaky, db, limited=True) for db in range(300, 500)),
        *(Spot(f"ten-x{db:04}", patient, steady, db, retries=1, beyond=True) for db in range(5000, 5003)),
        *(Spot(f"ten-y{db:04}", torn, shaky, db, retries=1, beyond=True) for db in range(5000, 5002)),
    ]


def make_router(spots: Iterable[Spot], budget: Budget | None = None) -> DatabaseRouter:
    """Return a router over the spots. A circuit breaker would refuse to meet the faults: there is none."""
    return DatabaseRouter(
        {
            spot.tenant: RedisDatabase(
                **spot.settings, db=spot.db, retry=Retry(NoBackoff(), spot.retries), breaker=None
            )
            for spot in spots
        },
        budget=budget,
    )


def seed(spots: Iterable[Spot]) -> None:
    """Store what reads expect."""
    for client, there in by_server(spots):
        with client.pipeline(transaction=False) as pipeline:
            for spot in there:
                tenant = spot.tenant
                pipeline.execute_command("SELECT", spot.db)
                pipeline.mset({f"me:{number}": f"{tenant}:{number}" for number in range(KEYS)})
                pipeline.mset({f"own:{tenant}:{number}": tenant for number in range(KEYS)})
                pipeline.mset({"big": big(tenant), "binary": BINARY + tenant.encode()})
                pipeline.hset("hash", mapping={"me": tenant, "again": tenant})
                pipeline.rpush("list", *[f"{tenant}:{number}" for number in range(3)])
                pipeline.sadd("set", *[f"{tenant}:{number}" for number in range(3)])
                pipeline.zadd("zset", {f"{tenant}:{number}": number for number in range(3)})
            pipeline.execute()


def big(tenant: str) -> str:
    """Return a value of 40,000 bytes, more than one read of a socket."""
    return f"{tenant};" * _BIG_TIMES


def named(text: str) -> set[str]:
    """Return the tenants that a text names."""
    return set(_NAME.findall(text))


def by_server(spots: Iterable[Spot]) -> Iterator[tuple[redis.Redis, list[Spot]]]:
    """Iterate over each server's client, and the spots there that have a database."""
    groups: dict[tuple[Any, ...], list[Spot]] = {}
    for spot in spots:
        if not spot.beyond:
            groups.setdefault((spot.direct["host"], spot.direct["port"]), []).append(spot)
    for there in groups.values():
        # More than UTF-8: what isn't text must be read too.
        with redis.Redis(
            **there[0].direct,
            decode_responses=True,
            encoding_errors="surrogateescape",
            socket_timeout=60,
        ) as client:
            yield client, there
