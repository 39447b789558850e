"""A few tenants behind a proxy for faults at exact places, with a sync and an async worker that checks its replies."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from integration.isolation.shared.checked_worker import CheckedWorker, make_model, run_sync
from integration.isolation.shared.keyspace_check import check_keyspaces
from integration.isolation.shared.ledger import Ledger
from integration.isolation.shared.operations import read
from integration.isolation.shared.sites import LIMITED, Site, make_router, seed
from tenantlimpyd import Budget
from tests.support.reply_proxy import ExactProxy
from tests.support.servers import ServerHandle

__all__ = ["Harness", "make_harness"]

IMPATIENT = 0.05
"""The socket timeout of tests that wait for it, in seconds."""


class Harness:
    """Tenants of one server, all on shared connections through the proxy.

    Args:
        server: where they live; its user ``limited`` is one of them.
        proxy: what leads there.
        patient: seconds for a reply.
        retries: how often redis-py tries once more.
        budget: the limits of connections.
    """

    def __init__(
        self,
        server: ServerHandle,
        proxy: ExactProxy,
        patient: float = 5.0,
        retries: int = 0,
        budget: Budget | None = None,
    ) -> None:
        self.server = server
        self.proxy = proxy
        self.sites = [attrs.evolve(site, retries=retries) for site in _sites(server, proxy, patient)]
        self.plain = [site for site in self.sites if not (site.limited or site.beyond)]
        self.limited = next(site for site in self.sites if site.limited)
        self.beyond = next(site for site in self.sites if site.beyond)
        self.router = make_router(self.sites, budget)
        self.loop = asyncio.new_event_loop()
        self.things = make_model(self.router)
        self.extras: list[CheckedWorker] = []
        self._other: tuple[Any, Any] | None = None
        self.workers = {
            awaits: CheckedWorker(
                self.router, self.sites, self.things, "a" if awaits else "b", {read: 1}, random.Random(1), awaits=awaits
            )
            for awaits in (False, True)
        }

    def fresh_connections(self, *, busy: bool = False) -> None:
        """Close all connections and open new ones.

        Args:
            busy: whether somebody else uses one more all the time: then tasks don't send at once, but together.
        """
        self.proxy.release()
        self._end()
        for awaits in (False, True):
            for site in (*self.plain, self.limited):
                self.ask(site, read, awaits=awaits)
        if busy:
            self.loop.run_until_complete(self._occupy_connection())

    async def _occupy_connection(self) -> None:
        pool = self.router.database_for(self.plain[0].tenant).aconnection.connection_pool
        own = await pool.get_connection()  # used by whoever comes next
        self._other = pool, await pool.get_connection()
        await pool.release(own)

    def _end(self) -> None:
        if self._other is not None:
            pool, connection = self._other
            self._other = None
            self.loop.run_until_complete(pool.release(connection))
        self.router.close()
        self.loop.run_until_complete(self.router.aclose())

    def worker(self, site: Site, operation: Any, *, awaits: bool) -> CheckedWorker:
        """Return the worker, set to perform an operation for a tenant with a fixed random seed."""
        worker = self.workers[awaits]
        worker.sites = [site]
        worker.chooser = random.Random(1)
        worker._choices = [operation], [1]
        return worker

    def extra(self, name: str, operations: Mapping[Any, int]) -> CheckedWorker:
        """Return a further sync worker for all tenants."""
        worker = CheckedWorker(
            self.router, self.sites, self.things, name, operations, random.Random(name), awaits=False
        )
        self.extras.append(worker)
        return worker

    def ask(self, site: Site, operation: Any, *, awaits: bool) -> None:
        """Perform an operation, and check its replies."""
        work = self.worker(site, operation, awaits=awaits).operate()
        if awaits:
            self.loop.run_until_complete(work)
        else:
            run_sync(work)

    async def cancelled(self, site: Site, operation: Any, ready: Callable[[], bool], steps: int = 0) -> None:
        """Perform an operation in a task, and cancel it some steps after a condition has become true."""
        task = asyncio.ensure_future(self.worker(site, operation, awaits=True).operate())
        while not ready() and not task.done():  # noqa: ASYNC110 - ready() looks at other threads
            await asyncio.sleep(0)
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        for _ in range(20):
            await asyncio.sleep(0)
        if not task.done():  # it cleans up, and waits for a reply to that
            self.proxy.release()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    def answered(self, site: Site, *, awaits: bool) -> bool:
        """Return whether a tenant gets its replies within two attempts once the faults are over."""
        self.proxy.release()
        for _ in range(2):
            before = self.ledger.lost.total()
            self.ask(site, read, awaits=awaits)
            if self.ledger.lost.total() == before:
                return True
        return False

    @property
    def ledger(self) -> Ledger:
        """The records of all workers."""
        whole = Ledger()
        for worker in (*self.workers.values(), *self.extras):
            whole.add(worker.ledger)
        return whole

    def wrong(self) -> list[str]:
        """Return what went wrong: strays in replies and on the server, and errors that no fault explains."""
        return [*self.strays(), *self.ledger.broken]

    def strays(self) -> list[str]:
        """Return the strays, in replies and on the server."""
        ledger = self.ledger
        return [*ledger.strays, *check_keyspaces(self.sites, ledger)]

    def lost_permits(self) -> int:
        """Return how many connections count as in use though nobody uses one."""
        gc.collect()  # frames of interrupted code are in reference cycles with their exceptions
        return sum(stats.in_use + stats.waiting for stats in self.router.pool_stats().values()) - bool(self._other)

    def wipe(self) -> None:
        """Empty the server and the ledger."""
        for worker in self.workers.values():
            worker.ledger = Ledger()
        with self.server.client() as client:
            client.flushall()
        seed(self.sites)

    def close(self) -> None:
        self.proxy.release()
        self._end()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


def _sites(server: ServerHandle, proxy: ExactProxy, patient: float) -> list[Site]:
    direct: Mapping[str, Any] = server.settings
    through = {**direct, "port": proxy.port, "socket_timeout": patient, "socket_connect_timeout": 5}
    limited = {**through, "username": LIMITED, "password": "pw"}
    return [
        *(Site(f"ten-e{db:04}", through, direct, db) for db in (3, 4, 5)),
        *(Site(f"ten-f{db:04}", limited, direct, db, limited=True) for db in (6, 7)),
        Site("ten-x5000", through, direct, 5000, beyond=True),
    ]


@contextlib.contextmanager
def make_harness(
    server: ServerHandle, patient: float = 5.0, retries: int = 0, budget: Budget | None = None
) -> Iterator[Harness]:
    """Make the harness for a server that has the limited user."""
    with ExactProxy(server.host, server.port) as proxy:
        harness = Harness(server, proxy, patient, retries, budget)
        harness.wipe()
        try:
            yield harness
        finally:
            harness.close()
