"""A few tenants behind an exact proxy, and workers of both modes to ask for them: the stage for faults at exact places."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from integration.isolation.shared.clerk import Clerk, at_once, things_of
from integration.isolation.shared.inventory import take_inventory
from integration.isolation.shared.ledger import Ledger
from integration.isolation.shared.operations import read
from integration.isolation.shared.spots import LIMITED, Spot, make_router, seed
from tenantlimpyd import Budget
from tests.support.reply_proxy import ExactProxy
from tests.support.servers import ServerHandle

__all__ = ["Stage", "set_stage"]

HASTY = 0.05
"""Seconds for a reply where a test waits for the time-out."""


class Stage:
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
        self.spots = [attrs.evolve(spot, retries=retries) for spot in _spots(server, proxy, patient)]
        self.plain = [spot for spot in self.spots if not (spot.limited or spot.beyond)]
        self.limited = next(spot for spot in self.spots if spot.limited)
        self.beyond = next(spot for spot in self.spots if spot.beyond)
        self.router = make_router(self.spots, budget)
        self.loop = asyncio.new_event_loop()
        self.things = things_of(self.router)
        self.extras: list[Clerk] = []
        self._other: tuple[Any, Any] | None = None
        self.clerks = {
            awaits: Clerk(
                self.router, self.spots, self.things, "a" if awaits else "b", {read: 1}, random.Random(1), awaits=awaits
            )
            for awaits in (False, True)
        }

    def fresh_connections(self, *, crowded: bool = False) -> None:
        """Begin with connections of this moment, none in a state of before.

        Args:
            crowded: whether somebody else uses one more all the time: then tasks don't send at once, but together.
        """
        self.proxy.release()
        self._end()
        for awaits in (False, True):
            for spot in (*self.plain, self.limited):
                self.ask(spot, read, awaits=awaits)
        if crowded:
            self.loop.run_until_complete(self._come())

    async def _come(self) -> None:
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

    def clerk(self, spot: Spot, operation: Any, *, awaits: bool) -> Clerk:
        """Return the worker, who does that operation for that tenant next, always with the same choices."""
        clerk = self.clerks[awaits]
        clerk.spots = [spot]
        clerk.chooser = random.Random(1)
        clerk._choices = [operation], [1]
        return clerk

    def extra(self, name: str, operations: Mapping[Any, int]) -> Clerk:
        """Return one more worker, who blocks, for all tenants."""
        clerk = Clerk(self.router, self.spots, self.things, name, operations, random.Random(name), awaits=False)
        self.extras.append(clerk)
        return clerk

    def ask(self, spot: Spot, operation: Any, *, awaits: bool) -> None:
        """Do an operation, and check what it is answered."""
        work = self.clerk(spot, operation, awaits=awaits).operate()
        if awaits:
            self.loop.run_until_complete(work)
        else:
            at_once(work)

    async def cancelled(self, spot: Spot, operation: Any, ready: Callable[[], bool], steps: int = 0) -> None:
        """Do an operation in a task; cancel it so many steps after something has become true."""
        task = asyncio.ensure_future(self.clerk(spot, operation, awaits=True).operate())
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

    def answered(self, spot: Spot, *, awaits: bool) -> bool:
        """Whether a tenant gets its answers at the second try at the latest, faults being over."""
        self.proxy.release()
        for _ in range(2):
            before = self.ledger.lost.total()
            self.ask(spot, read, awaits=awaits)
            if self.ledger.lost.total() == before:
                return True
        return False

    @property
    def ledger(self) -> Ledger:
        """What all workers noted."""
        whole = Ledger()
        for clerk in (*self.clerks.values(), *self.extras):
            whole.add(clerk.ledger)
        return whole

    def wrong(self) -> list[str]:
        """Return what went wrong: strays in answers and on the server, and errors that no fault explains."""
        return [*self.astray(), *self.ledger.broken]

    def astray(self) -> list[str]:
        """Return the strays, in answers and on the server."""
        ledger = self.ledger
        return [*ledger.strays, *take_inventory(self.spots, ledger)]

    def wipe(self) -> None:
        """Begin anew, with an empty ledger."""
        for clerk in self.clerks.values():
            clerk.ledger = Ledger()
        with self.server.client() as client:
            client.flushall()
        seed(self.spots)

    def close(self) -> None:
        self.proxy.release()
        self._end()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


def _spots(server: ServerHandle, proxy: ExactProxy, patient: float) -> list[Spot]:
    direct: Mapping[str, Any] = server.settings
    through = {**direct, "port": proxy.port, "socket_timeout": patient, "socket_connect_timeout": 5}
    limited = {**through, "username": LIMITED, "password": "pw"}
    return [
        *(Spot(f"ten-e{db:04}", through, direct, db) for db in (3, 4, 5)),
        *(Spot(f"ten-f{db:04}", limited, direct, db, limited=True) for db in (6, 7)),
        Spot("ten-x5000", through, direct, 5000, beyond=True),
    ]


@contextlib.contextmanager
def set_stage(
    server: ServerHandle, patient: float = 5.0, retries: int = 0, budget: Budget | None = None
) -> Iterator[Stage]:
    """Set the stage on a server that has the limited user."""
    with ExactProxy(server.host, server.port) as proxy:
        stage = Stage(server, proxy, patient, retries, budget)
        stage.wipe()
        try:
            yield stage
        finally:
            stage.close()
