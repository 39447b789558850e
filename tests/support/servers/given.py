"""A server that runs already, by its URL. Its faults are those of a proxy in front of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import redis

from tenantlimpyd.embedded import EmbeddedServerError, find_server_binary
from tests.support.chaos_proxy import ChaosProxy
from tests.support.servers.embedded import EmbeddedSource
from tests.support.servers.handle import ServerHandle
from tests.support.servers.source import NoServerError, ServerSource, Wanted

URL = "TENANTLIMPYD_TEST_REDIS_URL"
ALLOW_REMOTE = "TENANTLIMPYD_TEST_ALLOW_REMOTE"
ALLOW_FLUSH = "TENANTLIMPYD_TEST_ALLOW_FLUSH"


class GivenHandle(ServerHandle):
    """A server somebody else runs, reached through a proxy: it can be cut off, not killed."""

    def __init__(self, name: str, arguments: dict[str, Any], databases: int) -> None:
        super().__init__(name, databases, arguments.get("password"))
        self._arguments = arguments
        self._front = ChaosProxy(arguments["host"], arguments["port"])

    @property
    def port(self) -> int:
        return self._front.port

    def _settings(self, port: int) -> dict[str, Any]:
        return {**self._arguments, "host": self.host, "port": port}

    def pause(self) -> None:
        self._front.swallow()

    def resume(self) -> None:
        # What was swallowed is lost: the connections are of no use any more.
        self._front.reset()
        self._front.heal()

    def kill(self) -> None:
        self._front.refuse()

    def start(self) -> None:
        self._front.heal()
        self.wait_until_it_answers()

    def revive(self) -> None:
        self.resume()

    def log(self) -> str:
        return "(the server's log is not ours to read)"

    def end(self) -> None:
        self.end_proxies()
        self._front.stop()


class GivenSource(ServerSource):
    """The servers of ``TENANTLIMPYD_TEST_REDIS_URL``, a comma list; each serves one handle at a time."""

    def __init__(self, urls: Sequence[str], *, allow_remote: bool, allow_flush: bool) -> None:
        self._free = [_checked(url, allow_remote=allow_remote, allow_flush=allow_flush) for url in urls]
        version = ", ".join(dict.fromkeys(version for _, _, version in self._free))
        super().__init__("given", version, f"running already, from {URL}")

    def _start(self, name: str, wanted: Wanted) -> ServerHandle:
        if wanted.password is not None or wanted.acl or wanted.options or wanted.sentinel:
            raise NoServerError(f"This test needs a server with settings of its own, and {URL} gives none: unset it.")
        if not self._free:
            raise NoServerError(
                f"This test needs more servers at once than {URL} names: give several, separated by commas."
            )
        arguments, has, _ = self._free.pop(0)
        return GivenHandle(name, arguments, has)

    @contextmanager
    def _neighbourhood(self, number: int) -> Iterator[Callable[[str, Wanted], ServerHandle]]:
        """Give embedded servers: those that run already know nothing of each other, and sentinels are none of them."""
        try:
            stand_in = EmbeddedSource("embedded", find_server_binary())
        except EmbeddedServerError as error:
            raise NoServerError(
                f"This test needs servers that know each other, and {URL} gives none: {error}"
            ) from error
        with stand_in._neighbourhood(number) as begin:
            yield begin


def _checked(url: str, *, allow_remote: bool, allow_flush: bool) -> tuple[dict[str, Any], int, str]:
    """Return the connection arguments, the number of databases, and the version of the server at ``url``."""
    host = urlsplit(url).hostname or "localhost"
    if not (allow_remote or _is_loopback(host)):
        raise NoServerError(f"{URL} names {host}, which is not this machine. Set {ALLOW_REMOTE}=1 if you mean it.")
    try:
        with redis.Redis.from_url(url, decode_responses=True, socket_timeout=5) as client:
            arguments = dict(client.connection_pool.connection_kwargs)
            info: dict[str, Any] = client.info()
            databases = int(client.config_get("databases")["databases"])
    except (redis.RedisError, ValueError) as error:
        raise NoServerError(f"{URL}: the server on {host} can't be used: {type(error).__name__}: {error}") from error
    held = sorted(name for name in info if name.startswith("db") and name[2:].isdigit())
    if held and not allow_flush:
        raise NoServerError(
            f"{URL}: the server on {host} holds keys ({', '.join(held)}), and the tests empty it. "
            f"Set {ALLOW_FLUSH}=1 if they may."
        )
    kept = ("username", "password")
    product = "Valkey" if info.get("server_name") == "valkey" else "Redis"
    version = f"{product} {info.get('valkey_version', info['redis_version'])}"
    place = {"host": host, "port": arguments.get("port", 6379)}
    return {**place, **{key: arguments[key] for key in kept if arguments.get(key)}}, databases, version


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
