"""Topologies: where the server of a keyspace is. :mod:`tenantlimpyd._connections.topology.base` is their interface."""

from __future__ import annotations

from collections.abc import Callable

from tenantlimpyd._connections.breaker import CircuitBreaker
from tenantlimpyd._connections.settings import Settings
from tenantlimpyd._connections.topology.base import Topology
from tenantlimpyd._connections.topology.sentinel import AskedEndpoint, Sentinel
from tenantlimpyd._connections.topology.standalone import Standalone

__all__ = ["topology_for"]


def topology_for(
    settings: Settings,
    *,
    breaker: CircuitBreaker | None,
    moved: Callable[[], object],
    make_endpoint: Callable[[Settings], AskedEndpoint],
) -> Topology:
    """Return the topology that settings describe.

    Args:
        settings: the settings of an endpoint.
        breaker: its circuit breaker, which failures to find the server are reported to; None if there is none.
        moved: called when the server has moved, to close connections to the previous one.
        make_endpoint: makes an endpoint for a server that is asked where the server is.
    """
    if settings.sentinel is None:
        return Standalone(settings.server)
    endpoints = [make_endpoint(settings.of_sentinel(host, port)) for host, port in settings.sentinel.hosts]
    return Sentinel(settings.sentinel.master, settings.server, endpoints, breaker, moved)
