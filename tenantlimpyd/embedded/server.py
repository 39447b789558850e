"""``EmbeddedServer``: start, stop and disturb a server of one's own."""

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
from tenantlimpyd.embedded.configuration import Configuration, Option
from tenantlimpyd.embedded.errors import EmbeddedServerError
from tenantlimpyd.embedded.ports import HOST, free_port
from tenantlimpyd.embedded.supervisor import Supervisor
from tenantlimpyd.exceptions import ConfigurationError, shown

__all__ = ["EmbeddedServer"]

_SOCKET_PATH_BYTES = 100  # the kernel's limit is 103 (macOS) or 107 (Linux)
_POLL = 0.005


class EmbeddedServer:
    """A server on 127.0.0.1 that ends with this process. A context manager; may be started again after each end.

    Args:
        port: the TCP port. None: a free one, chosen when the server starts for the first time, and kept from then on.
        password: the password of the default user (``requirepass``). Kept out of reprs, logs and command lines.
        acl: lines of an ACL file, such as ``"user app on >secret ~app:* +@all"``.
        databases: how many logical databases the server has.
        data_dir: where the server writes its data. It stays when the server ends. None: a temporary directory.
        options: further settings by their configuration names (``_`` may stand for ``-``), such as
            ``{"appendonly": True, "maxmemory": "50mb", "save": ("60", "1")}``. Nothing is saved unless asked for.
        sentinel: run it as a sentinel, which keeps no data and is told by ``SENTINEL MONITOR`` which master to watch.
        binary: the server to run. None: what :func:`find_server_binary` finds.

    Raises:
        ConfigurationError: an argument is out of range, or an option is one that this class decides.
        EmbeddedServerError: there is no server binary, or this is not Linux or macOS.
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
            raise EmbeddedServerError("EmbeddedServer runs on Linux and macOS; elsewhere, use a server of your own.")
        if port is not None and not 0 < port < 65_536:
            raise ConfigurationError(f"port is {shown(port)}: give 1 to 65535, or None for a free one.")
        named = {name.replace("_", "-").lower(): value for name, value in (options or {}).items()}
        self._configuration = Configuration(password, tuple(acl), databases, named)
        self.binary = find_server_binary() if binary is None else ServerBinary(os.fspath(binary), "given")
        self._data_dir = None if data_dir is None else Path(data_dir).absolute()
        self._arguments = ("--sentinel",) if sentinel else ()
        self._port = port
        self._started_before = False
        self._owner = os.getpid()
        self._dir: Path | None = None
        self._keeper: Supervisor | None = None
        self._log = ""
        self._paused = False

    def __repr__(self) -> str:
        state = ("paused" if self._paused else "running") if self.running else "not running"
        return f"<{type(self).__name__} {HOST}:{self._port or '(no port yet)'}, {state}>"

    # What it is

    @property
    def running(self) -> bool:
        """Whether the server process is there (a paused one is) and belongs to this process."""
        return self._keeper is not None and self._keeper.alive

    @property
    def host(self) -> str:
        """Always 127.0.0.1."""
        return HOST

    @property
    def port(self) -> int:
        """The TCP port, which stays the same over restarts."""
        if self._port is None:
            raise EmbeddedServerError("The port is chosen when the server starts: call start() first, or give port=.")
        return self._port

    @property
    def databases(self) -> int:
        """How many logical databases the server has."""
        return self._configuration.databases

    @property
    def url(self) -> str:
        """The ``redis://`` URL, password included, without a database number."""
        password = self._configuration.password
        login = "" if password is None else f":{quote(password, safe='')}@"
        return f"redis://{login}{HOST}:{self.port}"

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments for ``RedisDatabase`` or ``redis.Redis``: host, port and, where there is one, the password."""
        settings: dict[str, Any] = {"host": HOST, "port": self.port}
        if self._configuration.password is not None:
            settings["password"] = self._configuration.password
        return settings

    @property
    def unix_socket(self) -> str:
        """The path of the server's unix socket, which only this user can open."""
        if self._dir is None:
            raise self._not_running()
        return str(self._dir / "socket")

    @property
    def pid(self) -> int:
        """The process id of the server itself."""
        pid = None if self._keeper is None else self._keeper.pid
        if pid is None:
            raise self._not_running()
        return pid

    @property
    def log(self) -> str:
        """What the server wrote, since its directory was made; after ``stop``, what it had written by then."""
        self._read_log()
        return self._log

    # What can be done with it

    def start(self, timeout: float = 10.0) -> Self:
        """Start the server and return when it answers. It ends when this object is dropped: keep it.

        Args:
            timeout: seconds.

        Raises:
            EmbeddedServerError: it is running already, it ended, or it did not answer in time.
        """
        if self.running:
            raise EmbeddedServerError(f"{self!r} is running already: use restart(), or stop() first.")
        return self._start(timeout)

    def _start(self, timeout: float) -> Self:
        if os.getpid() != self._owner:
            raise EmbeddedServerError(f"{self!r} belongs to the process that made it: make one in this process.")
        self._end(keep=True)
        deadline = time.monotonic() + timeout
        while True:
            port = free_port() if self._port is None else self._port
            failure = self._launch(port, deadline)
            if failure is None:
                self._port = port
                self._started_before = True
                return self
            # Between choosing a port and the server's bind, or while it was down, somebody else can take the port. A
            # port the caller named is not waited for.
            lost = "already in use" in failure and (self._port is None or self._started_before)
            if not lost or time.monotonic() > deadline:
                self._end(keep=False)
                raise EmbeddedServerError(f"The embedded server ({self.binary.path}) did not start: {failure}")
            time.sleep(_POLL)

    def stop(self) -> None:
        """End the server and remove its temporary directory. Does nothing where it is not running.

        With a ``data_dir`` the server is asked to end, so that it writes what it is configured to write.
        """
        if self._data_dir is not None:
            self._ask_to_end()
        self._end(keep=False)

    def kill(self) -> None:
        """Kill the server as a crash does. What it wrote stays: ``start`` brings it back on the same port.

        Raises:
            EmbeddedServerError: it is not running.
        """
        pid = self.pid
        self._signal_to_end(pid, signal.SIGKILL)
        self._paused = False
        # The keeper stays: should this process end before the next start, it still removes the directory.

    def restart(self, timeout: float = 10.0) -> Self:
        """End the server in order and start it again on the same port, with what it saved.

        Args:
            timeout: seconds for the start.

        Raises:
            EmbeddedServerError: as ``start``.
        """
        self._ask_to_end()
        return self._start(timeout)

    def pause(self) -> None:
        """Stop the process in its tracks: connections are accepted and nothing is answered, until ``resume``.

        Raises:
            EmbeddedServerError: it is not running.
        """
        os.kill(self.pid, signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        """Let a paused server go on.

        Raises:
            EmbeddedServerError: it is not running.
        """
        os.kill(self.pid, signal.SIGCONT)
        self._paused = False

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # How

    def _launch(self, port: int, deadline: float) -> str | None:
        """Start the processes once; return None when the server answers, or else what went wrong."""
        if self._dir is None:
            self._dir = _private_directory()
        data = self._data_dir or self._dir / "data"
        data.mkdir(parents=True, exist_ok=True)
        configuration = self._configuration.write(self._dir, data, port)
        with (self._dir / "log").open("ab") as output:
            before = output.tell()
            keeper = self._keeper = Supervisor(
                self._dir, [self.binary.path, str(configuration), *self._arguments], output
            )
        problem = "It did not answer in time."
        while time.monotonic() < deadline:
            if keeper.exit_status is not None:
                problem = f"It ended with status {keeper.exit_status}."
                break
            if keeper.pid is not None and _answers(self._dir / "socket"):
                return None
            time.sleep(_POLL)
        text = (self._dir / "log").read_bytes()[before:].decode(errors="replace").strip()
        self._end(keep=True)
        return f"{problem} Its log:\n{self._configuration.without_secrets(text[-2000:])}"

    def _ask_to_end(self) -> None:
        if self.running:
            self._signal_to_end(self.pid, signal.SIGTERM, signal.SIGCONT)  # CONT: a paused server hears nothing

    def _signal_to_end(self, pid: int, *signals: signal.Signals, timeout: float = 10.0) -> None:
        for number in signals:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + timeout
        while self.running and time.monotonic() < deadline:
            time.sleep(_POLL)

    def _end(self, *, keep: bool) -> None:
        if os.getpid() != self._owner:  # a forked process owns neither the server nor its directory
            return
        self._read_log()
        self._paused = False
        if self._keeper is not None:
            self._keeper.end(keep=keep)
            self._keeper = None
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
    """Ask over the private socket, where no other server can answer. A refusal (no password given) is an answer."""
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
        client.settimeout(1.0)
        client.connect(str(path))
        client.sendall(b"PING\r\n")
        reply = client.recv(64)
        return reply[:1] in (b"+", b"-") and not reply.startswith(b"-LOADING")
    return False
