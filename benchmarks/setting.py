"""What the figures are taken on: servers, a router with tenants, a model, and redis-py clients to compare with."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import hiredis
import redis
import redis.asyncio
from redis.maint_notifications import MaintNotificationsConfig

from tenantlimpyd import EXACT_VERSION, DatabaseRouter, RedisDatabase, fields, model
from tenantlimpyd.contrib.collection import ExtendedCollectionManager
from tenantlimpyd.embedded import EmbeddedServer

DATABASES = 16
"""Databases for the scan, on each of two servers."""
KEYS = 20_000
"""Keys in each of them."""

FOUND = 100
"""Objects that a query finds."""
NAMES = ("amount", "currency", "due")
"""The fields that are read of an object."""

KEY = "bench:key"
VALUE = "0123456789"

_FILL = "for i = 1, tonumber(ARGV[1]) do redis.call('SET', 'invoice:' .. i .. ':number', i) end"


def alike(settings: dict[str, Any], **others: Any) -> dict[str, Any]:
    """Return a database's settings for redis-py's client as our clients have them.

    redis-py's maintenance notifications are off in those unless somebody asks for them, and on in redis-py's own.
    """
    return {"maint_notifications_config": MaintNotificationsConfig(enabled=False), **settings, **others}


@attrs.frozen
class Setting:
    """Everything a case needs.

    Attributes:
        router: tenants, of which ``acme`` is the one measured.
        model: a model bound to the router.
        peer: redis-py, with the settings of acme's database.
        stock: redis-py as it comes, with host, port, database and ``decode_responses`` alone.
    """

    router: DatabaseRouter
    model: type[Any]
    peer: redis.Redis
    stock: redis.Redis

    @property
    def database(self) -> RedisDatabase:
        return self.router.database_for("acme")

    def apeer(self) -> redis.asyncio.Redis:
        """Return redis-py's asyncio client for the running loop, with the settings of acme's database."""
        return redis.asyncio.Redis(**alike(self.database.settings.for_asyncio()))


@contextmanager
def one_tenant() -> Iterator[Setting]:
    """Start a server, and make a router with a few tenants on it."""
    with EmbeddedServer() as server:
        tenants = ("acme", "globex", "initech")
        router = DatabaseRouter(
            {tenant: RedisDatabase(**server.settings, db=number) for number, tenant in enumerate(tenants, start=1)}
        )

        class Invoice(model.RedisModel):
            database = router
            collection_manager = ExtendedCollectionManager
            number = fields.StringField(indexable=True)
            customer = fields.StringField(indexable=True)
            note = fields.StringField()
            amount = fields.InstanceHashField()
            currency = fields.InstanceHashField()
            due = fields.InstanceHashField()

        database = router.database_for("acme")
        peer = redis.Redis(**alike(database.settings.for_blocking()))
        stock = redis.Redis(**server.settings, db=1, decode_responses=True)
        peer.set(KEY, VALUE)
        with router, peer, stock:
            yield Setting(router, Invoice, peer, stock)


@contextmanager
def many_tenants() -> Iterator[tuple[DatabaseRouter, list[redis.Redis]]]:
    """Start two servers with full databases; yield a router of them, and a redis-py client for each."""
    with EmbeddedServer(databases=DATABASES) as one, EmbeddedServer(databases=DATABASES) as two:
        places = [(server, number) for server in (one, two) for number in range(DATABASES)]
        router = DatabaseRouter(
            {f"tenant-{at}": RedisDatabase(**server.settings, db=db) for at, (server, db) in enumerate(places)}
        )
        databases = map(router.database_for, router.tenants())
        peers = [redis.Redis(**alike(database.settings.for_blocking())) for database in databases]
        for peer in peers:
            peer.eval(_FILL, 0, KEYS)
        try:
            with router:
                yield router, peers
        finally:
            for peer in peers:
                peer.close()


def differences(ours: Any, peer: Any) -> list[str]:
    """Return the names of the settings in which two clients differ: like must be compared with like."""
    names = ours.connection_pool.connection_kwargs.keys() | peer.connection_pool.connection_kwargs.keys()
    found = [name for name in sorted(names - _PLUMBING) if _shown(ours, name) != _shown(peer, name)]
    if not issubclass(ours.connection_pool.connection_class, peer.connection_pool.connection_class):
        found.append("connection_class")
    return found


_PLUMBING = frozenset({
    "driver_info",  # the name of the library, sent once at connecting
    "himport_registry",  # a pool's own
    "maint_notifications_pool_handler",  # a pool's own, where there are notifications
    "orig_host_address",  # set where there are notifications, repeats the host and the timeouts
    "orig_socket_connect_timeout",
    "orig_socket_timeout",
})  # fmt: skip


def _shown(client: Any, name: str) -> object:
    value = client.connection_pool.connection_kwargs.get(name)
    if name == "retry":  # ours is a subclass that keeps deadlines
        return value.get_retries(), type(value._backoff), sorted(map(str, value._supported_errors))
    if name == "maint_notifications_config":  # not there at all where they are off
        return value is not None and bool(value.enabled)
    return value


def environment(setting: Setting) -> str:
    """Return a line that says what the figures were taken with."""
    info = setting.peer.info("server")
    server = f"{info.get('server_name', 'redis')} {info.get('valkey_version') or info['redis_version']}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"tenantlimpyd {EXACT_VERSION}, {platform.python_implementation()} {platform.python_version()}, "
        f"redis-py {redis.__version__}, hiredis {hiredis.__version__}, {server}, "
        f"{platform.system()} {platform.machine()}, {cores} cores, loopback"
    )


def settings_line(setting: Setting) -> str:
    """Return a line that says with which settings both sides connect, and what differs, if anything does."""
    peer = setting.peer.connection_pool
    connection = peer.get_connection()
    protocol = connection.protocol
    parser = type(connection._parser).__name__.strip("_")
    peer.release(connection)
    named = ("decode_responses", "encoding", "socket_timeout", "health_check_interval")
    shown = ", ".join(f"{name}={peer.connection_kwargs.get(name)!r}" for name in named)
    differ = differences(setting.database.connection, setting.peer)
    said = f"they differ in: {', '.join(differ)}" if differ else "no setting differs"
    return f"both sides: RESP{protocol}, {parser}, {shown}; {said}"
