"""Servers in containers, through testcontainers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import docker.errors

from tenantlimpyd.embedded import free_port
from tests.support.servers.engine import Engine
from tests.support.servers.handle import ServerHandle
from tests.support.servers.source import ServerSource, Wanted, version_of

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

_START_SECONDS = 30
_PORT = 6379
_READY = "Ready to accept connections|Sentinel ID is"
_ACL_FILE = "/tmp/users.acl"
_SENTINEL_FILE = "/tmp/sentinel.conf"


class ContainerHandle(ServerHandle):
    """A server that is the first process of a container. Its port on 127.0.0.1 is fixed."""

    def __init__(self, name: str, container: DockerContainer, port: int, databases: int, password: str | None) -> None:
        super().__init__(name, databases, password)
        self._container = container
        self._port = port

    @property
    def port(self) -> int:
        return self._port

    @property
    def container(self) -> DockerContainer:
        """testcontainers' container, for what only containers can do."""
        return self._container

    @property
    def status(self) -> str:
        """What the engine says of it: ``running``, ``paused``, ``exited``..."""
        wrapped = self._container.get_wrapped_container()
        wrapped.reload()
        return str(wrapped.status)

    def pause(self) -> None:
        self._container.get_wrapped_container().pause()

    def resume(self) -> None:
        self._container.get_wrapped_container().unpause()

    def kill(self) -> None:
        wrapped = self._container.get_wrapped_container()
        if self.status == "paused":  # the engine doesn't kill what is paused
            wrapped.unpause()
        wrapped.kill()
        wrapped.wait(timeout=_START_SECONDS)

    def start(self) -> None:
        self._container.get_wrapped_container().start()
        self.wait_until_it_answers()

    def revive(self) -> None:
        status = self.status
        if status == "paused":
            self.resume()
        elif status != "running":
            self.start()

    def log(self) -> str:
        return b"".join(self._container.get_logs()).decode(errors="replace")[-2000:]

    def end(self) -> None:
        self.end_proxies()
        self._container.stop()


class ContainerSource(ServerSource):
    """Starts containers of one image."""

    def __init__(self, label: str, engine: Engine, image: str, origin: str) -> None:
        self._image = image
        self._program = "valkey-server" if "valkey" in image else "redis-server"
        shown = engine.client.containers.run(image, [self._program, "--version"], remove=True, network_mode="none")
        super().__init__(label, version_of(shown.decode()), f"{origin}, in containers (engine {engine.version})")

    def _start(self, name: str, wanted: Wanted) -> ServerHandle:
        container, (port,) = self._run_on_free_ports(1, lambda port: self._run(wanted, _PORT, {_PORT: port}))
        return _answering(ContainerHandle(name, container, port, wanted.databases, wanted.password))

    @contextmanager
    def _neighbourhood(self, number: int) -> Iterator[Callable[[str, Wanted], ServerHandle]]:
        """Give what starts containers in the network of one that stays, which publishes a port for each.

        They find each other on the loopback of that network, and we find them on ours, by the same ports: 127.0.0.1 is right
        for both, with every engine. The host's own network would do on Linux only, and so would the bridge's addresses:
        elsewhere the engine is in a virtual machine. Containers with networks of their own could announce ports of our
        loopback, where they would not find each other.

        The ports stay published while a server is down: who connects then is hung up on by the engine, if not refused.
        """
        holder, ports = self._run_on_free_ports(
            number,
            lambda *ports: self._run(Wanted(options={"bind": "127.0.0.1"}), _PORT, {port: port for port in ports}),
        )
        left = iter(ports)

        def begin(name: str, wanted: Wanted) -> ServerHandle:
            port = next(left)
            container = self._run(wanted, port, {}, network_mode=f"container:{holder.get_container_id()}")
            return _answering(ContainerHandle(name, container, port, wanted.databases, wanted.password))

        try:
            yield begin
        finally:
            holder.stop()

    def _run_on_free_ports(
        self, number: int, run: Callable[..., DockerContainer]
    ) -> tuple[DockerContainer, tuple[int, ...]]:
        """Run a container that publishes so many ports, others if somebody took one of them first."""
        for _ in range(20):
            ports: set[int] = set()
            while len(ports) < number:
                ports.add(free_port())
            try:
                return run(*ports), tuple(ports)
            except docker.errors.APIError as error:
                if not ("already allocated" in str(error) or "already in use" in str(error)):
                    raise
        raise RuntimeError(f"{self.label}: no {number} free ports in 20 tries")

    def _run(self, wanted: Wanted, port: int, published: Mapping[int, int], **how: Any) -> DockerContainer:
        # Imported late: Engine sets what testcontainers reads when it is imported.
        from testcontainers.core.container import DockerContainer
        from testcontainers.core.wait_strategies import LogMessageWaitStrategy

        container = DockerContainer(self._image)
        for inside, outside in published.items():
            # with_bind_ports would publish everywhere
            container.ports[f"{inside}/tcp"] = ("127.0.0.1", outside)  # type: ignore[assignment]
        command = ["--port", str(port), "--protected-mode", "no", "--databases", str(wanted.databases), "--save", ""]
        lines = list(wanted.acl)
        if lines:
            if wanted.password is not None:  # beside an ACL file the server ignores requirepass
                lines.append(f"user default on >{wanted.password} ~* &* +@all")
            command += ["--aclfile", _ACL_FILE]
            container.with_copy_into_container("\n".join([*lines, ""]).encode(), _ACL_FILE)
        elif wanted.password is not None:
            command += ["--requirepass", wanted.password]
        for option, value in wanted.options.items():
            command += [f"--{option.replace('_', '-')}", *_words(value)]
        if wanted.sentinel:
            # A sentinel keeps what it knows in its configuration file, and puts a new one in its place each time. The
            # entrypoints of published images would run it as a user who may not.
            container.with_copy_into_container(b"", _SENTINEL_FILE)
            container.with_command([_SENTINEL_FILE, "--sentinel", *command])
            how = {**how, "entrypoint": [self._program], "user": "0:0"}
        else:
            container.with_command([self._program, *command])
        container.with_kwargs(**how).waiting_for(LogMessageWaitStrategy(_READY).with_startup_timeout(_START_SECONDS))
        try:
            return container.start()
        except BaseException as error:
            if container._container is not None:
                error.add_note(b"".join(container.get_logs()).decode(errors="replace")[-2000:])
            container.stop()
            raise


def _answering(handle: ContainerHandle) -> ContainerHandle:
    try:
        handle.wait_until_it_answers()
    except BaseException:
        handle.end()
        raise
    return handle


def _words(value: str | int | bool | Sequence[str]) -> list[str]:
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    return [str(value)] if isinstance(value, str | int) else list(value)
