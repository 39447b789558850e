"""One command or script for many databases: which commands are allowed, how they are encoded, and how replies are decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from redis.client import NEVER_DECODE

from tenantlimpyd._commands import row_of
from tenantlimpyd._connections.database_clients import DatabaseClients
from tenantlimpyd._connections.endpoint import Endpoint
from tenantlimpyd._fanout.outcomes import Job
from tenantlimpyd._operations.steps import Command, Script
from tenantlimpyd._resp import decode_reply, pack
from tenantlimpyd.exceptions import ImplementationError, shown

__all__ = ["CommandCall", "EncodedStep", "checked_step"]


def checked_step(step: Command | Script, jobs: Sequence[Job] = ()) -> Command | Script:
    """Return a command or script that may be sent to many databases over one connection.

    Raises:
        ImplementationError: If the command alters the connection, blocks, reaches beyond its database, or is unknown.
    """
    if isinstance(step, Command):
        row = row_of(step.args)
        if (
            not row.known
            or not (row.in_multi or row.binary_reply)
            or row.effect != "none"
            or row.reach == "databases"
            or row.names_database(step.args)
        ):
            raise ImplementationError(
                f"{shown(row.name)} can't be sent to many databases over one connection: it alters the connection, waits, "
                "reaches beyond its database, or is not in the command table. Give fan_out a function, which has a "
                "connection of the tenant's own."
            )
        if row.reach == "database" and row.writes and not row.keys and any(job.database.key_prefix for job in jobs):
            raise ImplementationError(
                f"{shown(row.name)} would reach the keys of other tenants: some tenants share a database by key_prefix. "
                "Give fan_out a function that deletes the keys that database.scan_keys() finds."
            )
    return step


@attrs.define(eq=False)
class CommandCall:
    """The call of one tenant's database."""

    jobs: list[Job]
    db: int
    clients: DatabaseClients
    seconds: float = 0.0
    restarts: int = 0
    whole: bool = False  # whether the script's source must be sent

    @classmethod
    def of(cls, planned: Job | CommandCall) -> CommandCall:
        """Return the call for a job; return a call as it is."""
        return cls([planned], planned.clients.db, planned.clients) if isinstance(planned, Job) else planned


class EncodedStep:
    """A command or script that is encoded once for many databases.

    Args:
        server: the endpoint whose encoding and response callbacks apply.
        step: the command or script.
    """

    def __init__(self, server: Endpoint, step: Command | Script) -> None:
        self._server = server
        self._step = step
        self._source, self._digest = (step.by_source(), step.by_digest()) if isinstance(step, Script) else (step, step)
        self._packed: dict[bool, bytes] = {}

    def packed(self, *, whole: bool) -> bytes:
        """Return the encoded command; for a script with its source or only its digest.

        Raises:
            redis.DataError, UnicodeError: If a word can't be encoded.
        """
        if whole not in self._packed:
            encoder: Any = self._server.client.connection_pool.get_encoder()
            words: list[bytes] = []
            for position, word in enumerate((self._source if whole else self._digest).args):
                parts = (
                    str(word).split() if position == 0 and isinstance(word, str) else [word]
                )  # redis-py sends CONFIG GET as two words
                words += [bytes(encoder.encode(part)) for part in parts]
            self._packed[whole] = pack(*words)
        return self._packed[whole]

    def value(self, reply: Any) -> Any:
        """Return the value of a reply, as redis-py's client would.

        Raises:
            Exception: If the reply can't be decoded, or a response callback fails.
        """
        if isinstance(self._step, Script):
            return decode_reply(reply)
        options = dict(self._step.options)
        if not options.pop(NEVER_DECODE, False):
            reply = decode_reply(reply)
        callbacks: dict[Any, Any] = self._server.client.response_callbacks
        callback = callbacks.get(self._step.args[0])
        return reply if callback is None else callback(reply, **options)
