"""Wait for a condition with a deadline, and list the connections of a server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from tenantlimpyd.embedded import EmbeddedServer


def eventually(condition: Callable[[], Any], seconds: float = 5.0) -> Any:
    """Return the condition's value once it is true; fail when that takes too long."""
    ends = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > ends:
            pytest.fail(f"not true within {seconds:g} s")
        time.sleep(0.005)
    return value


async def aeventually(condition: Callable[[], Any], seconds: float = 5.0) -> Any:
    """Wait as ``eventually``, letting the event loop run."""
    ends = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > ends:
            pytest.fail(f"not true within {seconds:g} s")
        await asyncio.sleep(0.005)
    return value


def open_connections(server: EmbeddedServer, name: str) -> list[dict[str, Any]]:
    """Return the entries of CLIENT LIST for connections named ``name``."""
    with redis.Redis(**server.settings) as client:
        return [entry for entry in client.client_list() if entry["name"] == name]
