"""Structured log events: their names, levels and fields, and the processor that adds the tenant to an application's events.

Events go to structlog once the application has configured it, and to the standard library's logger ``tenantlimpyd``
until then. Nothing is configured on import. No event contains a password, a value of a key or a URL.
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
        fields: the name and the description of each field, with its unit.
        meaning: the condition under which the event is sent.
    """

    level: int
    fields: Mapping[str, str]
    meaning: str

    @property
    def level_name(self) -> str:
        """The level as structlog and logging write it: ``debug``, ``info``, ``warning``."""
        return logging.getLevelName(self.level).lower()


_SUMMARY = {"tenants": "number of tenants", "failed": "number of tenants that failed", "seconds": "time for all, s"}
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
            "open": "number of connections to it",
            "waiting": "number of threads and tasks that wait for one",
        },
        "the limit of connections was reached, and a command was refused",
    ),
    "breaker_opened": Event(
        logging.WARNING,
        {
            "server": "host:port, socket path, or master and sentinels",
            "failures": "number of consecutive failures",
            "error": "class of the last error",
            "seconds": "until the next attempt, s",
        },
        "the circuit breaker of a server opened: commands to it are refused at once",
    ),
    "breaker_probing": Event(
        logging.DEBUG,
        {"server": "host:port, socket path, or master and sentinels"},
        "the circuit breaker is half-open: one caller is admitted as a probe",
    ),
    "breaker_closed": Event(
        logging.INFO,
        {"server": "host:port, socket path, or master and sentinels", "seconds": "time for which it was open, s"},
        "the circuit breaker closed: the server answers again",
    ),
    "master_changed": Event(
        logging.WARNING,
        {
            "server": "master and sentinels",
            "address": "host:port of the new master",
            "previous": "host:port of the old master",
        },
        "the sentinels name another master: connections to the old one are closed",
    ),
    "database_repointed": Event(
        logging.INFO,
        {
            "server": "new host:port or socket path",
            "db": "new database number",
            "previous_server": "old host:port or socket path",
            "previous_db": "old database number",
        },
        "`connect` or `reset` gave a database new settings",
    ),
    "tenant_entered": Event(
        logging.DEBUG, {"tenant": "tenant id, or null"}, "`use_tenant`, or a middleware, entered a tenant"
    ),
    "tenant_added": Event(
        logging.DEBUG,
        {"tenant": "tenant id", "server": "host:port or socket path", "db": "database number"},
        "a tenant was registered with a router",
    ),
    "tenant_removed": Event(logging.DEBUG, {"tenant": "tenant id"}, "a tenant was removed from a router"),
    "tenant_replaced": Event(
        logging.INFO,
        {"tenant": "tenant id", "server": "new host:port or socket path", "db": "new database number"},
        "`replace` gave a tenant another database",
    ),
    "tenant_evicted": Event(
        logging.DEBUG,
        {"tenant": "tenant id"},
        "a tenant from the resolver was evicted to make room for another",
    ),
    "tenant_forgotten": Event(
        logging.INFO,
        {"tenant": "tenant id"},
        "`forget` removed a tenant of the resolver: the next use looks it up again",
    ),
    "request_refused": Event(
        logging.INFO, {"status": "HTTP status", "reason": "code in the response"}, "a middleware refused a request"
    ),
    "scan_started": Event(
        logging.INFO, {"tenants": "number of tenants", "match": "pattern, or null"}, "a scan over tenants begins"
    ),
    "tenant_scanned": Event(
        logging.DEBUG,
        {"tenant": "tenant id", "keys": "number of keys delivered", "seconds": "time for this tenant, s"},
        "the scan of a tenant is done",
    ),
    "scan_restarted": Event(
        logging.WARNING,
        {
            "server": "host:port or socket path",
            "db": "database number",
            "tenants": "number of tenants with keys in it",
            "restarts": "number of restarts so far",
            "reason": "what has changed: `run id`, `role` or `connection`",
        },
        "a database is scanned from its beginning again, because the cursor is no longer valid",
    ),
    "scan_not_exact": Event(
        logging.WARNING,
        {"remembered": "number of remembered keys"},
        "a scan with `unique` has seen more keys than it may remember: from now on a key may be delivered twice",
    ),
    "scan_finished": Event(
        logging.INFO,
        {**_SUMMARY, "keys": "number of keys delivered", "complete": "false if the consumer or an error stopped it"},
        "a scan ended",
    ),
    "fan_out_started": Event(logging.DEBUG, {"tenants": "number of tenants"}, "a fan-out begins"),
    "fan_out_finished": Event(logging.INFO, {**_SUMMARY}, "a fan-out ended"),
    "tenant_failed": Event(
        logging.WARNING, {**_FAILURE, "work": "`scan` or `fan_out`"}, "a scan or fan-out failed for a tenant"
    ),
}
"""All events of tenantlimpyd, by name."""

_stdlib = logging.getLogger("tenantlimpyd")
_stdlib.addHandler(logging.NullHandler())  # or warnings would go to stderr of an application that configured no logging
_structlog = structlog.get_logger("tenantlimpyd")


def emit(event: str, **fields: Any) -> None:
    """Send an event of :data:`EVENTS`."""
    level = EVENTS[event].level
    if structlog.is_configured():
        getattr(_structlog, EVENTS[event].level_name)(
            event, **fields
        )  # the only method that every kind of structlog logger has
    elif _stdlib.isEnabledFor(level):
        text = " ".join(f"{name}={value!r}" for name, value in fields.items())
        _stdlib.log(level, "%s %s", event, text, extra={"tenantlimpyd": fields})


def is_enabled(event: str) -> bool:
    """Return whether an event may be logged. Use it before the work for an event that is sent very often."""
    return structlog.is_configured() or _stdlib.isEnabledFor(EVENTS[event].level)


def connection_opened(connection: Any) -> None:
    """Send ``connection_opened`` for a connection of redis-py."""
    path = getattr(connection, "path", None)
    server = path if path is not None else f"{connection.host}:{connection.port}"
    emit("connection_opened", server=server, db=connection.db)


def add_tenant(logger: Any, method_name: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:  # noqa: ARG001
    """Add the current tenant's id, as ``tenant``, to a log event. This is a structlog processor.

    Put it before the renderer::

        structlog.configure(processors=[add_tenant, structlog.processors.JSONRenderer()])

    It reads the same context as the router, so it is correct in tasks, threads and streamed responses too. An event that has
    a field ``tenant`` keeps it.
    """
    tenant = current_tenant()
    if tenant is not None:
        event_dict.setdefault("tenant", tenant)
    return event_dict
