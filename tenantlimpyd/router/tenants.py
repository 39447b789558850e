"""The tenants a router knows: given, added or found by its resolver; replaced, removed, let go, and found again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tenantlimpyd import logs
from tenantlimpyd._connections.budget import Budget, checked_budget
from tenantlimpyd._registry.placement import Placement
from tenantlimpyd._tenant_ids import checked, compiled
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import ConfigurationError, SharedKeyspaceError, UnknownTenantError, shown
from tenantlimpyd.router.registry import RecentTenants, TenantRegistry
from tenantlimpyd.router.resolver import Resolver, ResolverCalls

if TYPE_CHECKING:  # what this is mixed into
    from tenantlimpyd._registry.host import ModelHost as _Host
else:
    _Host = object

__all__ = ["RouterTenants"]


_ATTEMPTS = 20
"""How often a tenant is kept that is found and evicted at the same time."""


class RouterTenants(_Host):
    """The part of a router that knows tenants and where each of them lives, whoever is current."""

    def _begin(
        self,
        resolver: Resolver | None,
        resolver_cache: int | None,
        grammar: str | re.Pattern[str],
        budget: Budget | None,
    ) -> None:
        if resolver is not None and not callable(resolver):
            raise ConfigurationError(f"the resolver must be a function of a tenant id, not {shown(resolver)}")
        self._grammar = compiled(grammar)
        self._budget = checked_budget(budget)
        self._catalog = TenantRegistry()
        if resolver_cache is not None and (
            not isinstance(resolver_cache, int) or isinstance(resolver_cache, bool) or resolver_cache < 1
        ):
            raise ConfigurationError(
                f"resolver_cache must be a number of tenants, or None, not {shown(resolver_cache)}"
            )
        self._recent = RecentTenants(resolver_cache)
        self._resolving = ResolverCalls(resolver, self._known, self._keep_answer)

    @property
    def has_async_resolver(self) -> bool:
        """Whether the resolver is a coroutine function, so that unknown tenants can't be entered by sync code."""
        return self._resolving.awaits

    def add(self, tenant: str, database: RedisDatabase) -> None:
        """Add a tenant.

        Raises:
            InvalidTenantError: not a tenant id.
            SharedKeyspaceError: another tenant's keys could be there.
            ConfigurationError: not a database, or the tenant is there already with another one.
        """
        self._keep(self._check_id(tenant), database)

    def _keep(self, tenant: str, database: Any, placement: Placement | None = None) -> Placement:
        self._checked(tenant, database)
        with database._guarded_by(self._catalog):
            added = self._catalog.add(tenant, placement or Placement(database, self, tenant))
        if added:
            self._budgeted(database)
            self._resolving.unknown.forget(tenant)
            logs.emit("tenant_added", tenant=tenant, server=database.settings.server, db=database.settings.db)
        return self._catalog.placements[tenant]

    @staticmethod
    def _checked(tenant: str, database: Any) -> None:
        if not isinstance(database, RedisDatabase):
            raise ConfigurationError(f"tenant {tenant!r} needs a RedisDatabase, not {shown(database)}")

    def _budgeted(self, database: RedisDatabase) -> None:
        if self._budget is not None and database.budget is None:
            database._use_budget(self._budget)

    def _keep_resolved(self, tenant: str, database: Any, placement: Placement | None = None) -> Placement:
        kept = self._keep(tenant, database, placement)
        self._follow(kept)
        for other in self._recent.add(tenant):
            self._let_go(other, "tenant_evicted", stale=False)
        return kept

    def _keep_answer(self, tenant: str, database: Any) -> Placement:
        """Keep what the resolver returned, unless the tenant came back meanwhile: an evicted one does while objects use it."""
        self._checked(tenant, database)
        for left in range(_ATTEMPTS, 0, -1):
            try:
                return self._keep_resolved(tenant, database)
            except ConfigurationError:
                if (placement := self._catalog.placements.get(tenant)) is not None:
                    return placement
                if left == 1:  # something else is wrong with the database
                    raise
        raise AssertionError("unreachable")

    def _known(self, tenant: str) -> Placement | None:
        """Return where a tenant lives; one that was let go for want of room comes back while something uses it."""
        placement = self._catalog.placements.get(tenant)
        if placement is not None or (placement := self._catalog.evicted(tenant)) is None:
            return placement
        try:
            return self._keep_resolved(tenant, placement.database, placement)
        except (SharedKeyspaceError, ConfigurationError):  # its place was taken meanwhile, or it was found again
            return self._catalog.placements.get(tenant)

    def _follow(self, placement: Placement) -> None:
        """Let what was made for a tenant before, with the same keyspace, use the settings of now."""
        for former in self._catalog.former(placement):
            if former.database.settings != placement.database.settings:
                former.database.reset(**placement.database.connection_settings)

    def _let_go(self, tenant: str, event: str, *, stale: bool) -> bool:
        placement = self._catalog.let_go(tenant, stale=stale)
        if placement is None:
            return False
        self._retire(placement)
        logs.emit(event, tenant=tenant)
        return True

    def _retire(self, placement: Placement) -> None:
        placement.database._unguarded_by(self._catalog)  # first: scans that are under way go on
        placement.database.close()

    def remove(self, tenant: str) -> RedisDatabase:
        """Forget a tenant, and close its database's idle connections; commands in flight finish.

        What was made for it before is refused from now on.

        Returns:
            Its database.

        Raises:
            UnknownTenantError: there is none.
        """
        placement = self._catalog.remove(self._check_id(tenant))
        if placement is None:
            raise UnknownTenantError(f"there is no tenant {tenant!r}", tenant)
        self._recent.discard(tenant)
        self._retire(placement)
        logs.emit("tenant_removed", tenant=tenant)
        return placement.database  # type: ignore[no-any-return]

    def replace(self, tenant: str, database: RedisDatabase) -> RedisDatabase:
        """Give a tenant another database, for example after it was moved or its password changed.

        Commands in flight finish where they began; the old database's connections then close. Objects made before go on, with
        the new settings, where the keyspace is the same one; else they are refused, since they don't know the new place.

        Returns:
            The database it had.

        Raises:
            UnknownTenantError: there is no such tenant.
            SharedKeyspaceError: another tenant's keys could be there. Nothing was changed.
            ConfigurationError: not a database.
        """
        self._checked(self._check_id(tenant), database)
        placement = Placement(database, self, tenant)
        with database._guarded_by(self._catalog):
            before = self._catalog.replace(tenant, placement)
        if before is None:
            database._unguarded_by(self._catalog)
            raise UnknownTenantError(f"there is no tenant {tenant!r}: add it", tenant)
        if before.database is not database:
            self._budgeted(database)
            self._retire(before)
            self._follow(placement)
            logs.emit("tenant_replaced", tenant=tenant, server=database.settings.server, db=database.settings.db)
        return before.database  # type: ignore[no-any-return]

    def forget(self, tenant: str) -> bool:
        """Ask the resolver again when the tenant is entered next: what it said before, "not mine" included, may be outdated.

        To be called when something from outside says so, such as a message. Connections close once their commands are done.
        Whoever is inside the tenant goes on with the database of before, until somebody enters it again. Objects made before
        go on where the resolver then returns the same keyspace, and are refused where it doesn't.

        Returns:
            Whether it was a tenant that the resolver had found. Tenants given or added stay: :meth:`replace` those.

        Raises:
            InvalidTenantError: not a tenant id.
        """
        self._resolving.forget(self._check_id(tenant))
        found = self._recent.discard(tenant)
        if not found:
            self._catalog.disown(tenant)
            return False
        return self._let_go(tenant, "tenant_forgotten", stale=True)

    def tenants(self) -> tuple[str, ...]:
        """Return the ids of all tenants known: given, added, or found by the resolver so far."""
        return tuple(self._catalog.placements)

    def __contains__(self, tenant: object) -> bool:
        return isinstance(tenant, str) and tenant in self._catalog.placements

    def __len__(self) -> int:
        return len(self._catalog.placements)

    def __bool__(self) -> bool:
        return True

    def _check_id(self, tenant: object) -> str:
        """Return ``tenant`` if it is a tenant id; nothing is looked up.

        Raises:
            InvalidTenantError: it is none.
        """
        return checked(tenant, self._grammar)

    # Databases

    def database_for(self, tenant: str) -> RedisDatabase:
        """Return a tenant's database, whatever is current.

        Raises:
            InvalidTenantError: not a tenant id.
            UnknownTenantError: there is no such tenant.
        """
        return self._placed(self._check_id(tenant)).database  # type: ignore[no-any-return]

    async def adatabase_for(self, tenant: str) -> RedisDatabase:
        """Return a tenant's database as :meth:`database_for`; a resolver is awaited, or runs in a thread."""
        return (await self._aplaced(self._check_id(tenant))).database  # type: ignore[no-any-return]

    def _placed(self, tenant: str) -> Placement:
        placement = self._known(tenant)
        if placement is None:
            return self._resolving.resolve(tenant)
        self._recent.touch(tenant)
        return placement

    async def _aplaced(self, tenant: str) -> Placement:
        placement = self._known(tenant)
        if placement is None:
            return await self._resolving.aresolve(tenant)
        self._recent.touch(tenant)
        return placement
