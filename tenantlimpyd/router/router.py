"""``DatabaseRouter``: tenant ids to databases, and the database of the current tenant."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from tenantlimpyd._connections.budget import Budget, PoolStats
from tenantlimpyd._context_managers import AsyncCloseOnExit, CloseOnExit
from tenantlimpyd._fanout.outcomes import Job
from tenantlimpyd._registry.host import ModelHost
from tenantlimpyd._registry.placement import Placement
from tenantlimpyd._tenant_ids import DEFAULT_GRAMMAR
from tenantlimpyd.context import enter, entry_of, frames, leave, request_entry_of
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import (
    ConfigurationError,
    NoTenantError,
    TenantSwitchError,
    UnknownTenantError,
    WrongTenantError,
    shown,
)
from tenantlimpyd.router.bulk import BulkOperations
from tenantlimpyd.router.health_checks import HealthChecks
from tenantlimpyd.router.resolver import Resolver
from tenantlimpyd.router.scope import TenantScope
from tenantlimpyd.router.tenants import RouterTenants

if TYPE_CHECKING:
    import redis
    import redis.asyncio

__all__ = ["DatabaseRouter", "Resolver"]


class DatabaseRouter(CloseOnExit, AsyncCloseOnExit, RouterTenants, BulkOperations, HealthChecks, ModelHost):
    """Maps tenant ids to databases, and stands wherever a database does in a model.

    A model bound to a router uses the database of the tenant that is current in this context (this request, task or
    thread), resolved at each use. With no current tenant there is no database.

    Args:
        tenants: tenant id to ``RedisDatabase``.
        resolver: asked for ids that are not in the map; returns a ``RedisDatabase``, or None: "not mine". It may be a
            coroutine function, for ``async with``. What it returns is kept; ids it does not know are remembered for 10 s.
        resolver_cache: how many tenants that the resolver found are kept, those entered last; the connections of others
            close once their commands are done. None: all.
        grammar: what a tenant id looks like: a regular expression that must match all of it.
        budget: how many connections its databases may have together; None: they share that of all that are given none.
            A database that was given one of its own keeps it.

    Raises:
        InvalidTenantError: a key of the map is no tenant id.
        SharedKeyspaceError: two tenants would share keys.
        ConfigurationError: a value of the map is no database.
    """

    def __init__(
        self,
        tenants: Mapping[str, RedisDatabase] | None = None,
        *,
        resolver: Resolver | None = None,
        resolver_cache: int | None = None,
        grammar: str | re.Pattern[str] = DEFAULT_GRAMMAR,
        budget: Budget | None = None,
    ) -> None:
        super().__init__()
        self._begin(resolver, resolver_cache, grammar, budget)
        if tenants is not None and not isinstance(tenants, Mapping):
            raise ConfigurationError(f"tenants must be a mapping of tenant id to RedisDatabase, not {shown(tenants)}")
        for tenant, database in (tenants or {}).items():
            self.add(tenant, database)

    @classmethod
    def from_config(
        cls,
        source: str | os.PathLike[str] | Mapping[str, Any],
        *,
        resolver: Resolver | None = None,
        resolver_cache: int | None = None,
        grammar: str | re.Pattern[str] = DEFAULT_GRAMMAR,
        budget: Budget | None = None,
    ) -> Self:
        """Make a router from a TOML file, or from a mapping of the same shape; see :mod:`tenantlimpyd.config`.

        Args:
            source: the path of the file, or the mapping.
            resolver: as for the constructor.
            resolver_cache: as for the constructor.
            grammar: as for the constructor.
            budget: as for the constructor.

        Raises:
            ConfigurationError: what is wrong, all mistakes at once.
        """
        from tenantlimpyd.config import databases

        found = databases(source, grammar)
        return cls(found, resolver=resolver, resolver_cache=resolver_cache, grammar=grammar, budget=budget)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} tenants>"

    # The current tenant's database

    def _current_placement(self) -> Placement:
        """Return where objects made now live: with the current tenant.

        Raises:
            NoTenantError: there is none.
        """
        frame = entry_of(self)
        if frame is None or frame.tenant is None:
            if frame is None and (other := frames.get()) is not None and other.tenant is not None:
                raise NoTenantError(
                    f"no tenant of this router is current. Tenant {other.tenant!r} is current in another router: enter a "
                    "tenant of this one too, or bind the model to the other router."
                )
            raise NoTenantError(
                "no tenant is current in this context, so there is no database. Enter one: "
                "`with router.use_tenant('acme'): ...` (or `async with`; in a web application the middleware does it, in a "
                "new thread carry_tenant()). Data that all tenants share belongs in models bound to a RedisDatabase."
            )
        placement = self._catalog.placements.get(frame.tenant)
        if placement is not None:
            return placement
        if isinstance(frame.held, Placement) and self._catalog.still(frame.held):
            return frame.held  # let go since it was entered
        return self._placed(frame.tenant)

    @property
    def database(self) -> RedisDatabase:
        """The current tenant's database.

        Raises:
            NoTenantError: there is no current tenant.
            UnknownTenantError: it was removed meanwhile.
        """
        frame = entry_of(self)
        placement = None if frame is None or frame.tenant is None else self._catalog.placements.get(frame.tenant)
        return (self._current_placement() if placement is None else placement).database  # type: ignore[no-any-return]

    @property
    def connection(self) -> redis.Redis:
        """The blocking redis-py client of the current tenant's database."""
        return self.database.connection

    @property
    def aconnection(self) -> redis.asyncio.Redis:
        """The running event loop's redis-py client of the current tenant's database."""
        return self.database.aconnection

    def _check_placement(self, placement: Placement) -> None:
        """Raise if an object made for one tenant is used while another one is current.

        Raises:
            WrongTenantError: it is, or its tenant was removed, or moved to another keyspace, since.
        """
        if self._catalog.placements.get(placement.tenant or "") is not placement and not self._catalog.still(placement):
            raise WrongTenantError(
                f"this object was made before tenant {placement.tenant!r} was removed from the router, or given another "
                "keyspace. Its keys may be another tenant's by now: look it up again."
            )
        frame = entry_of(self)
        if frame is not None and frame.tenant is not None and frame.tenant != placement.tenant:
            raise WrongTenantError(
                f"this object belongs to tenant {placement.tenant!r}, and {frame.tenant!r} is current. Use it under its own "
                "tenant, or look up an object of the current one."
            )

    # The current tenant

    def current_tenant(self) -> str | None:
        """Return the id of this router's current tenant, or None."""
        frame = entry_of(self)
        return None if frame is None else frame.tenant

    def use_tenant(self, tenant: str, *, allow_switch: bool = False) -> TenantScope:
        """Return what enters a tenant: for ``with`` and ``async with``, and as a decorator of functions of every kind.

        Never ``yield`` inside the ``with`` block of a generator: its consumer would run inside it. Decorate the generator.

        Args:
            tenant: the tenant id.
            allow_switch: whether this may be another tenant than that of the request it happens in.

        Raises:
            InvalidTenantError: not a tenant id. At once.
            UnknownTenantError: there is no such tenant. When it is entered.
            TenantSwitchError: the request has another tenant. When it is entered.
        """
        return TenantScope(self, self._check_id(tenant), allow_switch=allow_switch)

    def use_no_tenant(self) -> TenantScope:
        """Return what expressly leaves no tenant current, in the same ways as :meth:`use_tenant`."""
        return TenantScope(self, None)

    def _request_scope(self, tenant: str | None, *, allow_switch: bool = False) -> TenantScope:
        """Return what a middleware enters for a request: a tenant, or expressly none.

        Whatever was current before does not count: the server may have been started inside a tenant.

        Args:
            tenant: the tenant id; None: the request has none.
            allow_switch: whether other tenants may be entered inside the request.
        """
        checked_id = None if tenant is None else self._check_id(tenant)
        return TenantScope(self, checked_id, allow_switch=True, request=not allow_switch)

    def _admit(self, tenant: str | None, *, allow_switch: bool) -> Placement | None:
        """Return where a tenant lives, or raise if it can't be entered here; see :meth:`use_tenant`."""
        self._refuse_switch(tenant, allow_switch=allow_switch)
        return None if tenant is None else self._placed(tenant)

    async def _aadmit(self, tenant: str | None, *, allow_switch: bool) -> Placement | None:
        """Return where a tenant lives, or raise if it can't be entered here; see :meth:`use_tenant`."""
        self._refuse_switch(tenant, allow_switch=allow_switch)
        return None if tenant is None else await self._aplaced(tenant)

    def _refuse_switch(self, tenant: str | None, *, allow_switch: bool) -> None:
        request = request_entry_of(self)
        if (
            allow_switch
            or request is None
            or not request.request
            or request.tenant is None
            or tenant in (None, request.tenant, self.current_tenant())
        ):
            return
        raise TenantSwitchError(
            f"tenant {tenant!r} can't be entered inside a request of tenant {request.tenant!r}. If that is meant, write "
            "allow_switch=True."
        )

    # Many tenants

    def _jobs(self, tenants: Iterable[str] | None, *, allow_switch: bool) -> list[Job]:
        """Return the tenants that are meant, each once, with their databases of now."""
        wanted = self._wanted(tenants)
        found = self._catalog.all() if wanted is None else [self._placed(tenant) for tenant in wanted]
        return self._jobs_of(found, allow_switch=allow_switch)

    async def _ajobs(self, tenants: Iterable[str] | None, *, allow_switch: bool) -> list[Job]:
        """Do as :meth:`_jobs`; a resolver is awaited, or runs in a thread."""
        wanted = self._wanted(tenants)
        found = self._catalog.all() if wanted is None else [await self._aplaced(tenant) for tenant in wanted]
        return self._jobs_of(found, allow_switch=allow_switch)

    def _wanted(self, tenants: Iterable[str] | None) -> list[str] | None:
        if isinstance(tenants, str | bytes):
            raise TypeError(f"tenants must be several ids, such as [{shown(tenants)}], not one")
        return None if tenants is None else list(dict.fromkeys(map(self._check_id, tenants)))

    def _jobs_of(self, placements: list[Placement], *, allow_switch: bool) -> list[Job]:
        if request_entry_of(self) is not None:
            for each in placements:
                self._refuse_switch(each.tenant, allow_switch=allow_switch)
        still = self._still
        return [Job(str(each.tenant), each.database, still, each) for each in placements]

    def _still(self, placement: Placement) -> None:
        """Raise if a tenant was removed meanwhile, or moved: its keys may be another tenant's by now."""
        if not self._catalog.still(placement):
            raise UnknownTenantError(f"tenant {placement.tenant!r} was removed or moved meanwhile", placement.tenant)

    @contextlib.contextmanager
    def _entering(self, tenant: str) -> Iterator[None]:
        """Make a tenant current for a job of a fan-out that was allowed as a whole."""
        owner = object()
        enter(tenant, self, owner, held=self._catalog.placements.get(tenant))
        try:
            yield
        finally:
            leave(owner)

    def pool_stats(self) -> dict[str, PoolStats]:
        """Return what connections there are now, by server. Servers that no tenant has used yet are not in it."""
        servers = {
            server for placement in list(self._catalog.placements.values()) if (server := placement.database._used)
        }
        found: dict[str, PoolStats] = {}
        for server in servers:
            found[server.name] = found.get(server.name, PoolStats()) + server.pool_stats()
        return found

    # Closing

    def close(self) -> None:
        """Close the connections of all databases: idle ones now, others as soon as their command is done."""
        for placement in list(self._catalog.placements.values()):
            placement.database.close()

    async def aclose(self) -> None:
        """Do as :meth:`close`, and wait until the running event loop's connections are closed."""
        for placement in list(self._catalog.placements.values()):
            await placement.database.aclose()
