"""The identity of a server process: a SCAN cursor is valid only for the process that returned it."""

from __future__ import annotations

from typing import Any

import attrs

from tenantlimpyd._resp import pack

__all__ = ["IDENTITY_REQUEST", "UNKNOWN", "ServerIdentity", "identity_of"]

IDENTITY_REQUEST = pack(b"INFO", b"server") + pack(b"INFO", b"replication")
"""The encoded commands whose two replies :func:`identity_of` reads."""


@attrs.frozen
class ServerIdentity:
    """The identity of a server process. Fields that the server does not report are empty.

    Attributes:
        run_id: the id of the process.
        role: ``master``, or ``slave`` with its master and the state of the replication link.
        connection: the connection, if the server does not report its run id; else None.
    """

    run_id: bytes
    role: bytes
    connection: object = None

    @property
    def known(self) -> bool:
        """Whether the identity is certain, so that cursors can be used on other connections."""
        return bool(self.run_id)


UNKNOWN = ServerIdentity(b"", b"", None)
"""The identity of a server that reports nothing."""


def _field(info: str, name: str) -> bytes:
    """Return the value of a field of INFO; empty if there is no such field."""
    start = info.find(f"\n{name}:")
    if start < 0:
        return b""
    start += len(name) + 2
    return info[start : info.find("\r", start)].encode("utf-8", "surrogateescape")


def identity_of(server: Any, replication: Any, connection: object) -> ServerIdentity:
    """Return the identity of a server from its replies to INFO.

    If the user may not call INFO, only the connection identifies the server.
    """
    run_id = _field(server, "run_id") if isinstance(server, str) else b""
    role = b""
    if isinstance(replication, str):
        role = _field(replication, "role")
        if role == b"slave":
            names = ("master_host", "master_port", "master_link_status", "master_sync_in_progress")
            role = b" ".join([role, *(_field(replication, name) for name in names)])
    return ServerIdentity(run_id, role, None if run_id else connection)
