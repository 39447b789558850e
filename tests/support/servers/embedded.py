"""Servers that are children of this process: the library's own embedded server."""

from __future__ import annotations

import subprocess

import attrs

from tenantlimpyd.embedded import EmbeddedServer, ServerBinary
from tests.support.servers.handle import ServerHandle
from tests.support.servers.source import NoServerError, ServerSource, Wanted, version_of


class EmbeddedHandle(ServerHandle):
    """An embedded server; faults are signals."""

    def __init__(self, name: str, server: EmbeddedServer, password: str | None) -> None:
        super().__init__(name, server.databases, password)
        self._server = server
        self._paused = False

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def unix_socket(self) -> str:
        """The path of its unix socket."""
        return self._server.unix_socket

    def pause(self) -> None:
        self._server.pause()
        self._paused = True

    def resume(self) -> None:
        self._server.resume()
        self._paused = False

    def kill(self) -> None:
        self._server.kill()
        self._paused = False

    def start(self) -> None:
        self._server.start()

    def revive(self) -> None:
        if not self._server.running:
            self.start()
        elif self._paused:
            self.resume()

    def log(self) -> str:
        return self._server.log[-2000:]

    def end(self) -> None:
        self.end_proxies()
        self._server.stop()


class EmbeddedSource(ServerSource):
    """Starts servers from one binary of this machine."""

    def __init__(self, label: str, binary: ServerBinary) -> None:
        try:
            shown = subprocess.run([binary.path, "--version"], capture_output=True, text=True, timeout=20, check=True)
        except (subprocess.SubprocessError, OSError) as error:
            raise NoServerError(f"{binary.path} ({binary.origin}) does not run: {error}") from error
        super().__init__(label, version_of(shown.stdout), f"embedded, the binary of {binary.origin}")
        self._binary = binary

    def _start(self, name: str, wanted: Wanted) -> ServerHandle:
        server = EmbeddedServer(**attrs.asdict(wanted, recurse=False), binary=self._binary.path)
        return EmbeddedHandle(name, server.start(), wanted.password)
