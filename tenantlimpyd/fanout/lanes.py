"""The planner: which databases travel together on one connection, which get one of their own, and how many there are.

Work is grouped by server and credentials. A *lane* is one connection of a group; it yields what is to be sent as data
(:class:`Trip`), and what came of it (:class:`Chunk`), so that two small loops run it, in a thread or in a task. New work
is sent for many databases in one write; what turns out to be large is laid aside and taken by lanes of its own.

Nothing here talks to a server or knows a thread: all lanes of a run take their steps in one thread, that of its consumer.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

import attrs
from redis.exceptions import MaxConnectionsError

from tenantlimpyd.fanout.outcomes import Job, timed_out
from tenantlimpyd.fanout.plan import PER_SERVER
from tenantlimpyd.links import Link

__all__ = [
    "ANSWER_SECONDS",
    "FIRST_BATCH",
    "LARGEST_BATCH",
    "SLOW_TRIP",
    "WAKE",
    "Chunk",
    "End",
    "Group",
    "Lane",
    "LanePlan",
    "Pause",
    "Step",
    "Trip",
    "UnreachableError",
    "Work",
]

ANSWER_SECONDS = 10.0
"""How long a server may take for one answer, where the tenants' own ``timeout`` is not shorter."""

FIRST_BATCH = 32
"""Databases in the first write of a lane; later ones hold as many as keep the replies within bounds."""
LARGEST_BATCH = 512
SLOW_TRIP = 0.1
"""Seconds: where an answer takes longer, the next write holds half as many databases."""
FRESH_LANE = 1024
"""A further lane for databases not yet begun is worth its connection from so many on."""


@attrs.frozen
class Connect:
    """A connection is needed; the lane is sent the number of the database it is in."""

    seconds: float


@attrs.frozen
class Trip:
    """Commands to be sent in one write; the lane is sent their replies, as text or undecoded."""

    payload: list[bytes]
    replies: int
    seconds: float
    text: bool = False


@attrs.frozen
class Pause:
    """Time to let pass before the next attempt."""

    seconds: float


class End(NamedTuple):
    """A tenant is through with. A tuple, since there is one for each of ten thousand tenants."""

    job: Job
    value: Any
    error: Exception | None
    seconds: float
    restarts: int = 0


@attrs.frozen
class Chunk:
    """What came of a trip, in this order.

    Attributes:
        restarted: work that begins anew; why.
        pieces: parts of results: the work, the parts by tenant, and the cursor and identity behind them; None: it was the
            last part, as far as is known.
        done: work that is through without a failure.
        ends: tenants that are through.
    """

    restarted: Sequence[tuple[Any, str]] = ()
    pieces: Sequence[tuple[Any, list[tuple[str, list[str]]], tuple[bytes, Any] | None]] = ()
    done: Sequence[Any] = ()
    ends: Sequence[End] = ()


class Wake:
    """There is something for further lanes."""


WAKE = Wake()
Step: TypeAlias = Connect | Trip | Pause | Chunk | Wake


class UnreachableError(Exception):
    """Thrown into a lane that wanted a connection: there is none. Its cause says why."""


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
        crowded: how often there was no connection for a lane.
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
        self.crowded = 0

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
        self._busy: dict[str, int] = {}
        self._groups: dict[str, deque[Group[Any]]] = {}
        for group in groups:
            self._groups.setdefault(group.server, deque()).append(group)
        self._busy = dict.fromkeys(self._groups, 0)
        self._turn = deque(self._groups)
        self._open = len(self._groups)
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
                if group.wants_lane:
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

    def release(self, lane: Lane[Any]) -> None:
        """Count a lane as ended."""
        lane.group.lanes -= 1
        self._busy[lane.group.server] -= 1


class Lane(Generic[W]):
    """One connection's part in the work of a group. Run by :meth:`steps`.

    Attributes:
        db: the number of the database that its connection is in; None: that is not certain.
        clock: seconds that only grow, and stand still while the consumer has its turn.
    """

    clock: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(self, group: Group[W]) -> None:
        self.group = group
        self.batch = FIRST_BATCH
        self.db: int | None = None
        self.connected = False
        self._silent = 0.0
        self._answers = 0

    @property
    def server(self) -> str:
        """Whose connection it is."""
        return self.group.server

    def check(self) -> None:
        """Nothing: tenants are looked at one by one, before each trip."""

    def steps(self) -> Generator[Step, Any, None]:
        """Yield what is to be done. A trip is sent its replies, or has the connection's error thrown in."""
        try:
            yield from self._steps()
        except Exception as error:  # noqa: BLE001 - its tenants must have an outcome, or the walk would wait for ever
            self.db = None  # part of what was sent may have moved the connection
            yield Chunk(ends=self.give_up(error))

    def _steps(self) -> Generator[Step, Any, None]:
        raise NotImplementedError

    def hands(self) -> list[W]:
        """Return the work in this lane's hands."""
        raise NotImplementedError

    def take_fresh(self) -> list[W]:
        """Take work that was not begun yet, as much as one write should hold."""
        fresh, make = self.group.fresh, self.group.make
        return [make(fresh.popleft()) for _ in range(min(self.batch, len(fresh)))]

    def left(self, work: Sequence[W]) -> float:
        """Return the seconds that the next answer may take."""
        timeout = self.group.timeout
        if timeout is None:
            return ANSWER_SECONDS
        return min(ANSWER_SECONDS, max(0.0, timeout - max((each.seconds for each in work), default=0.0)))

    def give_up(self, error: Exception) -> list[End]:
        """Return the ends of the work in this lane's hands, where the lane itself has failed."""
        return self.ends(self.hands(), error)

    def ends(self, work: Sequence[W], error: Exception) -> list[End]:
        """Return the ends of tenants that have failed."""
        return [End(job, None, error, each.seconds, each.restarts) for each in work for job in each.jobs]

    def late(self, work: Sequence[W], error: Exception, allowed: float, took: float) -> tuple[list[End], list[W]]:
        """Sort out a trip that ended with a time-out.

        Args:
            work: what it was for.
            error: the time-out.
            allowed: the seconds it had.
            took: the seconds it took.

        Returns:
            The ends of those whose time is up, and those that may go on.
        """
        if took < 0.9 * allowed:  # the settings' own socket_timeout
            return self.ends(work, error), []
        if allowed >= ANSWER_SECONDS:
            return self.ends(work, timed_out(ANSWER_SECONDS, error)), []
        timeout = self.group.timeout or 0.0
        up = [each for each in work if each.seconds >= 0.99 * timeout]
        return self.ends(up, timed_out(timeout, error)), [each for each in work if each not in up]

    def connect(self, seconds: float) -> Generator[Step, Any, None]:
        """See that there is a connection."""
        if not self.connected:
            self.db = yield Connect(seconds)
            self.connected = True

    def crowded_out(self, error: Exception) -> bool:
        """Return whether there is no connection for this lane, while others of its group may have one: not for ever."""
        if not isinstance(error, MaxConnectionsError) or self.group.lanes < 2:
            return False
        self.group.crowded += 1
        return self.group.crowded <= 2 * PER_SERVER

    def heard(self) -> None:
        """Note that the server has answered."""
        self.group.answers += 1

    def dead_for(self, took: float, *, hopeless: bool) -> list[W]:
        """Take all work that waits and would meet the same failure, so that a walk waits for a server once, not for each write.

        That is work which has no more time than the server was asked in vain since its last answer.

        Args:
            took: the seconds of the attempt that has failed.
            hopeless: where the server has never answered, it is not tried again.
        """
        group = self.group
        if group.answers != self._answers:
            self._answers, self._silent = group.answers, 0.0
        self._silent += took
        none = hopeless and not group.answers
        dead: list[W] = []
        if none or 0.9 * self.left([]) <= self._silent:
            dead += map(group.make, group.fresh)
            group.fresh.clear()
        late = [each for each in group.large if none or 0.9 * self.left([each]) <= self._silent]
        if late:
            dead += late
            gone = {id(each) for each in late}
            kept = [each for each in group.large if id(each) not in gone]
            group.large.clear()
            group.large.extend(kept)
        return dead
