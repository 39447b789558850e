"""A server that falls silent in the middle of a walk costs its tenants ``socket_timeout`` once, in both modes."""

from __future__ import annotations

import pytest
import redis

from tenantlimpyd import DatabaseRouter, RedisDatabase
from tenantlimpyd.embedded import EmbeddedServer

pytestmark = pytest.mark.slow

SILENCE = 1.0


async def test_scan_waits_once_for_a_silent_server(call):
    with EmbeddedServer() as server:
        with redis.Redis(**server.settings) as client:
            client.mset({f"k{number}": 1 for number in range(6000)})
        router = DatabaseRouter({"t": RedisDatabase(**server.settings, socket_timeout=SILENCE)})
        found = 0

        def take(page):
            nonlocal found
            if found < 500 <= found + len(page):
                server.pause()
            found += len(page)

        walk = call.form(router, "scan_pages")(count=40, on_error="collect", timeout=20)
        async for _, page in call.each(walk):
            take(page)
        assert 500 <= found < 6000
        outcome = walk.outcomes["t"]
        assert isinstance(outcome.error, redis.TimeoutError)
        assert SILENCE <= outcome.seconds < 1.8 * SILENCE, outcome
        server.resume()
        await router.aclose()
        router.close()
