"""A proxy, in a process of its own, that holds everything that passes for a while: a network with a delay, on loopback.

    with delayed(port, seconds=0.002) as proxied: ...

What comes while something is held is held as long as that, not longer: the delay does not add up, as it doesn't on a network.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator

HOST = "127.0.0.1"


@contextlib.contextmanager
def delayed(port: int, seconds: float) -> Iterator[int]:
    """Run a proxy in front of a port of this machine; yield its own port."""
    command = [sys.executable, "-m", __name__, str(port), str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def release() -> None:
        while True:
            due, data = await held.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                writer.close()
                return
            writer.write(data)

    releasing = asyncio.create_task(release())
    with contextlib.suppress(OSError):
        while data := await reader.read(262_144):
            held.put_nowait((loop.time() + seconds, data))
    held.put_nowait((loop.time() + seconds, b""))
    await releasing


async def _serve(port: int, seconds: float) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(HOST, port, limit=2**20)
        await asyncio.gather(
            _pass_on(reader, server_writer, seconds), _pass_on(server_reader, writer, seconds), return_exceptions=True
        )

    listener = await asyncio.start_server(serve, HOST, 0, limit=2**20, backlog=1000)
    print(listener.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until whoever started it is gone


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
