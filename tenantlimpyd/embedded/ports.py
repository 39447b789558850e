"""Ports for servers that must find theirs free again after a restart."""

from __future__ import annotations

import contextlib
import secrets
import socket

from tenantlimpyd.embedded.errors import EmbeddedServerError

__all__ = ["HOST", "free_port"]

HOST = "127.0.0.1"

# Below the range the kernel takes the ports of outgoing connections from: a client's socket can't sit on the port of a
# server that is down for a moment.
_PORTS = range(12_000, 32_000)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on now. Somebody else may still take it before the caller does.

    Raises:
        EmbeddedServerError: a thousand tries found none.
    """
    for _ in range(1000):
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise EmbeddedServerError(f"No free port between {_PORTS.start} and {_PORTS.stop - 1} on {HOST}: give port=.")
