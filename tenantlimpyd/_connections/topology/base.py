"""The interface of topologies: how the server of a keyspace is found, and whether a connection still leads to it."""

from __future__ import annotations

from typing import Any, Protocol

from tenantlimpyd._connections.endpoint_state import EndpointState

__all__ = ["Locator", "Topology"]


class Locator(Protocol):
    """Finds the server for the connections of a pool. redis-py's connections get it as their ``connection_pool``."""

    def is_current(self, connection: Any) -> bool:
        """Return whether a connection leads to the server of now, as far as is known without asking."""


class Topology(Protocol):
    """A kind of deployment: one server, a master behind sentinels.

    A new topology is a module beside this one, and a case in :func:`tenantlimpyd._connections.topology.topology_for`.
    """

    @property
    def identity(self) -> str:
        """The name of the server in reports and log events. Endpoints with the same one are the same server."""

    @property
    def asked(self) -> tuple[EndpointState, ...]:
        """The endpoints of other servers that are asked where the server is."""

    def connection_class(self, connection_class: type) -> type:
        """Return the class of shared connections, for a class of redis-py: plain, TLS or unix socket, sync or async."""

    def locate(self, key_prefix: str = "") -> Locator | None:
        """Return what finds the server of keys for sync connections; None if its address is fixed by the settings.

        Args:
            key_prefix: the prefix of the keys. It matters only where keys of one database are on several servers.
        """

    def alocate(self, key_prefix: str = "") -> Locator | None:
        """Return what finds the server of keys for async connections of the running event loop."""

    async def aclose_idle(self) -> None:
        """Close idle connections of the running event loop to servers that are asked."""
