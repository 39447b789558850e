"""The Sentinel topology: sentinels tell where the master is, and connections follow a failover.

redis-py's connections notice a failover by a READONLY error, and ask the sentinels only at checkout. Connections of
this module ask each time they connect. The sentinels are asked one after another, over connections that observe
deadlines. The named server must confirm with ``ROLE`` that it is a master, if the user may call it: one round trip per
new connection. When the master changes, all
connections to the previous one are closed: idle ones at once, others when they are returned.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import redis.asyncio.sentinel
import redis.sentinel

from tenantlimpyd import logs
from tenantlimpyd._connections.breaker import CircuitBreaker
from tenantlimpyd._connections.connection_classes import shared_connection_class
from tenantlimpyd._connections.endpoint_state import EndpointState

__all__ = ["AskedEndpoint", "AsyncMaster", "Master", "Sentinel", "master_connection_class"]

if TYPE_CHECKING:  # the base classes of the mixins below
    _Connection = redis.sentinel.SentinelManagedConnection
    _AsyncConnection = redis.asyncio.sentinel.SentinelManagedConnection
else:
    _Connection = _AsyncConnection = object

_DEMOTED = "the server is a replica by now, not the master"


def _check_role(host: str, port: int, answer: Any) -> None:
    """Raise if a server that the sentinels named as master reports another role."""
    role = answer[0] if isinstance(answer, list) and answer else answer
    role = role.decode(errors="replace") if isinstance(role, bytes) else role
    if role != "master":
        raise redis.ConnectionError(f"{host}:{port}, which the sentinels name as the master, reports the role {role}")


class _MasterConnection(_Connection):
    """A sync connection that asks for the master each time it connects.

    redis-py's connection asks at checkout only: a retry after a lost connection or a READONLY error would use the same server.
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
        except redis.ResponseError:  # the user may not call ROLE
            return
        _check_role(self.host, self.port, answer)

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().read_response(*args, **kwargs)
        except redis.ReadOnlyError:  # of a script inside a transaction, which the base class does not see
            self.disconnect()  # type: ignore[no-untyped-call]
            raise redis.ConnectionError(_DEMOTED) from None


class _AsyncMasterConnection(_AsyncConnection):
    """An async connection that asks for the master each time it connects."""

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
def master_connection_class(connection_class: type) -> type:
    """Return the class of shared connections to a master.

    Args:
        connection_class: the class for a server with a known address: plain or TLS, sync or async.
    """
    awaits = issubclass(connection_class, redis.asyncio.connection.AbstractConnection)
    module: Any = redis.asyncio.sentinel if awaits else redis.sentinel
    secure = issubclass(connection_class, redis.SSLConnection | redis.asyncio.SSLConnection)
    base = module.SentinelManagedSSLConnection if secure else module.SentinelManagedConnection
    mixin = _AsyncMasterConnection if awaits else _MasterConnection
    return type(mixin.__name__.strip("_"), (mixin, shared_connection_class(base)), {})


class _Master:
    """Locates the master. It has the interface that redis-py's sentinel connections expect of their pool.

    Args:
        name: the name of the master.
        server: the name of the server in log events.
        breaker: the circuit breaker, which failures of the sentinels are reported to; None if there is none.
        moved: called when the master has changed.

    Attributes:
        is_master: True: the master is wanted, not a replica.
        check_connection: False: no PING after the handshake.
    """

    is_master = True
    check_connection = False

    def __init__(self, name: str, server: str, breaker: CircuitBreaker | None, moved: Callable[[], object]) -> None:
        self.service_name = name
        self._server = server
        self._breaker = breaker
        self._close_idle = moved
        self._address: tuple[str, int] | None = None

    def is_current(self, connection: Any) -> bool:
        """Return whether a connection leads to the master of now, as far as is known without asking."""
        return self._address is None or (connection.host, connection.port) == self._address

    @contextlib.contextmanager
    def _report_failures(self) -> Iterator[None]:
        """Report failures of the sentinels to the circuit breaker."""
        began = time.monotonic()
        try:
            yield
        except BaseException as error:
            if self._breaker is not None:
                self._breaker.record_failure(self, error, time.monotonic() - began, None)
            raise

    def _set_address(self, address: tuple[str, int]) -> tuple[str, int]:
        """Record the address of the master, and close connections to a previous one."""
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
    """Locates the master for sync connections; ``clients`` are those of the sentinels."""

    def __init__(self, clients: Sequence[redis.Redis], *args: Any) -> None:
        super().__init__(*args)
        self._manager = redis.sentinel.Sentinel([])
        self._manager.sentinels.extend(clients)

    def get_master_address(self) -> tuple[str, int]:
        """Ask the sentinels for the address of the master."""
        with self._report_failures():
            host, port = self._manager.discover_master(self.service_name)
        return self._set_address((host, port))


class AsyncMaster(_Master):
    """Locates the master for connections of one event loop; ``clients`` are those of the sentinels."""

    def __init__(self, clients: Sequence[redis.asyncio.Redis], *args: Any) -> None:
        super().__init__(*args)
        self._manager = redis.asyncio.sentinel.Sentinel([])
        self._manager.sentinels.extend(clients)

    async def get_master_address(self) -> tuple[str, int]:
        """Ask the sentinels for the address of the master."""
        with self._report_failures():
            host, port = await self._manager.discover_master(self.service_name)
        return self._set_address((host, port))


class AskedEndpoint(Protocol):
    """The endpoint of a sentinel."""

    @property
    def endpoint_state(self) -> EndpointState:
        """The state of the endpoint."""

    def asking_client(self) -> redis.Redis:
        """Return a sync client."""

    def asking_aclient(self) -> redis.asyncio.Redis:
        """Return an async client of the running event loop."""

    async def aclose_idle(self) -> None:
        """Close the idle connections of the running event loop."""


class Sentinel:
    """A master that sentinels know.

    Args:
        master: the name of the master.
        identity: the name of the server in reports and log events.
        endpoints: the endpoints of the sentinels.
        breaker: the circuit breaker, which failures of the sentinels are reported to; None if there is none.
        moved: called when the master has changed.
    """

    def __init__(
        self,
        master: str,
        identity: str,
        endpoints: Sequence[AskedEndpoint],
        breaker: CircuitBreaker | None,
        moved: Callable[[], object],
    ) -> None:
        self.identity = identity
        self._master = master
        self._endpoints = endpoints
        self._breaker = breaker
        self._moved = moved

    @property
    def asked(self) -> tuple[EndpointState, ...]:
        """The states of the sentinels' endpoints."""
        return tuple(each.endpoint_state for each in self._endpoints)

    def connection_class(self, connection_class: type) -> type:
        """Return the class of shared connections to the master, for a class of redis-py."""
        return master_connection_class(connection_class)

    def locate(self, key_prefix: str = "") -> Master:  # noqa: ARG002 - all keys are there
        """Return what asks the sentinels for the master."""
        clients = [each.asking_client() for each in self._endpoints]
        return Master(clients, self._master, self.identity, self._breaker, self._moved)

    def alocate(self, key_prefix: str = "") -> AsyncMaster:  # noqa: ARG002 - all keys are there
        """Return what asks the sentinels for the master, in the running event loop."""
        clients = [each.asking_aclient() for each in self._endpoints]
        return AsyncMaster(clients, self._master, self.identity, self._breaker, self._moved)

    async def aclose_idle(self) -> None:
        """Close idle connections of the running event loop to the sentinels."""
        for each in self._endpoints:
            await each.aclose_idle()
