"""Fixtures of the tests of fan-outs and scans: routers of many tenants, and misbehaving servers."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.embedded import EmbeddedServer
from tenantlimpyd.router import DatabaseRouter


class Misbehaving:
    """A server on loopback that runs a function for each connection, and counts them."""

    def __init__(self, behave: Callable[[socket.socket, threading.Event], None]) -> None:
        self._behave = behave
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self.ended = 0
        self._threads.append(threading.Thread(target=self._serve, daemon=True))
        self._threads[0].start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            thread = threading.Thread(target=self._talk, args=(peer,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _talk(self, peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            self._behave(peer, self._stop)
        self.ended += 1

    def stop(self) -> None:
        """End it, with all its connections."""
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)


def never_answers(peer: socket.socket, stop: threading.Event) -> None:
    peer.settimeout(0.05)
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            if not peer.recv(65536):
                return


def dribbles(peer: socket.socket, stop: threading.Event) -> None:
    """Reply one byte at a time without end, so that no single read times out."""
    peer.sendall(b"$1000000\r\n")
    while not stop.wait(0.02):
        peer.sendall(b"x")


def hangs_up(peer: socket.socket, stop: threading.Event) -> None:
    peer.recv(1)


@contextlib.contextmanager
def filled(databases: int, keys: int) -> Iterator[EmbeddedServer]:
    """Start a server with a key in each database and more keys in database 0."""
    with EmbeddedServer(databases=databases) as server, redis.Redis(**server.settings) as client:
        pipeline = client.pipeline(transaction=False)
        for number in range(databases):
            pipeline.execute_command("SELECT", number)
            pipeline.set("key", 1)
        pipeline.execute_command("SELECT", 0)
        pipeline.mset({f"key:{number}": 1 for number in range(keys - 1)})
        pipeline.execute()
        yield server


@pytest.fixture
def misbehaving() -> Iterator[Callable[..., Misbehaving]]:
    made: list[Misbehaving] = []

    def make(behave: Callable[[socket.socket, threading.Event], None]) -> Misbehaving:
        made.append(Misbehaving(behave))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def client_name() -> str:
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture
def fleet(flushed_server: EmbeddedServer, client_name: str) -> Iterator[DatabaseRouter]:
    """Twenty tenants t0..t19 on one server, with three keys each; their connections are named ``client_name``."""
    databases = {
        f"t{number}": RedisDatabase(**flushed_server.settings, db=number, client_name=client_name)
        for number in range(20)
    }
    with redis.Redis(
        **flushed_server.settings
    ) as filling:  # a plain redis-py client, since connections of a database refuse SELECT
        pipeline = filling.pipeline(transaction=False)
        for number in range(20):
            pipeline.execute_command("SELECT", number)
            pipeline.mset({f"t{number}:{key}": 1 for key in range(3)})
        pipeline.execute()
    with DatabaseRouter(databases) as router:
        yield router


@pytest.fixture
def broken(
    fleet: DatabaseRouter, misbehaving: Callable[..., Misbehaving], flushed_server: EmbeddedServer
) -> DatabaseRouter:
    """The same, and tenants ``hangs``, ``dribbles``, ``refuses``, ``hangs-up`` and ``denied``."""
    for name, behave in (("hangs", never_answers), ("dribbles", dribbles), ("hangs-up", hangs_up)):
        fleet.add(name, RedisDatabase(host="127.0.0.1", port=misbehaving(behave).port))
    fleet.add("refuses", RedisDatabase(host="127.0.0.1", port=1))
    fleet.add(
        "denied",
        RedisDatabase(
            **flushed_server.settings, db=30, username="nobody", password="hunter2", retry=Retry(NoBackoff(), 0)
        ),
    )
    return fleet


BROKEN = frozenset({"hangs", "dribbles", "hangs-up", "refuses", "denied"})


@pytest.fixture
def names_of_broken() -> frozenset[str]:
    return BROKEN


def fan_out_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "tenantlimpyd-fan-out"]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[Callable[[], list[threading.Thread]]]:
    """Fail a test that leaves threads of a fan-out behind."""
    yield fan_out_threads
    ends = time.monotonic() + 5
    while fan_out_threads() and time.monotonic() < ends:
        time.sleep(0.005)
    assert fan_out_threads() == []
