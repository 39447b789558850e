"""Many commands in one trip, with a check for each reply."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from integration.isolation.shared.clerk import Clerk, Wrong
from integration.isolation.shared.spots import KEYS, Spot

__all__ = ["batch", "fill"]

Check = Callable[[Any], None]


def fill(clerk: Clerk, spot: Spot, pipeline: Any, number: int, *, mistakes: bool = True) -> list[Check]:
    """Queue commands in a pipeline of any kind; return a check for each reply."""
    tenant = spot.tenant
    checks: list[Check] = []

    def expect(what: str, expected: Any) -> None:
        checks.append(lambda reply: clerk.compare(what, expected, reply))

    for _ in range(number):
        chance = clerk.chooser.randrange(20 if mistakes else 19)
        if chance < 8:
            key = clerk.chooser.randrange(KEYS)
            pipeline.get(f"me:{key}")
            expect("GET", f"{tenant}:{key}")
        elif chance < 12:
            text = clerk.fresh()
            pipeline.echo(text)
            expect("ECHO", text)
        elif chance < 15:
            pipeline.hget("hash", "me")
            expect("HGET", tenant)
        elif chance == 15:
            pipeline.lrange("list", 0, -1)
            expect("LRANGE", [f"{tenant}:{each}" for each in range(3)])
        elif chance == 16:
            pipeline.mget("me:0", "nothing", "me:1")
            expect("MGET", [f"{tenant}:0", None, f"{tenant}:1"])
        elif chance == 17:
            pipeline.set("last", clerk.fresh())
            expect("SET", True)
        elif chance == 18:
            field = clerk.count()
            pipeline.hincrby("hits", field, 1)
            checks.append(functools.partial(clerk.counted, field))
        else:
            pipeline.lpush("me:0", tenant)
            expect("LPUSH on text", Wrong())
    return checks


async def batch(clerk: Clerk, spot: Spot) -> None:
    """A pipeline of redis-py's, as one MULTI/EXEC or not."""
    number = clerk.chooser.choice([2, 30, 200, 500])
    async with clerk.entered(clerk.client.pipeline(transaction=clerk.chooser.random() < 0.3)) as pipeline:
        checks = fill(clerk, spot, pipeline, number)
        replies = await clerk.settle(pipeline.execute(raise_on_error=False))
    for check, reply in zip(checks, replies, strict=True):
        check(reply)
