"""A database's way to its server: which server, which number, and the clients, made at first use."""

from __future__ import annotations

import asyncio
import contextlib

from tenantlimpyd._connections.budget import Budget
from tenantlimpyd._connections.client import AsyncClient, AsyncPoolView, Client, PoolView
from tenantlimpyd._connections.endpoint import Endpoint, endpoint_for
from tenantlimpyd._connections.settings import Settings

__all__ = ["DatabaseClients"]


class DatabaseClients:
    """A database's clients for one set of settings: a blocking one, and one for each event loop.

    Attributes:
        server: whose connections it uses.
        db: the number of its database there.
        retired: whether the database has let go of it.
    """

    __slots__ = ("__weakref__", "_aclient", "_client", "db", "retired", "server")

    def __init__(self, settings: Settings, budget: Budget | None = None, *, shared: bool = True) -> None:
        self.retired = True  # should the next line fail
        self.server: Endpoint = endpoint_for(settings, budget, shared=shared)
        self.db: int = settings.db
        self._client: Client | None = None
        self._aclient: AsyncClient | None = None
        self.server.attach(self.db)
        self.retired = False

    def __del__(self) -> None:
        if not self.retired:
            with contextlib.suppress(Exception):  # while the interpreter shuts down, anything may be gone
                self.server.scope.defer_cleanup(self.server.endpoint_state.leave)

    @property
    def client(self) -> Client:
        """The blocking client. Making it connects to nothing."""
        client = self._client
        if client is None:
            shared, dedicated = self.server.pools()
            client = Client.copied(self.server.client, PoolView(shared, dedicated, self))
            with self.server.scope.making:
                if self._client is None:
                    self._client = client
                client = self._client
        return client

    @property
    def aclient(self) -> AsyncClient:
        """The asyncio client of the running event loop. Making it connects to nothing.

        Raises:
            RuntimeError: no event loop is running in this thread.
        """
        loop = asyncio.get_running_loop()
        client = self._aclient
        if client is not None and client.loop() is loop:
            return client
        of_loop = self.server.of_loop()
        # Of several loops that use it at once, the last one's client is remembered; the others' are made again.
        self._aclient = client = AsyncClient.copied(
            of_loop.client, AsyncPoolView(of_loop.pool, of_loop.dedicated, self)
        )
        return client

    def _let_go(self) -> bool:
        with self.server.scope.making:
            first, self.retired = not self.retired, True
        return first and self.server.detach()

    def retire(self) -> None:
        """Let commands in flight finish. Where no other database uses the server, close what is idle, and every other
        connection when it comes back.

        Connections of other event loops are closed in their own turn; those of loops that don't run now, when their loop
        is closed.
        """
        self._let_go()

    async def aretire(self) -> None:
        """Do as :meth:`retire`, and wait until the idle connections of the running loop are closed."""
        with self.server.scope.making:
            alone = not self.retired and self.server.endpoint_state.users == 1
        if alone:
            await self.server.aclose_idle()
        self._let_go()
