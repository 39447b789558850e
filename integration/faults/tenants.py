"""Tenants of every size on three servers, one of which a test breaks during a scan."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import attrs
import redis

from tenantlimpyd import DatabaseRouter, RedisDatabase
from tenantlimpyd._fanout.outcomes import Outcome
from tenantlimpyd.exceptions import ScanInterruptedError
from tests.support.servers import ChaosProxy, ServerHandle

__all__ = ["COUNT", "SLACK", "LargeDeployment", "TenantCounts"]

SIZE = int(os.environ.get("TENANTLIMPYD_TEST_SCAN_SIZE", "1"))
"""How many times the keys that large databases have by default."""
COUNT = 40
"""Keys of a page, so that a large database has hundreds of them: far more than a scan reads ahead."""
SLACK = 1.0
"""Seconds that a tenant may take beyond its deadline."""


@attrs.frozen
class TenantCounts:
    """How many tenants of each size there are on a server, and how many keys they have."""

    small: int
    large: int
    keys: int
    sharing: int
    shared: int


BREAKING = TenantCounts(small=150, large=3, keys=8_000 * SIZE, sharing=4, shared=2_000 * SIZE)
HEALTHY = TenantCounts(small=60, large=1, keys=800, sharing=3, shared=200)
_SMALL = 3
_LARGE_DB, _SHARED_DB = 200, 210


class LargeDeployment:
    """A router of tenants on two healthy servers, and on one behind a proxy.

    Every key begins with its tenant's id, so that whose it is can be seen.

    Args:
        healthy: servers that nothing happens to.
        breaking: the server that a test breaks.
        settings: further ones, for the databases of the breaking server.

    Attributes:
        proxy: what leads to the breaking server.
        router: knows all tenants.
        settings: what each tenant's database is made of, as plain data.
        healthy, broken: the tenants of either kind of server.
        large: those of ``broken`` whose databases have many keys, alone or together.
    """

    def __init__(self, healthy: list[ServerHandle], breaking: ServerHandle, **settings: Any) -> None:
        self.breaking = breaking
        self.proxy: ChaosProxy = breaking.proxy()
        self._keys: dict[str, int] = {}
        self.settings: dict[str, dict[str, Any]] = {}
        for number, server in enumerate(healthy):
            self._settle(f"h{number}", server.settings, HEALTHY)
            _seed(self, server, f"h{number}")
        self.healthy = tuple(self.settings)
        self._settle("b", breaking.settings_through(self.proxy), BREAKING)
        _seed(self, breaking, "b")
        self.broken = tuple(tenant for tenant in self.settings if tenant not in self.healthy)
        self.large = tuple(tenant for tenant in self.broken if self._keys[tenant] > _SMALL)
        databases = {tenant: RedisDatabase(**each) for tenant, each in self.settings.items() if tenant in self.healthy}
        databases |= {tenant: RedisDatabase(**self.settings[tenant], **settings) for tenant in self.broken}
        self.router = DatabaseRouter(databases)

    def _settle(self, name: str, where: Mapping[str, Any], counts: TenantCounts) -> None:
        def add(tenant: str, keys: int, db: int, **more: str) -> None:
            self._keys[tenant] = keys
            self.settings[tenant] = {**where, "db": db, **more}

        for number in range(counts.small):
            add(f"{name}-small-{number}", _SMALL, number)
        for number in range(counts.large):
            add(f"{name}-large-{number}", counts.keys, _LARGE_DB + number)
        for number in range(counts.sharing):
            add(f"{name}-sharing-{number}", counts.shared, _SHARED_DB, key_prefix=f"p{number}:")

    def keys_of(self, tenant: str) -> set[str]:
        """Return all keys of a tenant."""
        return {f"{tenant}:{number}" for number in range(self._keys[tenant])}

    def check(
        self,
        seen: Mapping[str, set[str]],
        outcomes: Mapping[str, Outcome[int]],
        timeout: float,
        *,
        lost: bool = False,
    ) -> None:
        """Raise unless every key was delivered, or its tenant has failed within its deadline; and each key to its own.

        Args:
            seen: the keys that each tenant was said to have.
            outcomes: what came of each.
            timeout: seconds each tenant had.
            lost: the breaking server lost its keys: none of them was there throughout.
        """
        assert outcomes.keys() == self.settings.keys()
        for tenant in self.healthy:
            assert outcomes[tenant].ok, outcomes[tenant]
        for tenant, outcome in outcomes.items():
            keys, found = self.keys_of(tenant), seen.get(tenant, set())
            assert found <= keys, f"{tenant} was given {sorted(found - keys)[:5]}"
            if not outcome.ok:
                error: Any = outcome.error
                assert isinstance(error, redis.ConnectionError | redis.TimeoutError), (tenant, error)
                assert error.tenant == tenant
                assert outcome.interrupted == isinstance(error, ScanInterruptedError)
                assert outcome.seconds < timeout + SLACK, (tenant, outcome)
            elif not (lost and tenant in self.broken):
                assert len(keys - found) == 0, f"{tenant} is said to be complete, and lacks {len(keys - found)} keys"

    def check_sizes(self, outcomes: Mapping[str, Outcome[int]], timeout: float) -> None:
        """Raise unless a count of each tenant's database is right, or its tenant has failed within its deadline."""
        assert outcomes.keys() == self.settings.keys()
        for tenant, outcome in outcomes.items():
            if outcome.ok:
                sharing = [each for each in self.settings if self._beside(each, tenant)]
                assert outcome.value == sum(self._keys[each] for each in sharing), tenant
            else:
                error: Any = outcome.error
                assert tenant in self.broken, (tenant, error)
                assert isinstance(error, redis.ConnectionError | redis.TimeoutError), (tenant, error)
                assert error.tenant == tenant
                assert outcome.seconds < timeout + SLACK, (tenant, outcome)

    def _beside(self, one: str, other: str) -> bool:
        """Whether two tenants are in the same database."""
        first, second = self.settings[one], self.settings[other]
        return all(first[name] == second[name] for name in ("port", "db"))

    def check_nothing_in_use(self) -> None:
        """Raise if a connection was not given back."""
        for name, pool_stats in self.router.pool_stats().items():
            assert (pool_stats.in_use, pool_stats.waiting) == (0, 0), (name, pool_stats)
            assert pool_stats.open == pool_stats.idle, (name, pool_stats)


def _seed(deployment: LargeDeployment, server: ServerHandle, name: str) -> None:
    """Give a server's tenants their keys, over a connection of its own."""
    with server.client(socket_timeout=30) as client:
        pipeline = client.pipeline(transaction=False)
        for tenant, settings in deployment.settings.items():
            if tenant.startswith(f"{name}-"):
                prefix = settings.get("key_prefix", "")
                pipeline.execute_command("SELECT", settings["db"])  # type: ignore[no-untyped-call]
                pipeline.mset(dict.fromkeys((prefix + key for key in deployment.keys_of(tenant)), 1))
        pipeline.execute()
