"""A lane that scans: pipelined ``SELECT`` and ``SCAN``, and the proof that it was one server, in one role, that answered.

A cursor means something only to the server process it is of. So the server is asked who it is before the first page and
after the last one; a database is through with only when both answers are the same. Where they differ, and where a connection
was lost and another process answers now, the database is scanned anew.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import attrs
import redis

from tenantlimpyd import logs
from tenantlimpyd._fanout.multiplex.protocol import (
    WAKE,
    Delay,
    Progress,
    SendRequest,
    Step,
    TenantDone,
    UnreachableError,
)
from tenantlimpyd._fanout.multiplex.scheduler import WorkGroup
from tenantlimpyd._fanout.multiplex.worker import SLOW_TRIP, Worker
from tenantlimpyd._fanout.outcomes import still
from tenantlimpyd._resp import pack
from tenantlimpyd._scan.keyspaces import UNKNOWN, ScannedDatabase, ServerIdentity
from tenantlimpyd.exceptions import ScanInterruptedError

__all__ = ["RESTARTS", "ScanWorker"]

RESTARTS = 3
"""How often a database is scanned anew, and how many connections in a row may be lost, before its tenants are interrupted."""
FIRST_BATCH = 32
"""Databases in the first write of a lane; later ones hold as many as keep the replies within bounds."""
LARGEST_BATCH = 512
REPLY_KEYS = 5_000
"""Keys that the replies to one write should hold at most."""
TOGETHER = 4
"""Large databases that share a connection, a page of each in a trip. A server does one thing after another, so that more
connections would make nothing quicker."""
LEAST_LANES = 4
"""Connections that large databases are spread over: while one's replies are read here, the server works for the others."""

_CHECK = pack(b"INFO", b"server") + pack(b"INFO", b"replication")


def _field(info: str, name: str) -> bytes:
    start = info.find(f"\n{name}:")
    if start < 0:
        return b""
    start += len(name) + 2
    return info[start : info.find("\r", start)].encode("utf-8", "surrogateescape")


def identity_of(server: Any, replication: Any, connection: object) -> ServerIdentity:
    """Return who answered, from the replies to INFO. Where it may not be called, it is told by the connection alone."""
    run_id = _field(server, "run_id") if isinstance(server, str) else b""
    role = b""
    if isinstance(replication, str):
        role = _field(replication, "role")
        if role == b"slave":
            names = ("master_host", "master_port", "master_link_status", "master_sync_in_progress")
            role = b" ".join([role, *(_field(replication, name) for name in names)])
    return ServerIdentity(run_id, role, None if run_id else connection)


@attrs.frozen
class _ReplyLayout:
    """Where what is in the replies to a trip.

    Attributes:
        before, after: whether the server is asked who it is before and after the pages: two replies each.
        selects: for each database, whether it is selected first: one reply more.
    """

    before: bool
    after: bool
    selects: Sequence[bool]


@attrs.define
class _Found:
    """What came of a trip: as in a chunk; and what becomes of the databases."""

    restarted: list[tuple[ScannedDatabase, str]] = attrs.field(factory=list)
    pieces: list[tuple[ScannedDatabase, list[tuple[str, list[str]]], tuple[bytes, ServerIdentity] | None]] = (
        attrs.field(factory=list)
    )
    done: list[ScannedDatabase] = attrs.field(factory=list)
    ends: list[TenantDone] = attrs.field(factory=list)
    last: list[ScannedDatabase] = attrs.field(factory=list)  # their last page has come
    large: list[ScannedDatabase] = attrs.field(factory=list)  # more than a page
    keys: int = 0


class ScanWorker(Worker[ScannedDatabase]):
    """One connection's part in a walk."""

    def __init__(self, group: WorkGroup[ScannedDatabase]) -> None:
        super().__init__(group, FIRST_BATCH)
        self._held: list[ScannedDatabase] = []  # what is sent next
        self._ending: list[ScannedDatabase] = []  # their last page has come, and the server must confirm who it was
        self._work: list[ScannedDatabase] = []
        self._identity: ServerIdentity | None = None  # of this connection; None: to be asked for
        self._connection = object()
        self._many = False
        self._laid_aside: list[ScannedDatabase] = []  # for any lane, once what was found is delivered

    def hands(self) -> list[ScannedDatabase]:
        """Return the work in this lane's hands."""
        return list(dict.fromkeys([*self._work, *self._held, *self._ending, *self._laid_aside]))

    def _steps(self) -> Generator[Step, Any, None]:
        while True:
            self._work = []
            self._held, gone = self._wanted(self._held or self._take())
            if gone:
                yield Progress(ends=gone)
            if not self._held and not self._ending:
                if gone:
                    continue
                return
            allowed, started = self.left([*self._held, *self._ending]), self.clock()
            try:
                yield from self.connect(allowed)
                payload, expected, plan = self._trip(self._held)
                replies = yield SendRequest(payload, expected, max(0.0, allowed - (self.clock() - started)), text=True)
            except Exception as error:  # noqa: BLE001 - every kind is sorted out below
                took = self.clock() - started
                if not (yield from self._failed(error, allowed, took)):
                    return
            else:
                took = self.clock() - started
                came = self._answered(replies, plan, took)
                del replies  # what came is the consumer's alone from here on, and gone once it is done with it
                yield came
                del came
                if self._laid_aside:
                    # Only now: the next page must not reach the consumer before this one.
                    self.group.large.extend(self._laid_aside)
                    self._laid_aside = []
                    yield WAKE

    # Before a trip

    def _take(self) -> list[ScannedDatabase]:
        group = self.group
        large = group.large
        if large and not (self._many and group.fresh):
            share = max(1, min(TOGETHER, -(-len(large) // max(1, LEAST_LANES + 1 - group.workers))))
            return [large.popleft() for _ in range(share)]
        self._many = True
        return self.take_fresh()

    def _wanted(self, work: list[ScannedDatabase]) -> tuple[list[ScannedDatabase], list[TenantDone]]:
        """Sort out tenants that were removed, or pointed elsewhere, meanwhile."""
        ends: list[TenantDone] = []
        for source in work:
            for job in source.jobs:
                try:
                    still(job)
                except Exception as error:  # noqa: BLE001 - becomes the tenant's outcome
                    ends.append(TenantDone(job, None, error, source.seconds, source.restarts))
        if not ends:
            return work, ends
        gone = {end.job for end in ends}
        for source in work:
            source.jobs = [job for job in source.jobs if job not in gone]
        return [source for source in work if source.jobs], ends

    def _trip(self, work: Sequence[ScannedDatabase]) -> tuple[list[bytes], int, _ReplyLayout]:
        before = self._identity is None or bool(self._ending)
        after = False
        payload: list[bytes] = [_CHECK] if before else []
        replies = 2 * before + len(work)
        db = self.db
        selects: list[bool] = []
        for source in work:
            selects.append(source.db != db)
            if source.db != db:
                db = source.db
                number = b"%d" % db
                payload.append(b"*2\r\n$6\r\nSELECT\r\n$%d\r\n%s\r\n" % (len(number), number))
                replies += 1
            cursor = source.cursor
            payload += (source.head, b"$%d\r\n%s\r\n" % (len(cursor), cursor), source.tail)
            after = after or cursor == b"0"
        if after:
            payload.append(_CHECK)
            replies += 2
        return payload, replies, _ReplyLayout(before, after, selects)

    # After it

    def _answered(self, replies: list[Any], layout: _ReplyLayout, took: float) -> Progress:
        self.heard()
        ending, self._ending = self._ending, []
        work, self._held = self._held, []
        self._work = [*work, *ending]
        for source in self._work:
            source.seconds += took
        found = _Found()
        at = 0
        if layout.before:
            self._identity = identity_of(replies[0], replies[1], self._connection)
            at = 2
        now = self._identity
        assert now is not None  # noqa: S101 - asked for by the first trip of every connection
        for source in ending:
            if source.identity == now:
                found.done.append(source)
            else:
                self._restart(source, now, found)
        selected: Any = None
        for source, select in zip(work, layout.selects, strict=True):
            if select:
                selected = replies[at]
                at += 1
            if isinstance(selected, Exception):
                # Still in the database before: the page is of that one, and nobody's.
                found.ends += self.ends([source], selected)
            else:
                self.db = source.db
                self._turn(source, replies[at], now, found)
            at += 1
        after = identity_of(replies[at], replies[at + 1], self._connection) if layout.after else None
        self._conclude(after, now, found)
        if self._many:
            self._resize(len(work), found.keys, took)
        return Progress(found.restarted, found.pieces, found.done, found.ends)

    def _turn(self, source: ScannedDatabase, page: Any, now: ServerIdentity, found: _Found) -> None:
        """Take one page in."""
        if isinstance(page, Exception):
            found.ends += self.ends([source], page)
        elif source.identity is not None and source.identity != now:
            self._restart(source, now, found)
        else:
            fresh = source.cursor == b"0"
            source.identity, source.failures, source.begun = now, 0, True
            if page.__class__ is not list or len(page) != 2 or page[1].__class__ is not list:
                raise redis.InvalidResponse(f"the server answered SCAN with {type(page).__name__}, which is no page")
            source.cursor, keys = page[0].encode(), page[1]
            found.keys += len(keys)
            last = source.cursor == b"0"
            found.pieces.append((source, source.split(keys), None if last else (source.cursor, now)))
            if last:
                found.last.append(source)
            elif fresh:
                found.large.append(source)
            else:
                self._held.append(source)

    def _conclude(self, after: ServerIdentity | None, now: ServerIdentity, found: _Found) -> None:
        """Decide what becomes of databases whose last page has come, and of those that are large."""
        if after is None:
            self._ending += found.last
        elif after == now:
            found.done += found.last
        else:
            self._identity, found.pieces = after, []
            for source in [*found.last, *found.large, *self._held]:
                self._restart(source, after, found)
            found.large, self._held = [], []
        if now.known:
            self._laid_aside += found.large
        else:  # the cursors can't be taken to another connection
            self._held += found.large

    def _resize(self, databases: int, keys: int, took: float) -> None:
        if took > SLOW_TRIP:
            self.batch = max(1, self.batch // 2)
        elif databases >= self.batch:
            each = max(1, keys // databases)
            self.batch = max(1, min(4 * self.batch, LARGEST_BATCH, max(FIRST_BATCH, REPLY_KEYS // each)))

    def _restart(self, source: ScannedDatabase, now: ServerIdentity, found: _Found) -> None:
        """Scan a database anew, at the next trip of some lane; or not again, after too many times."""
        before, source.cursor, source.identity = source.identity, b"0", None
        if not now.known:
            reason = "connection"
        elif before is None or before.run_id != now.run_id:
            reason = "run id"
        else:
            reason = "role"
        if source.restarts >= RESTARTS:
            error = _interrupted(f"its server's {reason} changed {source.restarts + 1} times")
            found.ends += self.ends([source], error)
            return
        source.restarts += 1
        found.restarted.append((source, reason))
        self._laid_aside.append(source)

    def _failed(self, error: Exception, allowed: float, took: float) -> Generator[Step, Any, bool]:
        """Decide what becomes of the work; return whether the lane goes on."""
        unreachable = isinstance(error, UnreachableError)
        if unreachable and isinstance(error.__cause__, Exception):
            error = error.__cause__
        self._identity, self.db, self._connection, self.connected = None, None, object(), False
        work = [*self._held, *self._ending]
        if self.crowded_out(error):
            yield self._hand_over()
            return False
        self._work = work
        for source in work:
            source.seconds += took
            source.failures += 1
        ending, self._ending, self._held = set(self._ending), [], []
        ends: list[TenantDone] = []
        timed_out = isinstance(error, redis.TimeoutError) or (took >= allowed and isinstance(error, redis.RedisError))
        if timed_out:
            ends, others = self.late(work, error, allowed, took)
        elif unreachable or not isinstance(error, redis.ConnectionError | OSError):
            ends, others = self._broken(work, error), []
        else:
            others = [source for source in work if source.failures <= RESTARTS]
            ends = self._broken([source for source in work if source.failures > RESTARTS], error)
        if dead := self.dead_for(took, hopeless=unreachable or timed_out):
            ends += self.ends(dead, error) if timed_out else self._broken(dead, error)
        self._ending = [source for source in others if source in ending]
        self._held = [source for source in others if source not in ending]
        if ends:
            yield Progress(ends=ends)
        if others and not timed_out:
            yield Delay(0.02 * 2 ** max(source.failures for source in others))
        return True

    def _broken(self, work: Sequence[ScannedDatabase], error: Exception) -> list[TenantDone]:
        ends: list[TenantDone] = []
        for source in work:
            ends += self.ends([source], _interrupted(str(error), error) if source.begun else error)
        return ends

    def _hand_over(self) -> Progress:
        """Leave to other lanes what this one can't go on with; return what is to be told."""
        found = _Found()
        for source in self._ending:  # nobody can confirm any more who gave its pages
            self._restart(source, UNKNOWN, found)
        for source in self._held:
            (self.group.large if source.begun else self.group.fresh).append(source)
        self.group.large.extend(self._laid_aside)
        self._held, self._ending, self._laid_aside = [], [], []
        return Progress(restarted=found.restarted, ends=found.ends)


def _interrupted(text: str, cause: Exception | None = None) -> ScanInterruptedError:
    error = ScanInterruptedError(
        f"the walk was in the middle of this tenant's database when it lost its place, and may lack keys of it: {text}"
    )
    error.__cause__ = cause
    return error


def log_restart(source: ScannedDatabase, reason: str) -> None:
    """Tell that a database is scanned anew."""
    logs.emit(
        "scan_restarted",
        server=source.clients.server.name,
        db=source.db,
        tenants=len(source.jobs),
        restarts=source.restarts,
        reason=reason,
    )
