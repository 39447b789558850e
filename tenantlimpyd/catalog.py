"""What a router knows: tenants, where each lives, and that no two live in one keyspace."""

from __future__ import annotations

import bisect
import contextlib
import threading
import time
from collections.abc import Iterator

from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import ConfigurationError, SharedKeyspaceError
from tenantlimpyd.hosting import Placement
from tenantlimpyd.settings import Keyspace

__all__ = ["Catalog", "Unknown"]


class Catalog:
    """Tenant ids to placements, with an index of keyspaces. Safe to share between threads."""

    def __init__(self) -> None:
        self.placements: dict[str, Placement] = {}
        self._lock = threading.RLock()
        self._keyspaces: dict[str, Keyspace] = {}
        self._prefixes: dict[tuple[str, int], list[tuple[str, str]]] = {}

    def add(self, tenant: str, placement: Placement) -> bool:
        """Add a tenant; return False if it was there already, with the same database.

        Raises:
            ConfigurationError: it is there, with another database.
            SharedKeyspaceError: another tenant's keys could be in its keyspace.
        """
        database: RedisDatabase = placement.database
        with self._lock:
            known = self.placements.get(tenant)
            if known is not None:
                if known.database is database:
                    return False
                raise ConfigurationError(
                    f"the router has a tenant {tenant!r} already: remove it first, or connect() its database"
                )
            keyspace = database.keyspace
            self._check(tenant, keyspace)
            self._index(tenant, keyspace)
            self.placements[tenant] = placement
        return True

    def remove(self, tenant: str) -> Placement | None:
        """Forget a tenant; return where it lived, or None if there was none."""
        with self._lock:
            placement = self.placements.pop(tenant, None)
            if placement is not None:
                self._unindex(tenant)
            return placement

    @contextlib.contextmanager
    def moving(self, database: RedisDatabase, keyspace: Keyspace) -> Iterator[None]:
        """Hold the catalog still while one of its databases goes to another keyspace.

        Raises:
            SharedKeyspaceError: another tenant lives there.
        """
        with self._lock:
            tenant = next((name for name, placement in self.placements.items() if placement.database is database), None)
            if tenant is None:
                yield
                return
            self._check(tenant, keyspace)
            yield
            self._unindex(tenant)
            self._index(tenant, keyspace)

    def _check(self, tenant: str, keyspace: Keyspace) -> None:
        prefixes = self._prefixes.get((keyspace.server, keyspace.db), ())
        # No prefix of the list starts with another one, so only the neighbours of the new one can overlap with it.
        at = bisect.bisect_left(prefixes, (keyspace.prefix, ""))
        neighbours = [entry for entry in prefixes[max(0, at - 2) : at + 2] if entry[1] != tenant]
        for _, other in neighbours:
            if keyspace.overlaps(self._keyspaces[other]):
                raise SharedKeyspaceError(
                    f"the tenants {tenant!r} and {other!r} would share keys: {keyspace}, and {self._keyspaces[other]}. "
                    "Give each its own server, database number, or key_prefix; no prefix may start with another."
                )

    def _index(self, tenant: str, keyspace: Keyspace) -> None:
        self._keyspaces[tenant] = keyspace
        bisect.insort(self._prefixes.setdefault((keyspace.server, keyspace.db), []), (keyspace.prefix, tenant))

    def _unindex(self, tenant: str) -> None:
        keyspace = self._keyspaces.pop(tenant)
        prefixes = self._prefixes[keyspace.server, keyspace.db]
        prefixes.remove((keyspace.prefix, tenant))
        if not prefixes:
            del self._prefixes[keyspace.server, keyspace.db]


class Unknown:
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
