"""A server that becomes silent during a scan costs its tenants ``socket_timeout`` once."""

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

        scan = call.form(router, "scan_pages")(count=40, on_error="collect", timeout=20)
        async for _, page in call.each(scan):
            take(page)
        assert 500 <= found < 6000
        outcome = scan.outcomes["t"]
        assert isinstance(outcome.error, redis.TimeoutError)
        assert SILENCE <= outcome.seconds < 1.8 * SILENCE, outcome
        server.resume()
        await router.aclose()
        router.close()
