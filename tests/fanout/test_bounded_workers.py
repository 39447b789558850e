"""Fan-outs of functions start no more threads and tasks than may work at once, and wake one of them for each job that ends."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tenantlimpyd import DatabaseRouter, RedisDatabase
from tenantlimpyd._fanout.plan import PER_SERVER, JobPlan

pytestmark = pytest.mark.slow

TENANTS = 200


@pytest.fixture
async def router(server):
    databases = {
        f"t{number:03}": RedisDatabase(**server.settings, db=1, key_prefix=f"{number:03}:") for number in range(TENANTS)
    }
    async with DatabaseRouter(databases) as router:
        yield router


async def fan_out(router, call, seen, concurrency):
    def note(_database):
        seen.append(sum(thread.name == "tenantlimpyd-fan-out" for thread in threading.enumerate()))

    async def anote(_database):
        seen.append(len(asyncio.all_tasks()))
        await asyncio.sleep(0)

    if not call.is_async:
        return router.fan_out(note, concurrency=concurrency)
    return await router.afan_out(anote, concurrency=concurrency)


async def test_workers_are_bounded_by_the_limit_of_a_server(router, call):
    seen = []
    outcomes = await fan_out(router, call, seen, concurrency=1000)
    assert len(outcomes) == TENANTS
    assert (
        max(seen) <= 2 * PER_SERVER + 2
    )  # in asyncio, a task for each worker and each job, the test's and its timeout's


@pytest.mark.parametrize("concurrency", [1, 3, 1000])
async def test_attempts_to_get_a_job_are_proportional_to_the_number_of_jobs(router, call, concurrency, monkeypatch):
    attempts = 0
    pick = JobPlan.pick

    def counted(plan):
        nonlocal attempts
        attempts += 1
        return pick(plan)

    monkeypatch.setattr(JobPlan, "pick", counted)
    await fan_out(router, call, [], concurrency)
    assert TENANTS <= attempts <= 3 * TENANTS + 4 * PER_SERVER
