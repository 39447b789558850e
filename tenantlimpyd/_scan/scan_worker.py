"""The worker that scans: pipelined ``SELECT`` and ``SCAN``, with a check that one server process in one role answered.

A cursor is valid only for the server process that returned it. Therefore the worker asks for the server's identity
before the first page and after the last page of a database. The database is done only if both are equal. If they
differ, or if another process answers after a lost connection, the scan of the database starts again.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import attrs
import redis

from tenantlimpyd import logs
from tenantlimpyd._fanout.multiplex.protocol import (
    MORE_WORK,
    Delay,
    Progress,
    SendRequest,
    Step,
    TenantDone,
    UnreachableError,
)
from tenantlimpyd._fanout.multiplex.worker import SLOW_ANSWER_SECONDS, Worker, WorkGroup
from tenantlimpyd._fanout.outcomes import check_still_valid
from tenantlimpyd._resp import pack_select
from tenantlimpyd._scan.keyspaces import ScannedDatabase
from tenantlimpyd._scan.server_identity import IDENTITY_REQUEST, UNKNOWN, ServerIdentity, identity_of
from tenantlimpyd.exceptions import ScanInterruptedError

__all__ = ["RESTARTS", "ScanWorker"]

RESTARTS = 3
"""Restarts of a database's scan, and lost connections in a row, before its tenants end as interrupted."""
FIRST_BATCH = 32
"""Databases in the first write of a worker. Later writes hold as many as keep the replies below ``REPLY_KEYS``."""
LARGEST_BATCH = 512
REPLY_KEYS = 5_000
"""The largest number of keys that the replies to one write should hold."""
PAGES_PER_REQUEST = 4
"""Large databases per connection; each request has one page of each. A server runs one command at a time, so more connections
would not be faster."""
MINIMUM_WORKERS = 4
"""Connections for large databases: while the client reads one reply, the server works on the others."""


@attrs.frozen
class _ReplyLayout:
    """The layout of the replies to a request.

    Attributes:
        before, after: whether the identity is requested before and after the pages: two replies each.
        selects: for each database, whether a SELECT precedes its page: one more reply.
    """

    before: bool
    after: bool
    selects: Sequence[bool]


@attrs.define
class _RequestResult:
    """The results of a request, as in :class:`Progress`, and the databases that continue."""

    restarted: list[tuple[ScannedDatabase, str]] = attrs.field(factory=list)
    pieces: list[tuple[ScannedDatabase, list[tuple[str, list[str]]], tuple[bytes, ServerIdentity] | None]] = (
        attrs.field(factory=list)
    )
    done: list[ScannedDatabase] = attrs.field(factory=list)
    finished: list[TenantDone] = attrs.field(factory=list)
    last: list[ScannedDatabase] = attrs.field(factory=list)  # databases whose last page has arrived
    started: list[ScannedDatabase] = attrs.field(factory=list)  # databases with more than one page
    keys: int = 0


class ScanWorker(Worker[ScannedDatabase]):
    """Scans the databases of a group."""

    def __init__(self, group: WorkGroup[ScannedDatabase]) -> None:
        super().__init__(group, FIRST_BATCH)
        self._held: list[ScannedDatabase] = []  # databases in the next request
        self._ending: list[
            ScannedDatabase
        ] = []  # databases whose last page has arrived, and the server must confirm who it was
        self._work: list[ScannedDatabase] = []
        self._identity: ServerIdentity | None = None  # of the connected server; None if it is not known yet
        self._connection = object()
        self._takes_many = False
        self._started: list[ScannedDatabase] = []  # for any worker, after the current results were delivered

    def held_work(self) -> list[ScannedDatabase]:
        """Return the databases that this worker has taken and not finished."""
        return list(dict.fromkeys([*self._work, *self._held, *self._ending, *self._started]))

    def _steps(self) -> Generator[Step, Any, None]:
        while True:
            self._work = []
            self._held, failed = self._drop_removed_tenants(self._held or self._take())
            if failed:
                yield Progress(finished=failed)
            if not self._held and not self._ending:
                if failed:
                    continue
                return
            allowed, started = self.seconds_left([*self._held, *self._ending]), self.clock()
            try:
                yield from self.connect(allowed)
                payload, expected, layout = self._encode_request(self._held)
                replies = yield SendRequest(payload, expected, max(0.0, allowed - (self.clock() - started)), text=True)
            except Exception as error:  # noqa: BLE001 - every kind is handled below
                took = self.clock() - started
                if not (yield from self._failed(error, allowed, took)):
                    return
            else:
                took = self.clock() - started
                progress = self._handle_replies(replies, layout, took)
                del replies  # so that pages are freed once the consumer has processed them
                yield progress
                del progress
                if self._started:
                    # Not earlier: another worker must not deliver the next page before this one.
                    self.group.started.extend(self._started)
                    self._started = []
                    yield MORE_WORK

    # Before a request

    def _take(self) -> list[ScannedDatabase]:
        group = self.group
        large = group.started
        if large and not (self._takes_many and group.pending):
            share = max(1, min(PAGES_PER_REQUEST, -(-len(large) // max(1, MINIMUM_WORKERS + 1 - group.workers))))
            return [large.popleft() for _ in range(share)]
        self._takes_many = True
        return self.take_new_work()

    def _drop_removed_tenants(self, work: list[ScannedDatabase]) -> tuple[list[ScannedDatabase], list[TenantDone]]:
        """Return the databases that are still valid, and failed results for tenants that were removed or moved."""
        results: list[TenantDone] = []
        for database in work:
            for job in database.jobs:
                try:
                    check_still_valid(job)
                except Exception as error:  # noqa: BLE001 - becomes the outcome of the tenant
                    results.append(TenantDone(job, None, error, database.seconds, database.restarts))
        if not results:
            return work, results
        failed = {end.job for end in results}
        for database in work:
            database.jobs = [job for job in database.jobs if job not in failed]
        return [database for database in work if database.jobs], results

    def _encode_request(self, work: Sequence[ScannedDatabase]) -> tuple[list[bytes], int, _ReplyLayout]:
        before = self._identity is None or bool(self._ending)
        after = False
        payload: list[bytes] = [IDENTITY_REQUEST] if before else []
        replies = 2 * before + len(work)
        db = self.db
        selects: list[bool] = []
        for database in work:
            selects.append(database.db != db)
            if database.db != db:
                db = database.db
                payload.append(pack_select(db))
                replies += 1
            cursor = database.cursor
            payload += (database.head, b"$%d\r\n%s\r\n" % (len(cursor), cursor), database.tail)
            after = after or cursor == b"0"
        if after:
            payload.append(IDENTITY_REQUEST)
            replies += 2
        return payload, replies, _ReplyLayout(before, after, selects)

    # After a request

    def _handle_replies(self, replies: list[Any], layout: _ReplyLayout, took: float) -> Progress:
        self.record_answer()
        ending, self._ending = self._ending, []
        work, self._held = self._held, []
        self._work = [*work, *ending]
        for database in self._work:
            database.seconds += took
        found = _RequestResult()
        at = 0
        if layout.before:
            self._identity = identity_of(replies[0], replies[1], self._connection)
            at = 2
        now = self._identity
        assert now is not None  # noqa: S101 - the first request of each connection asks for it
        for database in ending:
            if database.identity == now:
                found.done.append(database)
            else:
                self._restart(database, now, found)
        selected: Any = None
        for database, select in zip(work, layout.selects, strict=True):
            if select:
                selected = replies[at]
                at += 1
            if isinstance(selected, Exception):
                # The connection is still in the previous database: the page belongs to nobody here.
                found.finished += self.failures([database], selected)
            else:
                self.db = database.db
                self._handle_page(database, replies[at], now, found)
            at += 1
        after = identity_of(replies[at], replies[at + 1], self._connection) if layout.after else None
        self._confirm_pages(after, now, found)
        if self._takes_many:
            self._adjust_batch(len(work), found.keys, took)
        return Progress(found.restarted, found.pieces, found.done, found.finished)

    def _handle_page(self, database: ScannedDatabase, page: Any, now: ServerIdentity, found: _RequestResult) -> None:
        """Process one page."""
        if isinstance(page, Exception):
            found.finished += self.failures([database], page)
        elif database.identity is not None and database.identity != now:
            self._restart(database, now, found)
        else:
            fresh = database.cursor == b"0"
            database.identity, database.failures, database.begun = now, 0, True
            if page.__class__ is not list or len(page) != 2 or page[1].__class__ is not list:
                raise redis.InvalidResponse(f"the server's reply to SCAN is a {type(page).__name__}, not a page")
            database.cursor, keys = page[0].encode(), page[1]
            found.keys += len(keys)
            last = database.cursor == b"0"
            found.pieces.append((database, database.split(keys), None if last else (database.cursor, now)))
            if last:
                found.last.append(database)
            elif fresh:
                found.started.append(database)
            else:
                self._held.append(database)

    def _confirm_pages(self, after: ServerIdentity | None, now: ServerIdentity, found: _RequestResult) -> None:
        """Finish databases whose last page has arrived, and queue those that continue."""
        if after is None:
            self._ending += found.last
        elif after == now:
            found.done += found.last
        else:
            self._identity, found.pieces = after, []
            for database in [*found.last, *found.started, *self._held]:
                self._restart(database, after, found)
            found.started, self._held = [], []
        if now.known:
            self._started += found.started
        else:  # these cursors are valid on this connection only
            self._held += found.started

    def _adjust_batch(self, databases: int, keys: int, took: float) -> None:
        if took > SLOW_ANSWER_SECONDS:
            self.batch = max(1, self.batch // 2)
        elif databases >= self.batch:
            each = max(1, keys // databases)
            self.batch = max(1, min(4 * self.batch, LARGEST_BATCH, max(FIRST_BATCH, REPLY_KEYS // each)))

    def _restart(self, database: ScannedDatabase, now: ServerIdentity, found: _RequestResult) -> None:
        """Start the scan of a database again, or fail its tenants after too many restarts."""
        before, database.cursor, database.identity = database.identity, b"0", None
        if not now.known:
            reason = "connection"
        elif before is None or before.run_id != now.run_id:
            reason = "run id"
        else:
            reason = "role"
        if database.restarts >= RESTARTS:
            error = _interrupted(f"its server's {reason} changed {database.restarts + 1} times")
            found.finished += self.failures([database], error)
            return
        database.restarts += 1
        found.restarted.append((database, reason))
        self._started.append(database)

    def _failed(self, error: Exception, allowed: float, took: float) -> Generator[Step, Any, bool]:
        """Handle a failed request, and return whether the worker continues."""
        unreachable = isinstance(error, UnreachableError)
        if unreachable and isinstance(error.__cause__, Exception):
            error = error.__cause__
        self._identity, self.db, self._connection, self.connected = None, None, object(), False
        work = [*self._held, *self._ending]
        if self.is_out_of_permits(error):
            yield self._hand_back()
            return False
        self._work = work
        for database in work:
            database.seconds += took
            database.failures += 1
        ending, self._ending, self._held = set(self._ending), [], []
        results: list[TenantDone] = []
        timed_out = isinstance(error, redis.TimeoutError) or (took >= allowed and isinstance(error, redis.RedisError))
        if timed_out:
            results, others = self.handle_timeout(work, error, allowed, took)
        elif unreachable or not isinstance(error, redis.ConnectionError | OSError):
            results, others = self._broken(work, error), []
        else:
            others = [database for database in work if database.failures <= RESTARTS]
            results = self._broken([database for database in work if database.failures > RESTARTS], error)
        if unreachable_work := self.take_unreachable_work(took, hopeless=unreachable or timed_out):
            results += self.failures(unreachable_work, error) if timed_out else self._broken(unreachable_work, error)
        self._ending = [database for database in others if database in ending]
        self._held = [database for database in others if database not in ending]
        if results:
            yield Progress(finished=results)
        if others and not timed_out:
            yield Delay(0.02 * 2 ** max(database.failures for database in others))
        return True

    def _broken(self, work: Sequence[ScannedDatabase], error: Exception) -> list[TenantDone]:
        results: list[TenantDone] = []
        for database in work:
            results += self.failures([database], _interrupted(str(error), error) if database.begun else error)
        return results

    def _hand_back(self) -> Progress:
        """Return the work to the group, for other workers, and return the results that this causes."""
        found = _RequestResult()
        for database in self._ending:  # the identity of its server can't be confirmed any more
            self._restart(database, UNKNOWN, found)
        for database in self._held:
            (self.group.started if database.begun else self.group.pending).append(database)
        self.group.started.extend(self._started)
        self._held, self._ending, self._started = [], [], []
        return Progress(restarted=found.restarted, finished=found.finished)


def _interrupted(text: str, cause: Exception | None = None) -> ScanInterruptedError:
    error = ScanInterruptedError(
        f"the scan lost its position in this tenant's database, so keys may be missing: {text}"
    )
    error.__cause__ = cause
    return error


def log_restart(database: ScannedDatabase, reason: str) -> None:
    """Log that the scan of a database starts again."""
    logs.emit(
        "scan_restarted",
        server=database.clients.server.name,
        db=database.db,
        tenants=len(database.jobs),
        restarts=database.restarts,
        reason=reason,
    )
