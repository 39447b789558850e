"""The asyncio comparisons, on one event loop: the same work as the blocking ones that have a twin here."""

from __future__ import annotations

import attrs
import redis.asyncio

from benchmarks.cases import CREATE
from benchmarks.pairs import AsyncBlock
from benchmarks.setting import KEY, VALUE, Setting


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
    ]
