"""Which work shares its connections, and how many there are: the plan that hands out lanes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from tenantlimpyd._connections.database_clients import DatabaseClients
from tenantlimpyd._fanout.outcomes import Job
from tenantlimpyd._fanout.plan import PER_SERVER

if TYPE_CHECKING:
    from tenantlimpyd._fanout.multiplex.worker import Worker

__all__ = ["CROWDED", "WorkGroup", "WorkItem", "WorkerScheduler"]

CROWDED = 0.05
"""Seconds after which a lane that found no place for its connection is tried again, if none of the run's own ends before."""
FRESH_LANE = 1024
"""A further lane for work not yet begun is worth its connection from so many databases on."""


class WorkItem(Protocol):
    """A piece of work for a lane: one physical database."""

    jobs: list[Job]
    db: int
    clients: DatabaseClients
    seconds: float
    restarts: int


W = TypeVar("W", bound=WorkItem)


class WorkGroup(Generic[W]):
    """Work that shares its connections: one server, one set of credentials.

    Args:
        server: its name.
        clients: whose connections are used.
        planned: what was not begun yet.
        make: makes work of it, when its turn comes.
        timeout: seconds each tenant has in all; None: no limit but for each answer.

    Attributes:
        fresh: what was not begun yet.
        large: work that was begun, for any lane.
        workers: how many there are.
        answers: how often the server has answered.
        crowded: there was no place for a further connection, while the run held others.
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
        self.fresh: deque[Any] = deque(planned)
        self.make = make
        self.large: deque[W] = deque()
        self.workers = 0
        self.answers = 0
        self.crowded = False

    @property
    def wants_worker(self) -> bool:
        """Whether there is work that another lane would make quicker."""
        if self.workers >= self.clients.server.endpoint_state.shared.limit:
            return False
        return bool(self.large) or (bool(self.fresh) and len(self.fresh) >= self.workers * FRESH_LANE)


class WorkerScheduler:
    """Hands out lanes, server by server in turn; a plan for either engine.

    Args:
        groups: the work.
        worker: makes a lane of a group.
        concurrency: how many lanes there are at once.
    """

    def __init__(
        self, groups: Sequence[WorkGroup[Any]], worker: Callable[[WorkGroup[Any]], Worker[Any]], concurrency: int
    ) -> None:
        self._lane = worker
        self._concurrency = concurrency
        self._groups: dict[str, deque[WorkGroup[Any]]] = {}
        for group in groups:
            self._groups.setdefault(group.server, deque()).append(group)
        self._busy = dict.fromkeys(self._groups, 0)
        self._turn = deque(self._groups)
        self._holding: set[Worker[Any]] = set()
        self._most_lanes = sum(
            min(PER_SERVER, sum(len(group.fresh) + len(group.large) for group in together))
            for together in self._groups.values()
        )

    @property
    def workers(self) -> int:
        """How many lanes there may be."""
        return min(self._concurrency, self._most_lanes)

    @property
    def exhausted(self) -> bool:
        """Whether there will be no more work. Nobody knows before the last tenant is through: the run is closed then."""
        return False

    def pick(self) -> Worker[Any] | None:
        """Return a lane for the next group that has work for one; None: at the moment, none has."""
        most = min(PER_SERVER, max(1, self._concurrency // max(1, self._servers())))
        for _ in range(len(self._turn)):
            server = self._turn[0]
            self._turn.rotate(-1)
            if self._busy[server] >= most:
                continue
            groups = self._groups[server]
            for _ in range(len(groups)):
                group = groups[0]
                groups.rotate(-1)
                if group.wants_worker and not (group.crowded and self._holding):
                    self._busy[server] += 1
                    group.workers += 1
                    return self._lane(group)
        return None

    def _servers(self) -> int:
        """How many servers have work, waiting or running."""
        return sum(
            1
            for server, busy in self._busy.items()
            if busy or any(group.fresh or group.large for group in self._groups[server])
        )

    def waits(self, worker: Worker[Any]) -> bool:
        """Take down that a lane is about to connect; return whether it may wait until there is a place for its connection.

        Not where others of this run have one: who holds a place must not wait for another. What a lane that finds no place had
        in its hands is left to those.
        """
        alone = self._holding <= {worker}
        self._holding.add(worker)
        return alone

    def release(self, worker: Worker[Any]) -> None:
        """Count a lane as ended."""
        worker.group.workers -= 1
        self._busy[worker.group.server] -= 1
        self._holding.discard(worker)
        if worker.crowded:
            worker.group.crowded = True
        else:
            self.try_again()

    def try_again(self) -> None:
        """Let lanes of all groups be handed out again: there may be a place for them."""
        for together in self._groups.values():
            for group in together:
                group.crowded = False
