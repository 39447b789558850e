"""The walk written by hand for one purpose: a socket for each database, ``select()``, hiredis. No deadline, no outcome,
no second attempt. What a library can be measured against.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator

import hiredis

from tenantlimpyd._operations.scan_page import DEFAULT_PAGE


class ByHand:
    """Walks databases side by side, in one thread. Its sockets stay open from walk to walk.

    Args:
        places: host, port and database number of each.
        match: the pattern.
    """

    def __init__(self, places: list[tuple[str, int, int]], match: str) -> None:
        self._tail = _words(b"MATCH", match.encode(), b"COUNT", b"%d" % DEFAULT_PAGE)
        self._sockets: list[socket.socket] = []
        for host, port, db in places:
            peer = socket.create_connection((host, port))
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer.sendall(b"*2\r\n" + _words(b"SELECT", b"%d" % db))
            if peer.recv(16) != b"+OK\r\n":
                raise AssertionError("SELECT was refused")
            self._sockets.append(peer)

    def close(self) -> None:
        for peer in self._sockets:
            peer.close()

    def pages(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the databases' places in the list and their keys, page by page."""
        with selectors.DefaultSelector() as selector:
            for place, peer in enumerate(self._sockets):
                reader = hiredis.Reader(encoding="utf-8", errors="surrogateescape")
                selector.register(peer, selectors.EVENT_READ, (place, reader))
                self._ask(peer, b"0")
            left = len(self._sockets)
            while left:
                for key, _ in selector.select():
                    place, reader = key.data
                    reader.feed(key.fileobj.recv(262_144))
                    reply = reader.gets()
                    if reply is False:
                        continue
                    cursor, keys = reply
                    if cursor == "0":
                        selector.unregister(key.fileobj)
                        left -= 1
                    else:
                        self._ask(key.fileobj, cursor.encode())
                    yield place, keys

    def _ask(self, peer: socket.socket, cursor: bytes) -> None:
        peer.sendall(b"*6\r\n" + _words(b"SCAN", cursor) + self._tail)


def _words(*words: bytes) -> bytes:
    return b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
