"""Operations for tenants, each with the replies it must get. Written once, for sync and async."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import redis
from redis.client import NEVER_DECODE

from integration.isolation.shared.batches import batch, fill
from integration.isolation.shared.checked_worker import CheckedWorker, Wrong
from integration.isolation.shared.sites import BINARY, KEYS, Site, big
from tenantlimpyd.operations import Command, Script

__all__ = ["BRIEF", "MIXED", "SINGLE"]

_LOOK = "return {ARGV[1], redis.call('GET', KEYS[1]), redis.call('HINCRBY', KEYS[2], ARGV[2], 1)}"


async def single(worker: CheckedWorker, site: Site) -> None:
    number = worker.chooser.randrange(KEYS)
    worker.compare("GET", f"{site.tenant}:{number}", await worker.settle(worker.client.get(f"me:{number}")))


async def read(worker: CheckedWorker, site: Site) -> None:
    for _ in range(worker.chooser.randrange(1, 4)):
        number = worker.chooser.randrange(KEYS)
        worker.compare("GET", f"{site.tenant}:{number}", await worker.settle(worker.client.get(f"me:{number}")))
    text = worker.fresh()
    worker.compare("ECHO", text, await worker.settle(worker.client.echo(text)))


async def write(worker: CheckedWorker, site: Site) -> None:
    field = worker.count()  # first what no later write hides
    worker.counted(field, await worker.settle(worker.client.hincrby("hits", field, 1)))
    worker.compare("SET", True, await worker.settle(worker.client.set("last", worker.fresh())))


async def large(worker: CheckedWorker, site: Site) -> None:
    worker.compare("a large GET", big(site.tenant), await worker.settle(worker.client.get("big")))


async def binary(worker: CheckedWorker, site: Site) -> None:
    reply = await worker.settle(worker.client.execute_command("GET", "binary", **{NEVER_DECODE: True}))
    worker.compare("GET of bytes", BINARY + site.tenant.encode(), reply)


async def mistake(worker: CheckedWorker, site: Site) -> None:
    """A command that the server refuses: the connection stays usable, and in its database."""
    try:
        answer = await worker.settle(worker.client.lpush("me:0", site.tenant))
    except redis.ResponseError as error:
        if worker.site.beyond or not str(error).startswith("WRONGTYPE"):
            raise
        answer = error
    worker.compare("LPUSH on text", Wrong(), answer)
    worker.compare("GET", f"{site.tenant}:0", await worker.settle(worker.client.get("me:0")))


async def script(worker: CheckedWorker, site: Site) -> None:
    text, field = worker.fresh(), worker.count()
    told, value, count = await worker.call(
        worker.database, "call_script", {"lua": _LOOK}, ["me:1", "hits"], [text, field]
    )
    worker.compare("a script's argument", text, told)
    worker.compare("a script's GET", f"{site.tenant}:1", value)
    worker.counted(field, count)


async def pop(worker: CheckedWorker, site: Site) -> None:
    """Blocking commands: one that times out, and one that does not have to wait."""
    worker.compare("BLPOP of nothing", None, await worker.settle(worker.client.blpop("nothing", 0.01)))
    text = worker.fresh()
    length = await worker.settle(worker.client.rpush("queue", text))
    worker.compare("RPUSH", True, isinstance(length, int))
    found = await worker.settle(worker.client.blpop("queue", 0.01))
    if found is not None:  # another worker of the tenant was faster
        worker.compare("BLPOP", ["queue", site.tenant], [found[0], found[1].split("|")[0]])


async def scan(worker: CheckedWorker, site: Site) -> None:
    """A scan with other commands in between, mostly closed before its end."""
    stop = worker.chooser.randrange(KEYS + 1)
    keys = (worker.database.ascan_keys if worker.awaits else worker.database.scan_keys)("own:*", count=5)
    seen = 0
    try:
        while seen < stop:
            key = await anext(keys, None) if worker.awaits else next(keys, None)
            if key is None:
                break
            seen += 1
            worker.compare("SCAN", site.tenant, key.split(":")[1])
            if seen % 4 == 0:
                worker.compare("GET in a scan", f"{site.tenant}:2", await worker.settle(worker.client.get("me:2")))
    finally:
        if worker.awaits:
            await keys.aclose()
        else:
            keys.close()


def some(worker: CheckedWorker, site: Site) -> list[str]:
    """Return the current tenant and random others."""
    others = [] if site.beyond else worker.chooser.sample(list(worker.known), min(5, len(worker.known)))
    return list(dict.fromkeys([site.tenant, *others]))


async def scan_tenants(worker: CheckedWorker, site: Site) -> None:
    """A scan of several tenants, whose connections switch between them and return to the pool. It is sometimes closed early."""
    tenants, leaves = some(worker, site), worker.chooser.random() < 0.2
    router = worker.router
    pages = (router.ascan_pages if worker.awaits else router.scan_pages)(
        "own:*", count=5, tenants=tenants, on_error="collect"
    )
    async with worker.entered(pages):
        while (page := await anext(pages, None) if worker.awaits else next(pages, None)) is not None:
            tenant, keys = page
            worker.compare("a scan", {tenant}, {key.split(":")[1] for key in keys}, tenant)
            if leaves:
                return
    for tenant, outcome in pages.outcomes.items():
        if outcome.error is not None:
            worker.fail(outcome.error, worker.known[tenant])
        else:
            worker.compare("a whole scan", True, outcome.value >= KEYS, tenant)


async def command_for_all(worker: CheckedWorker, site: Site) -> None:
    """One command, or one script, for several tenants."""
    tenants, router = some(worker, site), worker.router
    step = worker.chooser.choice([Command("GET", "me:4"), Script("return redis.call('GET', KEYS[1])", ["me:4"])])
    outcomes = await worker.settle(
        (router.afan_out if worker.awaits else router.fan_out)(step, tenants=tenants, on_error="collect")
    )
    for tenant, outcome in outcomes.items():
        if outcome.error is not None:
            worker.fail(outcome.error, worker.known[tenant])
        else:
            worker.compare("fan_out", f"{tenant}:4", outcome.value, tenant)


async def optimism(worker: CheckedWorker, site: Site) -> None:
    """WATCH, reads, MULTI and EXEC on the connection that a redis-py pipeline holds."""
    async with worker.entered(worker.client.pipeline(transaction=True)) as pipeline:
        try:
            await worker.settle(pipeline.watch("last"))
            worker.compare("GET under WATCH", f"{site.tenant}:3", await worker.settle(pipeline.get("me:3")))
            if worker.chooser.random() < 0.3:
                return  # left while it watches
            pipeline.multi()
            text, field = worker.fresh(), worker.count()
            pipeline.echo(text)
            pipeline.hincrby("hits", field, 1)
            told, count = await worker.settle(pipeline.execute())
        except redis.WatchError:  # the key was changed, or the connection lost: nothing is carried out
            worker.compare("WATCH", True, True)
        else:
            worker.compare("ECHO in MULTI", text, told)
            worker.counted(field, count)


async def models(worker: CheckedWorker, site: Site) -> None:
    """Objects with an index: scripts, MULTI, sets and hashes."""
    things: Any = worker.things
    code = f"{site.tenant}-{worker.chooser.randrange(4)}"
    thing, _ = await worker.call(things, "get_or_connect", code=code)
    await worker.call(thing.owner, "set", site.tenant)
    await worker.call(thing.note, "hset", f"{site.tenant}:{worker.name}")
    worker.compare("a field", site.tenant, await worker.call(thing.owner, "get"))
    note = await worker.call(thing.note, "hget")
    worker.compare("a field of a hash", site.tenant, str(note).split(":")[0])
    found = things.collection(owner=site.tenant)
    pks = [pk async for pk in found] if worker.awaits else list(found)
    worker.compare("a collection", [True] * len(pks), [pk.startswith(f"{site.tenant}-") for pk in pks])


async def own_pipeline(worker: CheckedWorker, site: Site) -> None:
    """A pipeline of tenantlimpyd, with redis-py's commands."""
    transaction = worker.chooser.random() < 0.5
    make = worker.database.apipeline if worker.awaits else worker.database.pipeline
    async with worker.entered(make(transaction=transaction)) as pipeline:
        checks = fill(worker, site, pipeline, worker.chooser.randrange(2, 12), mistakes=False)
        replies = await worker.call(pipeline, "execute")
    for check, reply in zip(checks, replies, strict=True):
        check(reply)


async def publish(worker: CheckedWorker, site: Site) -> None:
    """Subscribe, publish, receive the message, close."""
    channel, text = f"news:{site.tenant}", worker.fresh()
    pubsub = worker.client.pubsub()
    try:
        await worker.settle(pubsub.subscribe(channel))
        for _ in range(3):
            message = await worker.settle(pubsub.get_message(timeout=0.02))
            if message is None:
                await worker.settle(worker.client.publish(channel, text))
                continue
            worker.compare("a channel", channel, message["channel"])
            if message["type"] == "message":
                worker.compare("a message", site.tenant, message["data"].split("|")[0])
    finally:
        await worker.settle((pubsub.aclose if worker.awaits else pubsub.close)())


Operation = Callable[[CheckedWorker, Site], Awaitable[None]]

SINGLE: dict[Operation, int] = {read: 6, write: 4, mistake: 1, script: 1}
"""Operations of one round trip each."""
BRIEF: dict[Operation, int] = {**SINGLE, binary: 1, large: 1, optimism: 2, own_pipeline: 2, batch: 4}
"""Operations that wait for replies only."""
MIXED: dict[Operation, int] = {
    read: 14,
    write: 12,
    large: 1,
    binary: 2,
    mistake: 3,
    script: 4,
    optimism: 4,
    scan: 2,
    scan_tenants: 1,
    command_for_all: 1,
    models: 2,
    own_pipeline: 5,
    batch: 50,
    pop: 1,
    publish: 1,
}
"""All operations. Most replies are of batches."""
