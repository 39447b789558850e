"""What a walk scans: each physical database once, for all of its tenants together, whose keys are told apart by prefix."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import attrs

from tenantlimpyd._connections.database_clients import DatabaseClients
from tenantlimpyd._fanout.outcomes import Job
from tenantlimpyd._operations.scan_page import ScanOptions
from tenantlimpyd._scan.glob import matcher
from tenantlimpyd.keys import escape_glob

__all__ = ["UNKNOWN", "Planned", "ScannedDatabase", "ScannedDatabases", "ServerIdentity", "Split"]

Split: TypeAlias = "Callable[[list[str]], list[tuple[str, list[str]]]]"
"""Makes of a page's keys those of each tenant."""

Planned: TypeAlias = Job | list[Job]
"""The tenants of one source."""


@attrs.frozen
class ServerIdentity:
    """Which server process it is that answers, and in what role; what it does not tell is empty.

    Attributes:
        run_id: the id of the process.
        role: ``master``, or ``slave`` with its master and the state of the link to it.
        connection: the connection, where the server does not tell its run id; else None.
    """

    run_id: bytes
    role: bytes
    connection: object = None

    @property
    def known(self) -> bool:
        """Whether cursors of this identity can be told from those of another one."""
        return bool(self.run_id)


UNKNOWN = ServerIdentity(b"", b"", None)
"""That of no server."""


@attrs.define(eq=False)
class ScannedDatabase:
    """One physical database in a walk, and the place the walk is at.

    Attributes:
        jobs: its tenants, as far as they are still wanted.
        db: its number.
        clients: whose connections are used.
        head, tail: the packed SCAN before its cursor, and after it.
        splits: tells its keys' tenants, where there are several.
        prefix: what its keys begin with, where there is one tenant.
        cursor: of the next page.
        identity: the server the cursor is of; None: that of no server yet.
        seconds: time the server took so far.
        restarts: how often it was begun anew.
        failures: connections lost in a row.
        begun: whether a page was delivered.
        handed: the cursor behind the pages that the consumer has had, and the server's identity; kept by the consumer.
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
        if prefix := self.prefix:
            length = len(prefix)
            keys = [key[length:] for key in keys if key.startswith(prefix)]
        return [(self.jobs[0].tenant, keys)] if keys else []


class ScannedDatabases:
    """What is to be scanned for jobs that share their connections; a source is made when its turn comes.

    Of ten thousand tenants few are under way at one time, and a job takes less room than a source.

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
        """Yield jobs, in their order, and lists of those that are scanned together."""
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
            if isinstance(sharing, list) and self._matches is None:  # only the server can tell whose keys match
                yield from sharing
            else:
                yield sharing

    def made(self, planned: Planned | ScannedDatabase) -> ScannedDatabase:
        """Return the source of what was planned, or one that was put back."""
        if isinstance(planned, ScannedDatabase):
            return planned
        if isinstance(planned, list):
            return self._shared(planned)
        prefix, clients = planned.database.key_prefix, planned.clients
        packed = _packed(ScanOptions.of(prefix, self._match, self._count, self._type)) if prefix else self._plain
        return ScannedDatabase([planned], clients.db, clients, *packed, prefix=prefix)

    def _shared(self, jobs: list[Job]) -> ScannedDatabase:
        match = self._match
        common = _common([job.database.key_prefix for job in jobs])
        pattern = escape_glob(common) + "*" if match is None else f"{escape_glob(common)}*{match}"
        wanted = ScanOptions.of("", match, self._count, self._type)
        packed = _packed(attrs.evolve(wanted, pattern=pattern if pattern != "*" else None))
        prefixes = [(job.database.key_prefix, job.tenant) for job in jobs]
        clients = jobs[0].clients
        return ScannedDatabase(
            jobs, clients.db, clients, *packed, _apart(prefixes, None if match is None else self._matches)
        )


def _common(prefixes: list[str]) -> str:
    """Return what all begin with. What the first and the last in order have in common, those between them have too."""
    first, last = min(prefixes), max(prefixes)
    length = next(
        (place for place, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first)
    )
    return first[:length]


def _packed(wanted: ScanOptions) -> tuple[bytes, bytes]:
    words: list[bytes] = []
    if wanted.pattern is not None:
        words += [b"MATCH", wanted.pattern.encode("utf-8", "surrogateescape")]
    words += [b"COUNT", b"%d" % wanted.count]
    if wanted.type is not None:
        words += [b"TYPE", wanted.type.encode("utf-8", "surrogateescape")]
    tail = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
    return b"*%d\r\n$4\r\nSCAN\r\n" % (len(words) + 2), tail


def _apart(tenants: list[tuple[str, str]], matches: Callable[[bytes], bool] | None) -> Split:
    """Tell keys apart. No prefix begins with another, so a key's can only be the last one that sorts before the key."""
    tenants = sorted(tenants)
    prefixes = [prefix for prefix, _ in tenants]

    def split(keys: list[str]) -> list[tuple[str, list[str]]]:
        by_tenant: dict[int, list[str]] = {}
        for key in keys:
            place = bisect_right(prefixes, key) - 1
            if place < 0 or not key.startswith(prefix := prefixes[place]):
                continue
            rest = key[len(prefix) :]
            if matches is None or matches(rest.encode("utf-8", "surrogateescape")):
                by_tenant.setdefault(place, []).append(rest)
        return [(tenants[place][1], rests) for place, rests in by_tenant.items()]

    return split
