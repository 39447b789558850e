"""A proxy that knows the boundaries of replies, for faults at exact positions between a client and a real server."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

__all__ = ["ExactProxy", "split_reply"]

HOST = "127.0.0.1"


def split_reply(data: bytes | bytearray, start: int = 0) -> int | None:
    """Return where the RESP reply that begins at ``start`` ends; None where it isn't whole yet."""
    end = data.find(b"\r\n", start)
    if end < 0:
        return None
    kind, rest = data[start : start + 1], data[start + 1 : end]
    end += 2
    if kind in b"$=!":
        length = int(rest)
        end += 0 if length < 0 else length + 2
        return end if end <= len(data) else None
    if kind in b"*~>%|":
        for _ in range(int(rest) * (2 if kind in b"%|" else 1)):
            inner = split_reply(data, end)
            if inner is None:
                return None
            end = inner
        return split_reply(data, end) if kind == b"|" else end
    return end


class ExactProxy:
    """Passes whole replies on, one by one; faults are set by the number of a reply, over all connections.

    Attributes:
        port: where it listens, on 127.0.0.1.
        passed: how many replies came since :meth:`arm`; those that are held count.
        holding: how many connections have a reply that is held back now.
    """

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._changed = threading.Condition()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closed = False
        self.passed = 0
        self.holding = 0
        self._cut: tuple[int, int] | None = None
        self._hold: int | None = None
        self._longest = 30.0
        self._start(self._accept)

    def __enter__(self) -> ExactProxy:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    # Faults

    def arm(self, *, cut: tuple[int, int] | None = None, hold: int | None = None, longest: float = 30.0) -> None:
        """Set what happens to the replies from now on; they are numbered from 0.

        Args:
            cut: end the connection in that reply, after so many bytes of it.
            hold: keep that reply and the later ones back, each until its client has asked for more on the same connection
                (so a reply nobody waited for comes when another one is expected), or until :meth:`release`.
            longest: seconds after which a reply passes in any case.
        """
        with self._changed:
            self.passed, self._cut, self._hold, self._longest = 0, cut, hold, longest
            self._changed.notify_all()

    def release(self) -> None:
        """Forward held replies and all later ones."""
        self.arm()

    def wait_until_holding(self, seconds: float) -> bool:
        """Wait until a reply is held; return whether one is."""
        with self._changed:
            return self._changed.wait_for(lambda: self.holding > 0, timeout=seconds)

    def stop(self) -> None:
        """End everything."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            ending = [*self._sockets, self._listener]
        for each in ending:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(10)

    # Threads

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._address, timeout=10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = _Pair(client, server)
            with self._changed:
                self._sockets |= {client, server}
            self._start(self._requests, pair)
            self._start(self._replies, pair)

    def _requests(self, pair: _Pair) -> None:
        for data in _received(pair.client):
            with self._changed:
                pair.asked += 1
                self._changed.notify_all()
            with contextlib.suppress(OSError):
                pair.server.sendall(data)
        with self._changed:
            pair.ended = True
            self._changed.notify_all()
        _end(pair.server)

    def _replies(self, pair: _Pair) -> None:
        buffer = bytearray()
        for data in _received(pair.server):
            buffer += data
            start = 0
            while (end := split_reply(buffer, start)) is not None:
                if not self._pass(pair, bytes(buffer[start:end])):
                    _end(pair.client)
                    _end(pair.server)
                    return
                start = end
            del buffer[:start]
        _end(pair.client)

    def _pass(self, pair: _Pair, reply: bytes) -> bool:
        with self._changed:
            number, self.passed = self.passed, self.passed + 1
            asked = pair.asked
            if self._hold is not None and number >= self._hold:
                self.holding += 1
                self._changed.notify_all()
                self._changed.wait_for(
                    lambda: pair.asked > asked or pair.ended or self._closed or self._hold is None,
                    timeout=self._longest,
                )
                self.holding -= 1
            cut = self._cut if self._cut is not None and self._cut[0] == number else None
        with contextlib.suppress(OSError):
            pair.client.sendall(reply if cut is None else reply[: cut[1]])
        return cut is None


class _Pair:
    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.asked = 0
        self.ended = False


def _received(sock: socket.socket) -> Iterator[bytes]:
    with contextlib.suppress(OSError):
        while data := sock.recv(65_536):
            yield data


def _end(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
