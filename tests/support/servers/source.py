"""Where servers of one kind come from: an image, a binary, or an address somebody gave."""

from __future__ import annotations

import abc
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import attrs

from tests.support.servers.handle import ServerHandle

Options = Mapping[str, str | int | bool | Sequence[str]]

_VERSION = re.compile(r"(?P<product>\w+) server v=(?P<version>[\w.-]+)")


class NoServerError(Exception):
    """No server can be had in the way that was asked for. The message says what to install or to set."""


@attrs.frozen
class Wanted:
    """What a server is started with, as :meth:`ServerSource.start` takes it."""

    databases: int = 1024
    password: str | None = attrs.field(default=None, repr=False)
    acl: Sequence[str] = attrs.field(default=(), converter=tuple, repr=False)
    options: Options = attrs.field(default=None, converter=lambda given: dict(given or {}))
    sentinel: bool = False


class ServerSource(abc.ABC):
    """Starts servers of one kind, and keeps healthy ones for the next test.

    Attributes:
        label: short, for test ids, such as ``redis:8-alpine``.
        version: product and version, such as ``Valkey 9.1.2``.
        origin: how it was got, in words.
        started: how many servers were started.
    """

    def __init__(self, label: str, version: str, origin: str) -> None:
        self.label = label
        self.version = version
        self.origin = origin
        self.started = 0
        self._numbers = itertools.count(1)
        self._idle: list[ServerHandle] = []

    def __str__(self) -> str:
        return f"{self.label} = {self.version}, {self.origin}"

    def start(
        self,
        *,
        databases: int = 1024,
        password: str | None = None,
        acl: Sequence[str] = (),
        options: Options | None = None,
        sentinel: bool = False,
    ) -> ServerHandle:
        """Start a server and return it when it answers.

        Args:
            databases: how many logical databases.
            password: that of the default user.
            acl: lines of an ACL file.
            options: further settings by their configuration names.
            sentinel: run it as a sentinel.
        """
        return self._count(self._start(self._name(), Wanted(databases, password, acl, options, sentinel)))

    @abc.abstractmethod
    def _start(self, name: str, wanted: Wanted) -> ServerHandle: ...

    def _name(self) -> str:
        return f"{self.label} #{next(self._numbers)}"

    def _count(self, handle: ServerHandle) -> ServerHandle:
        self.started += 1
        return handle

    @contextmanager
    def together(self, number: int) -> Iterator[Callable[..., ServerHandle]]:
        """Give a function that starts servers which reach each other where we reach them: at their ``host`` and ``port``.

        So an address is right for everybody who is told it, whoever tells it. The function takes what :meth:`start` does.
        The servers end with the context.

        Args:
            number: how many servers, at most.
        """
        started: list[ServerHandle] = []
        with self._neighbourhood(number) as begin:

            def start(**settings: Any) -> ServerHandle:
                started.append(self._count(begin(self._name(), Wanted(**settings))))
                return started[-1]

            try:
                yield start
            finally:
                with ThreadPoolExecutor() as pool:  # an engine takes its time for each
                    ends = [pool.submit(handle.end) for handle in started]
                for end in ends:
                    end.result()

    @contextmanager
    def _neighbourhood(self, number: int) -> Iterator[Callable[[str, Wanted], ServerHandle]]:
        """Give what starts one of ``number`` servers that are together. Those on this machine's loopback always are."""
        yield self._start

    def take(self) -> ServerHandle:
        """Return a server with the default settings, empty: one that is idle, or a new one."""
        return self._idle.pop() if self._idle else self.start()

    def give_back(self, handle: ServerHandle) -> None:
        """Take a server back for the next test, as new; one that can't be made so is ended.

        Raises:
            Exception: what went wrong with it. A test that ruins a server should be seen.
        """
        try:
            handle.clean()
        except BaseException:
            handle.end()
            raise
        self._idle.append(handle)

    def close(self) -> None:
        """End the idle servers, and what belongs to the source."""
        while self._idle:
            self._idle.pop().end()


def version_of(output: str) -> str:
    """Return product and version from what ``redis-server --version`` prints."""
    found = _VERSION.search(output)
    return f"{found['product']} {found['version']}" if found else output.strip()[:60]
