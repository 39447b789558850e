"""A master, a replica and three sentinels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import redis

from tenantlimpyd.embedded import EmbeddedServer

__all__ = ["Group", "sentinel_group", "until"]

Group = tuple[EmbeddedServer, EmbeddedServer, list[str]]
"""The master, the replica, and the addresses of the sentinels."""


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Poll until it is so."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not come to pass"
        time.sleep(0.02)


@contextmanager
def sentinel_group() -> Iterator[Group]:
    """Start one, on loopback: addresses that sentinels tell must be right for us too."""
    with ExitStack() as stack:
        common = {"repl-diskless-sync-delay": 0, "repl-ping-replica-period": 1}
        master = stack.enter_context(EmbeddedServer(options=common))
        replicaof = ("127.0.0.1", str(master.port))
        replica = stack.enter_context(EmbeddedServer(options={**common, "replicaof": replicaof}))
        sentinels = [stack.enter_context(EmbeddedServer(sentinel=True)) for _ in range(3)]
        clients = [stack.enter_context(redis.Redis(**each.settings)) for each in sentinels]
        for client in clients:
            client.sentinel_monitor("mymaster", "127.0.0.1", master.port, 2)
            client.sentinel_set("mymaster", "down-after-milliseconds", 500)
            client.sentinel_set("mymaster", "failover-timeout", 3000)
        until(lambda: all(len(client.sentinel_sentinels("mymaster")) == 2 for client in clients))
        until(lambda: all(client.sentinel_slaves("mymaster") for client in clients))
        with redis.Redis(**replica.settings) as client:
            until(lambda: client.info("replication")["master_link_status"] == "up")
        yield master, replica, [f"127.0.0.1:{each.port}" for each in sentinels]
