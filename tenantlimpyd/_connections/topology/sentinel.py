"""A master whose sentinels say where it is: asked before each connection, so that a failover is followed.

redis-py's own connections for this learn from a READONLY error that their server is a master no longer, and close. The
sentinels are asked over connections of ours, so that deadlines hold there too, one after the other until one knows. Who is
named has to say itself that it is a master (``ROLE``), where the user may ask: a round trip for each new connection. When
another master is named, all connections to the old one close: idle ones at once, others when their command is done.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import redis.asyncio.sentinel
import redis.sentinel

from tenantlimpyd import logs
from tenantlimpyd._connections.breaker import Breaker
from tenantlimpyd._connections.connection_classes import shared_connection_class

__all__ = ["AsyncMaster", "Master", "following"]

if TYPE_CHECKING:  # what the mixins below are mixed into
    _Connection = redis.sentinel.SentinelManagedConnection
    _AsyncConnection = redis.asyncio.sentinel.SentinelManagedConnection
else:
    _Connection = _AsyncConnection = object

_DEMOTED = "the master that was written to is a replica by now"


def _check_role(host: str, port: int, answer: Any) -> None:
    """Raise if a server that the sentinels named says itself that it is no master: their word was of before."""
    role = answer[0] if isinstance(answer, list) and answer else answer
    role = role.decode(errors="replace") if isinstance(role, bytes) else role
    if role != "master":
        raise redis.ConnectionError(f"{host}:{port}, which is named as the master, says that it is a {role}")


class _Following(_Connection):
    """A blocking connection that asks for the master each time it connects.

    redis-py's own does so at checkout only: one that is cut, or learns that its server is a master no longer, would go back
    to the same server as its command is tried again.
    """

    found = False

    def connect_to(self, address: tuple[str, int]) -> None:
        self.found = True
        try:
            super().connect_to(address)  # type: ignore[no-untyped-call]
        finally:
            self.found = False

    def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        if self.found or self._sock is not None:
            super().connect_check_health(*args, **kwargs)
        else:
            self.connect_to(self.connection_pool.get_master_address())

    def on_connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        super().on_connect_check_health(*args, **kwargs)
        self.send_command("ROLE", check_health=False)  # type: ignore[no-untyped-call]
        try:
            answer = self.read_response()
        except redis.ResponseError:  # this user may not ask
            return
        _check_role(self.host, self.port, answer)

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().read_response(*args, **kwargs)
        except redis.ReadOnlyError:  # of a script in a transaction of ours, which the base class does not see
            self.disconnect()  # type: ignore[no-untyped-call]
            raise redis.ConnectionError(_DEMOTED) from None


class _AsyncFollowing(_AsyncConnection):
    """An asyncio connection that asks for the master each time it connects."""

    found = False

    async def connect_to(self, address: tuple[str, int]) -> None:
        self.found = True
        try:
            await super().connect_to(address)  # type: ignore[no-untyped-call]
        finally:
            self.found = False

    async def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        if self.found or self.is_connected:
            await super().connect_check_health(*args, **kwargs)
        else:
            await self.connect_to(await self.connection_pool.get_master_address())

    async def on_connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        await super().on_connect_check_health(*args, **kwargs)
        await self.send_command("ROLE", check_health=False)
        try:
            answer = await self.read_response()
        except redis.ResponseError:
            return
        _check_role(self.host, self.port, answer)

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().read_response(*args, **kwargs)
        except redis.ReadOnlyError:
            await self.disconnect(nowait=True)
            raise redis.ConnectionError(_DEMOTED) from None


@functools.cache
def following(connection_class: type) -> type:
    """Return redis-py's class for connections to a master, with our guard and what is above mixed in.

    Args:
        connection_class: the class there would be if the server's address were known; TLS or not, of either colour.
    """
    awaits = issubclass(connection_class, redis.asyncio.connection.AbstractConnection)
    module: Any = redis.asyncio.sentinel if awaits else redis.sentinel
    secure = issubclass(connection_class, redis.SSLConnection | redis.asyncio.SSLConnection)
    base = module.SentinelManagedSSLConnection if secure else module.SentinelManagedConnection
    mixin = _AsyncFollowing if awaits else _Following
    return type(mixin.__name__.strip("_"), (mixin, shared_connection_class(base)), {})


class _Master:
    """What redis-py's sentinel connections ask of the pool they are in, of both colours.

    Args:
        name: the master's.
        server: how log events name it.
        breaker: told of sentinels that know no master; None: there is none.
        moved: called when the master is another one than before.

    Attributes:
        is_master: the master is wanted, not a replica.
        check_connection: no PING beside the handshake.
    """

    is_master = True
    check_connection = False

    def __init__(self, name: str, server: str, breaker: Breaker | None, moved: Callable[[], object]) -> None:
        self.service_name = name
        self._server = server
        self._breaker = breaker
        self._close_idle = moved
        self._address: tuple[str, int] | None = None

    def left(self, connection: Any) -> bool:
        """Return whether a connection leads to where the master is no longer."""
        return self._address is not None and (connection.host, connection.port) != self._address

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Let the breaker see what comes of asking the sentinels: without a master, there is nothing to connect to."""
        began = time.monotonic()
        try:
            yield
        except BaseException as error:
            if self._breaker is not None:
                self._breaker.failed(self, error, time.monotonic() - began, None)
            raise

    def _found(self, address: tuple[str, int]) -> tuple[str, int]:
        """Note where the master is; close what leads elsewhere."""
        before, self._address = self._address, address
        if before is not None and before != address:
            logs.emit(
                "master_changed",
                server=self._server,
                address=f"{address[0]}:{address[1]}",
                previous=f"{before[0]}:{before[1]}",
            )
            self._close_idle()
        return address


class Master(_Master):
    """The master, for blocking connections; ``clients`` are the sentinels'."""

    def __init__(self, clients: Sequence[redis.Redis], *args: Any) -> None:
        super().__init__(*args)
        self._manager = redis.sentinel.Sentinel([])
        self._manager.sentinels.extend(clients)

    def get_master_address(self) -> tuple[str, int]:
        """Ask where the master is."""
        with self._asking():
            host, port = self._manager.discover_master(self.service_name)
        return self._found((host, port))


class AsyncMaster(_Master):
    """The master, for the connections of one event loop; ``clients`` are the sentinels'."""

    def __init__(self, clients: Sequence[redis.asyncio.Redis], *args: Any) -> None:
        super().__init__(*args)
        self._manager = redis.asyncio.sentinel.Sentinel([])
        self._manager.sentinels.extend(clients)

    async def get_master_address(self) -> tuple[str, int]:
        """Ask where the master is."""
        with self._asking():
            host, port = await self._manager.discover_master(self.service_name)
        return self._found((host, port))
