"""The topology of one server, whose address the settings say."""

from __future__ import annotations

import attrs

from tenantlimpyd._connections.connection_classes import shared_connection_class
from tenantlimpyd._connections.endpoint_state import EndpointState

__all__ = ["Standalone"]


@attrs.frozen
class Standalone:
    """One server with a fixed address. Its connections are always current.

    Attributes:
        identity: ``host:port`` or the path of a unix socket.
        asked: no endpoint.
    """

    identity: str
    asked: tuple[EndpointState, ...] = ()

    def connection_class(self, connection_class: type) -> type:
        """Return the class of shared connections, for a class of redis-py."""
        return shared_connection_class(connection_class)

    def locate(self, key_prefix: str = "") -> None:
        """Return None: the settings say where the server is."""

    def alocate(self, key_prefix: str = "") -> None:
        """Return None: the settings say where the server is."""

    async def aclose_idle(self) -> None:
        """Do nothing: no other server is asked."""
