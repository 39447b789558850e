"""The cleanup of a decorated async generator runs under its own tenant, whoever closes it."""

from __future__ import annotations

import asyncio
import gc

import pytest

from tenantlimpyd import current_tenant
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.router import DatabaseRouter


@pytest.fixture
def router():
    return DatabaseRouter({name: RedisDatabase(host="192.0.2.1", db=db) for db, name in enumerate(("acme", "globex"))})


def lines_of(router, ends):
    @router.use_tenant("acme")
    async def lines():
        try:
            while True:
                yield current_tenant()
        finally:
            await asyncio.sleep(0)
            ends.append(current_tenant())

    return lines


@pytest.mark.parametrize("_", range(5))
def test_generator_closed_by_the_event_loop_runs_its_cleanup_under_its_tenant(router, _):
    ends, complaints, kept = [], [], []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
        kept.append(lines_of(router, ends)())
        assert await anext(kept[-1]) == "acme"

    asyncio.run(main())
    assert (ends, complaints) == (["acme"], [])


async def test_generator_closed_by_the_garbage_collector_runs_its_cleanup_under_its_tenant(router):
    ends = []
    generator = lines_of(router, ends)()
    await anext(generator)
    with router.use_tenant("globex"):
        del generator
        gc.collect()
        for _ in range(5):
            await asyncio.sleep(0)
        assert current_tenant() == "globex"
    assert ends == ["acme"]
