"""Fork workers and kill some of them, repeatedly: ``python -m integration.atomicity.killed_workers ORDERS``.

It imports what workers need once, and talks to no server itself, so that a new worker is at work within milliseconds.
Orders are JSON; what comes of it is printed as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
import traceback
from typing import Any

import attrs

from integration.atomicity.workload import run, run_tasks
from integration.parity.libraries import LIMPYD, OURS

__all__ = ["Orders", "Report"]

GRACE = 15.0
"""Seconds those that aren't killed have for the operation they are in when time is up."""


@attrs.frozen
class Orders:
    """What to do.

    Attributes:
        library: ``limpyd`` or ``tenantlimpyd``.
        settings, db: the database.
        seed: of all random choices.
        seconds: how long.
        workers: how many are left to work; every third of them awaits, where the library can.
        victims: how many are at work at any time and killed at random moments, each replaced by a new one.
    """

    library: str
    settings: dict[str, Any]
    db: int
    seed: int
    seconds: float
    workers: int = 3
    victims: int = 3


@attrs.frozen
class Report:
    """What came of it.

    Attributes:
        killed: how many victims were.
        operations: of those that were not killed.
        errors: what no operation may raise, and workers that ended by themselves.
    """

    killed: int
    operations: int
    errors: list[str]


class _Crew:
    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.chooser = random.Random(orders.seed)
        self.started = 0
        self.errors: list[str] = []
        self.reading, self.writing = os.pipe()

    def fork(self, seconds: float) -> int:
        """Start a worker and return its process id."""
        self.started += 1
        number = self.started
        if pid := os.fork():
            return pid
        try:  # the child
            orders, seed = self.orders, self.orders.seed + 1000 * number
            if number % 3 == 0 and orders.library == OURS.name:
                done = asyncio.run(run_tasks(orders.settings, orders.db, seed, seconds))
            else:
                library = OURS if orders.library == OURS.name else LIMPYD
                done = run(library, orders.settings, orders.db, seed, seconds)
            count, errors = done
            os.write(self.writing, json.dumps([count, errors[:3]]).encode()[:3000] + b"\n")
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a child must never go on as its parent
            traceback.print_exc()
            os._exit(1)

    def kill(self, pid: int) -> None:
        """Kill a victim; it is an error if it is dead already."""
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            self.errors.append(f"a worker ended by itself, with status {status}")
            return
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def work(self) -> Report:
        """Let them work, and kill."""
        ends = time.monotonic() + self.orders.seconds
        workers = [self.fork(self.orders.seconds) for _ in range(self.orders.workers)]
        victims = [self.fork(3600) for _ in range(self.orders.victims)]
        killed = 0
        while time.monotonic() < ends:
            time.sleep(self.chooser.uniform(0.002, 0.06))  # the random moment, not a wait for anything
            at = self.chooser.randrange(len(victims))
            self.kill(victims[at])
            killed += 1
            victims[at] = self.fork(3600)
        for victim in victims:
            self.kill(victim)
        operations = self._gather(workers)
        return Report(killed + len(victims), operations, self.errors)

    def _gather(self, workers: list[int]) -> int:
        """Wait for those that were not killed, and return how much they did."""
        ends = time.monotonic() + GRACE
        waiting = set(workers)
        while waiting and time.monotonic() < ends:
            waiting -= {pid for pid in waiting if os.waitpid(pid, os.WNOHANG)[0]}
            time.sleep(0.01)
        for pid in waiting:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self.errors.append(f"a worker was not through with its operation after {GRACE:.0f} s")
        os.close(self.writing)
        with os.fdopen(self.reading) as reports:
            lines = [json.loads(line) for line in reports]
        self.errors += [error for _, errors in lines for error in errors]
        return sum(count for count, _ in lines)


if __name__ == "__main__":
    print(json.dumps(attrs.asdict(_Crew(Orders(**json.loads(sys.argv[1]))).work())))
