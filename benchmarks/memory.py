"""Memory of idle tenants, beside a redis-py client each: ``python -m benchmarks.memory``."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Iterator, Sequence

import redis

from tenantlimpyd import DatabaseRouter, RedisDatabase

HOST = "192.0.2.1"  # for documentation: nothing connects
NUMBERS = (10_000, 100_000)
AIM = 1_024
"""Bytes a tenant may cost."""
CLIENTS = 1_000
"""Clients of redis-py that are made: each costs the same."""


def a_router(number: int) -> object:
    return DatabaseRouter({f"tenant-{each}": RedisDatabase(host=HOST, db=each) for each in range(number)})


def clients(number: int) -> object:
    return {f"tenant-{each}": redis.Redis(host=HOST, db=each) for each in range(number)}


def bytes_each(make, number: int) -> float:
    """Return the bytes that each of so many costs."""
    make(10)  # what is made once, whatever the number
    gc.collect()
    tracemalloc.start()
    kept = make(number)
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] / number
    tracemalloc.stop()
    del kept
    return used


HEAD = ("idle tenants", "bytes each", "of a redis-py client's", "aim")


def rows(numbers: Sequence[int]) -> Iterator[tuple[str, str, str, str]]:
    """Yield a row for each number of tenants, and one for redis-py."""
    peer = bytes_each(clients, CLIENTS)
    for number in numbers:
        used = bytes_each(a_router, number)
        yield f"{number:,}", f"{used:,.0f}", f"{used / peer:.3f}", f"≤ {AIM:,}" + " (missed)" * (used > AIM)
    yield "a redis-py client each", f"{peer:,.0f}", "1", ""


def measure(report) -> None:
    """Measure, each number in this process, which nothing else runs in meanwhile."""
    report.table("memory of idle tenants", HEAD, rows(NUMBERS))


if __name__ == "__main__":
    for row in (HEAD, *rows([int(number) for number in sys.argv[1:]] or NUMBERS)):
        print("".join(f"{cell:>26}" for cell in row))
