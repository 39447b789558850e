"""The interface of a server for tests, whatever the server runs in."""

from __future__ import annotations

import abc
import contextlib
import ssl
import time
from typing import Any
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.chaos_proxy import ChaosProxy


class ServerHandle(abc.ABC):
    """One server on loopback, with faults. Its port is the same for its whole life.

    Attributes:
        name: what it is, for messages, such as ``redis:8-alpine #2``.
        databases: how many logical databases it has.
    """

    name: str
    host = "127.0.0.1"
    databases: int

    def __init__(self, name: str, databases: int, password: str | None) -> None:
        self.name = name
        self.databases = databases
        self._password = password
        self._proxies: list[ChaosProxy] = []

    def __repr__(self) -> str:
        return f"<{self.name} {self.host}:{self.port}>"

    # Where it is

    @property
    @abc.abstractmethod
    def port(self) -> int:
        """The TCP port."""

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments for ``RedisDatabase`` or ``redis.Redis``."""
        return self._settings(self.port)

    @property
    def url(self) -> str:
        """The ``redis://`` URL, without a database number."""
        login = "" if self._password is None else f":{quote(self._password, safe='')}@"
        return f"redis://{login}{self.host}:{self.port}"

    def _settings(self, port: int) -> dict[str, Any]:
        password = {} if self._password is None else {"password": self._password}
        return {"host": self.host, "port": port, **password}

    def client(self, **settings: Any) -> redis.Redis:
        """A redis-py client that tries once and gives up after 5 seconds. Close it."""
        return redis.Redis(**{**self.settings, "retry": Retry(NoBackoff(), 0), "socket_timeout": 5.0, **settings})

    # Faults

    @abc.abstractmethod
    def pause(self) -> None:
        """Pause the server: it accepts connections and never replies."""

    @abc.abstractmethod
    def resume(self) -> None:
        """Resume the server. Existing connections continue."""

    @abc.abstractmethod
    def kill(self) -> None:
        """Kill it as a crash does: connections end, new ones are refused."""

    @abc.abstractmethod
    def start(self) -> None:
        """Start it after ``kill``, on the same port, and return when it answers."""

    def restart(self) -> None:
        """Kill it and start it on the same port."""
        self.kill()
        self.start()

    def proxy(self, tls: ssl.SSLContext | None = None) -> ChaosProxy:
        """A proxy in front of it, for faults of the network and for TLS. It ends with the test."""
        proxy = ChaosProxy(self.host, self.port, tls)
        self._proxies.append(proxy)
        return proxy

    def settings_through(self, proxy: ChaosProxy) -> dict[str, Any]:
        """Arguments for ``RedisDatabase`` that lead through a proxy of this server."""
        return self._settings(proxy.port)

    # The harness's part

    @abc.abstractmethod
    def log(self) -> str:
        """The end of what the server wrote, for messages."""

    @abc.abstractmethod
    def end(self) -> None:
        """End it for good."""

    @abc.abstractmethod
    def revive(self) -> None:
        """Undo ``pause`` and ``kill``, whichever was done."""

    def clean(self) -> None:
        """Restore the server: running, without proxies, empty, and with its first configuration."""
        self.end_proxies()
        self.revive()
        with self.client() as client:
            client.flushall()
            client.script_flush()

    def end_proxies(self) -> None:
        """End every proxy in front of it."""
        while self._proxies:
            self._proxies.pop().stop()

    def wait_until_it_answers(self, seconds: float = 20.0) -> None:
        """Poll until it answers a PING.

        Raises:
            TimeoutError: it didn't, with its log.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(redis.RedisError, OSError), self.client(socket_timeout=1.0) as client:
                with contextlib.suppress(redis.AuthenticationError, redis.exceptions.NoPermissionError):
                    client.ping()
                return  # it has answered, or refused us, which it can't do while it is down
            time.sleep(0.01)
        raise TimeoutError(f"{self!r} did not answer within {seconds} s. Its log:\n{self.log()}")
