"""Random faults of the network, of servers, and of users' rights, for as long as a block runs."""

from __future__ import annotations

import contextlib
import random
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

from integration.isolation.shared.sites import LIMITED
from tests.support.chaos_proxy import ChaosProxy
from tests.support.servers import ServerHandle

__all__ = ["FaultInjector"]

_RIGHTS = ("select", "get", "hincrby", "multi", "evalsha", "echo")


class FaultInjector:
    """Injects faults from its own threads, inside a ``with`` block.

    Args:
        steady: a server that is killed, paused and loses its clients now and then.
        shaky: one whose limited user is given and refused rights besides.
        proxy: the proxy in front of the shaky one.
        chooser: by what chance.

    Attributes:
        faults: how many were injected, by kind.
    """

    def __init__(self, steady: ServerHandle, shaky: ServerHandle, proxy: ChaosProxy, chooser: random.Random) -> None:
        self.faults: Counter[str] = Counter()
        self._servers = (steady, shaky)
        self._shaky = shaky
        self._proxy = proxy
        self._done = threading.Event()
        self._errors: list[BaseException] = []
        self._choosers = [random.Random(chooser.random()) for _ in range(3)]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Inject faults until the block ends, then repair everything."""
        works = (self._network, self._outages, self._rights)
        threads = [
            threading.Thread(target=self._guarded, args=(work,)) for work in zip(works, self._choosers, strict=True)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._done.set()
            for thread in threads:
                thread.join()
            self._proxy.heal()
        if self._errors:
            raise self._errors[0]

    def _guarded(self, work: tuple[Any, random.Random]) -> None:
        try:
            work[0](work[1])
        except BaseException as error:  # noqa: BLE001 - raised at the end of the block
            self._errors.append(error)

    def _network(self, chooser: random.Random) -> None:
        while not self._done.wait(chooser.uniform(0.005, 0.03)):
            chance = chooser.random()
            if chance < 0.5:
                self.faults["reply cut"] += 1
                self._proxy.disturb(cut_reply_after=chooser.choice([1, 5, 6, 20, 300, 3000, 60_000]))
            elif chance < 0.65:
                self.faults["replies lost"] += 1
                self._spell(chooser.uniform(0.005, 0.02), lose_replies=True)
            elif chance < 0.75:
                self.faults["requests lost"] += 1
                self._spell(chooser.uniform(0.005, 0.02), lose_requests=True)
            elif chance < 0.9:
                self.faults["replies delayed"] += 1  # some of them for longer than their readers wait
                self._spell(chooser.uniform(0.02, 0.1), latency=chooser.choice([0.01, 0.06, 0.15]))
            elif chance < 0.95:
                self.faults["connections reset"] += 1
                self._proxy.reset()
            else:
                self.faults["connections ended"] += 1
                self._proxy.hang_up()

    def _spell(self, seconds: float, **faults: Any) -> None:
        before = {name: getattr(self._proxy.faults, name) for name in faults}
        self._proxy.disturb(**faults)
        self._done.wait(seconds)
        self._proxy.disturb(**before)

    def _outages(self, chooser: random.Random) -> None:
        while not self._done.wait(chooser.uniform(0.3, 1.5)):
            server = chooser.choice(self._servers)
            chance = chooser.random()
            if chance < 0.3:
                self.faults["server killed and restarted"] += 1
                server.restart()
            elif chance < 0.65:
                self.faults["server paused"] += 1
                server.pause()
                self._done.wait(chooser.choice([0.04, 0.15, 0.4]))
                server.resume()
            else:
                self.faults["clients killed"] += 1
                with _suppressed(), server.client() as client:
                    client.client_kill_filter(_type="normal", skipme=True)

    def _rights(self, chooser: random.Random) -> None:
        while not self._done.wait(chooser.uniform(0.02, 0.2)):
            right = chooser.choice(("select", *_RIGHTS))
            with _suppressed(), self._shaky.client() as client:
                client.execute_command("ACL", "SETUSER", LIMITED, f"-{right}")
                self.faults[f"{right.upper()} revoked"] += 1
                self._done.wait(chooser.uniform(0.005, 0.05))
                client.execute_command("ACL", "SETUSER", LIMITED, "+@all")


def _suppressed() -> contextlib.suppress:
    import redis

    return contextlib.suppress(redis.ConnectionError, redis.TimeoutError)  # the server was killed meanwhile
