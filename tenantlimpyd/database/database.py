"""``RedisDatabase``: connection settings, connections, and hosted models, for one keyspace."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, TypeVar, cast

import redis
import redis.asyncio
from redis.lock import Lock

from tenantlimpyd import logs
from tenantlimpyd._connections import fork
from tenantlimpyd._connections.budget import Budget, checked_budget
from tenantlimpyd._connections.database_clients import DatabaseClients
from tenantlimpyd._connections.endpoint import Endpoint
from tenantlimpyd._connections.settings import DEFAULT_CONNECTION_SETTINGS, Keyspace, Settings
from tenantlimpyd._context_managers import AsyncCloseOnExit, CloseOnExit
from tenantlimpyd._operations import drivers
from tenantlimpyd._operations.steps import PLAIN, Operation, Script, Traits
from tenantlimpyd._registry.host import ModelHost
from tenantlimpyd._registry.placement import Placement
from tenantlimpyd.database.key_scan import KeyScans
from tenantlimpyd.exceptions import (
    ConfigurationError,
    DoesNotExist,
    ImplementationError,
    LimpydException,
    UniquenessError,
    shown,
)
from tenantlimpyd.indexes import EqualIndex
from tenantlimpyd.pipelines import active

__all__ = ["DEFAULT_CONNECTION_SETTINGS", "Lock", "RedisDatabase"]
# Not ours, but importable from limpyd.database, where applications may look for them.
__limpyd__ = (DoesNotExist, EqualIndex, ImplementationError, LimpydException, UniquenessError)

T = TypeVar("T")

MAXIMUM_PREFIX_LENGTH = 512


class RedisDatabase(KeyScans, CloseOnExit, AsyncCloseOnExit, ModelHost):
    """A Redis database: its connection settings, its connections, and its models.

    The constructor does not connect; the first command does. A database can be used by any number of threads, tasks and
    event loops at the same time.

    Sync and async clients are made from the same settings. Replies are always decoded to ``str``.

    Args:
        key_prefix: the text before the keys of models and of :meth:`scan_keys`, for tenants that share a database. The
            redis-py clients in :attr:`connection` and :attr:`aconnection` do not add it.
        budget: the limits of its connections; None: those of the router, or the ones that all databases without a budget
            share.
        shared: whether it shares connections with databases whose settings are equal except for ``db``. False: it has a
            connection pool that no other database uses.
        **settings: the settings of ``redis.Redis`` (``host``, ``port``, ``db``, ``unix_socket_path``, ``username``,
            ``password``, ``ssl``, ``protocol``...), or ``url``. Without any: localhost:6379, database 0.

    Raises:
        ConfigurationError: If a setting is unknown, or has a value that is not allowed. The message names all of them.
    """

    __slots__ = (
        *(
            "__dict__",
            "__weakref__",
            "_budget",
            "_guards",
            "_key_prefix",
            "_link_made",
            "_placed",
            "_redis_version",
            "_settings",
        ),
        "_shared",
    )

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse a subclass whose overrides would be ignored.

        Raises:
            ImplementationError: If it overrides ``connection`` or ``aconnection``, which models do not use.
        """
        super().__init_subclass__(**options)
        ignored = sorted({"connection", "aconnection"} & vars(cls).keys())
        if ignored and not cls.__module__.startswith("tenantlimpyd."):
            raise ImplementationError(
                f"{cls.__name__} overrides {' and '.join(ignored)}, which models do not use: they would write elsewhere. "
                "Give the settings to the constructor, or choose the database with a DatabaseRouter and a resolver."
            )

    def __init__(
        self, *, key_prefix: str = "", budget: Budget | None = None, shared: bool = True, **settings: Any
    ) -> None:
        super().__init__()
        self._key_prefix = _checked_prefix(key_prefix)
        self._settings = Settings(settings or DEFAULT_CONNECTION_SETTINGS)
        self._budget = checked_budget(budget)
        self._shared = shared
        self._clients_made: DatabaseClients | None = None
        self._placed: Placement | None = None
        self._guards: tuple[weakref.ref[Any], ...] = ()
        self._redis_version: tuple[int, ...] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.keyspace}>"

    def __reduce__(self) -> Any:
        raise TypeError(f"{self!r} can't be pickled: it holds connections. Send its tenant's id instead.")

    # Where it is

    @property
    def connection_settings(self) -> dict[str, Any]:
        """A copy of the settings as they were given. It may hold a password: never log it."""
        return dict(self._settings)

    @property
    def settings(self) -> Settings:
        """The settings, checked and frozen. Their repr shows no secret."""
        return self._settings

    @property
    def server(self) -> Endpoint:
        """The endpoint, whose connections databases with the same settings (except for ``db``) share."""
        return self._clients.server

    @property
    def _used(self) -> Endpoint | None:
        """The endpoint as :attr:`server`; None if the database has not been used yet."""
        clients = self._clients_made
        return None if clients is None else clients.server

    @property
    def budget(self) -> Budget | None:
        """The budget that limits its connections; None: the one that all databases without a budget share."""
        return self._budget

    @property
    def key_prefix(self) -> str:
        """The key prefix: the text before every key of this database's models; may be empty."""
        return self._key_prefix

    @property
    def keyspace(self) -> Keyspace:
        """The server, database number and key prefix, as given in the settings."""
        settings = self._settings
        return Keyspace(settings.server, settings.db, self._key_prefix)

    # Connecting

    @property
    def _clients(self) -> DatabaseClients:
        clients = self._clients_made
        return self._make_clients() if clients is None else clients

    def _make_clients(self) -> DatabaseClients:
        with _links.lock:
            if self._clients_made is None:
                self._clients_made = DatabaseClients(
                    self._settings, self._budget, shared=self._shared, confined=bool(self.key_prefix)
                )
            return self._clients_made

    @property
    def connection(self) -> redis.Redis:
        """The sync redis-py client. It does not add :attr:`key_prefix`.

        Inside a pipeline's block, the pipeline, which has the same commands and queues them.
        """
        return self._clients.client if (pipeline := active(self)) is None else cast("redis.Redis", pipeline)

    @property
    def aconnection(self) -> redis.asyncio.Redis:
        """The asyncio redis-py client of the running event loop. It does not add :attr:`key_prefix`.

        Inside a pipeline's block, the pipeline, which has the same commands and queues them.

        Raises:
            RuntimeError: If no event loop is running in this thread.
        """
        return self._clients.aclient if (pipeline := active(self)) is None else cast("redis.asyncio.Redis", pipeline)

    def connect(self, **settings: Any) -> redis.Redis:
        """Replace the connection settings, and return the client; without an argument, only return the client.

        Models and existing objects use the new settings from their next command on. Commands in flight finish on the old
        connections, which then close. Settings that are not given have redis-py's defaults, not their previous values.
        ``key_prefix`` can't be changed.

        Args:
            **settings: as for the constructor.

        Returns:
            The sync client. It has not connected yet.

        Raises:
            ConfigurationError: If a setting is unknown, or has a value that is not allowed. The old settings remain.
            SharedKeyspaceError: If a router has this database, and another of its tenants is in the new keyspace.
        """
        if settings:
            self.reset(**settings)
        return self._clients.client

    async def aconnect(self, **settings: Any) -> redis.asyncio.Redis:
        """Replace the settings as :meth:`connect`, and return the client of the running event loop."""
        if settings:
            old = self._replace_clients(settings)
            if old is not None:
                await old.aretire()
        return self._clients.aclient

    def reset(self, **settings: Any) -> None:
        """Replace the settings as :meth:`connect`, without a result; without an argument, by the default settings."""
        old = self._replace_clients(settings)
        if old is not None:
            old.retire()

    @contextlib.contextmanager
    def _guarded_by(self, guard: Any) -> Iterator[None]:
        """Register a guard: ``guard.moving(database, keyspace)`` is entered before the settings are replaced.

        During the ``with`` block the settings can't be replaced.
        """
        with _moves.lock:
            yield
            if guard not in self._guarding():
                self._guards = (*self._guards, weakref.ref(guard))

    def _unguarded_by(self, guard: Any) -> None:
        """Unregister a guard."""
        with _moves.lock:
            self._guards = tuple(each for each in self._guards if each() not in (None, guard))

    def _guarding(self) -> list[Any]:
        return [guard for each in self._guards if (guard := each()) is not None]

    def _use_budget(self, budget: Budget) -> None:
        """Limit this database's connections by another budget; commands in flight finish under the old one."""
        with _moves.lock:
            self._budget = checked_budget(budget)
            old, self._clients_made = self._clients_made, None
        if old is not None:
            old.retire()

    def _replace_clients(self, settings: dict[str, Any]) -> DatabaseClients | None:
        given = dict(settings)
        prefix = _checked_prefix(given.pop("key_prefix", self._key_prefix))
        if prefix != self._key_prefix:
            # The keys of commands in flight have the old prefix, and would be written under the new settings.
            raise ConfigurationError(
                f"key_prefix can't be changed from {self._key_prefix!a} to {prefix!a} in an existing database: make another "
                "RedisDatabase with the other prefix"
            )
        new = Settings(given or DEFAULT_CONNECTION_SETTINGS)
        keyspace = Keyspace(new.server, new.db, prefix)
        with contextlib.ExitStack() as moves, _moves.lock:
            for guard in sorted(self._guarding(), key=id):  # in one order: two databases that move can't deadlock
                moves.enter_context(guard.moving(self, keyspace))
            before, self._settings = self._settings, new
            with _links.lock:
                old, self._clients_made = self._clients_made, None
            self._redis_version = None
        logs.emit(
            "database_repointed",
            server=new.server,
            db=new.db,
            previous_server=before.server,
            previous_db=before.db,
        )
        return old

    # Closing

    def close(self) -> None:
        """Close the connections: idle ones now, others when their command is done. The next command opens new ones."""
        if (old := self._take_clients()) is not None:
            old.retire()

    async def aclose(self) -> None:
        """Close the connections as :meth:`close`, and wait until those of the running event loop are closed."""
        if (old := self._take_clients()) is not None:
            await old.aretire()

    def _take_clients(self) -> DatabaseClients | None:
        with _links.lock:
            old, self._clients_made = self._clients_made, None
        return old

    # Running operations

    def run(self, operation: Operation[T], owner: Any = None, traits: Traits = PLAIN, /) -> T:
        """Run an operation with the sync driver, all of it with the current settings, and return its result.

        Inside a pipeline's block the operation is queued, and the pipeline is returned.

        Args:
            operation: the operation.
            owner: the field or object whose method it is, or this database; None: a pipeline refuses it.
            traits: what a pipeline has to know of it; ``twins`` gives it.
        """
        if (pipeline := active(self)) is not None:
            return cast("T", pipeline.take(operation, owner, traits))
        return drivers.run(operation, self._clients.client)

    def arun(self, operation: Operation[T], owner: Any = None, traits: Traits = PLAIN, /) -> Coroutine[Any, Any, T]:
        """Return a coroutine that runs an operation, all of it with the settings at its first step.

        Inside a pipeline's block the operation is queued by this call, and the coroutine returns the pipeline.
        """
        if (pipeline := active(self)) is not None:
            return cast("Coroutine[Any, Any, T]", pipeline.atake(operation, owner, traits))
        return self._arun(operation)

    async def _arun(self, operation: Operation[T]) -> T:
        return await drivers.arun(operation, self._clients.aclient)

    def _current_placement(self) -> Placement:
        """Return the placement of objects that are made now: this database."""
        placed = self._placed
        if placed is None:
            placed = self._placed = Placement(self, self)
        return placed

    # Asking the server

    @property
    def redis_version(self) -> tuple[int, ...]:
        """The server's version, up to three numbers, as INFO reports it. The Redis user must be allowed to call INFO."""
        if self._redis_version is None:
            self._redis_version = _version(self._clients.client.info("server"))
        return self._redis_version

    async def aredis_version(self) -> tuple[int, ...]:
        """Return the server's version as :attr:`redis_version`, in asyncio."""
        if self._redis_version is None:
            self._redis_version = _version(await self._clients.aclient.info("server"))
        return self._redis_version

    def call_script(
        self, script_dict: dict[str, Any], keys: Sequence[Any] | None = None, args: Sequence[Any] | None = None
    ) -> Any:
        """Run a Lua script.

        Args:
            script_dict: holds the source under ``"lua"``; sent once, then known by its digest.
            keys: the keys that the script uses, including ``key_prefix`` if the database has one.
            args: its other arguments.

        Returns:
            The script's reply.
        """
        return self.run(self._script(script_dict, keys, args), self)

    async def acall_script(
        self, script_dict: dict[str, Any], keys: Sequence[Any] | None = None, args: Sequence[Any] | None = None
    ) -> Any:
        """Run a Lua script as :meth:`call_script`, in asyncio."""
        return await self.arun(self._script(script_dict, keys, args), self)

    def _script(
        self, script_dict: dict[str, Any], keys: Sequence[Any] | None, args: Sequence[Any] | None
    ) -> Operation[Any]:
        return (yield Script(script_dict["lua"], keys or (), args or ()))


class _Lock:
    """A lock of all databases together. What they do under it is short and rare, and each having its own costs memory."""

    def __init__(self) -> None:
        self.reset_after_fork()
        fork.watch(self)

    def reset_after_fork(self) -> None:
        self.lock = threading.Lock()


_moves = _Lock()
"""Held while a database's settings are replaced, or a guard is registered."""
_links = _Lock()
"""Held while a database's clients are made or removed. The holder waits for no other lock of databases or routers."""


def _version(info: Any) -> tuple[int, ...]:
    return tuple(int(number) for number in str(info["redis_version"]).split(".")[:3])


def _checked_prefix(prefix: object) -> str:
    if not isinstance(prefix, str):
        raise ConfigurationError(f"key_prefix must be text such as 'acme:', not {shown(prefix)}")
    if len(prefix) > MAXIMUM_PREFIX_LENGTH:
        raise ConfigurationError(f"key_prefix must have at most {MAXIMUM_PREFIX_LENGTH} characters, not {len(prefix)}")
    try:
        prefix.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"key_prefix must be text that UTF-8 can hold, not {shown(prefix)}") from None
    return prefix
