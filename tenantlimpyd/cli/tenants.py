"""``tenantlimpyd tenants``: who is configured, and where each lives."""

from __future__ import annotations

import json

import typer

from tenantlimpyd.cli.options import AsJson, Config, Verbose, open_router
from tenantlimpyd.cli.output import console, counted, reporting, table
from tenantlimpyd.router import DatabaseRouter

__all__ = ["places", "tenants"]


def places(router: DatabaseRouter) -> dict[str, dict[str, str | int]]:
    """Return where each tenant lives, with no secret: server, db and prefix."""
    found: dict[str, dict[str, str | int]] = {}
    for tenant in router.tenants():
        keyspace = router.database_for(tenant).keyspace
        found[tenant] = {"server": keyspace.server, "db": keyspace.db, "prefix": keyspace.prefix}
    return found


def tenants(ctx: typer.Context, *, config: Config = None, as_json: AsJson = False, verbose: Verbose = False) -> None:
    """List the configured tenants. Asks no server."""
    with reporting(), open_router(ctx, config, verbose=verbose) as router:
        known = places(router)
        if as_json:
            for tenant, place in known.items():
                print(json.dumps({"tenant": tenant, **place}))
            return
        rows = [(tenant, place["server"], place["db"], place["prefix"]) for tenant, place in known.items()]
        console().print(
            table(counted(len(rows), "tenant"), ("tenant", "server", "db", "key prefix"), rows, right=("db",))
        )
