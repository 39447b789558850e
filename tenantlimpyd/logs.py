"""Structured log events: names, levels and fields, and the processor that names the tenant in an application's own events.

Events go to structlog once the application has configured it, and to the standard library's logger ``tenantlimpyd``
until then. Nothing is configured on import. No event holds a password, a key's value or a URL.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

import attrs
import structlog

from tenantlimpyd.context import current_tenant

__all__ = ["EVENTS", "Event", "add_tenant", "emit"]


@attrs.frozen
class Event:
    """One kind of log event.

    Attributes:
        level: a level of the standard library's logging.
        fields: each field's name and what it holds, with its unit.
        meaning: when the event is sent.
    """

    level: int
    fields: Mapping[str, str]
    meaning: str

    @property
    def level_name(self) -> str:
        """The level as structlog and logging write it: ``debug``, ``info``, ``warning``."""
        return logging.getLevelName(self.level).lower()


_SCOPE = {"tenants": "how many tenants were asked", "failed": "how many of them failed", "seconds": "time for all, s"}
_FAILURE = {"tenant": "tenant id", "error": "class of the error", "seconds": "time for this tenant, s"}

EVENTS: Mapping[str, Event] = {
    "connection_opened": Event(
        logging.DEBUG, {"server": "host:port or socket path", "db": "database number"}, "a connection is ready for use"
    ),
    "connection_waited": Event(
        logging.DEBUG,
        {"server": "host:port or socket path", "seconds": "time waited, s"},
        "the limit of connections was reached, and a connection was released in time",
    ),
    "connections_exhausted": Event(
        logging.WARNING,
        {
            "server": "host:port or socket path",
            "open": "connections to it",
            "waiting": "threads and tasks that still wait for one",
        },
        "the limit of connections was reached, and a command was refused",
    ),
    "breaker_opened": Event(
        logging.WARNING,
        {
            "server": "host:port, socket path, or master and sentinels",
            "failures": "how many in a row",
            "error": "class of the last one",
            "seconds": "until the next attempt, s",
        },
        "the circuit breaker of a server opened: commands to it are refused at once",
    ),
    "breaker_probing": Event(
        logging.DEBUG, {"server": "the server"}, "the circuit breaker is half-open: one caller is admitted as a probe"
    ),
    "breaker_closed": Event(
        logging.INFO,
        {"server": "the server", "seconds": "how long it was open, s"},
        "the circuit breaker closed: the server answers again",
    ),
    "master_changed": Event(
        logging.WARNING,
        {
            "server": "master and sentinels",
            "address": "host:port of the new one",
            "previous": "host:port of the old one",
        },
        "the sentinels named another master: connections to the old one close",
    ),
    "database_repointed": Event(
        logging.INFO,
        {
            "server": "the new server",
            "db": "its database",
            "previous_server": "the old one",
            "previous_db": "its database",
        },
        "`connect` or `reset` gave a database new settings",
    ),
    "tenant_entered": Event(
        logging.DEBUG, {"tenant": "tenant id, or null"}, "`use_tenant`, or a middleware, entered a tenant"
    ),
    "tenant_added": Event(
        logging.DEBUG,
        {"tenant": "tenant id", "server": "its server", "db": "its database"},
        "a tenant was registered with a router",
    ),
    "tenant_removed": Event(logging.DEBUG, {"tenant": "tenant id"}, "a tenant was removed from a router"),
    "tenant_replaced": Event(
        logging.INFO,
        {"tenant": "tenant id", "server": "its new server", "db": "its new database"},
        "`replace` gave a tenant another database",
    ),
    "tenant_evicted": Event(
        logging.DEBUG,
        {"tenant": "tenant id"},
        "a tenant that the resolver had found was evicted to make room for another",
    ),
    "tenant_forgotten": Event(
        logging.INFO, {"tenant": "tenant id"}, "`forget`: the resolver is asked again for a tenant"
    ),
    "request_refused": Event(
        logging.INFO, {"status": "HTTP status", "reason": "code in the reply"}, "a middleware refused a request"
    ),
    "scan_started": Event(
        logging.INFO, {"tenants": "how many tenants", "match": "pattern, or null"}, "a scan over tenants begins"
    ),
    "tenant_scanned": Event(
        logging.DEBUG,
        {"tenant": "tenant id", "keys": "keys delivered", "seconds": "time for this tenant, s"},
        "the scan of a tenant is done",
    ),
    "scan_restarted": Event(
        logging.WARNING,
        {
            "server": "host:port or socket path",
            "db": "database number",
            "tenants": "how many tenants have their keys there",
            "restarts": "how often it was begun again so far",
            "reason": "what has changed: `run id`, `role` or `connection`",
        },
        "a database is scanned from its beginning again, because the cursor is no longer valid",
    ),
    "scan_not_exact": Event(
        logging.WARNING,
        {"remembered": "how many keys are remembered"},
        "a scan with `unique` has seen more keys than it may remember: from now on a key may come twice",
    ),
    "scan_finished": Event(
        logging.INFO,
        {**_SCOPE, "keys": "keys delivered", "complete": "false: the consumer stopped, or an error did"},
        "a scan ended",
    ),
    "fan_out_started": Event(logging.DEBUG, {"tenants": "how many tenants"}, "a fan-out begins"),
    "fan_out_finished": Event(logging.INFO, {**_SCOPE}, "a fan-out ended"),
    "tenant_failed": Event(
        logging.WARNING, {**_FAILURE, "work": "`scan` or `fan_out`"}, "a scan or fan-out failed for a tenant"
    ),
}
"""Every event tenantlimpyd sends, by name."""

_stdlib = logging.getLogger("tenantlimpyd")
_stdlib.addHandler(logging.NullHandler())  # as libraries do: without it, warnings go to stderr of an unasked program
_structlog = structlog.get_logger("tenantlimpyd")


def emit(event: str, **fields: Any) -> None:
    """Send an event of :data:`EVENTS`."""
    level = EVENTS[event].level
    if structlog.is_configured():
        getattr(_structlog, EVENTS[event].level_name)(event, **fields)  # a method that every kind of logger has
    elif _stdlib.isEnabledFor(level):
        text = " ".join(f"{name}={value!r}" for name, value in fields.items())
        _stdlib.log(level, "%s %s", event, text, extra={"tenantlimpyd": fields})


def wanted(event: str) -> bool:
    """Return whether anybody may hear an event, for those that are sent ten thousand times."""
    return structlog.is_configured() or _stdlib.isEnabledFor(EVENTS[event].level)


def connection_opened(connection: Any) -> None:
    """Send ``connection_opened`` for a connection of redis-py."""
    path = getattr(connection, "path", None)
    server = path if path is not None else f"{connection.host}:{connection.port}"
    emit("connection_opened", server=server, db=connection.db)


def add_tenant(logger: Any, method_name: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:  # noqa: ARG001
    """A structlog processor: add the current tenant's id as ``tenant`` to every event sent inside one.

    Put it before the renderer::

        structlog.configure(processors=[tenantlimpyd.logs.add_tenant, structlog.processors.JSONRenderer()])

    It reads the router's own context, so it is right in tasks, threads and streamed responses too. An event that names
    its tenant itself keeps that name.
    """
    tenant = current_tenant()
    if tenant is not None:
        event_dict.setdefault("tenant", tenant)
    return event_dict
