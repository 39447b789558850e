"""Tenants that would share keys, as far as settings tell."""

from __future__ import annotations

from collections.abc import Mapping

from tenantlimpyd.config.problems import Problems, dotted
from tenantlimpyd.database import RedisDatabase

__all__ = ["shared"]


def shared(databases: Mapping[str, RedisDatabase], problems: Problems) -> None:
    """Add a problem for each tenant whose keys could be another's too; each once, however many it shares with."""
    by_place: dict[tuple[str, int], list[str]] = {}
    for tenant, database in databases.items():
        by_place.setdefault((database.keyspace.server, database.keyspace.db), []).append(tenant)
    for tenants in by_place.values():
        outer: list[str] = []  # those whose prefix the next tenant's may start with
        for tenant in sorted(tenants, key=lambda name: databases[name].key_prefix):
            keyspace = databases[tenant].keyspace
            while outer and not keyspace.prefix.startswith(databases[outer[-1]].key_prefix):
                outer.pop()
            if outer:
                other = dotted("tenants", outer[-1])
                problems.add(
                    dotted("tenants", tenant),
                    f"would share keys with {other}: {keyspace}, and {databases[outer[-1]].keyspace}. Give each its own "
                    "server, db or key_prefix; no key_prefix may start with another.",
                )
            outer.append(tenant)
