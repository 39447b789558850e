"""The scheduler of workers: it groups work by server and decides how many workers each group gets."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from tenantlimpyd._fanout.multiplex.worker import Worker, WorkGroup
from tenantlimpyd._fanout.plan import PER_SERVER

__all__ = ["PERMIT_RETRY_SECONDS", "WorkerScheduler"]

PERMIT_RETRY_SECONDS = 0.05
"""Seconds after which a worker that got no permit is started again, unless a worker of the run ends earlier."""


class WorkerScheduler:
    """Starts workers, one server after another in turn. It serves the select loop and the asyncio loop.

    Args:
        groups: the work.
        worker: makes a worker for a group.
        concurrency: the largest number of workers at a time.
    """

    def __init__(
        self, groups: Sequence[WorkGroup[Any]], worker: Callable[[WorkGroup[Any]], Worker[Any]], concurrency: int
    ) -> None:
        self._make_worker = worker
        self._concurrency = concurrency
        self._groups: dict[str, deque[WorkGroup[Any]]] = {}
        for group in groups:
            self._groups.setdefault(group.server, deque()).append(group)
        self._busy = dict.fromkeys(self._groups, 0)
        self._turn = deque(self._groups)
        self._holders: set[Worker[Any]] = set()
        self._most_workers = sum(
            min(PER_SERVER, sum(len(group.pending) + len(group.started) for group in together))
            for together in self._groups.values()
        )

    @property
    def workers(self) -> int:
        """The largest number of workers at a time."""
        return min(self._concurrency, self._most_workers)

    @property
    def exhausted(self) -> bool:
        """Whether there will be no more work. That is not known before the last tenant is done, when the run is closed."""
        return False

    def pick(self) -> Worker[Any] | None:
        """Return a worker for the next group that wants one, or None if no group does."""
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
                if group.wants_worker and not (group.out_of_permits and self._holders):
                    self._busy[server] += 1
                    group.workers += 1
                    return self._make_worker(group)
        return None

    def _servers(self) -> int:
        """Return the number of servers that have work, waiting or running."""
        return sum(
            1
            for server, busy in self._busy.items()
            if busy or any(group.pending or group.started for group in self._groups[server])
        )

    def may_wait(self, worker: Worker[Any]) -> bool:
        """Register that a worker is about to connect, and return whether it may wait for a permit.

        It must not wait while other workers of the run hold permits, because the run would wait for itself. A worker without a
        permit leaves its work to the others.
        """
        alone = self._holders <= {worker}
        self._holders.add(worker)
        return alone

    def release(self, worker: Worker[Any]) -> None:
        """Register the end of a worker."""
        worker.group.workers -= 1
        self._busy[worker.group.server] -= 1
        self._holders.discard(worker)
        if worker.out_of_permits:
            worker.group.out_of_permits = True
        else:
            self.retry_permits()

    def retry_permits(self) -> None:
        """Allow workers for all groups again, because there may be permits."""
        for together in self._groups.values():
            for group in together:
                group.out_of_permits = False
