"""Scenarios: each produces one kind of fault on shared connections. A guard that is broken shows in at least one."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import redis

from integration.isolation.shared import operations
from integration.isolation.shared.batches import batch
from integration.isolation.shared.checked_worker import run_sync
from integration.isolation.shared.harness import Harness
from integration.isolation.shared.sites import LIMITED
from tenantlimpyd._fanout.multiplex.lease import Lease
from tenantlimpyd._fanout.multiplex.select_loop import SelectLoop
from tests.support.interruption import interrupted_at

__all__ = ["NEVER", "SCENARIOS", "InterruptedRuns", "revoked"]

NEVER = 1_000_000


class InterruptedRuns:
    """Performs sync operations while the proxy holds replies back until the client reads its socket."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness

    def passing(self, frame: FrameType) -> None:
        name = frame.f_code.co_name
        if name in ("read_from_socket", SelectLoop._wait.__name__):
            self.harness.proxy.release()
        elif name in ("send_packed_command", Lease.send_rest.__name__):
            self.harness.proxy.arm(hold=0, longest=0.05)  # what cleans up after an interrupt isn't watched

    def ask(self, number: int, operation: Any, line: int = NEVER) -> bool:
        """Perform an operation for a tenant, interrupted at a step. Return whether that step was reached."""
        site = self.harness.sites[number]
        return interrupted_at(line, lambda: self.harness.ask(site, operation, awaits=False), self.passing)


@contextlib.contextmanager
def revoked(harness: Harness, right: str) -> Iterator[None]:
    """Revoke a right of the limited user inside the block."""
    with harness.server.client() as client:
        client.execute_command("ACL", "SETUSER", LIMITED, f"-{right}")
        try:
            yield
        finally:
            client.execute_command("ACL", "SETUSER", LIMITED, "+@all")


def rotate(harness: Harness) -> None:
    """Perform operations for one tenant after another, sync and async."""
    for operation in (operations.read, operations.write, batch, operations.optimism, operations.script):
        for site in (*harness.plain, harness.limited, *harness.plain):
            for awaits in (False, True):
                harness.ask(site, operation, awaits=awaits)


def rotate_slowly(harness: Harness) -> None:
    """Do the same while replies are delayed until the next one is expected."""
    for operation in (operations.single, operations.write, batch):
        for site in (*harness.plain, *harness.plain) * 3:
            for awaits in (False, True):
                harness.proxy.arm(hold=0, longest=0.005)
                harness.ask(site, operation, awaits=awaits)
    harness.proxy.release()


def interrupt_in_one_database(harness: Harness) -> None:
    """Interrupt a command at every step, on a connection that stays in its database."""
    runs = InterruptedRuns(harness)
    line, reached = 0, True
    while reached:
        for _ in range(2):
            harness.ask(harness.plain[0], operations.single, awaits=False)
        reached = runs.ask(0, operations.single, line)
        runs.ask(0, operations.read)
        runs.ask(1, operations.read)
        harness.proxy.release()
        line += 1


def interrupt_while_switching(harness: Harness) -> None:
    """Interrupt a command at every third step, on a connection that switches to another database."""
    runs = InterruptedRuns(harness)
    line, reached = 0, True
    while reached:
        reached = runs.ask(0, operations.single, line)
        runs.ask(1, operations.read)
        harness.proxy.release()
        line += 3


def revoke_rights(harness: Harness) -> None:
    """Revoke SELECT and other rights of a user whose connections are in another tenant's database."""
    others = [site for site in harness.sites if site.limited]
    for right in ("select", "multi", "exec", "discard", "set"):
        for operation in (operations.write, operations.read, batch, operations.optimism):
            for awaits in (False, True):
                for site in others:
                    harness.ask(site, operation, awaits=awaits)
                    with revoked(harness, right):
                        for other in others:
                            harness.ask(other, operation, awaits=awaits)
                    harness.ask(site, operation, awaits=awaits)


def select_missing_database(harness: Harness) -> None:
    """Select a missing database on connections that are in an existing one."""
    for operation in (operations.write, operations.read, batch, operations.optimism):
        for awaits in (False, True):
            for site in harness.plain:
                harness.ask(site, operation, awaits=awaits)
                harness.ask(harness.beyond, operation, awaits=awaits)
                harness.ask(site, operation, awaits=awaits)


def time_out(harness: Harness) -> None:
    """Time out on replies that arrive while the next tenant waits for its own."""
    for reply in range(5):
        for operation in (operations.read, batch):
            for awaits in (False, True):
                harness.proxy.arm(hold=reply)
                harness.ask(harness.plain[0], operation, awaits=awaits)
                harness.ask(harness.plain[1], operations.read, awaits=awaits)
                harness.proxy.release()
                harness.ask(harness.plain[2], operations.read, awaits=awaits)


def leave_scans(harness: Harness) -> None:
    """Scan and command many tenants, some to the end, with replies that are late; then use the returned connections."""
    for operation in (operations.scan_tenants, operations.command_for_all):
        for awaits in (False, True):
            for reply in (None, 0, 2, 4, None):
                if reply is not None:
                    harness.proxy.arm(hold=reply)
                harness.ask(harness.plain[0], operation, awaits=awaits)
                for site in harness.plain:
                    harness.ask(site, operations.single, awaits=awaits)
                    harness.proxy.release()
                    harness.ask(site, operations.write, awaits=awaits)


def scan_missing_database(harness: Harness) -> None:
    """Scan databases of which one is missing and one may not be selected."""
    for awaits in (False, True):
        for _ in range(10):
            harness.ask(harness.plain[0], operations.scan_tenants, awaits=awaits)
        with revoked(harness, "select"):
            for _ in range(10):
                harness.ask(harness.plain[0], operations.scan_tenants, awaits=awaits)


def fork(harness: Harness) -> None:
    """Use the parent's connections in a forked child: idle ones, and one that watches."""
    site, other = harness.plain[:2]
    database = harness.router.database_for(site.tenant)
    with database.connection.pipeline() as pipeline:
        pipeline.watch("last")
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            _child(harness, pipeline, writing)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            for _ in range(100):
                worker = harness.worker(site, operations.single, awaits=False)
                with harness.router.use_tenant(site.tenant):
                    text = worker.fresh()
                    try:
                        worker.compare("ECHO beside a child", text, pipeline.echo(text))
                    except Exception as error:  # noqa: BLE001 - whatever a broken guard makes of it
                        worker.fail(error)
                harness.ask(other, operations.read, awaits=False)
            said = pipe.read()
        os.waitpid(pid, 0)
    if said != b"well":
        harness.workers[False].ledger.stray(f"the child says: {said.decode()}")


def _child(harness: Harness, pipeline: Any, writing: int) -> None:
    """Use inherited connections, and report what was wrong. Never return."""
    said = "ended by an error"
    try:
        worker = harness.worker(harness.plain[2], operations.read, awaits=False)
        worker.name = "child"
        worker.ledger.strays.clear()
        for number in range(100):
            with contextlib.suppress(redis.RedisError):  # refused, as it should be
                answer = pipeline.echo(f"the child's {number}")
                if answer is not pipeline:  # queued: the pipeline watches no more
                    # By now it may have a connection of its own.
                    worker.compare("ECHO in a child", f"the child's {number}", answer)
            harness.ask(harness.plain[2], operations.read, awaits=False)
        said = "; ".join(worker.ledger.strays[:3]) or "well"
    finally:
        os.write(writing, said.encode())
        os._exit(0)


def run_threads_together(harness: Harness) -> None:
    """Perform operations in several threads."""

    def work(number: int) -> None:
        worker = harness.extra(f"c{number}", operations.BRIEF)
        for _ in range(60):
            run_sync(worker.operate())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


SCENARIOS: dict[str, Callable[[Harness], None]] = {
    scenario.__name__: scenario
    for scenario in (
        rotate,
        rotate_slowly,
        interrupt_in_one_database,
        interrupt_while_switching,
        revoke_rights,
        select_missing_database,
        time_out,
        leave_scans,
        scan_missing_database,
        fork,
        run_threads_together,
    )
}
