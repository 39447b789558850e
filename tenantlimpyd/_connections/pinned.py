"""Pinned connections: a scan uses one connection, because its cursor is valid for one server process only.

redis-py would reconnect and send the cursor to the server that answers then, where it has another meaning or none: keys
would be missing without an error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import redis
import redis.asyncio
from redis.client import NEVER_DECODE

from tenantlimpyd._context_managers import AsyncCloseOnExit, CloseOnExit

__all__ = ["AsyncPinnedConnection", "PinnedConnection"]


def _lost(error: Exception) -> redis.ConnectionError:
    lost = redis.ConnectionError(
        f"the connection was lost during the scan, and with it the position of the scan: {error}"
    )
    lost.__cause__ = error
    return lost


def _check(connection: Any, pid: int, *, begun: bool) -> None:
    """Raise if the scan can't continue on this connection."""
    if pid != os.getpid():
        raise redis.ConnectionError(
            "this scan was started in another process, which may still use its connection: start a new scan"
        )
    if begun and not connection.is_connected:
        raise redis.ConnectionError("the connection of this scan was closed")


def _parsed(reply: Any, word: str, callbacks: Mapping[Any, Any], options: dict[str, Any]) -> Any:
    callback = callbacks.get(word)
    return reply if callback is None else callback(reply, **options)


class PinnedConnection(CloseOnExit):
    """Sends commands over one connection of a client's pool, and returns it to the pool when closed.

    The first command is retried as by the client. A later failure of the connection is an error.

    Args:
        client: the client.
        check: called before each command; raises if the command must not be sent.
    """

    def __init__(self, client: redis.Redis, check: Callable[[], None]) -> None:
        self._client = client
        self._check = check
        self._connection: Any = None
        self._answered = False
        self._pid = 0

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command and return its reply, as a client does.

        Raises:
            redis.ConnectionError: If the connection is lost.
        """
        self._check()
        undecoded = options.pop(NEVER_DECODE, False)

        def ask() -> Any:
            self._connection.send_command(*args)
            return self._connection.read_response(disable_decoding=undecoded)

        if self._connection is None:
            self._connection, self._pid = self._client.connection_pool.get_connection(), os.getpid()
        _check(self._connection, self._pid, begun=self._answered)
        if not self._answered:
            reply = self._connection.retry.call_with_retry(ask, self._connection.disconnect)
            self._answered = True
        else:
            try:
                reply = ask()
            except redis.TimeoutError:
                raise
            except redis.ConnectionError as error:
                raise _lost(error) from error
        return _parsed(reply, args[0], self._client.response_callbacks, options)

    def close(self) -> None:
        """Return the connection to the pool."""
        connection, self._connection = self._connection, None
        if connection is not None and self._pid == os.getpid():
            self._client.connection_pool.release(connection)


class AsyncPinnedConnection(AsyncCloseOnExit):
    """Sends commands over one connection of an async client's pool; see :class:`PinnedConnection`."""

    def __init__(self, client: redis.asyncio.Redis, check: Callable[[], None]) -> None:
        self._client = client
        self._check = check
        self._connection: Any = None
        self._answered = False
        self._pid = 0

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command and return its reply, as a client does.

        Raises:
            redis.ConnectionError: If the connection is lost.
        """
        self._check()
        undecoded = options.pop(NEVER_DECODE, False)

        async def ask() -> Any:
            await self._connection.send_command(*args)
            return await self._connection.read_response(disable_decoding=undecoded)

        async def failed(error: Exception) -> None:
            await self._connection.disconnect(error=error)

        if self._connection is None:
            self._connection, self._pid = await self._client.connection_pool.get_connection(), os.getpid()
        _check(self._connection, self._pid, begun=self._answered)
        if not self._answered:
            reply = await self._connection.retry.call_with_retry(ask, failed)
            self._answered = True
        else:
            try:
                reply = await ask()
            except redis.TimeoutError:
                raise
            except redis.ConnectionError as error:
                raise _lost(error) from error
        return _parsed(reply, args[0], self._client.response_callbacks, options)

    async def aclose(self) -> None:
        """Return the connection to the pool."""
        connection, self._connection = self._connection, None
        if connection is not None and self._pid == os.getpid():
            await self._client.connection_pool.release(connection)
