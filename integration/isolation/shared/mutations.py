"""Mutations: guards of shared connections switched off, one at a time.

A seam that is no longer there, or is called in another way, is an error: else what goes wrong would be the mutation itself.
"""

from __future__ import annotations

import inspect
import itertools
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import redis

from tenantlimpyd._connections import fork, pool, select_plan, select_replies
from tenantlimpyd._connections.connection import SharedConnection
from tenantlimpyd._connections.connection_async import AsyncSharedConnection
from tenantlimpyd._connections.connection_base import ConnectionBase
from tenantlimpyd._fanout.multiplex import lease
from tenantlimpyd._fanout.multiplex.reply_reader import ReplyReader

__all__ = ["MUTATIONS", "swap"]

Patch = pytest.MonkeyPatch


def connections_in_doubt_are_kept(patch: Patch) -> None:
    """Keep connections whose state is not certain."""
    patch.setattr(ConnectionBase, "doubtful", False)


def the_database_is_not_tracked(patch: Patch) -> None:
    """Assume that a connection is in its next borrower's database."""
    _on_lending(patch, lambda connection: setattr(connection, "selected", connection.db))


def a_reply_is_left_unread(patch: Patch) -> None:
    """Leave some replies unread, and do not count them as pending."""
    calls = itertools.count(1)

    def forgetting(connection: Any) -> bool:
        if connection.handshaking or next(calls) % 10:
            return False
        connection.owed = 0
        connection._pending_replies = connection._pending_plan = None
        return True

    read, aread = SharedConnection.read_response, AsyncSharedConnection.read_response

    def read_response(self: Any, *args: Any, **options: Any) -> Any:
        if forgetting(self):
            raise Forgotten
        return read(self, *args, **options)

    async def aread_response(self: Any, *args: Any, **options: Any) -> Any:
        if forgetting(self):
            raise Forgotten
        return await aread(self, *args, **options)

    swap(patch, SharedConnection, "read_response", read_response)
    swap(patch, AsyncSharedConnection, "read_response", aread_response)


class Forgotten(redis.RedisError):
    """Ends a command whose reply is not read."""


def a_refused_select_is_overlooked(patch: Patch) -> None:
    """Treat a refused SELECT as successful."""
    trip, led = select_replies.apply_preparation, select_replies.LeadingReplies.settle

    def settled(replies: Any) -> list[Any]:
        return [b"OK" if isinstance(reply, redis.exceptions.NoPermissionError) else reply for reply in replies]

    swap(patch, select_replies, "apply_preparation", lambda at, commands, replies: trip(at, commands, settled(replies)))
    swap(patch, select_replies.LeadingReplies, "settle", lambda self, at, replies: led(self, at, settled(replies)))


def select_is_sent_ahead_of_any_command(patch: Patch) -> None:
    """Send SELECT and the command in one write, without a transaction."""

    def plan(at: Any, commands: Any) -> select_plan.SelectPlan:
        ahead = [("SELECT", at.db)] if at.selected != at.db else []
        return select_plan.SelectPlan((), [*ahead, *commands], select_replies.LeadingReplies(ahead, commands))

    swap(patch, select_plan, "plan", plan)
    swap(patch, select_plan, "quick", lambda *_: None)


def numbers_are_not_proven_to_exist(patch: Patch) -> None:
    """Send SELECT of an unproven database number inside the transaction, where its failure stops nothing."""
    patch.setattr(ConnectionBase, "highest", property(lambda _: 2**31, lambda *_: None))


def forks_go_unnoticed(patch: Patch) -> None:
    """Let a forked child use its parent's connections."""
    patch.setattr(fork, "_watched", weakref.WeakSet())
    swap(patch, SharedConnection, "_abandon_after_fork", lambda self: setattr(self, "born", fork.generation))
    swap(patch, AsyncSharedConnection, "_abandon_after_fork", lambda self: setattr(self, "born", fork.generation))


def a_scan_returns_connections_with_pending_replies(patch: Patch) -> None:
    """Return connections of a scan to the pool while replies are pending."""

    give_back, agive_back = lease.Lease.give_back, lease.AsyncLease.give_back

    def settle(connection: Any, db: int) -> bool:
        connection.owed, connection.selected = 0, db
        return bool(connection.is_connected)

    def certain(connection: Any, db: int | None) -> int | None:
        return connection.selected if db is None and connection is not None else db

    swap(patch, lease, "_settle", settle)
    swap(patch, lease.Lease, "give_back", lambda self, db: give_back(self, certain(self.connection, db)))
    swap(patch, lease.AsyncLease, "give_back", lambda self, db: agive_back(self, certain(self._connection, db)))


def a_scan_does_not_record_its_database(patch: Patch) -> None:
    """Do not record the database that a scan's connection is in."""
    swap(patch, lease, "_settle", lambda connection, _db: connection.is_connected and not connection.doubtful)


def a_scan_overlooks_a_refused_select(patch: Patch) -> None:
    """Overlook a refused SELECT: the page that follows is the previous database's."""
    feed = ReplyReader.feed

    def fed(self: ReplyReader, data: Any, size: int) -> Any:
        arrived = feed(self, data, size)
        lied = b"OK" if arrived and isinstance(arrived[-1], bytes) else "OK"
        return arrived and [lied if isinstance(reply, redis.ResponseError) else reply for reply in arrived]

    swap(patch, ReplyReader, "feed", fed)


MUTATIONS: dict[Callable[[Patch], None], str] = {
    connections_in_doubt_are_kept: "interrupt_in_one_database",
    the_database_is_not_tracked: "rotate",
    a_reply_is_left_unread: "rotate_slowly",
    a_refused_select_is_overlooked: "revoke_rights",
    select_is_sent_ahead_of_any_command: "revoke_rights",
    numbers_are_not_proven_to_exist: "select_missing_database",
    forks_go_unnoticed: "fork",
    a_scan_returns_connections_with_pending_replies: "leave_scans",
    a_scan_does_not_record_its_database: "leave_scans",
    a_scan_overlooks_a_refused_select: "scan_missing_database",
}
"""Each mutation with the scenario that must detect it."""


def swap(patch: Patch, owner: Any, name: str, stand_in: Callable[..., Any]) -> None:
    """Replace a function.

    Raises:
        AttributeError: there is none.
        TypeError: it can't be called as the other is.
    """
    parameters = inspect.signature(getattr(owner, name)).parameters.values()
    positional = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    options = {each.name: None for each in parameters if each.kind is each.KEYWORD_ONLY}
    inspect.signature(stand_in).bind(*positional, **options)
    patch.setattr(owner, name, stand_in)


def _on_lending(patch: Patch, change: Callable[[Any], None]) -> None:
    checkout, alend = pool.Pool.checkout, pool.AsyncPool.checkout

    def lent(self: Any, user: Any, **options: Any) -> Any:
        connection = checkout(self, user, **options)
        change(connection)
        return connection

    async def alent(self: Any, user: Any, **options: Any) -> Any:
        connection = await alend(self, user, **options)
        change(connection)
        return connection

    swap(patch, pool.Pool, "checkout", lent)
    swap(patch, pool.AsyncPool, "checkout", alent)
