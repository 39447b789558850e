"""Servers in containers, through testcontainers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import docker.errors

from integration.servers.engine import Engine
from integration.servers.handle import ServerHandle
from integration.servers.source import Options, ServerSource, version_of
from tenantlimpyd.embedded import free_port

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

_START_SECONDS = 30
_ACL_FILE = "/tmp/users.acl"


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

    def _start(
        self, name: str, databases: int, password: str | None, acl: Sequence[str], options: Options
    ) -> ServerHandle:
        command = [self._program, "--protected-mode", "no", "--databases", str(databases), "--save", ""]
        lines = list(acl)
        if lines:
            if password is not None:  # beside an ACL file the server ignores requirepass
                lines.append(f"user default on >{password} ~* &* +@all")
            command += ["--aclfile", _ACL_FILE]
        elif password is not None:
            command += ["--requirepass", password]
        for option, value in options.items():
            command += [f"--{option.replace('_', '-')}", *_words(value)]
        for _ in range(20):
            port = free_port()
            try:
                container = self._run(command, lines, port)
            except docker.errors.APIError as error:
                if "already allocated" in str(error) or "already in use" in str(error):
                    continue
                raise
            handle = ContainerHandle(name, container, port, databases, password)
            handle.wait_until_it_answers()
            return handle
        raise RuntimeError(f"{name}: no free port in 20 tries")

    def _run(self, command: list[str], acl: list[str], port: int) -> DockerContainer:
        # Imported late: Engine sets what testcontainers reads when it is imported.
        from testcontainers.core.container import DockerContainer
        from testcontainers.core.wait_strategies import LogMessageWaitStrategy

        container = DockerContainer(self._image).with_command(command)
        container.ports["6379/tcp"] = ("127.0.0.1", port)  # type: ignore[assignment]  # with_bind_ports would publish everywhere
        if acl:
            container.with_copy_into_container("\n".join([*acl, ""]).encode(), _ACL_FILE)
        ready = LogMessageWaitStrategy("Ready to accept connections").with_startup_timeout(_START_SECONDS)
        container.waiting_for(ready)
        try:
            return container.start()
        except BaseException as error:
            if container._container is not None:
                error.add_note(b"".join(container.get_logs()).decode(errors="replace")[-2000:])
            container.stop()
            raise


def _words(value: str | int | bool | Sequence[str]) -> list[str]:
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    return [str(value)] if isinstance(value, str | int) else list(value)
