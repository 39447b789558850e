"""The clients of a database: the endpoint, the database number, and redis-py clients that are made at first use."""

from __future__ import annotations

import asyncio
import contextlib

from tenantlimpyd._connections.budget import Budget
from tenantlimpyd._connections.client import AsyncClient, AsyncPoolView, Client, PoolView
from tenantlimpyd._connections.endpoint import Endpoint, endpoint_for
from tenantlimpyd._connections.settings import Settings

__all__ = ["DatabaseClients"]


class DatabaseClients:
    """The clients of a database for one set of settings: a sync client, and an async one for each event loop.

    Attributes:
        server: the endpoint whose connections they use.
        db: the database number.
        confined: whether the database has a key prefix, so that others may have keys beside its own.
        retired: whether the database has released them.
    """

    __slots__ = ("__weakref__", "_aclient", "_client", "confined", "db", "retired", "server")

    def __init__(
        self, settings: Settings, budget: Budget | None = None, *, shared: bool = True, confined: bool = False
    ) -> None:
        self.retired = True  # in case the next line fails
        self.server: Endpoint = endpoint_for(settings, budget, shared=shared)
        self.db: int = settings.db
        self.confined = confined
        self._client: Client | None = None
        self._aclient: AsyncClient | None = None
        self.server.attach(self.db)
        self.retired = False

    def __del__(self) -> None:
        if not self.retired:
            with contextlib.suppress(Exception):  # at interpreter shutdown anything may be missing
                self.server.budget_limiter.defer_cleanup(self.server.endpoint_state.leave)

    @property
    def client(self) -> Client:
        """The sync client. Making it does not connect."""
        client = self._client
        if client is None:
            shared, dedicated = self.server.pools()
            client = Client.from_template(self.server.client, PoolView(shared, dedicated, self))
            with self.server.budget_limiter.creation_lock:
                if self._client is None:
                    self._client = client
                client = self._client
        return client

    @property
    def aclient(self) -> AsyncClient:
        """The async client of the running event loop. Making it does not connect.

        Raises:
            RuntimeError: If no event loop is running in this thread.
        """
        loop = asyncio.get_running_loop()
        client = self._aclient
        if client is not None and client.loop() is loop:
            return client
        loop_pools = self.server.loop_pools()
        # Only the client of the loop used last is cached; those of other loops are made again.
        self._aclient = client = AsyncClient.from_template(
            loop_pools.client, AsyncPoolView(loop_pools.pool, loop_pools.dedicated, self)
        )
        return client

    def _let_go(self) -> bool:
        with self.server.budget_limiter.creation_lock:
            first, self.retired = not self.retired, True
        return first and self.server.detach()

    def retire(self) -> None:
        """Release the endpoint. Commands in flight finish. After the last database, connections are closed when they are idle.

        Connections of other event loops are closed in those loops; those of loops that do not run, when the loop is closed.
        """
        self._let_go()

    async def aretire(self) -> None:
        """Release the endpoint like :meth:`retire`, and wait until idle connections of the running loop are closed."""
        with self.server.budget_limiter.creation_lock:
            alone = not self.retired and self.server.endpoint_state.users == 1
        if alone:
            await self.server.aclose_idle()
        self._let_go()
