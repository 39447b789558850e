"""Which work shares its connections, and how many there are: the plan that hands out lanes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from tenantlimpyd.fanout.outcomes import Job
from tenantlimpyd.fanout.plan import PER_SERVER
from tenantlimpyd.links import Link

if TYPE_CHECKING:
    from tenantlimpyd.fanout.lanes import Lane

__all__ = ["CROWDED", "Group", "LanePlan", "Work"]

CROWDED = 0.05
"""Seconds after which a lane that found no place for its connection is tried again, if none of the run's own ends before."""
FRESH_LANE = 1024
"""A further lane for work not yet begun is worth its connection from so many databases on."""


class Work(Protocol):
    """A piece of work for a lane: one physical database."""

    jobs: list[Job]
    db: int
    link: Link
    seconds: float
    restarts: int


W = TypeVar("W", bound=Work)


class Group(Generic[W]):
    """Work that shares its connections: one server, one set of credentials.

    Args:
        server: its name.
        link: whose connections are used.
        planned: what was not begun yet.
        make: makes work of it, when its turn comes.
        timeout: seconds each tenant has in all; None: no limit but for each answer.

    Attributes:
        fresh: what was not begun yet.
        large: work that was begun, for any lane.
        lanes: how many there are.
        answers: how often the server has answered.
        crowded: there was no place for a further connection, while the run held others.
    """

    def __init__(
        self, server: str, link: Link, planned: Iterable[Any], make: Callable[[Any], W], timeout: float | None
    ) -> None:
        self.server = server
        self.link = link
        self.timeout = timeout
        self.fresh: deque[Any] = deque(planned)
        self.make = make
        self.large: deque[W] = deque()
        self.lanes = 0
        self.answers = 0
        self.crowded = False

    @property
    def wants_lane(self) -> bool:
        """Whether there is work that another lane would make quicker."""
        if self.lanes >= self.link.server.hub.shared.limit:
            return False
        return bool(self.large) or (bool(self.fresh) and len(self.fresh) >= self.lanes * FRESH_LANE)


class LanePlan:
    """Hands out lanes, server by server in turn; a plan for either engine.

    Args:
        groups: the work.
        lane: makes a lane of a group.
        concurrency: how many lanes there are at once.
    """

    def __init__(self, groups: Sequence[Group[Any]], lane: Callable[[Group[Any]], Lane[Any]], concurrency: int) -> None:
        self._lane = lane
        self._concurrency = concurrency
        self._groups: dict[str, deque[Group[Any]]] = {}
        for group in groups:
            self._groups.setdefault(group.server, deque()).append(group)
        self._busy = dict.fromkeys(self._groups, 0)
        self._turn = deque(self._groups)
        self._holding: set[Lane[Any]] = set()
        self._most_lanes = sum(
            min(PER_SERVER, sum(len(group.fresh) + len(group.large) for group in together))
            for together in self._groups.values()
        )

    @property
    def lanes(self) -> int:
        """How many lanes there may be."""
        return min(self._concurrency, self._most_lanes)

    @property
    def exhausted(self) -> bool:
        """Whether there will be no more work. Nobody knows before the last tenant is through: the run is closed then."""
        return False

    def pick(self) -> Lane[Any] | None:
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
                if group.wants_lane and not (group.crowded and self._holding):
                    self._busy[server] += 1
                    group.lanes += 1
                    return self._lane(group)
        return None

    def _servers(self) -> int:
        """How many servers have work, waiting or running."""
        return sum(
            1
            for server, busy in self._busy.items()
            if busy or any(group.fresh or group.large for group in self._groups[server])
        )

    def waits(self, lane: Lane[Any]) -> bool:
        """Take down that a lane is about to connect; return whether it may wait until there is a place for its connection.

        Not where others of this run have one: who holds a place must not wait for another. What a lane that finds no place had
        in its hands is left to those.
        """
        alone = self._holding <= {lane}
        self._holding.add(lane)
        return alone

    def release(self, lane: Lane[Any]) -> None:
        """Count a lane as ended."""
        lane.group.lanes -= 1
        self._busy[lane.group.server] -= 1
        self._holding.discard(lane)
        if lane.crowded:
            lane.group.crowded = True
        else:
            self.try_again()

    def try_again(self) -> None:
        """Let lanes of all groups be handed out again: there may be a place for them."""
        for together in self._groups.values():
            for group in together:
                group.crowded = False
