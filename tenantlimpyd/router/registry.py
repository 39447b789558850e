"""What a router knows: tenants, where each lives, and that no two live in one keyspace."""

from __future__ import annotations

import bisect
import contextlib
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterator

from tenantlimpyd._connections import fork
from tenantlimpyd._connections.settings import Keyspace
from tenantlimpyd._registry.placement import Placement
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import ConfigurationError, SharedKeyspaceError
from tenantlimpyd.keys import prefixes_overlap

__all__ = ["RecentTenants", "TenantRegistry", "UnknownIds"]


class TenantRegistry:
    """Tenant ids to placements, with an index of keyspaces. Safe to share between threads.

    The index holds no more than it must, since there may be very many tenants: for each server and database number a tenant
    id, or a list of them in the order of their prefixes.

    Attributes:
        placements: by tenant id. Read without a lock; changed under it.
    """

    def __init__(self) -> None:
        self.placements: dict[str, Placement] = {}
        self.reset_after_fork()
        fork.watch(self)
        self._places: dict[str, dict[int, str | list[str]]] = {}
        self._former: weakref.WeakSet[Placement] = weakref.WeakSet()
        self._evicted: weakref.WeakValueDictionary[str, Placement] = weakref.WeakValueDictionary()

    def reset_after_fork(self) -> None:
        """Replace the lock: a thread of the parent may have held it."""
        self._lock = threading.RLock()

    def add(self, tenant: str, placement: Placement) -> bool:
        """Add a tenant; return False if it was there already, with the same database.

        Raises:
            ConfigurationError: it is there, with another database.
            SharedKeyspaceError: another tenant's keys could be in its keyspace.
        """
        with self._lock:
            known = self.placements.get(tenant)
            if known is not None:
                if known.database is placement.database:
                    return False
                raise ConfigurationError(
                    f"the router has a tenant {tenant!r} already: remove it first, replace() it, or connect() its database"
                )
            keyspace = placement.database.keyspace
            self._check(tenant, keyspace)
            self.placements[tenant] = placement
            self._index(tenant, keyspace)
            self._former.discard(placement)
        return True

    def all(self) -> list[Placement]:
        """Return all placements of now."""
        return list(self.placements.copy().values())  # copied in one step: others may add meanwhile

    def remove(self, tenant: str) -> Placement | None:
        """Forget a tenant for good; return where it lived, or None if there was none. What was made there is refused."""
        with self._lock:
            for former in [former for former in self._former if former.tenant == tenant]:
                self._former.discard(former)
            return self._drop(tenant)

    def let_go(self, tenant: str, *, stale: bool) -> Placement | None:
        """Drop a tenant which the resolver can find again; return where it lived, or None if there was none.

        Args:
            tenant: the tenant id.
            stale: its place may have changed, so that the resolver has to be asked; else :meth:`evicted` returns it for as
                long as something uses it.
        """
        with self._lock:
            placement = self._drop(tenant)
            if placement is not None:
                self._former.add(placement)
                if not stale:
                    self._evicted[tenant] = placement
            if stale:
                self._evicted.pop(tenant, None)
            return placement

    def disown(self, tenant: str) -> None:
        """Let a tenant that was evicted not come back by itself: its place may have changed."""
        with self._lock:
            self._evicted.pop(tenant, None)

    def evicted(self, tenant: str) -> Placement | None:
        """Return where a tenant lived that was let go for want of room, if something still uses it."""
        with self._lock:
            return self._evicted.pop(tenant, None)

    def replace(self, tenant: str, placement: Placement) -> Placement | None:
        """Give a tenant another database; return where it lived, or None if there is no such tenant.

        Raises:
            SharedKeyspaceError: another tenant's keys could be in the new keyspace. Nothing was changed.
        """
        with self._lock:
            known = self.placements.get(tenant)
            if known is None or known.database is placement.database:
                return known
            keyspace = placement.database.keyspace
            self._check(tenant, keyspace)
            self._drop(tenant)
            self.placements[tenant] = placement
            self._index(tenant, keyspace)
            self._former.add(known)
            return known

    def former(self, placement: Placement) -> list[Placement]:
        """Return what was made for the same tenant and keyspace before, and still works."""
        with self._lock:
            keyspace = placement.database.keyspace
            return [
                former
                for former in self._former
                if former.tenant == placement.tenant and former.database.keyspace == keyspace
            ]

    def still(self, placement: Placement) -> bool:
        """Return whether what was made for a tenant may be used.

        So it is while the tenant lives there; also under another database object for the same keyspace, and while it is
        let go and nobody else lives there.
        """
        tenant = str(placement.tenant)
        current = self.placements.get(tenant)
        if current is placement:
            return True
        with self._lock:
            if placement not in self._former:
                return False
            keyspace = placement.database.keyspace
            if (current := self.placements.get(tenant)) is not None:
                return bool(current.database.keyspace == keyspace)
            return self._neighbour(tenant, keyspace) is None

    @contextlib.contextmanager
    def moving(self, database: RedisDatabase, keyspace: Keyspace) -> Iterator[None]:
        """Hold the catalog still while one of its databases goes to another keyspace.

        Raises:
            SharedKeyspaceError: another tenant lives there.
        """
        with self._lock:
            before = database.keyspace
            tenant = self._tenant_of(database, before)
            if tenant is None:
                yield
                return
            self._check(tenant, keyspace)
            yield
            self._unindex(before)
            self._index(tenant, keyspace)

    def _tenant_of(self, database: RedisDatabase, keyspace: Keyspace) -> str | None:
        for tenant in self._around(keyspace):
            if self.placements[tenant].database is database:
                return tenant
        return None

    def _around(self, keyspace: Keyspace) -> list[str]:
        """Return those tenants of the same database whose prefix may overlap with a keyspace's."""
        there = self._places.get(keyspace.server_identity, {}).get(keyspace.db, ())
        if isinstance(there, str):
            return [there]
        # No prefix of the list starts with another one, so only the neighbours of the new one can overlap with it.
        at = bisect.bisect_left(there, keyspace.prefix, key=self._prefix_of)
        return list(there[max(0, at - 2) : at + 2])

    def _prefix_of(self, tenant: str) -> str:
        return self.placements[tenant].database.key_prefix  # type: ignore[no-any-return]

    def _neighbour(self, tenant: str, keyspace: Keyspace) -> str | None:
        """Return another tenant whose keys could be in a keyspace, or None."""
        for other in self._around(keyspace):
            prefix = self._prefix_of(other)
            if other != tenant and prefixes_overlap(prefix, keyspace.prefix):
                return other
        return None

    def _check(self, tenant: str, keyspace: Keyspace) -> None:
        if (other := self._neighbour(tenant, keyspace)) is not None:
            raise SharedKeyspaceError(
                f"the tenants {tenant!r} and {other!r} would share keys: {keyspace}, and "
                f"{self.placements[other].database.keyspace}. Give each its own server, database number, or key_prefix; no "
                "prefix may start with another."
            )

    def _index(self, tenant: str, keyspace: Keyspace) -> None:
        numbers = self._places.setdefault(keyspace.server_identity, {})
        there = numbers.get(keyspace.db)
        if there is None:
            numbers[keyspace.db] = tenant
            return
        if isinstance(there, str):
            there = numbers[keyspace.db] = [there]
        bisect.insort(there, tenant, key=self._prefix_of)

    def _drop(self, tenant: str) -> Placement | None:
        placement = self.placements.get(tenant)
        if placement is not None:
            self._unindex(placement.database.keyspace)
            del self.placements[tenant]
        return placement

    def _unindex(self, keyspace: Keyspace) -> None:
        numbers = self._places[keyspace.server_identity]
        there = numbers[keyspace.db]
        if isinstance(there, list):
            del there[bisect.bisect_left(there, keyspace.prefix, key=self._prefix_of)]
        if isinstance(there, str) or not there:
            del numbers[keyspace.db]
            if not numbers:
                del self._places[keyspace.server_identity]


class RecentTenants:
    """The tenants a resolver found, those entered last at the end, and how many of them are kept.

    Args:
        most: how many; None: all.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self.reset_after_fork()
        fork.watch(self)
        self._tenants: OrderedDict[str, None] = OrderedDict()

    def reset_after_fork(self) -> None:
        """Replace the lock: a thread of the parent may have held it."""
        self._lock = threading.Lock()

    def __contains__(self, tenant: str) -> bool:
        return tenant in self._tenants

    def add(self, tenant: str) -> list[str]:
        """Add a tenant; return those that have to go for it."""
        gone = []
        with self._lock:
            self._tenants[tenant] = None
            while self._most is not None and len(self._tenants) > self._most:
                gone.append(self._tenants.popitem(last=False)[0])
        return gone

    def touch(self, tenant: str) -> None:
        """Note that a tenant is used. Nothing happens to one that the resolver did not find."""
        if self._most is not None and tenant in self._tenants:
            with self._lock, contextlib.suppress(KeyError):
                self._tenants.move_to_end(tenant)

    def discard(self, tenant: str) -> bool:
        """Take a tenant out; return whether it was there."""
        with self._lock:
            return self._tenants.pop(tenant, ...) is None


class UnknownIds:
    """Ids that a resolver did not know, remembered for a short while and in bounded number."""

    def __init__(self, seconds: float, most: int = 10_000) -> None:
        self._seconds = seconds
        self._most = most
        self._until: dict[str, float] = {}

    def __contains__(self, tenant: str) -> bool:
        until = self._until.get(tenant)
        return until is not None and time.monotonic() < until

    def remember(self, tenant: str) -> None:
        """Remember an id; the oldest goes where there are too many."""
        self._until.pop(tenant, None)
        while len(self._until) >= self._most:
            with contextlib.suppress(StopIteration, KeyError, RuntimeError):
                del self._until[next(iter(self._until))]
        self._until[tenant] = time.monotonic() + self._seconds

    def forget(self, tenant: str) -> None:
        """Forget an id, which exists now."""
        self._until.pop(tenant, None)
