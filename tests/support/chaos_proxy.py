"""A TCP proxy on loopback that can misbehave on request, so that every kind of server can have network faults.

It runs on an event loop in a thread of its own. Faults are switched from the test's thread with ordinary method calls,
which return when the fault is in place. With an ``ssl.SSLContext`` it speaks TLS to its clients, and so gives TLS to
servers that were built without.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from tenantlimpyd.embedded import free_port

T = TypeVar("T")
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Faults:
    """What the proxy does to what passes through it.

    Attributes:
        latency: seconds each chunk is held, in both directions.
        lose_requests: what clients send never reaches the server.
        lose_replies: the server gets the request and does it; the client never hears of it. TCP knows no holes: once
            something was lost, the connection stays silent in that direction, also when the fault is over.
        cut_reply_after: end the connection after so many more bytes of replies.
        cut_by_reset: with RST, not with FIN: what was sent just before may get lost with it.
    """

    latency: float = 0.0
    lose_requests: bool = False
    lose_replies: bool = False
    cut_reply_after: int | None = None
    cut_by_reset: bool = False


class ChaosProxy:
    """A proxy in front of one server. A context manager.

    Args:
        host: the server's host.
        port: the server's port.
        tls: serve TLS with this context.

    Attributes:
        port: where the proxy listens, on 127.0.0.1; the same for its whole life.
        accepted: how many connections it has accepted.
    """

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._server_address = (host, port)
        self._tls = tls
        self._faults = Faults()
        self._silent: weakref.WeakSet[asyncio.StreamWriter] = weakref.WeakSet()
        self._pairs: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = {}
        self._handlers: set[asyncio.Task[Any]] = set()
        self._listener: asyncio.Server | None = None
        self.accepted = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos proxy", daemon=True)
        self._thread.start()
        try:
            self._ask(self._listen)
        except BaseException:
            self._end_loop()
            raise

    def __enter__(self) -> ChaosProxy:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def faults(self) -> Faults:
        """What is switched on now."""
        return self._faults

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._pairs)

    def disturb(self, **faults: Any) -> None:
        """Switch faults on or off, by the names in :class:`Faults`; those not named stay as they are."""
        changed = replace(self._faults, **faults)
        self._ask(lambda: self._set(changed))

    def heal(self) -> None:
        """Switch every fault off, and accept connections again."""
        self._ask(lambda: self._set(Faults()))
        self.accept()

    def swallow(self) -> None:
        """Swallow everything: connections are accepted and stay open, and no data is forwarded."""
        self.disturb(lose_requests=True, lose_replies=True)

    def reset(self) -> None:
        """End every connection with RST, as a crashed host or a firewall does."""
        self._ask(lambda: self._end_all(_reset))

    def hang_up(self) -> None:
        """End every connection with FIN, as a server that shuts down does."""
        self._ask(lambda: self._end_all(lambda writer: writer.close()))

    def refuse(self) -> None:
        """Close the port and reset every connection: new ones get ECONNREFUSED."""
        self._ask(self._close_port)

    def accept(self) -> None:
        """Open the port again, the same as before. Does nothing where it is open."""
        self._ask(self._listen)

    def stop(self) -> None:
        """End everything. May be called twice."""
        if self._loop.is_closed():
            return
        self._ask(self._close_port)
        self._ask(self._settle)
        self._end_loop()

    # In the proxy's thread

    def _ask(self, action: Callable[[], Any]) -> Any:
        async def run() -> Any:
            result = action()
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _set(self, faults: Faults) -> None:
        self._faults = faults

    async def _listen(self) -> None:
        if self._listener is not None:
            return
        for _ in range(50):
            port = self.port or free_port()
            try:
                self._listener = await asyncio.start_server(self._serve, HOST, port, ssl=self._tls)
            except OSError:  # another process bound it after it was chosen
                if self.port:
                    await asyncio.sleep(0.05)
                continue
            self.port = port
            return
        raise OSError(f"the chaos proxy can't listen on {HOST}:{self.port or 'any port'}")

    async def _close_port(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            # Connections that were accepted, and not yet handed over, would be left open by a server that is closed.
            for accepting in listener.sockets:
                self._loop.remove_reader(accepting.fileno())
            for _ in range(3):
                await asyncio.sleep(0)
            listener.close()
        self._end_all(_reset)

    def _end_all(self, end: Callable[[asyncio.StreamWriter], None]) -> None:
        for pair in list(self._pairs.values()):
            for writer in pair:
                end(writer)

    async def _settle(self) -> None:
        for task in list(self._handlers):
            task.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._listener is None:  # accepted as the port was being closed
            _reset(writer)
            return
        self._handlers.add(task)
        self.accepted += 1
        try:
            try:
                server_reader, server_writer = await asyncio.open_connection(*self._server_address)
            except OSError:
                _reset(writer)
                return
            self._pairs[task] = (writer, server_writer)
            if self._listener is None:
                _reset(writer)
            try:
                await asyncio.gather(
                    self._pump(reader, server_writer, self._on_request),
                    self._pump(server_reader, writer, self._on_reply),
                )
            finally:
                del self._pairs[task]
                writer.close()
                server_writer.close()
        except asyncio.CancelledError:
            pass  # stop() cancels; asyncio's server would log it
        finally:
            self._handlers.discard(task)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pass_on: Callable[[bytes, asyncio.StreamWriter], bytes],
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if self._faults.latency:
                    await asyncio.sleep(self._faults.latency)
                if data := pass_on(data, writer):
                    writer.write(data)
                    await writer.drain()
        writer.close()

    def _on_request(self, data: bytes, server: asyncio.StreamWriter) -> bytes:
        return b"" if self._lost(server, now=self._faults.lose_requests) else data

    def _lost(self, writer: asyncio.StreamWriter, *, now: bool) -> bool:
        if now:
            self._silent.add(writer)
        return writer in self._silent

    def _on_reply(self, data: bytes, client: asyncio.StreamWriter) -> bytes:
        if self._lost(client, now=self._faults.lose_replies):
            return b""
        left = self._faults.cut_reply_after
        if left is None:
            return data
        if len(data) < left:
            self._faults = replace(self._faults, cut_reply_after=left - len(data))
            return data
        self._faults = replace(self._faults, cut_reply_after=None)
        client.write(data[:left])
        # The bytes are in the kernel, ahead of the end. An RST could overtake them.
        if self._faults.cut_by_reset:
            _reset(client)
        else:
            client.close()
        return b""


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN: SO_LINGER with no time to linger."""
    with contextlib.suppress(OSError, AttributeError):  # AttributeError: a TLS transport that is closed already
        raw = writer.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
