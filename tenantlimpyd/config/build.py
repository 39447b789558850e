"""From a document to databases, by tenant."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tenantlimpyd._connections.settings import Settings
from tenantlimpyd._tenant_ids import DEFAULT_GRAMMAR, checked, compiled
from tenantlimpyd.config.document import read
from tenantlimpyd.config.problems import Problems, dotted, meant
from tenantlimpyd.config.shared_keyspaces import shared
from tenantlimpyd.config.tables import SERVER_KEYS, TENANT_KEYS, is_table, needs_address, settings_of
from tenantlimpyd.config.validators import ADDRESS
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import ConfigurationError, InvalidTenantError

__all__ = ["databases"]

_TABLES = ("servers", "tenants")
_NO_ADDRESS = "says no server"


def databases(
    source: str | os.PathLike[str] | Mapping[str, Any], grammar: str | re.Pattern[str] = DEFAULT_GRAMMAR
) -> dict[str, RedisDatabase]:
    """Return the databases of a configuration, by tenant id. Nothing is connected to.

    Args:
        source: the path of a TOML file, or a mapping of the same shape. Relative paths in it start at the file's folder, or
            at the working directory for a mapping.
        grammar: what a tenant id looks like, as for ``DatabaseRouter``.

    Raises:
        ConfigurationError: what is wrong, all mistakes at once. Its ``problems`` start with the key they are at.
    """
    pattern = compiled(grammar)
    document = read(source)
    problems = Problems()
    for name in document.content:
        if name not in _TABLES:
            hint = meant(name, _TABLES) or "a configuration has the tables servers and tenants"
            problems.add(dotted(name), f"unknown; {hint}")
    servers = _servers(document.content.get("servers", {}), document.folder, problems)
    found: dict[str, RedisDatabase] = {}
    if "tenants" not in document.content:
        problems.add(
            "tenants", 'missing: a configuration has a table for each tenant, such as [tenants.acme] server = "main"'
        )
    elif is_table(tenants := document.content["tenants"], "tenants", problems):
        for tenant, table in tenants.items():
            try:
                checked(tenant, pattern)
            except InvalidTenantError as invalid:
                problems.add(dotted("tenants", tenant), str(invalid))
            database = _tenant(tenant, table, servers, document.folder, problems)
            if database is not None:
                found[tenant] = database
    shared(found, problems)
    if problems.found:
        error = ConfigurationError(problems.found)
        if document.name is not None:
            error.add_note(f"in {document.name}")
        raise error
    return found


def _servers(tables: Any, folder: Path, problems: Problems) -> dict[str, dict[str, Any] | None]:
    """Return settings by server name; None for those that are wrong, so that their tenants don't repeat it."""
    servers: dict[str, dict[str, Any] | None] = {}
    if not is_table(tables, "servers", problems):
        return servers
    for name, table in tables.items():
        before = len(problems.found)
        where = ("servers", name)
        settings: dict[str, Any] = {}
        if not isinstance(name, str) or not name:
            problems.add(dotted(*where), "the name of a server is text")
        elif is_table(table, dotted(*where), problems):
            settings = settings_of(table, where, SERVER_KEYS, folder, problems)
            if needs_address(settings, table):
                problems.add(dotted(*where), f"{_NO_ADDRESS}: give it {_listed(ADDRESS)}")
            elif len(problems.found) == before:
                _together(settings, dotted(*where), problems)
        servers[name] = settings if len(problems.found) == before else None
    return servers


def _tenant(
    tenant: Any, table: Any, servers: Mapping[str, dict[str, Any] | None], folder: Path, problems: Problems
) -> RedisDatabase | None:
    """Return a tenant's database, or None where something is wrong with it or with its server."""
    before = len(problems.found)
    where = ("tenants", tenant)
    if not is_table(table, dotted(*where), problems):
        return None
    own = settings_of(table, where, TENANT_KEYS, folder, problems)
    prefix = _prefix(table.get("key_prefix", ""), dotted(*where, "key_prefix"), problems)
    base: dict[str, Any] | None = {}
    if "server" in table:
        base = _server_of(table["server"], dotted(*where, "server"), servers, problems)
        for name in ADDRESS:
            if name in table:
                problems.add(dotted(*where, name), "server says where it is: leave out one of the two")
    elif needs_address(own, table):
        problems.add(dotted(*where), f"{_NO_ADDRESS}: give it server (the name of one in servers), {_listed(ADDRESS)}")
    if base is None or len(problems.found) > before:
        return None
    try:
        return RedisDatabase(key_prefix=prefix, **(base | own))
    except ConfigurationError as error:
        for problem in error.problems:
            problems.add(dotted(*where), problem)
        return None


def _server_of(
    name: Any, key: str, servers: Mapping[str, dict[str, Any] | None], problems: Problems
) -> dict[str, Any] | None:
    if isinstance(name, str) and name in servers:
        return servers[name]
    known = ", ".join(dotted(server) for server in list(servers)[:10]) + (", ..." if len(servers) > 10 else "")
    if isinstance(name, str) and ("://" in name or "@" in name):
        problems.add(
            key, "must be the name of a server, not a URL (hidden, since it may hold a password): that goes into url"
        )
    elif not isinstance(name, str):
        problems.add(key, f"must be the name of a server, as text, not {_described(name)}")
    elif not servers:
        problems.add(key, f"there is no server {dotted(name)}: the configuration has no table [servers.{dotted(name)}]")
    else:
        hint = meant(name, (server for server in servers if isinstance(server, str))) or f"there are {known}"
        problems.add(key, f"there is no server {dotted(name)}; {hint}")
    return None


def _prefix(prefix: Any, key: str, problems: Problems) -> str:
    if prefix == "":
        return ""
    try:
        return RedisDatabase(key_prefix=prefix).key_prefix
    except ConfigurationError as error:
        problems.add(key, str(error).removeprefix("key_prefix "))
        return ""


def _together(settings: Mapping[str, Any], key: str, problems: Problems) -> None:
    """Check what no setting shows alone: the URL says one database, ``db`` another."""
    try:
        Settings(settings)
    except ConfigurationError as error:
        for problem in error.problems:
            problems.add(key, problem)


def _described(value: Any) -> str:
    return "a table" if isinstance(value, Mapping) else f"a {type(value).__name__}"


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
