"""A server process that can't outlive the process that started it.

A small shell stands between the two and holds the reading end of a pipe, whose writing end is ours alone. When the
writing end is gone (closed, or with this process, by whatever signal) the shell kills the server and removes the
server's directory. The shell, not this process, is the server's parent: no moment exists at which nobody would end the
server, and the pid can't be somebody else's by the time it is killed.
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

# $1: the directory of this server; the rest: the server's command line. The word "keep" on the pipe ends the server as
# the pipe's end does, but leaves the directory.
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
        directory: where the run's ``pid`` and ``exit`` files go; removed at the end, unless the end keeps it.
        command: the server's command line.
        output: where the server's output goes: a file, not a pipe, which would fill up.
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
            start_new_session=True,  # the terminal's Ctrl-C is not for the server
        )
        self._owner = os.getpid()
        # At the end of the interpreter, too: it waits until the directory is gone.
        self._finalizer = weakref.finalize(self, _end, self._process, self._owner, b"")
        _kept.add(self)

    @property
    def pid(self) -> int | None:
        """The server's process id; None in the first milliseconds, and once the server has ended."""
        path = self._directory / "pid"
        return int(path.read_text()) if self.alive and path.exists() else None

    @property
    def exit_status(self) -> int | None:
        """What the server ended with, in the shell's way of counting (128 + signal); None while it runs."""
        path = self._directory / "exit"
        return int(path.read_text()) if path.exists() else None

    @property
    def alive(self) -> bool:
        """Whether the server runs and is ours; what a forked process inherits is not."""
        return os.getpid() == self._owner and self._process.poll() is None and self.exit_status is None

    def end(self, *, keep: bool) -> None:
        """Kill the server, if it still runs, and wait for the end of both processes.

        Args:
            keep: leave the directory.
        """
        self._finalizer.detach()
        _end(self._process, self._owner, b"keep\n" if keep else b"")

    def let_go(self) -> None:
        """In a forked child: close the copy of the pipe, which would keep the server alive after the parent's end."""
        self._finalizer.detach()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.returncode = 0  # not the child's to wait for


def _end(process: subprocess.Popen[bytes], owner: int, word: bytes) -> None:
    if os.getpid() != owner or process.stdin is None or process.stdin.closed:
        return
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(word)
    process.stdin.close()
    process.wait()


_kept: weakref.WeakSet[Supervisor] = weakref.WeakSet()


def _let_go_of_all() -> None:
    for keeper in list(_kept):
        keeper.let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_of_all)
