"""Memory of idle tenants, beside a redis-py client each: ``python -m benchmarks.memory``."""

from __future__ import annotations

import gc
import sys
import tracemalloc

import redis

from tenantlimpyd import DatabaseRouter, RedisDatabase

HOST = "192.0.2.1"  # for documentation: nothing connects
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


def main(numbers: list[int]) -> None:
    peer = bytes_each(clients, CLIENTS)
    print(f"{'idle tenants':>14}  {'bytes each':>10}  of a redis-py client's")
    for number in numbers:
        used = bytes_each(a_router, number)
        print(f"{number:>14,}  {used:>10,.0f}  {used / peer:.3f}")
    print(f"{'redis-py':>14}  {peer:>10,.0f}  1")


if __name__ == "__main__":
    main([int(number) for number in sys.argv[1:]] or [10_000, 100_000])
