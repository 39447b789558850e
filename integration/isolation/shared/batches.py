"""Pipelines of many commands, with a check for each reply."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from integration.isolation.shared.checked_worker import CheckedWorker, Wrong
from integration.isolation.shared.sites import KEYS, Site

__all__ = ["batch", "fill"]

Check = Callable[[Any], None]


def fill(worker: CheckedWorker, site: Site, pipeline: Any, number: int, *, mistakes: bool = True) -> list[Check]:
    """Queue commands in a pipeline of any kind; return a check for each reply."""
    tenant = site.tenant
    checks: list[Check] = []

    def expect(what: str, expected: Any) -> None:
        checks.append(lambda reply: worker.compare(what, expected, reply))

    for _ in range(number):
        chance = worker.chooser.randrange(20 if mistakes else 19)
        if chance < 8:
            key = worker.chooser.randrange(KEYS)
            pipeline.get(f"me:{key}")
            expect("GET", f"{tenant}:{key}")
        elif chance < 12:
            text = worker.fresh()
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
            pipeline.set("last", worker.fresh())
            expect("SET", True)
        elif chance == 18:
            field = worker.count()
            pipeline.hincrby("hits", field, 1)
            checks.append(functools.partial(worker.counted, field))
        else:
            pipeline.lpush("me:0", tenant)
            expect("LPUSH on text", Wrong())
    return checks


async def batch(worker: CheckedWorker, site: Site) -> None:
    """A pipeline of redis-py's, as one MULTI/EXEC or not."""
    number = worker.chooser.choice([2, 30, 200, 500])
    async with worker.entered(worker.client.pipeline(transaction=worker.chooser.random() < 0.3)) as pipeline:
        checks = fill(worker, site, pipeline, number)
        replies = await worker.settle(pipeline.execute(raise_on_error=False))
    for check, reply in zip(checks, replies, strict=True):
        check(reply)
