"""A master, a replica and three sentinels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import permutations

import attrs
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.servers import ServerHandle, ServerSource

__all__ = ["MASTER", "Group", "clients_of", "role", "sentinel_group", "until"]

MASTER = "mymaster"
"""What the sentinels call it."""


def until(condition: Callable[[], object], seconds: float = 45.0) -> None:
    """Poll until it is so. On a machine that stood still for two seconds, sentinels do nothing for thirty."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not come to pass"
        time.sleep(0.02)


@attrs.frozen
class Group:
    """Servers that know each other.

    Attributes:
        master: the master, as long as nothing happens.
        replica: its replica: the next master.
        sentinels: who watches them.
    """

    master: ServerHandle
    replica: ServerHandle
    sentinels: tuple[ServerHandle, ...]

    @property
    def hosts(self) -> list[str]:
        """The addresses of the sentinels."""
        return [f"{each.host}:{each.port}" for each in self.sentinels]

    @property
    def servers(self) -> tuple[ServerHandle, ...]:
        """All five."""
        return (self.master, self.replica, *self.sentinels)

    def all_name(self, server: ServerHandle) -> bool:
        """Whether all sentinels name this one as the master."""
        named = []
        for sentinel in self.sentinels:
            with sentinel.client(decode_responses=True) as client:
                named.append(client.sentinel_get_master_addr_by_name(MASTER))
        return named == [(server.host, server.port)] * len(named)

    def fail_over(self) -> None:
        """Tell a sentinel to let the two change roles, and return when the replica is the master."""
        with self.sentinels[0].client() as client:
            client.execute_command("SENTINEL", "FAILOVER", MASTER)  # type: ignore[no-untyped-call]
        self.wait_for_the_next()

    def wait_for_the_next(self) -> None:
        """Return when the replica is the master, and all sentinels say so."""
        until(lambda: role(self.replica) == "master")
        until(lambda: self.all_name(self.replica))


def role(server: ServerHandle) -> str:
    """What a server says it is: ``master`` or ``slave``."""
    with server.client(retry=Retry(NoBackoff(), 3)) as client:  # sentinels end all connections to whom they give a role
        return str(client.info("replication")["role"])


def clients_of(server: ServerHandle) -> list[dict[str, str]]:
    """Who is connected to it, this very connection, sentinels and replication left out."""
    with server.client(decode_responses=True) as client:
        own = str(client.client_id())
        return [
            each
            for each in client.client_list()
            if each["id"] != own and not each["name"].startswith("sentinel-") and not set("SM") & set(each["flags"])
        ]


@contextmanager
def sentinel_group(source: ServerSource) -> Iterator[Group]:
    """Start one. What sentinels say of addresses is right for us, too."""
    with source.together(5) as start:
        common = {"repl-diskless-sync-delay": 0, "repl-ping-replica-period": 1}
        master = start(options=common)
        replica = start(options={**common, "replicaof": (master.host, str(master.port))})
        group = Group(master, replica, tuple(start(sentinel=True) for _ in range(3)))
        _introduce(group)
        yield group


def _introduce(group: Group) -> None:
    """Let the sentinels watch the master, and return when each of them knows all that a failover takes."""
    where = group.master.host, group.master.port
    with ExitStack() as stack:
        clients = {each: stack.enter_context(each.client(decode_responses=True)) for each in group.sentinels}
        # One of them sees first that the master is away, and asks the others for their votes. If all did at once, each would
        # vote for itself, and they would try again six seconds later.
        for number, client in enumerate(clients.values()):
            client.sentinel_monitor(MASTER, *where, 2 if number else 1)
            client.sentinel_set(MASTER, "down-after-milliseconds", 5000 if number else 1000)
            client.sentinel_set(MASTER, "failover-timeout", 3000)
        # They tell each other every two seconds that they are there. Said for them, it is known at once.
        for each, other in permutations(clients, 2):
            hello = (each.host, each.port, clients[each].execute_command("SENTINEL", "MYID"), 0, MASTER, *where, 0)  # type: ignore[no-untyped-call]
            clients[other].publish("__sentinel__:hello", ",".join(map(str, hello)))
        until(lambda: all(_knows_all(client) for client in clients.values()))


def _knows_all(client: redis.Redis) -> bool:
    """Whether a sentinel is connected to the other two, and knows a replica that is fit to be the master."""
    others, replicas = client.sentinel_sentinels(MASTER), client.sentinel_slaves(MASTER)
    return [each["is_disconnected"] for each in others] == [False] * 2 and [
        each.get("master-link-status") for each in replicas
    ] == ["ok"]
