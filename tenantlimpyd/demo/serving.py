"""Serving an application with uvicorn, in this event loop, on a free port of loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn

__all__ = ["serving"]

_START_SECONDS = 10.0


class _Server(uvicorn.Server):
    """A server that leaves signals alone: Ctrl-C ends the demo as a whole, not the server under its clients."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(application: Any) -> AsyncIterator[str]:
    """Serve until the block ends; gives the URL.

    Raises:
        RuntimeError: the server did not start.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(application, log_config=None, access_log=False, ws="none", lifespan="off")
        server = _Server(config)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            async with asyncio.timeout(_START_SECONDS):
                while not server.started:
                    if task.done():
                        raise RuntimeError("uvicorn ended before it served anything") from task.exception()
                    await asyncio.sleep(0.01)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await asyncio.wait([task])
