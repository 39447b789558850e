"""The choice of TCP ports that a server can bind again after a restart."""

from __future__ import annotations

import contextlib
import secrets
import socket

from tenantlimpyd.embedded.errors import EmbeddedServerError

__all__ = ["HOST", "free_port"]

HOST = "127.0.0.1"

# Below the range from which the kernel takes the ports of outgoing connections: no client socket can occupy the port of a
# server that is restarting.
_PORTS = range(12_000, 32_000)


def free_port() -> int:
    """Return a port of 127.0.0.1 on which no process listens now. Another process may bind it before the caller does.

    Raises:
        EmbeddedServerError: If a thousand attempts found no free port.
    """
    for _ in range(1000):
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise EmbeddedServerError(f"No free port between {_PORTS.start} and {_PORTS.stop - 1} on {HOST}: give port=.")
