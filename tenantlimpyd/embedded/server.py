"""``EmbeddedServer``: a server that is started, stopped, paused and killed from Python."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from tenantlimpyd.embedded.binary import ServerBinary, find_server_binary
from tenantlimpyd.embedded.configuration import Option, ServerConfiguration
from tenantlimpyd.embedded.errors import EmbeddedServerError
from tenantlimpyd.embedded.ports import HOST, free_port
from tenantlimpyd.embedded.supervisor import Supervisor
from tenantlimpyd.exceptions import ConfigurationError, shown

__all__ = ["EmbeddedServer"]

_SOCKET_PATH_BYTES = 100  # the kernel's limit is 103 (macOS) or 107 (Linux)
_POLL = 0.005


class EmbeddedServer:
    """A server on 127.0.0.1 that ends with this process. It is a context manager, and can be started again after each end.

    Args:
        port: the TCP port. None for a free port, which is chosen at the first start and kept from then on.
        password: the password of the default user (``requirepass``). It appears in no repr, log or command line.
        acl: lines of an ACL file, such as ``"user app on >secret ~app:* +@all"``.
        databases: the number of logical databases.
        data_dir: where the server writes its data. The directory remains when the server ends. None for a temporary
            directory.
        options: further options by their names in the configuration file (``_`` may stand for ``-``), such as
            ``{"appendonly": True, "maxmemory": "50mb", "save": ("60", "1")}``. Without ``save`` or ``appendonly`` the server
            saves nothing.
        sentinel: whether to run a sentinel, which has no data; ``SENTINEL MONITOR`` sets the masters it watches.
        binary: the path of the server binary. None for the one that :func:`find_server_binary` returns.

    Raises:
        ConfigurationError: If an argument is out of range, or if an option is set by this class.
        EmbeddedServerError: If there is no server binary, or if the system is not Linux or macOS.
    """

    def __init__(
        self,
        *,
        port: int | None = None,
        password: str | None = None,
        acl: Sequence[str] = (),
        databases: int = 16,
        data_dir: str | os.PathLike[str] | None = None,
        options: Mapping[str, Option] | None = None,
        sentinel: bool = False,
        binary: str | os.PathLike[str] | None = None,
    ) -> None:
        if os.name != "posix":
            raise EmbeddedServerError(
                "EmbeddedServer runs on Linux and macOS only. Elsewhere, use a server of your own."
            )
        if port is not None and not 0 < port < 65_536:
            raise ConfigurationError(f"port is {shown(port)}: give 1 to 65535, or None for a free one.")
        named = {name.replace("_", "-").lower(): value for name, value in (options or {}).items()}
        self._configuration = ServerConfiguration(password, tuple(acl), databases, named)
        self.binary = find_server_binary() if binary is None else ServerBinary(os.fspath(binary), "given")
        self._data_dir = None if data_dir is None else Path(data_dir).absolute()
        self._arguments = ("--sentinel",) if sentinel else ()
        self._port = port
        self._started_before = False
        self._owner = os.getpid()
        self._dir: Path | None = None
        self._supervisor: Supervisor | None = None
        self._log = ""
        self._paused = False

    def __repr__(self) -> str:
        state = ("paused" if self._paused else "running") if self.running else "not running"
        return f"<{type(self).__name__} {HOST}:{self._port or '(no port yet)'}, {state}>"

    # Properties

    @property
    def running(self) -> bool:
        """Whether the server process exists, paused or not, and belongs to this process."""
        return self._supervisor is not None and self._supervisor.alive

    @property
    def host(self) -> str:
        """The address 127.0.0.1."""
        return HOST

    @property
    def port(self) -> int:
        """The TCP port, which does not change at restarts."""
        if self._port is None:
            raise EmbeddedServerError("The port is chosen when the server starts: call start() first, or give port=.")
        return self._port

    @property
    def databases(self) -> int:
        """The number of logical databases."""
        return self._configuration.databases

    @property
    def url(self) -> str:
        """The ``redis://`` URL with the password and without a database number."""
        password = self._configuration.password
        login = "" if password is None else f":{quote(password, safe='')}@"
        return f"redis://{login}{HOST}:{self.port}"

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of ``RedisDatabase`` or ``redis.Redis``: host, port and, if there is one, the password."""
        settings: dict[str, Any] = {"host": HOST, "port": self.port}
        if self._configuration.password is not None:
            settings["password"] = self._configuration.password
        return settings

    @property
    def unix_socket(self) -> str:
        """The path of the server's unix socket, which only the current user can open."""
        if self._dir is None:
            raise self._not_running()
        return str(self._dir / "socket")

    @property
    def pid(self) -> int:
        """The process id of the server."""
        pid = None if self._supervisor is None else self._supervisor.pid
        if pid is None:
            raise self._not_running()
        return pid

    @property
    def log(self) -> str:
        """The log of the server since its temporary directory was made. After ``stop``, the log until then."""
        self._read_log()
        return self._log

    # Start and end

    def start(self, timeout: float = 10.0) -> Self:
        """Start the server and return when it answers. Keep this object: the server ends when it is garbage-collected.

        Args:
            timeout: seconds until the server must answer.

        Raises:
            EmbeddedServerError: If the server is running already, ends at once, or does not answer in time.
        """
        if self.running:
            raise EmbeddedServerError(f"{self!r} is running already: use restart(), or stop() first.")
        return self._start(timeout)

    def _start(self, timeout: float) -> Self:
        if os.getpid() != self._owner:
            raise EmbeddedServerError(
                f"{self!r} belongs to the process that made it: make another one in this process."
            )
        self._end(keep=True)
        deadline = time.monotonic() + timeout
        while True:
            port = free_port() if self._port is None else self._port
            failure = self._launch(port, deadline)
            if failure is None:
                self._port = port
                self._started_before = True
                return self
            # Another process can bind the port after it was chosen and before the server binds it, or while the server is
            # down. If the caller named the port, it is not retried.
            lost = "already in use" in failure and (self._port is None or self._started_before)
            if not lost or time.monotonic() > deadline:
                self._end(keep=False)
                raise EmbeddedServerError(f"The embedded server ({self.binary.path}) did not start: {failure}")
            time.sleep(_POLL)

    def stop(self) -> None:
        """End the server and remove its temporary directory. Do nothing if it is not running.

        A server with a ``data_dir`` is shut down in order, so that it saves its data as configured.
        """
        if self._data_dir is not None:
            self._shut_down()
        self._end(keep=False)

    def kill(self) -> None:
        """Kill the server with SIGKILL, as a crash does. Its files remain, and ``start`` starts it on the same port.

        Raises:
            EmbeddedServerError: If the server is not running.
        """
        pid = self.pid
        self._signal_to_end(pid, signal.SIGKILL)
        self._paused = False
        # The supervisor remains, and removes the directory if this process ends before the next start.

    def restart(self, timeout: float = 10.0) -> Self:
        """Shut the server down in order and start it again on the same port, with the data it saved.

        Args:
            timeout: seconds until the server must answer again.

        Raises:
            EmbeddedServerError: If the server ends at once or does not answer in time.
        """
        self._shut_down()
        return self._start(timeout)

    def pause(self) -> None:
        """Pause the process with SIGSTOP: until ``resume``, connections are accepted and no command is answered.

        Raises:
            EmbeddedServerError: If the server is not running.
        """
        os.kill(self.pid, signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        """Continue a paused server with SIGCONT.

        Raises:
            EmbeddedServerError: If the server is not running.
        """
        os.kill(self.pid, signal.SIGCONT)
        self._paused = False

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # Processes and files

    def _launch(self, port: int, deadline: float) -> str | None:
        """Start the processes once, and return None when the server answers, or else the reason why it did not."""
        if self._dir is None:
            self._dir = _private_directory()
        data = self._data_dir or self._dir / "data"
        data.mkdir(parents=True, exist_ok=True)
        configuration = self._configuration.write(self._dir, data, port)
        with (self._dir / "log").open("ab") as output:
            before = output.tell()
            supervisor = self._supervisor = Supervisor(
                self._dir, [self.binary.path, str(configuration), *self._arguments], output
            )
        problem = "It did not answer in time."
        while time.monotonic() < deadline:
            if supervisor.exit_status is not None:
                problem = f"It ended with status {supervisor.exit_status}."
                break
            if supervisor.pid is not None and _answers(self._dir / "socket"):
                return None
            time.sleep(_POLL)
        text = (self._dir / "log").read_bytes()[before:].decode(errors="replace").strip()
        self._end(keep=True)
        return f"{problem} Its log:\n{self._configuration.without_secrets(text[-2000:])}"

    def _shut_down(self) -> None:
        if self.running:
            self._signal_to_end(
                self.pid, signal.SIGTERM, signal.SIGCONT
            )  # SIGCONT: a paused process handles no other signal

    def _signal_to_end(self, pid: int, *signals: signal.Signals, timeout: float = 10.0) -> None:
        for number in signals:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + timeout
        while self.running and time.monotonic() < deadline:
            time.sleep(_POLL)

    def _end(self, *, keep: bool) -> None:
        if os.getpid() != self._owner:  # a forked child owns neither the server nor its directory
            return
        self._read_log()
        self._paused = False
        if self._supervisor is not None:
            self._supervisor.end(keep=keep)
            self._supervisor = None
        if not keep and self._dir is not None:
            shutil.rmtree(self._dir, ignore_errors=True)
            self._dir = None

    def _read_log(self) -> None:
        if self._dir is not None and (self._dir / "log").exists():
            text = (self._dir / "log").read_bytes().decode(errors="replace")
            self._log = self._configuration.without_secrets(text)

    def _not_running(self) -> EmbeddedServerError:
        log = self.log[-1000:].strip()
        return EmbeddedServerError(f"{self!r}: call start() first." + (f" Its last log:\n{log}" if log else ""))


def _private_directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="tlimpyd-"))
    if len(os.fsencode(directory / "socket")) > _SOCKET_PATH_BYTES:
        directory.rmdir()
        directory = Path(tempfile.mkdtemp(prefix="tlimpyd-", dir="/tmp"))
    return directory


def _answers(path: Path) -> bool:
    """Return whether the server answers on its private socket, where no other server can. "NOAUTH" is an answer too."""
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
        client.settimeout(1.0)
        client.connect(str(path))
        client.sendall(b"PING\r\n")
        reply = client.recv(64)
        return reply[:1] in (b"+", b"-") and not reply.startswith(b"-LOADING")
    return False
