"""A failover in the middle of a walk: of a master that is killed, and of one that is well and becomes a replica."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from integration.faults.estate import COUNT
from integration.faults.fleet import Leftovers
from integration.faults.resuming import resumed
from integration.faults.sentinels import Group, until
from integration.faults.walking import Colour, Taken, walked
from tenantlimpyd import DatabaseRouter, RedisDatabase
from tenantlimpyd.operations import Command

pytestmark = pytest.mark.timeout(120)

LARGE = {"large-0": 6000, "large-1": 6000}
SMALL = {f"small-{number}": 5 for number in range(10)}
TENANTS = LARGE | SMALL
TIMEOUT = 20.0


def keys_of(tenant: str) -> set[str]:
    return {f"{tenant}:{number}" for number in range(TENANTS[tenant])}


def seed(group: Group) -> None:
    master, replica, _ = group
    for db, tenant in enumerate(TENANTS):
        with redis.Redis(**master.settings, db=db) as client:
            client.mset(dict.fromkeys(keys_of(tenant), 1))
            assert client.wait(1, 5000) == 1
    with redis.Redis(**replica.settings) as client:
        assert client.info("replication")["role"] == "slave"


def all_name(port: int, hosts: list[str]) -> bool:
    """Whether all sentinels name the same master."""
    named = []
    for host in hosts:
        with redis.Redis.from_url(f"redis://{host}", decode_responses=True) as sentinel:
            named.append(sentinel.sentinel_get_master_addr_by_name("mymaster"))
    return named == [("127.0.0.1", port)] * len(hosts)


def kill(group: Group) -> None:
    """Kill the master; it is over when the replica is one."""
    master, replica, _ = group
    master.kill()
    with redis.Redis(**replica.settings) as client:
        until(lambda: client.info("replication")["role"] == "master")


def change_roles(group: Group) -> None:
    """Let the two change roles, both of them well.

    Sentinels tell the old master ten seconds later that it is a replica, and end its connections. Here it learns that at once,
    and keeps them: the walk has to notice by itself.
    """
    master, replica, hosts = group
    with redis.Redis.from_url(f"redis://{hosts[0]}") as sentinel:
        sentinel.execute_command("SENTINEL", "FAILOVER", "mymaster")  # type: ignore[no-untyped-call]
    with redis.Redis(**replica.settings) as client:
        until(lambda: client.info("replication")["role"] == "master")
    with redis.Redis(**master.settings) as client:
        client.replicaof(replica.host, replica.port)


@pytest.mark.parametrize("befalls", [kill, change_roles])
@pytest.mark.parametrize("colour", ["blocking", "asyncio"])
async def test_a_walk(group: Group, befalls: Callable[[Group], None], colour: Colour) -> None:
    """What stays on both is delivered, or its tenant has failed; and another process makes that good."""
    seed(group)
    where = {"sentinel": {"master": "mymaster", "hosts": group[2]}}
    settings = {tenant: {**where, "db": db} for db, tenant in enumerate(TENANTS)}
    router = DatabaseRouter({tenant: RedisDatabase(**each) for tenant, each in settings.items()})
    leftovers = Leftovers()

    def happen(taken: Taken) -> None:
        assert all(0 < len(taken.seen[tenant]) < LARGE[tenant] for tenant in LARGE)
        befalls(group)

    taken = await walked(router, colour, "pages", (LARGE, 500), happen, timeout=TIMEOUT)
    outcomes = taken.walk.outcomes
    assert taken.took < TIMEOUT
    assert outcomes.keys() == TENANTS.keys()
    for tenant, outcome in outcomes.items():
        assert taken.seen[tenant] <= keys_of(tenant)
        if outcome.ok:
            assert taken.seen[tenant] == keys_of(tenant), f"{tenant} is said to be complete"
        else:
            assert isinstance(outcome.error, redis.ConnectionError | redis.TimeoutError)
        if tenant in LARGE:
            assert outcome.restarts or outcome.interrupted, outcome
    for gauges in router.gauges().values():
        assert (gauges.in_use, gauges.waiting) == (0, 0)

    until(lambda: all_name(group[1].port, group[2]))
    token = taken.walk.token()
    failed = {tenant for tenant, outcome in outcomes.items() if not outcome.ok}
    rest = resumed(settings, token, colour, count=COUNT)
    assert rest["outcomes"].keys() == failed
    assert all(ok for ok, _ in rest["outcomes"].values())
    for tenant in TENANTS:
        assert taken.seen[tenant] | set(rest["found"].get(tenant, ())) == keys_of(tenant)

    step = Command("DBSIZE")
    until(lambda: router.health().ok)  # while there was no master, the servers were not asked for one
    sizes = router.fan_out(step) if colour == "blocking" else await router.afan_out(step)
    assert {tenant: outcome.value for tenant, outcome in sizes.items()} == TENANTS
    if colour == "blocking":
        router.close()
        leftovers.check()
    else:
        await router.aclose()
        await leftovers.acheck()
