"""Work groups: the work for one server with one set of credentials, which shares connections."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

from tenantlimpyd._connections.database_clients import DatabaseClients
from tenantlimpyd._fanout.outcomes import Job

__all__ = ["WorkGroup", "WorkItem"]

DATABASES_PER_WORKER = 1024
"""Databases of new work for each worker: a further worker is worth its connection only beyond that."""


class WorkItem(Protocol):
    """A unit of work: one physical database."""

    jobs: list[Job]
    db: int
    clients: DatabaseClients
    seconds: float
    restarts: int


W = TypeVar("W", bound=WorkItem)


class WorkGroup(Generic[W]):
    """Work that shares connections: one server with one set of credentials.

    Args:
        server: the server's name.
        clients: the clients whose connections are used.
        planned: the new work, in a compact form.
        make: makes a work item of it.
        timeout: seconds that each tenant has in total; None if only single replies are limited.

    Attributes:
        pending: new work.
        started: work that has been started and that any worker may continue.
        workers: the number of running workers.
        answers: the number of replies that the server has sent.
        out_of_permits: whether a worker got no permit while the run held others.
    """

    def __init__(
        self,
        server: str,
        clients: DatabaseClients,
        planned: Iterable[Any],
        make: Callable[[Any], W],
        timeout: float | None,
    ) -> None:
        self.server = server
        self.clients = clients
        self.timeout = timeout
        self.pending: deque[Any] = deque(planned)
        self.make = make
        self.started: deque[W] = deque()
        self.workers = 0
        self.answers = 0
        self.out_of_permits = False

    @property
    def wants_worker(self) -> bool:
        """Whether another worker would finish the group's work sooner."""
        if self.workers >= self.clients.server.endpoint_state.shared.limit:
            return False
        return bool(self.started) or (bool(self.pending) and len(self.pending) >= self.workers * DATABASES_PER_WORKER)
