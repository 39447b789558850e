"""A counter of the commands sent to Redis, and of the round trips that carry them.

While at least one counter is open, the methods with which redis-py's connections (sync and async) and the leases of scans
send are wrapped. When the last counter closes, the original methods are restored.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

import redis.asyncio.connection
import redis.connection

from tenantlimpyd._fanout.multiplex.lease import Lease

if TYPE_CHECKING:
    from tenantlimpyd.database import RedisDatabase

__all__ = ["CommandCounter", "count_commands"]


class _DatabaseAddress(NamedTuple):
    """A logical database of a server, as the settings of a connection name it."""

    server: tuple[Any, ...]
    db: int

    @classmethod
    def of(cls, setting: Callable[[str], Any]) -> _DatabaseAddress:
        path = setting("path")
        server = (path,) if path else (setting("host") or "localhost", int(setting("port") or 6379))
        return cls(server, int(setting("db") or 0))


class CommandCounter:
    """The commands sent to Redis while the counter was open, by any thread or task.

    Only the names of commands are kept, no keys and no values. A connection's handshake (HELLO, AUTH, CLIENT, SELECT) and
    its health checks are not counted, because whether they happen depends on the state of the connection pool. The commands
    that switch a shared connection from one database to another are not counted either.

    Attributes:
        sent: for each round trip, the names of its commands, such as ``[("MULTI", "SET", "EXEC"), ("GET",)]``.
        wire: the same, with the commands that switch a connection to another database.
    """

    def __init__(self, addresses: frozenset[tuple[Any, ...]] | None) -> None:
        self._addresses = addresses
        self.sent: list[tuple[str, ...]] = []
        self.wire: list[tuple[str, ...]] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} round_trips={self.round_trips} commands={self.commands} sent={self.sent}>"

    @property
    def round_trips(self) -> int:
        """The number of writes whose replies were waited for. A pipeline is one round trip."""
        return len(self.sent)

    @property
    def trips(self) -> int:
        """The number of round trips: a short name of :attr:`round_trips`."""
        return self.round_trips

    @property
    def commands(self) -> int:
        """The number of commands, MULTI and EXEC included. A script is one command."""
        return sum(len(names) for names in self.sent)

    @property
    def names(self) -> list[str]:
        """The names of all commands, in the order in which they were sent."""
        return [name for names in self.sent for name in names]

    def clear(self) -> None:
        """Reset the counter to zero."""
        self.sent.clear()
        self.wire.clear()

    def note(self, address: tuple[Any, ...], names: tuple[str, ...], caller_commands: tuple[str, ...]) -> None:
        """Record one round trip if it went to a database of this counter.

        Args:
            address: the database to which it was sent.
            names: the names of all commands on the wire.
            caller_commands: the names of the commands that a caller asked for.
        """
        if self._addresses is None or address in self._addresses:
            self.wire.append(names)
            if caller_commands:
                self.sent.append(caller_commands)


@contextlib.contextmanager
def count_commands(*databases: RedisDatabase) -> Iterator[CommandCounter]:
    """Count the commands and round trips of a block of code, sync and async alike.

    ::

        with count_commands(database) as sent:
            person.name.set("Ada")
        assert sent.round_trips == 1, sent

    Args:
        *databases: the databases to count: commands for the same server and database number. Without any, all commands of
            redis-py are counted.

    Yields:
        The counter. It can be read inside the block, and keeps its values after the block.
    """
    counter = CommandCounter(frozenset(map(_address_of, databases)) if databases else None)
    _open(counter)
    try:
        yield counter
    finally:
        _close(counter)


def _address_of(database: RedisDatabase) -> _DatabaseAddress:
    return _DatabaseAddress.of(database.connection.connection_pool.connection_kwargs.get)


_lock = threading.Lock()
_counters: tuple[CommandCounter, ...] = ()
_originals: list[tuple[type, str, Any]] = []
_paused: ContextVar[bool] = ContextVar("tenantlimpyd.testing.paused", default=False)
"""Whether this context sends a handshake or a health check."""


def _open(counter: CommandCounter) -> None:
    global _counters  # noqa: PLW0603 - the open counters, guarded by the lock
    with _lock:
        if not _counters:
            _wrap()
        _counters = (*_counters, counter)


def _close(counter: CommandCounter) -> None:
    global _counters  # noqa: PLW0603 - the open counters, guarded by the lock
    with _lock:
        _counters = tuple(other for other in _counters if other is not counter)
        if not _counters:
            while _originals:
                owner, name, original = _originals.pop()
                setattr(owner, name, original)


def _wrap() -> None:
    sync, asyncio = redis.connection.AbstractConnection, redis.asyncio.connection.AbstractConnection
    wrappers: list[tuple[type, str, Callable[[Any], Any]]] = [
        (sync, "send_packed_command", _counting_send),
        (sync, "connect_check_health", _not_counted),
        (sync, "check_health", _not_counted),
        (asyncio, "send_packed_command", _counting_send),
        (asyncio, "connect_check_health", _anot_counted),
        (asyncio, "check_health", _anot_counted),
        (Lease, "write", _counting_write),
    ]
    for owner, name, wrapper in wrappers:
        original = owner.__dict__[name]
        _originals.append((owner, name, original))
        setattr(owner, name, wrapper(original))


def _counting_send(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that counts and then sends. That of an async connection returns the original's coroutine."""

    @functools.wraps(original)
    def send_packed_command(self: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
        return original(self, _count(self, command), *args, **kwargs)

    return send_packed_command


def _counting_write(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def write(self: Lease, packed: bytes) -> None:
        _count(self.connection, packed)
        original(self, packed)

    return write


def _not_counted(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def not_counted(self: Any, *args: Any, **kwargs: Any) -> None:
        with _pause():
            original(self, *args, **kwargs)

    return not_counted


def _anot_counted(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def not_counted(self: Any, *args: Any, **kwargs: Any) -> None:
        with _pause():
            await original(self, *args, **kwargs)

    return not_counted


@contextlib.contextmanager
def _pause() -> Iterator[None]:
    token = _paused.set(True)
    try:
        yield
    finally:
        _paused.reset(token)


def _count(connection: Any, command: Any) -> Any:
    """Report packed commands to the open counters, and return them for sending."""
    if _paused.get():
        return command
    chunks = [command] if isinstance(command, bytes | str) else list(command)
    names = tuple(
        command_names(b"".join(chunk.encode() if isinstance(chunk, str) else bytes(chunk) for chunk in chunks))
    )
    caller_commands = getattr(connection, "caller_commands", None)
    address = _DatabaseAddress.of(lambda name: getattr(connection, name, None))
    for counter in _counters:
        counter.note(address, names, names if caller_commands is None else caller_commands)
    return chunks


def command_names(packed: bytes) -> Iterator[str]:
    """Yield the name of each command in packed commands (RESP arrays of bulk strings)."""
    at = 0
    while at < len(packed):
        end = packed.index(b"\r\n", at)
        length = int(packed[at + 1 : end])
        at = end + 2
        for position in range(length):
            end = packed.index(b"\r\n", at)
            size = int(packed[at + 1 : end])
            at = end + 2
            if position == 0:
                yield packed[at : at + size].decode("ascii", "replace").upper()
            at += size + 2
