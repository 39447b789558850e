"""The databases of a scan: each physical database is scanned once for all of its tenants, which are separated by prefix."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import attrs

from tenantlimpyd._connections.database_clients import DatabaseClients
from tenantlimpyd._fanout.outcomes import Job
from tenantlimpyd._operations.scan_page import ScanOptions
from tenantlimpyd._scan.glob import matcher
from tenantlimpyd._scan.server_identity import ServerIdentity
from tenantlimpyd.keys import common_prefix, escape_glob, without_prefix

__all__ = ["Planned", "ScannedDatabase", "ScannedDatabases", "Split"]

Split: TypeAlias = "Callable[[list[str]], list[tuple[str, list[str]]]]"
"""A function that groups the keys of a page by tenant."""

Planned: TypeAlias = Job | list[Job]
"""The tenants of one database, in a compact form."""


@attrs.define(eq=False)
class ScannedDatabase:
    """One physical database of a scan, with the position of the scan.

    Attributes:
        jobs: its tenants that are not finished.
        db: the database number.
        clients: the clients whose connections are used.
        head, tail: the encoded SCAN command before and after its cursor.
        splits: groups keys by tenant, if there are several tenants.
        prefix: the key prefix, if there is one tenant.
        cursor: the cursor of the next page.
        identity: the server that returned the cursor; None at the start.
        seconds: the time that the server has taken.
        restarts: the number of restarts.
        failures: the number of connections lost in a row.
        begun: whether a page has been delivered.
        handed: the cursor after the pages that the consumer has received, with the server's identity. The consumer sets it.
    """

    jobs: list[Job]
    db: int
    clients: DatabaseClients
    head: bytes
    tail: bytes
    splits: Split | None = None
    prefix: str = ""
    cursor: bytes = b"0"
    identity: ServerIdentity | None = None
    seconds: float = 0.0
    restarts: int = 0
    failures: int = 0
    begun: bool = False
    handed: tuple[bytes, ServerIdentity | None] = (b"0", None)

    def split(self, keys: list[str]) -> list[tuple[str, list[str]]]:
        """Return a page's keys by tenant, without their prefixes."""
        if self.splits is not None:
            return self.splits(keys)
        if self.prefix:
            keys = without_prefix(keys, self.prefix)
        return [(self.jobs[0].tenant, keys)] if keys else []


class ScannedDatabases:
    """The databases to scan for jobs that share connections. Each :class:`ScannedDatabase` is made when its scan starts.

    Only few of ten thousand tenants are scanned at a time, and a job needs less memory than a scanned database.

    Args:
        jobs: the jobs.
        match, count, type_: as for ``RedisDatabase.scan_keys``.
    """

    def __init__(self, jobs: Sequence[Job], match: str | None, count: int | None, type_: str | None) -> None:
        self._match, self._count, self._type = match, count, type_
        self._plain = _packed(ScanOptions.of("", match, count, type_))
        self._matches = (lambda _key: True) if match is None else matcher(match)
        self._jobs = jobs

    def planned(self) -> Iterator[Planned]:
        """Yield jobs in order, and lists of jobs that are scanned together."""
        by_db: dict[int, Planned] = {}
        for job in self._jobs:
            sharing = by_db.get(job.clients.db)
            if sharing is None:
                by_db[job.clients.db] = job
            elif isinstance(sharing, list):
                sharing.append(job)
            else:
                by_db[job.clients.db] = [sharing, job]
        self._jobs = ()
        for sharing in by_db.values():
            if isinstance(sharing, list) and self._matches is None:  # only the server can match this pattern
                yield from sharing
            else:
                yield sharing

    def make(self, planned: Planned | ScannedDatabase) -> ScannedDatabase:
        """Return the database for planned jobs; return a database as it is."""
        if isinstance(planned, ScannedDatabase):
            return planned
        if isinstance(planned, list):
            return self._shared(planned)
        prefix, clients = planned.database.key_prefix, planned.clients
        packed = _packed(ScanOptions.of(prefix, self._match, self._count, self._type)) if prefix else self._plain
        return ScannedDatabase([planned], clients.db, clients, *packed, prefix=prefix)

    def _shared(self, jobs: list[Job]) -> ScannedDatabase:
        match = self._match
        common = common_prefix([job.database.key_prefix for job in jobs])
        pattern = escape_glob(common) + "*" if match is None else f"{escape_glob(common)}*{match}"
        wanted = ScanOptions.of("", match, self._count, self._type)
        packed = _packed(attrs.evolve(wanted, pattern=pattern if pattern != "*" else None))
        prefixes = [(job.database.key_prefix, job.tenant) for job in jobs]
        clients = jobs[0].clients
        return ScannedDatabase(
            jobs, clients.db, clients, *packed, _splitter(prefixes, None if match is None else self._matches)
        )


def _packed(wanted: ScanOptions) -> tuple[bytes, bytes]:
    words: list[bytes] = []
    if wanted.pattern is not None:
        words += [b"MATCH", wanted.pattern.encode("utf-8", "surrogateescape")]
    words += [b"COUNT", b"%d" % wanted.count]
    if wanted.type is not None:
        words += [b"TYPE", wanted.type.encode("utf-8", "surrogateescape")]
    tail = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
    return b"*%d\r\n$4\r\nSCAN\r\n" % (len(words) + 2), tail


def _splitter(tenants: list[tuple[str, str]], matches: Callable[[bytes], bool] | None) -> Split:
    """Return a function that groups keys by tenant.

    No prefix starts with another one, so the prefix of a key can only be the last one that sorts before the key.
    """
    tenants = sorted(tenants)
    prefixes = [prefix for prefix, _ in tenants]

    def split(keys: list[str]) -> list[tuple[str, list[str]]]:
        by_tenant: dict[int, list[str]] = {}
        for key in keys:
            position = bisect_right(prefixes, key) - 1
            if position < 0 or not key.startswith(prefix := prefixes[position]):
                continue
            rest = key[len(prefix) :]
            if matches is None or matches(rest.encode("utf-8", "surrogateescape")):
                by_tenant.setdefault(position, []).append(rest)
        return [(tenants[position][1], rests) for position, rests in by_tenant.items()]

    return split
