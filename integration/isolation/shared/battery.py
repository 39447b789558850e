"""Short drills, each of one kind of fault on shared connections: what a broken guard lets through, one of them shows."""

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
from integration.isolation.shared.clerk import at_once
from integration.isolation.shared.spots import LIMITED
from integration.isolation.shared.stage import Stage
from tenantlimpyd._fanout.multiplex.lease import Lease
from tenantlimpyd._fanout.multiplex.select_loop import SelectLoop
from tests.support.interruption import interrupted_at

__all__ = ["DRILLS", "NEVER", "Lines", "revoked"]

NEVER = 1_000_000


class Lines:
    """Asks blocking, and lets replies pass only once somebody reads the socket: until then they are on their way."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def passing(self, frame: FrameType) -> None:
        name = frame.f_code.co_name
        if name in ("read_from_socket", SelectLoop._wait.__name__):
            self.stage.proxy.release()
        elif name in ("send_packed_command", Lease.send_rest.__name__):
            self.stage.proxy.arm(hold=0, longest=0.05)  # what cleans up after an interrupt isn't watched

    def ask(self, number: int, operation: Any, line: int = NEVER) -> bool:
        """Ask as a tenant; be interrupted at a step. Return whether it came so far."""
        spot = self.stage.spots[number]
        return interrupted_at(line, lambda: self.stage.ask(spot, operation, awaits=False), self.passing)


@contextlib.contextmanager
def revoked(stage: Stage, right: str) -> Iterator[None]:
    """Take a right from the limited user for a while."""
    with stage.server.client() as client:
        client.execute_command("ACL", "SETUSER", LIMITED, f"-{right}")
        try:
            yield
        finally:
            client.execute_command("ACL", "SETUSER", LIMITED, "+@all")


def rotate(stage: Stage) -> None:
    """One tenant after the other, in both modes."""
    for operation in (operations.read, operations.write, batch, operations.optimism, operations.script):
        for spot in (*stage.plain, stage.limited, *stage.plain):
            for awaits in (False, True):
                stage.ask(spot, operation, awaits=awaits)


def rotate_slowly(stage: Stage) -> None:
    """The same, where a reply that nobody waits for comes as the next one is expected."""
    for operation in (operations.single, operations.write, batch):
        for spot in (*stage.plain, *stage.plain) * 3:
            for awaits in (False, True):
                stage.proxy.arm(hold=0, longest=0.005)
                stage.ask(spot, operation, awaits=awaits)
    stage.proxy.release()


def rest_and_interrupt(stage: Stage) -> None:
    """Interrupt a command at every line, on a connection that stays in its database."""
    lines = Lines(stage)
    line, came = 0, True
    while came:
        for _ in range(2):
            stage.ask(stage.plain[0], operations.single, awaits=False)
        came = lines.ask(0, operations.single, line)
        lines.ask(0, operations.read)
        lines.ask(1, operations.read)
        stage.proxy.release()
        line += 1


def move_and_interrupt(stage: Stage) -> None:
    """Interrupt a command at every third line, on a connection that goes to another database."""
    lines = Lines(stage)
    line, came = 0, True
    while came:
        came = lines.ask(0, operations.single, line)
        lines.ask(1, operations.read)
        stage.proxy.release()
        line += 3


def refuse(stage: Stage) -> None:
    """SELECT, or another right, is taken from a user whose connections were in another tenant's database before."""
    others = [spot for spot in stage.spots if spot.limited]
    for right in ("select", "multi", "exec", "discard", "set"):
        for operation in (operations.write, operations.read, batch, operations.optimism):
            for awaits in (False, True):
                for spot in others:
                    stage.ask(spot, operation, awaits=awaits)
                    with revoked(stage, right):
                        for other in others:
                            stage.ask(other, operation, awaits=awaits)
                    stage.ask(spot, operation, awaits=awaits)


def go_beyond(stage: Stage) -> None:
    """Ask for a database that isn't there, on connections that are in one that is."""
    for operation in (operations.write, operations.read, batch, operations.optimism):
        for awaits in (False, True):
            for spot in stage.plain:
                stage.ask(spot, operation, awaits=awaits)
                stage.ask(stage.beyond, operation, awaits=awaits)
                stage.ask(spot, operation, awaits=awaits)


def lose_patience(stage: Stage) -> None:
    """Give up on replies that come later, as the next tenant waits for its own."""
    for reply in range(5):
        for operation in (operations.read, batch):
            for awaits in (False, True):
                stage.proxy.arm(hold=reply)
                stage.ask(stage.plain[0], operation, awaits=awaits)
                stage.ask(stage.plain[1], operations.read, awaits=awaits)
                stage.proxy.release()
                stage.ask(stage.plain[2], operations.read, awaits=awaits)


def walk_and_leave(stage: Stage) -> None:
    """Walk and ask many at once, to the end and not, with replies that come too late; and ask on what they gave back."""
    for operation in (operations.walk, operations.ask_all):
        for awaits in (False, True):
            for reply in (None, 0, 2, 4, None):
                if reply is not None:
                    stage.proxy.arm(hold=reply)
                stage.ask(stage.plain[0], operation, awaits=awaits)
                for spot in stage.plain:
                    stage.ask(spot, operations.single, awaits=awaits)
                    stage.proxy.release()
                    stage.ask(spot, operations.write, awaits=awaits)


def walk_beyond(stage: Stage) -> None:
    """Walk databases of which one isn't there, and one may not be selected."""
    for awaits in (False, True):
        for _ in range(10):
            stage.ask(stage.plain[0], operations.walk, awaits=awaits)
        with revoked(stage, "select"):
            for _ in range(10):
                stage.ask(stage.plain[0], operations.walk, awaits=awaits)


def fork(stage: Stage) -> None:
    """A child goes on with what its parent has: connections at rest, and one in the middle of a WATCH."""
    spot, other = stage.plain[:2]
    database = stage.router.database_for(spot.tenant)
    with database.connection.pipeline() as pipeline:
        pipeline.watch("last")
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            _child(stage, pipeline, writing)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            for _ in range(100):
                clerk = stage.clerk(spot, operations.single, awaits=False)
                with stage.router.use_tenant(spot.tenant):
                    text = clerk.fresh()
                    try:
                        clerk.compare("ECHO beside a child", text, pipeline.echo(text))
                    except Exception as error:  # noqa: BLE001 - whatever a broken guard makes of it
                        clerk.fail(error)
                stage.ask(other, operations.read, awaits=False)
            said = pipe.read()
        os.waitpid(pid, 0)
    if said != b"well":
        stage.clerks[False].ledger.stray(f"the child says: {said.decode()}")


def _child(stage: Stage, pipeline: Any, writing: int) -> None:
    """Use what was inherited; say what was wrong. Never returns."""
    said = "ended by an error"
    try:
        clerk = stage.clerk(stage.plain[2], operations.read, awaits=False)
        clerk.name = "child"
        clerk.ledger.strays.clear()
        for number in range(100):
            with contextlib.suppress(redis.RedisError):  # refused, as it should be
                answer = pipeline.echo(f"the child's {number}")
                if answer is not pipeline:  # queued: the pipeline watches no more
                    # By now it may have a connection of its own.
                    clerk.compare("ECHO in a child", f"the child's {number}", answer)
            stage.ask(stage.plain[2], operations.read, awaits=False)
        said = "; ".join(clerk.ledger.strays[:3]) or "well"
    finally:
        os.write(writing, said.encode())
        os._exit(0)


def crowd(stage: Stage) -> None:
    """Threads and tasks at once."""

    def work(number: int) -> None:
        clerk = stage.extra(f"c{number}", operations.BRIEF)
        for _ in range(60):
            at_once(clerk.operate())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


DRILLS: dict[str, Callable[[Stage], None]] = {
    drill.__name__: drill
    for drill in (
        rotate,
        rotate_slowly,
        rest_and_interrupt,
        move_and_interrupt,
        refuse,
        go_beyond,
        lose_patience,
        walk_and_leave,
        walk_beyond,
        fork,
        crowd,
    )
}
