"""Ways to ask Redis for something, each with what the tenant must be answered. Written once, for both modes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import redis
from redis.client import NEVER_DECODE

from integration.isolation.shared.batches import batch, fill
from integration.isolation.shared.clerk import Clerk, Wrong
from integration.isolation.shared.spots import BINARY, KEYS, Spot, big
from tenantlimpyd.operations import Command, Script

__all__ = ["BRIEF", "MIXED", "SINGLE"]

_LOOK = "return {ARGV[1], redis.call('GET', KEYS[1]), redis.call('HINCRBY', KEYS[2], ARGV[2], 1)}"


async def single(clerk: Clerk, spot: Spot) -> None:
    number = clerk.chooser.randrange(KEYS)
    clerk.compare("GET", f"{spot.tenant}:{number}", await clerk.settle(clerk.client.get(f"me:{number}")))


async def read(clerk: Clerk, spot: Spot) -> None:
    for _ in range(clerk.chooser.randrange(1, 4)):
        number = clerk.chooser.randrange(KEYS)
        clerk.compare("GET", f"{spot.tenant}:{number}", await clerk.settle(clerk.client.get(f"me:{number}")))
    text = clerk.fresh()
    clerk.compare("ECHO", text, await clerk.settle(clerk.client.echo(text)))


async def write(clerk: Clerk, spot: Spot) -> None:
    field = clerk.count()  # first what no later write hides
    clerk.counted(field, await clerk.settle(clerk.client.hincrby("hits", field, 1)))
    clerk.compare("SET", True, await clerk.settle(clerk.client.set("last", clerk.fresh())))


async def large(clerk: Clerk, spot: Spot) -> None:
    clerk.compare("a large GET", big(spot.tenant), await clerk.settle(clerk.client.get("big")))


async def binary(clerk: Clerk, spot: Spot) -> None:
    reply = await clerk.settle(clerk.client.execute_command("GET", "binary", **{NEVER_DECODE: True}))
    clerk.compare("GET of bytes", BINARY + spot.tenant.encode(), reply)


async def mistake(clerk: Clerk, spot: Spot) -> None:
    """A command that fails by itself: the connection stays good, and in its database."""
    try:
        answer = await clerk.settle(clerk.client.lpush("me:0", spot.tenant))
    except redis.ResponseError as error:
        if clerk.spot.beyond or not str(error).startswith("WRONGTYPE"):
            raise
        answer = error
    clerk.compare("LPUSH on text", Wrong(), answer)
    clerk.compare("GET", f"{spot.tenant}:0", await clerk.settle(clerk.client.get("me:0")))


async def script(clerk: Clerk, spot: Spot) -> None:
    text, field = clerk.fresh(), clerk.count()
    told, value, count = await clerk.call(
        clerk.database, "call_script", {"lua": _LOOK}, ["me:1", "hits"], [text, field]
    )
    clerk.compare("a script's argument", text, told)
    clerk.compare("a script's GET", f"{spot.tenant}:1", value)
    clerk.counted(field, count)


async def pop(clerk: Clerk, spot: Spot) -> None:
    """Blocking commands: one that waits in vain, one that need not wait."""
    clerk.compare("BLPOP of nothing", None, await clerk.settle(clerk.client.blpop("nothing", 0.01)))
    text = clerk.fresh()
    length = await clerk.settle(clerk.client.rpush("queue", text))
    clerk.compare("RPUSH", True, isinstance(length, int))
    found = await clerk.settle(clerk.client.blpop("queue", 0.01))
    if found is not None:  # another worker of the tenant was faster
        clerk.compare("BLPOP", ["queue", spot.tenant], [found[0], found[1].split("|")[0]])


async def scan(clerk: Clerk, spot: Spot) -> None:
    """A scan with other commands in between, mostly left half-way."""
    stop = clerk.chooser.randrange(KEYS + 1)
    keys = (clerk.database.ascan_keys if clerk.awaits else clerk.database.scan_keys)("own:*", count=5)
    seen = 0
    try:
        while seen < stop:
            key = await anext(keys, None) if clerk.awaits else next(keys, None)
            if key is None:
                break
            seen += 1
            clerk.compare("SCAN", spot.tenant, key.split(":")[1])
            if seen % 4 == 0:
                clerk.compare("GET in a scan", f"{spot.tenant}:2", await clerk.settle(clerk.client.get("me:2")))
    finally:
        if clerk.awaits:
            await keys.aclose()
        else:
            keys.close()


def some(clerk: Clerk, spot: Spot) -> list[str]:
    """Return tenants for work over many: the current one, and others by chance."""
    others = [] if spot.beyond else clerk.chooser.sample(list(clerk.known), min(5, len(clerk.known)))
    return list(dict.fromkeys([spot.tenant, *others]))


async def walk(clerk: Clerk, spot: Spot) -> None:
    """A walk over several tenants, whose connections go from one to the other and then back to all; now and then left."""
    tenants, leaves = some(clerk, spot), clerk.chooser.random() < 0.2
    router = clerk.router
    pages = (router.ascan_pages if clerk.awaits else router.scan_pages)(
        "own:*", count=5, tenants=tenants, on_error="collect"
    )
    async with clerk.entered(pages):
        while (page := await anext(pages, None) if clerk.awaits else next(pages, None)) is not None:
            tenant, keys = page
            clerk.compare("a walk", {tenant}, {key.split(":")[1] for key in keys}, tenant)
            if leaves:
                return
    for tenant, outcome in pages.outcomes.items():
        if outcome.error is not None:
            clerk.fail(outcome.error, clerk.known[tenant])
        else:
            clerk.compare("a whole walk", True, outcome.value >= KEYS, tenant)


async def ask_all(clerk: Clerk, spot: Spot) -> None:
    """One command, or one script, for several tenants."""
    tenants, router = some(clerk, spot), clerk.router
    step = clerk.chooser.choice([Command("GET", "me:4"), Script("return redis.call('GET', KEYS[1])", ["me:4"])])
    outcomes = await clerk.settle(
        (router.afan_out if clerk.awaits else router.fan_out)(step, tenants=tenants, on_error="collect")
    )
    for tenant, outcome in outcomes.items():
        if outcome.error is not None:
            clerk.fail(outcome.error, clerk.known[tenant])
        else:
            clerk.compare("fan_out", f"{tenant}:4", outcome.value, tenant)


async def optimism(clerk: Clerk, spot: Spot) -> None:
    """WATCH, read, MULTI, EXEC on a connection that redis-py's pipeline holds meanwhile."""
    async with clerk.entered(clerk.client.pipeline(transaction=True)) as pipeline:
        try:
            await clerk.settle(pipeline.watch("last"))
            clerk.compare("GET under WATCH", f"{spot.tenant}:3", await clerk.settle(pipeline.get("me:3")))
            if clerk.chooser.random() < 0.3:
                return  # left while it watches
            pipeline.multi()
            text, field = clerk.fresh(), clerk.count()
            pipeline.echo(text)
            pipeline.hincrby("hits", field, 1)
            told, count = await clerk.settle(pipeline.execute())
        except redis.WatchError:  # the key was changed, or the connection lost: nothing is carried out
            clerk.compare("WATCH", True, True)
        else:
            clerk.compare("ECHO in MULTI", text, told)
            clerk.counted(field, count)


async def models(clerk: Clerk, spot: Spot) -> None:
    """Objects with an index: scripts, MULTI, sets and hashes."""
    things: Any = clerk.things
    code = f"{spot.tenant}-{clerk.chooser.randrange(4)}"
    thing, _ = await clerk.call(things, "get_or_connect", code=code)
    await clerk.call(thing.owner, "set", spot.tenant)
    await clerk.call(thing.note, "hset", f"{spot.tenant}:{clerk.name}")
    clerk.compare("a field", spot.tenant, await clerk.call(thing.owner, "get"))
    note = await clerk.call(thing.note, "hget")
    clerk.compare("a field of a hash", spot.tenant, str(note).split(":")[0])
    found = things.collection(owner=spot.tenant)
    pks = [pk async for pk in found] if clerk.awaits else list(found)
    clerk.compare("a collection", [True] * len(pks), [pk.startswith(f"{spot.tenant}-") for pk in pks])


async def own_pipeline(clerk: Clerk, spot: Spot) -> None:
    """tenantlimpyd's pipeline, over fields and redis-py's commands."""
    transaction = clerk.chooser.random() < 0.5
    make = clerk.database.apipeline if clerk.awaits else clerk.database.pipeline
    async with clerk.entered(make(transaction=transaction)) as pipeline:
        checks = fill(clerk, spot, pipeline, clerk.chooser.randrange(2, 12), mistakes=False)
        replies = await clerk.call(pipeline, "execute")
    for check, reply in zip(checks, replies, strict=True):
        check(reply)


async def publish(clerk: Clerk, spot: Spot) -> None:
    """Subscribe, publish, hear of it, leave."""
    channel, text = f"news:{spot.tenant}", clerk.fresh()
    pubsub = clerk.client.pubsub()
    try:
        await clerk.settle(pubsub.subscribe(channel))
        for _ in range(3):
            message = await clerk.settle(pubsub.get_message(timeout=0.02))
            if message is None:
                await clerk.settle(clerk.client.publish(channel, text))
                continue
            clerk.compare("a channel", channel, message["channel"])
            if message["type"] == "message":
                clerk.compare("a message", spot.tenant, message["data"].split("|")[0])
    finally:
        await clerk.settle((pubsub.aclose if clerk.awaits else pubsub.close)())


Operation = Callable[[Clerk, Spot], Awaitable[None]]

SINGLE: dict[Operation, int] = {read: 6, write: 4, mistake: 1, script: 1}
"""Operations of a trip each."""
BRIEF: dict[Operation, int] = {**SINGLE, binary: 1, large: 1, optimism: 2, own_pipeline: 2, batch: 4}
"""Those that wait for nothing but replies."""
MIXED: dict[Operation, int] = {
    read: 14,
    write: 12,
    large: 1,
    binary: 2,
    mistake: 3,
    script: 4,
    optimism: 4,
    scan: 2,
    walk: 1,
    ask_all: 1,
    models: 2,
    own_pipeline: 5,
    batch: 50,
    pop: 1,
    publish: 1,
}
"""All of them; most replies are of batches."""
