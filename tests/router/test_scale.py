"""Many tenants: memory per tenant, and linear cost of changes."""

from __future__ import annotations

import gc
import random
import tracemalloc

import pytest

from tenantlimpyd._registry.placement import Placement
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.router import DatabaseRouter
from tenantlimpyd.router.registry import TenantRegistry

pytestmark = pytest.mark.slow

TENANTS = 5_000


def databases(**each):
    """Make databases, by tenant id, in no order; ``each`` maps settings to functions of a number."""
    numbers = list(range(TENANTS))
    random.Random(1).shuffle(numbers)
    return {
        f"tenant-{number}": RedisDatabase(host="192.0.2.1", **{name: value(number) for name, value in each.items()})
        for number in numbers
    }


def bytes_a_tenant(make):
    gc.collect()
    tracemalloc.start()
    try:
        kept = make()
        gc.collect()
        assert kept is not None
        return tracemalloc.get_traced_memory()[0] / TENANTS
    finally:
        tracemalloc.stop()


def test_router_takes_little_memory_per_tenant():
    by_number = databases(db=lambda number: number)
    assert bytes_a_tenant(lambda: DatabaseRouter(by_number)) < 300
    by_prefix = databases(key_prefix=lambda number: f"{number}:")
    assert bytes_a_tenant(lambda: DatabaseRouter(by_prefix)) < 300


def test_tenant_and_its_database_take_little_memory():
    assert bytes_a_tenant(lambda: DatabaseRouter(databases(db=lambda number: number))) < 1_000


class Counting(TenantRegistry):
    """Counts how often a prefix is looked at."""

    looked = 0

    def _prefix_of(self, tenant):
        self.looked += 1
        return super()._prefix_of(tenant)


def test_adding_moving_and_removing_compare_with_few_tenants():
    catalog, found = Counting(), databases(key_prefix=lambda number: f"{number:06}:")
    router = DatabaseRouter()
    for tenant, database in found.items():
        catalog.add(tenant, Placement(database, router, tenant))
    assert catalog.looked / TENANTS < 50
    catalog.looked = 0
    database = found["tenant-77"]
    with catalog.moving(database, database.keyspace):
        pass
    catalog.remove("tenant-78")
    assert catalog.looked < 200


def test_configured_tenants_of_one_server_share_its_settings():
    tenants = {f"tenant-{number}": {"server": "main", "db": number} for number in range(2_000)}
    router = DatabaseRouter.from_config(
        {"servers": {"main": {"host": "192.0.2.1", "password": "p"}}, "tenants": tenants}
    )
    shared = {id(router.database_for(tenant).settings.shared) for tenant in router.tenants()}
    assert len(shared) == 1
