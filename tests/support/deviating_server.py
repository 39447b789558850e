"""Servers whose transactions deviate from Redis's, as proxies in front of a real server.

They do what servers with Redis's protocol may do (Dragonfly and Garnet differ from Redis here), so that a client that relies
on Redis's transactions writes into the wrong database.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any, Literal

import hiredis

from tenantlimpyd._resp import pack
from tests.support.reply_proxy import split_reply

__all__ = ["DeviatingServer"]

Kind = Literal["runs the others", "leaves the transaction", "no transactions"]


class DeviatingServer:
    """A server on 127.0.0.1 whose transactions deviate.

    Args:
        port: the port of the real server.
        kind: ``runs the others``: SELECT is queued, refused in EXEC, and the other commands run. ``leaves the transaction``: a
            refused command ends it, so that the next commands run at once. ``no transactions``: MULTI is unknown.

    Attributes:
        port: where it listens.
        commands: the names of the commands that it has received.
    """

    def __init__(self, port: int, kind: Kind) -> None:
        self._real = port
        self._kind = kind
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.commands: list[str] = []
        self._sockets: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> DeviatingServer:
        return self

    def __exit__(self, *exception: object) -> None:
        for each in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                real = socket.create_connection(("127.0.0.1", self._real))
                self._sockets |= {client, real}
                thread = threading.Thread(target=self._serve, args=(client, real), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket, real: socket.socket) -> None:
        session = _Session(real, self._kind)
        reader = hiredis.Reader()
        with contextlib.suppress(OSError):
            while data := client.recv(65_536):
                reader.feed(data)
                while (command := reader.gets()) is not False:
                    self.commands.append(command[0].decode().upper())
                    client.sendall(session.reply(command))
        for each in (client, real):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class _Session:
    """A connection of a client, and what the server makes of its transactions."""

    def __init__(self, real: socket.socket, kind: Kind) -> None:
        self._real = real
        self._kind = kind
        self._buffer = bytearray()
        self._queued: list[Any] | None = None

    def reply(self, command: list[bytes]) -> bytes:
        name = command[0].upper()
        if self._kind == "no transactions" and name in (b"MULTI", b"EXEC", b"DISCARD"):
            return b"-ERR unknown command '%b'\r\n" % name
        if self._kind == "runs the others":
            return self._queue(name, command)
        reply = self._ask(command)
        if self._kind == "leaves the transaction":
            if name == b"MULTI" and reply.startswith(b"+"):
                self._queued = []
            elif name in (b"EXEC", b"DISCARD"):
                self._queued = None
            elif self._queued is not None and reply.startswith(b"-"):
                self._queued = None
                self._ask([b"DISCARD"])
        return reply

    def _queue(self, name: bytes, command: list[bytes]) -> bytes:
        if name == b"MULTI" and self._queued is None:
            self._queued = []
            return b"+OK\r\n"
        if self._queued is None or name == b"MULTI":
            return self._ask(command)
        if name == b"DISCARD":
            self._queued = None
            return b"+OK\r\n"
        if name == b"EXEC":
            queued, self._queued = self._queued, None
            replies = [
                b"-ERR SELECT is not allowed in a transaction\r\n" if each[0].upper() == b"SELECT" else self._ask(each)
                for each in queued
            ]
            return b"*%d\r\n" % len(replies) + b"".join(replies)
        self._queued.append(command)
        return b"+QUEUED\r\n"

    def _ask(self, command: list[bytes]) -> bytes:
        self._real.sendall(pack(*command))
        while (end := split_reply(self._buffer)) is None:
            data = self._real.recv(65_536)
            if not data:
                raise OSError("the real server has closed the connection")
            self._buffer += data
        reply = bytes(self._buffer[:end])
        del self._buffer[:end]
        return reply
