"""Counting what is sent: commands, and the round trips that carry them.

While at least one counter is open, the methods by which redis-py's connections send (sync and async), and those of sync
scans, are wrapped; when the last one closes they are as before.
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


class _Place(NamedTuple):
    """A logical database of a server, as a connection knows it."""

    address: tuple[Any, ...]
    db: int

    @classmethod
    def of(cls, attributes: Callable[[str], Any]) -> _Place:
        path = attributes("path")
        address = (path,) if path else (attributes("host") or "localhost", int(attributes("port") or 6379))
        return cls(address, int(attributes("db") or 0))


class CommandCounter:
    """What was sent to Redis while the counter was open, by any thread or task.

    Only names are kept, no keys and no values. A connection's handshake (HELLO, AUTH, CLIENT, SELECT) and its health
    checks are not counted: whether they happen depends on what the pool had. Nor is what takes a connection that
    databases share from one to another.

    Attributes:
        sent: for each round trip, the names of its commands, such as ``[("MULTI", "SET", "EXEC"), ("GET",)]``.
        wire: the same, with what takes a connection to another database.
    """

    def __init__(self, places: frozenset[_Place] | None) -> None:
        self._places = places
        self.sent: list[tuple[str, ...]] = []
        self.wire: list[tuple[str, ...]] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} trips={self.trips} commands={self.commands} sent={self.sent}>"

    @property
    def trips(self) -> int:
        """How many times something was sent and waited for. A pipeline is one trip."""
        return len(self.sent)

    @property
    def commands(self) -> int:
        """How many commands were sent, MULTI and EXEC included. A script is one."""
        return sum(len(names) for names in self.sent)

    @property
    def names(self) -> list[str]:
        """The names of all commands, in the order they were sent."""
        return [name for names in self.sent for name in names]

    def clear(self) -> None:
        """Start again from nothing."""
        self.sent.clear()
        self.wire.clear()

    def note(self, place: _Place, names: tuple[str, ...], caller_commands: tuple[str, ...]) -> None:
        """Take down one round trip, if it went to a place of this counter: all that was sent, and what of it was meant."""
        if self._places is None or place in self._places:
            self.wire.append(names)
            if caller_commands:
                self.sent.append(caller_commands)


@contextlib.contextmanager
def count_commands(*databases: RedisDatabase) -> Iterator[CommandCounter]:
    """Count the commands and round trips of a block of code, blocking and asyncio alike.

    ::

        with count_commands(database) as sent:
            person.name.set("Ada")
        assert sent.trips == 1, sent

    Args:
        *databases: count only what goes to the server and database number of these. None given: all of redis-py.

    Yields:
        The counter. It can be read inside the block, and stays as it is after it.
    """
    places = frozenset(map(_place_of, databases)) if databases else None
    counter = CommandCounter(places)
    _open(counter)
    try:
        yield counter
    finally:
        _close(counter)


def _place_of(database: RedisDatabase) -> _Place:
    return _Place.of(database.connection.connection_pool.connection_kwargs.get)


_lock = threading.Lock()
_counters: tuple[CommandCounter, ...] = ()
_originals: list[tuple[type, str, Any]] = []
_handshaking: ContextVar[bool] = ContextVar("tenantlimpyd.testing.handshaking", default=False)


def _open(counter: CommandCounter) -> None:
    global _counters  # noqa: PLW0603 - the list of open counters, guarded by the lock
    with _lock:
        if not _counters:
            _wrap()
        _counters = (*_counters, counter)


def _close(counter: CommandCounter) -> None:
    global _counters  # noqa: PLW0603 - the list of open counters, guarded by the lock
    with _lock:
        _counters = tuple(other for other in _counters if other is not counter)
        if not _counters:
            while _originals:
                owner, name, original = _originals.pop()
                setattr(owner, name, original)


def _wrap() -> None:
    blocking, awaiting = redis.connection.AbstractConnection, redis.asyncio.connection.AbstractConnection
    wrappers: list[tuple[type, str, Callable[[Any], Any]]] = [
        (blocking, "send_packed_command", _sending),
        (blocking, "connect_check_health", _aside),
        (blocking, "check_health", _aside),
        (awaiting, "send_packed_command", _asending),
        (awaiting, "connect_check_health", _aaside),
        (awaiting, "check_health", _aaside),
        (Lease, "write", _writing),
    ]
    for owner, name, wrapper in wrappers:
        original = owner.__dict__[name]
        _originals.append((owner, name, original))
        setattr(owner, name, wrapper(original))


def _sending(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def send_packed_command(self: Any, command: Any, *args: Any, **kwargs: Any) -> None:
        original(self, _noted(self, command), *args, **kwargs)

    return send_packed_command


def _writing(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def write(self: Lease, packed: bytes) -> None:
        _noted(self.connection, packed)
        original(self, packed)

    return write


def _asending(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def send_packed_command(self: Any, command: Any, *args: Any, **kwargs: Any) -> None:
        await original(self, _noted(self, command), *args, **kwargs)

    return send_packed_command


def _aside(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def aside(self: Any, *args: Any, **kwargs: Any) -> None:
        token = _handshaking.set(True)
        try:
            original(self, *args, **kwargs)
        finally:
            _handshaking.reset(token)

    return aside


def _aaside(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def aside(self: Any, *args: Any, **kwargs: Any) -> None:
        token = _handshaking.set(True)
        try:
            await original(self, *args, **kwargs)
        finally:
            _handshaking.reset(token)

    return aside


def _noted(connection: Any, command: Any) -> Any:
    """Tell the open counters about packed commands, and return them, still to be sent."""
    if _handshaking.get():
        return command
    chunks = [command] if isinstance(command, bytes | str) else list(command)
    names = tuple(
        command_names(b"".join(chunk.encode() if isinstance(chunk, str) else bytes(chunk) for chunk in chunks))
    )
    caller_commands = getattr(connection, "caller_commands", None)
    place = _Place.of(lambda name: getattr(connection, name, None))
    for counter in _counters:
        counter.note(place, names, names if caller_commands is None else caller_commands)
    return chunks


def command_names(packed: bytes) -> Iterator[str]:
    """Yield the name of each command in what redis-py is about to send (RESP arrays of bulk strings)."""
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
