"""Scan the keys of one database, over one connection, with the settings at the start of the scan."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import TYPE_CHECKING, Any, cast

import redis
import redis.asyncio

from tenantlimpyd._connections.pinned import AsyncPinnedConnection, PinnedConnection
from tenantlimpyd._operations import drivers
from tenantlimpyd._operations.scan_page import ScanOptions, scan_page

if TYPE_CHECKING:
    from tenantlimpyd._connections.database_clients import DatabaseClients

__all__ = ["KeyScans", "check_not_repointed", "clients_of"]


def clients_of(database: KeyScans) -> DatabaseClients:
    """Return the clients of a database for its current settings."""
    return database._clients


def check_not_repointed(database: KeyScans, clients: DatabaseClients) -> None:
    """Raise if a tenant's database was closed or connected elsewhere after a scan had started.

    Args:
        database: the database.
        clients: its clients when the scan started.

    Raises:
        redis.ConnectionError: If it was closed or connected elsewhere, and belongs to a router: its old keyspace may be
            another tenant's by now.
    """
    if clients.retired and database._guards:
        raise redis.ConnectionError(
            "this tenant's database was closed or connected elsewhere after the scan had started"
        )


class KeyScans:
    """Scan the keys of a database. A mixin of ``RedisDatabase``."""

    __slots__ = ()

    if TYPE_CHECKING:
        _guards: tuple[Any, ...]
        _key_prefix: str

        @property
        def _clients(self) -> DatabaseClients: ...

    def scan_keys(
        self,
        match: str | None = None,
        count: int | None = None,
        type: str | None = None,  # noqa: A002 - SCAN's own word
    ) -> Iterator[str]:
        """Iterate over the keys of the database, as SCAN returns them: in no order, some perhaps more than once.

        The database, and where it points, are those of this call, however late the iteration starts. Where it is a tenant's,
        and is closed or pointed elsewhere meanwhile, the iteration ends with ``redis.ConnectionError``: the place it was
        at may be another tenant's by then.

        Args:
            match: a glob pattern, relative to ``key_prefix``; None: all keys.
            count: keys that the server examines in one round trip; None: 1000.
            type: only keys of this Redis type: ``string``, ``hash``, ``list``, ``set``, ``zset``, ``stream``.

        Returns:
            An iterator of key names, without ``key_prefix``. It keeps one connection until it ends, is closed or is dropped.
            If the connection is lost, it raises ``redis.ConnectionError``, since the cursor is not valid on another one.
            Bytes that are not UTF-8 are kept as surrogates (``key.encode("utf-8", "surrogateescape")`` gives the key as it is).
        """
        pages = self._pages(match, count, type)

        def keys() -> Iterator[str]:
            with contextlib.closing(pages):  # not left to the garbage collector, in which an interrupt would be lost
                for page in pages:
                    yield from page

        return keys()

    def ascan_keys(
        self,
        match: str | None = None,
        count: int | None = None,
        type: str | None = None,  # noqa: A002 - SCAN's own word
    ) -> AsyncIterator[str]:
        """Iterate over the keys as :meth:`scan_keys`, with ``async for``."""
        pages = self._apages(match, count, type)

        async def keys() -> AsyncIterator[str]:
            async with contextlib.aclosing(pages):
                async for page in pages:
                    for key in page:
                        yield key

        return keys()

    def _pages(
        self,
        match: str | None = None,
        count: int | None = None,
        type: str | None = None,  # noqa: A002 - SCAN's own word
    ) -> Generator[list[str], None, None]:
        """Iterate over lists of keys, one for each SCAN, some perhaps empty; the arguments are those of :meth:`scan_keys`."""
        wanted = ScanOptions.of(self._key_prefix, match, count, type)
        clients = self._clients

        def pages() -> Generator[list[str], None, None]:
            cursor: int | None = 0
            with PinnedConnection(clients.client, lambda: check_not_repointed(self, clients)) as pinned:
                while cursor is not None:
                    cursor, page = drivers.run(scan_page(wanted, cursor), cast("redis.Redis", pinned))
                    yield page

        return pages()

    def _apages(
        self,
        match: str | None = None,
        count: int | None = None,
        type: str | None = None,  # noqa: A002 - SCAN's own word
    ) -> AsyncGenerator[list[str], None]:
        """Iterate over lists of keys as :meth:`_pages`, with ``async for``."""
        wanted = ScanOptions.of(self._key_prefix, match, count, type)
        clients = self._clients

        async def pages() -> AsyncGenerator[list[str], None]:
            cursor: int | None = 0
            async with AsyncPinnedConnection(clients.aclient, lambda: check_not_repointed(self, clients)) as pinned:
                while cursor is not None:
                    cursor, page = await drivers.arun(scan_page(wanted, cursor), cast("redis.asyncio.Redis", pinned))
                    yield page

        return pages()
