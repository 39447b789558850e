"""The asyncio comparisons, on one event loop: the same work as the blocking ones that have a twin here."""

from __future__ import annotations

import attrs
import redis.asyncio

from benchmarks.cases import CHANGE, CREATE
from benchmarks.pairs import AsyncBlock
from benchmarks.setting import FOUND, KEY, NAMES, VALUE, Setting


@attrs.frozen
class AsyncCase:
    """One line of the table; as :class:`benchmarks.cases.Case`."""

    name: str
    peer: str
    ours: AsyncBlock
    theirs: AsyncBlock
    aim: float | None = None
    repeat: int = 20


def gets(client: redis.asyncio.Redis) -> AsyncBlock:
    """Return a block of GETs on a redis-py client."""

    async def block(repeat: int) -> None:
        for _ in range(repeat):
            await client.get(KEY)

    return block


async def cases(setting: Setting, peer: redis.asyncio.Redis, second: redis.asyncio.Redis) -> list[AsyncCase]:
    """Return the cases. They run inside the tenant ``acme``."""
    router, model = setting.router, setting.model
    invoice = await model.acreate(number="F-1", customer="Ann", note=VALUE)
    key = invoice.note.key
    script = peer.register_script(CREATE)

    async def routed(repeat: int) -> None:
        for _ in range(repeat):
            await router.database.aconnection.get(KEY)

    async def field_get(repeat: int) -> None:
        for _ in range(repeat):
            await invoice.note.aget()

    async def field_set(repeat: int) -> None:
        for _ in range(repeat):
            await invoice.note.aset(VALUE)

    async def sets(repeat: int) -> None:
        for _ in range(repeat):
            await peer.set(key, VALUE)

    async def creates(repeat: int) -> None:
        for _ in range(repeat):
            await model.acreate(number="F-2", customer="Ben", note=VALUE)

    async def creates_by_hand(repeat: int) -> None:
        for _ in range(repeat):
            pk = await peer.incr(":invoice:max_pk")
            base = f":invoice:{pk}:"
            fields = [base + "number", base + "customer", base + "note"]
            indexes = [":invoice:number:F-2", ":invoice:customer:Ben"]
            await script(keys=[":invoice:collection", *fields, *indexes], args=[pk, "F-2", "Ben", VALUE])

    return [
        AsyncCase("control: redis-py GET", "redis-py GET", gets(second), gets(peer)),
        AsyncCase("routed GET", "redis-py GET", routed, gets(peer), 1.05),
        AsyncCase("field get", "redis-py GET", field_get, gets(peer), 1.15),
        AsyncCase("field set", "redis-py SET", field_set, sets, 1.15),
        AsyncCase("create, 3 fields, 2 indexed", "redis-py, INCR and Lua by hand", creates, creates_by_hand, 1.5, 10),
        await indexed_set(setting, peer),
        *await look_ups(setting, peer),
        *await found(setting, peer),
    ]


async def indexed_set(setting: Setting, peer: redis.asyncio.Redis) -> AsyncCase:
    """Return the case of a change of an indexed value."""
    script = peer.register_script(CHANGE)
    invoice = await setting.model.acreate(number="F-3", customer="Cleo", note=VALUE)
    other = await setting.model.acreate(number="F-4", customer="Cleo", note=VALUE)
    pk, key = await other.pk.aget(), other.customer.key

    async def ours(repeat: int) -> None:
        for _ in range(repeat // 2):
            await invoice.customer.aset("Dan")
            await invoice.customer.aset("Cleo")

    async def by_hand(repeat: int) -> None:
        for _ in range(repeat // 2):
            for old, new in (("Cleo", "Dan"), ("Dan", "Cleo")):
                sets_of = [":invoice:collection", key, f":invoice:customer:{old}", f":invoice:customer:{new}"]
                await script(keys=sets_of, args=[pk, old, new])

    return AsyncCase("set of an indexed field", "redis-py, Lua by hand", ours, by_hand, 1.5, 10)


async def look_ups(setting: Setting, peer: redis.asyncio.Redis) -> list[AsyncCase]:
    """Return the cases of one object that is looked up and read."""
    model = setting.model
    invoice = await model.acreate(amount="1", currency="EUR", due="2030")
    pk, key = await invoice.pk.aget(), invoice.key

    async def got(repeat: int) -> None:
        for _ in range(repeat):
            await (await model.aget(pk)).ahmget(*NAMES)

    async def lazy(repeat: int) -> None:
        for _ in range(repeat):
            await model.lazy_connect(pk).ahmget(*NAMES)

    async def by_hand(repeat: int) -> None:
        for _ in range(repeat):
            await peer.hmget(key, NAMES)

    return [
        AsyncCase("aget(pk), then 3 fields", "redis-py HMGET", got, by_hand, 2.1, 10),
        AsyncCase("lazy_connect(pk), then 3 fields", "redis-py HMGET", lazy, by_hand, 1.15),
    ]


async def found(setting: Setting, peer: redis.asyncio.Redis) -> list[AsyncCase]:
    """Return the cases of many objects that a query finds: those of the blocking part."""
    model = setting.model

    async def values(repeat: int) -> None:
        for _ in range(repeat):
            rows = [row async for row in model.collection(customer="Found").values(*NAMES)]
        assert len(rows) == FOUND

    async def instances(repeat: int) -> None:
        for _ in range(repeat):
            objects = [each async for each in model.instances(customer="Found").fetch(*NAMES)]
        assert len(objects) == FOUND

    async def by_hand(repeat: int) -> None:
        for _ in range(repeat):
            pks = await peer.smembers(":invoice:customer:Found")
            async with peer.pipeline(transaction=False) as pipeline:
                for pk in pks:
                    pipeline.hmget(f":invoice:{pk}:hash", NAMES)
                rows = await pipeline.execute()
        assert len(rows) == FOUND

    beside = "redis-py, SMEMBERS, pipeline"
    return [
        AsyncCase(f"3 fields of {FOUND} found objects, values", beside, values, by_hand, 1.0, 2),
        AsyncCase(f"3 fields of {FOUND} found objects, instances", beside, instances, by_hand, 1.5, 2),
    ]
