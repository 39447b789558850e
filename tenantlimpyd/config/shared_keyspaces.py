"""Tenants that would share keys, as far as settings tell."""

from __future__ import annotations

from collections.abc import Mapping

from tenantlimpyd.config.problems import Problems, dotted
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.keys import nested_prefixes

__all__ = ["shared"]


def shared(databases: Mapping[str, RedisDatabase], problems: Problems) -> None:
    """Add a problem for each tenant whose keys could be another's too; each once, however many it shares with."""
    by_place: dict[tuple[str, int], list[str]] = {}
    for tenant, database in databases.items():
        by_place.setdefault((database.keyspace.server_identity, database.keyspace.db), []).append(tenant)
    for tenants in by_place.values():
        for tenant, overlapping in nested_prefixes(tenants, lambda name: databases[name].key_prefix):
            if overlapping:
                other = dotted("tenants", overlapping[-1])
                problems.add(
                    dotted("tenants", tenant),
                    f"would share keys with {other}: {databases[tenant].keyspace}, and "
                    f"{databases[overlapping[-1]].keyspace}. Give each its own server, "
                    "db or key_prefix; no key_prefix may start with another.",
                )
