"""A supervisor process, so that a server can't outlive the process that started it.

The supervisor is a small shell between the two processes. It holds the reading end of a pipe, and only this process holds
the writing end. When the writing end is closed, also because this process ended for whatever reason, the shell kills the
server and removes its directory. The shell is the parent of the server, not this process. So the server is supervised at
every moment, and its pid can't have been reused when it is killed.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO

__all__ = ["Supervisor"]

# $1: the directory of this server. Then the server's command line. The word "keep" on the pipe ends the server without
# removing the directory.
_SHELL = """
trap '' INT TERM HUP
PATH=$PATH:/bin:/usr/bin
dir=$1; shift
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
echo "$server" >"$dir/pid.new" && mv "$dir/pid.new" "$dir/pid"
( read -r word <&3; [ -e "$dir/exit" ] || kill -KILL "$server"; [ "$word" = keep ] ) 2>/dev/null &
reader=$!
wait "$server"
echo "$?" >"$dir/exit.new" && mv "$dir/exit.new" "$dir/exit"
wait "$reader" || rm -rf "$dir"
"""


class Supervisor:
    """One run of one server.

    Args:
        directory: where the ``pid`` and ``exit`` files of this run go. It is removed at the end unless ``end`` keeps it.
        command: the server's command line.
        output: the file for the server's output. A pipe would fill up.
    """

    def __init__(self, directory: Path, command: Sequence[str], output: IO[bytes]) -> None:
        self._directory = directory
        for leftover in ("pid", "exit", "socket"):
            (directory / leftover).unlink(missing_ok=True)
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _SHELL, "sh", str(directory), *command],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C in the terminal must not reach the server
        )
        self._owner = os.getpid()
        # It also runs at the end of the interpreter, and waits until the directory is removed.
        self._finalizer = weakref.finalize(self, _end, self._process, self._owner, b"")
        _supervisors.add(self)

    @property
    def pid(self) -> int | None:
        """The server's process id, or None in the first milliseconds and after the server has ended."""
        path = self._directory / "pid"
        return int(path.read_text()) if self.alive and path.exists() else None

    @property
    def exit_status(self) -> int | None:
        """The server's exit status as a shell reports it (128 + signal), or None while it runs."""
        path = self._directory / "exit"
        return int(path.read_text()) if path.exists() else None

    @property
    def alive(self) -> bool:
        """Whether the server runs and was started by this process, not by the parent of a fork."""
        return os.getpid() == self._owner and self._process.poll() is None and self.exit_status is None

    def end(self, *, keep: bool) -> None:
        """Kill the server if it still runs, and wait for the end of both processes.

        Args:
            keep: whether to keep the directory.
        """
        self._finalizer.detach()
        _end(self._process, self._owner, b"keep\n" if keep else b"")

    def detach(self) -> None:
        """Close the copy of the pipe in a forked child, which would keep the server alive after the end of the parent."""
        self._finalizer.detach()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.returncode = 0  # a forked child must not wait for it


def _end(process: subprocess.Popen[bytes], owner: int, word: bytes) -> None:
    if os.getpid() != owner or process.stdin is None or process.stdin.closed:
        return
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(word)
    process.stdin.close()
    process.wait()


_supervisors: weakref.WeakSet[Supervisor] = weakref.WeakSet()


def _detach_all() -> None:
    for supervisor in list(_supervisors):
        supervisor.detach()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_detach_all)
