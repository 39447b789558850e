"""A process of the soak: threads, tasks that are cancelled, and forked children, on the same connections."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import pickle
import random
import select
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

import attrs

from integration.isolation.shared.checked_worker import CheckedWorker, make_model, run_sync
from integration.isolation.shared.ledger import Ledger
from integration.isolation.shared.operations import BRIEF, MIXED
from integration.isolation.shared.sites import Site, make_router

__all__ = ["SoakPlan", "SoakProcess", "work"]

_CHILD_SECONDS = 30
"""The longest time that a forked child works."""


@attrs.frozen
class SoakPlan:
    """The amount of work of a process.

    Attributes:
        name: unlike any other process's.
        operations: how many replies to check.
        seconds: when to end in any case, so that what hangs is reported as too few operations.
        threads, tasks: how many of each.
        child_operations: how many replies each child checks.
        seed: of all that is left to chance.
    """

    name: str
    operations: int
    seconds: float
    seed: int
    threads: int = 3
    tasks: int = 8
    child_operations: int = 1000


class Interrupted(BaseException):
    """Raised by a signal handler in the main thread, like KeyboardInterrupt or a worker's time limit."""


class ForkGate:
    """Lets either threads work or one thread fork: a lock that a thread holds during a fork stays locked in the child."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._closed)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._inside)
        try:
            yield
        finally:
            with self._changed:
                self._closed = False
                self._changed.notify_all()


class SoakProcess:
    """Workers of all kinds that share a router."""

    def __init__(self, sites: list[Site], plan: SoakPlan) -> None:
        self.sites = sites
        self.plan = plan
        self.router = make_router(sites)
        self.things = make_model(self.router)
        self.gate = ForkGate()
        self.workers: list[CheckedWorker] = []
        self.children = Ledger()
        self.stopping = False
        self.errors: list[BaseException] = []

    def worker(self, name: str, operations: Mapping[Any, int], *, awaits: bool) -> CheckedWorker:
        name = f"{self.plan.name}{name}"
        chooser = random.Random(f"{self.plan.seed} {name}")
        return CheckedWorker(self.router, self.sites, self.things, name, operations, chooser, awaits=awaits)

    def run(self) -> Ledger:
        """Work until enough replies are checked, and return all records."""
        works: list[Callable[[], None]] = []
        for number in range(self.plan.threads):
            works.append(self._threaded(worker := self.worker(f"t{number}", MIXED, awaits=False)))
            self.workers.append(worker)
        tasks = [self.worker(f"a{number}", MIXED, awaits=True) for number in range(self.plan.tasks)]
        self.workers += tasks
        works.append(lambda: asyncio.run(self._tasks(tasks)))
        threads = [threading.Thread(target=self._guarded, args=(each,)) for each in works]
        for thread in threads:
            thread.start()
        try:
            self._forking()
        finally:
            self.stopping = True
            for thread in threads:
                thread.join()
            self.router.close()
        if self.errors:
            raise self.errors[0]
        whole = Ledger()
        for ledger in [*(worker.ledger for worker in self.workers), self.children]:
            whole.add(ledger)
        return whole

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised in the main thread
            self.errors.append(error)
            self.stopping = True

    # Threads and tasks

    def _threaded(self, worker: CheckedWorker) -> Callable[[], None]:
        def work() -> None:
            while not self.stopping:
                with self.gate.working():
                    run_sync(worker.operate())

        return work

    async def _tasks(self, workers: list[CheckedWorker]) -> None:
        async with asyncio.TaskGroup() as group:
            for worker in workers:
                group.create_task(self._cancelling(worker))

    async def _cancelling(self, worker: CheckedWorker) -> None:
        """Perform operations, some of which are cancelled or time out."""
        while not self.stopping:
            chance = worker.chooser.random()
            if chance < 0.6:
                await worker.operate()
            elif chance < 0.8:
                task = asyncio.create_task(worker.operate())
                for _ in range(worker.chooser.randrange(25)):
                    await asyncio.sleep(0)
                task.cancel()
                done, _ = await asyncio.wait([task], timeout=30)
                if not done:
                    worker.ledger.broken.append(f"{worker.kind}: a task was cancelled, and went on")
                    return
                worker.ledger.lost["cancelled"] += task.cancelled()
            else:
                try:
                    await asyncio.wait_for(worker.operate(), worker.chooser.choice([0.0005, 0.002, 0.01, 0.05]))
                except TimeoutError:
                    worker.ledger.lost["not in time"] += 1

    # Forks

    def _forking(self) -> None:
        """Fork children one after another. This thread is the only one of each child."""
        deadline = time.monotonic() + self.plan.seconds
        number = 0
        own = self.worker("m", BRIEF, awaits=False)
        self.workers.append(own)
        # What is interrupted as it makes a socket, or in a finalizer, leaves that to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        sys.unraisablehook = lambda _: None
        signal.signal(signal.SIGALRM, _interrupt)
        while not self.stopping and time.monotonic() < deadline and self._checked() < self.plan.operations:
            for _ in range(200):  # this thread uses the connections that its child inherits, beside the other threads
                _operate_with_interrupts(own)
            with self.gate.closed():
                reading, writing = os.pipe()
                pid = os.fork()
                if not pid:  # never to leave the gate: another thread may have held its lock
                    os.close(reading)
                    self._child(number, writing)
            os.close(writing)
            self._await_child(pid, reading, number)
            number += 1

    def _checked(self) -> int:
        return sum(each.ledger.checked.total() for each in self.workers) + self.children.checked.total()

    def _await_child(self, pid: int, reading: int, number: int) -> None:
        pieces = []
        deadline = time.monotonic() + _CHILD_SECONDS + 30
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            while True:
                if not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
                    os.kill(pid, signal.SIGKILL)
                    self.children.broken.append(f"a forked child of {self.plan.name} hung")
                    break
                if not (piece := pipe.read(1 << 20)):
                    break
                pieces.append(piece)
        _, status = os.waitpid(pid, 0)
        if status:
            told = b"".join(pieces).decode(errors="replace")
            self.children.broken.append(f"forked child {number} of {self.plan.name}, status {status}: {told}")
        else:
            self.children.add(pickle.loads(b"".join(pieces)))  # our own child's

    def _child(self, number: int, writing: int) -> None:
        """Work as a child: sync with interrupts, or async. Never return."""
        status = 1
        # A child that hangs or crashes tells its parent where.
        faulthandler.enable(file=writing)
        faulthandler.dump_traceback_later(_CHILD_SECONDS + 20, exit=True, file=writing)
        try:
            ledger = self._blocking_child(number) if number % 2 else asyncio.run(self._awaiting_child(number))
            faulthandler.cancel_dump_traceback_later()
            _tell(writing, pickle.dumps(ledger))
            status = 0
        except BaseException:  # noqa: BLE001 - its parent is told
            _tell(writing, traceback.format_exc().encode())
        finally:
            os._exit(status)

    def _blocking_child(self, number: int) -> Ledger:
        worker = self.worker(f"f{number}", BRIEF, awaits=False)
        deadline = time.monotonic() + _CHILD_SECONDS

        while worker.ledger.checked.total() < self.plan.child_operations and time.monotonic() < deadline:
            _operate_with_interrupts(worker)
        return worker.ledger

    async def _awaiting_child(self, number: int) -> Ledger:
        workers = [self.worker(f"f{number}a{each}", BRIEF, awaits=True) for each in range(3)]
        deadline = time.monotonic() + _CHILD_SECONDS

        async def work(worker: CheckedWorker) -> None:
            share = self.plan.child_operations // len(workers)
            while worker.ledger.checked.total() < share and time.monotonic() < deadline:
                await worker.operate()

        await asyncio.gather(*map(work, workers))
        whole = Ledger()
        for worker in workers:
            whole.add(worker.ledger)
        return whole


def _interrupt(_: int, frame: FrameType | None) -> None:
    """Raise in the main thread, as a signal handler may."""
    for each, _ in traceback.walk_stack(frame):
        if each.f_code.co_name == "pack":
            # hiredis's pack_command crashes where an exception reaches it: a little later, then.
            signal.setitimer(signal.ITIMER_REAL, 0.0001)
            return
    raise Interrupted


def _operate_with_interrupts(worker: CheckedWorker) -> None:
    """Perform one operation, which a signal sometimes interrupts."""
    try:
        try:
            if worker.chooser.random() < 0.5:
                signal.setitimer(signal.ITIMER_REAL, worker.chooser.uniform(0.00005, 0.002))
            run_sync(worker.operate())
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except Interrupted:
        worker.ledger.lost["interrupted"] += 1


def _tell(writing: int, what: bytes) -> None:
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(what)


def work(sites: list[Site], plan: SoakPlan) -> Ledger:
    """Work as one process of the soak. Warnings are errors."""
    warnings.simplefilter("error")
    return SoakProcess(sites, plan).run()
