"""Guards of shared connections switched off, one at a time.

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
    """No disconnect on doubt."""
    patch.setattr(ConnectionBase, "doubtful", False)


def the_database_is_not_tracked(patch: Patch) -> None:
    """A connection is taken to be where its next user wants it."""
    _on_lending(patch, lambda connection: setattr(connection, "selected", connection.db))


def a_reply_is_left_unread(patch: Patch) -> None:
    """A command is given up before its reply is read, now and then, and the reply is no longer counted as owed."""
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
    """Ends a command whose reply nobody reads."""


def a_refused_select_is_overlooked(patch: Patch) -> None:
    """What says that SELECT failed is taken for its success."""
    trip, led = select_replies.apply_preparation, select_replies.LeadingReplies.settle

    def settled(replies: Any) -> list[Any]:
        return [b"OK" if isinstance(reply, redis.exceptions.NoPermissionError) else reply for reply in replies]

    swap(patch, select_replies, "apply_preparation", lambda at, commands, replies: trip(at, commands, settled(replies)))
    swap(patch, select_replies.LeadingReplies, "settle", lambda self, at, replies: led(self, at, settled(replies)))


def select_is_sent_ahead_of_any_command(patch: Patch) -> None:
    """As redis-py's users do by hand: SELECT and the command in one write, in no transaction."""

    def plan(at: Any, commands: Any) -> select_plan.SelectPlan:
        ahead = [("SELECT", at.db)] if at.selected != at.db else []
        return select_plan.SelectPlan((), [*ahead, *commands], select_replies.LeadingReplies(ahead, commands))

    swap(patch, select_plan, "plan", plan)
    swap(patch, select_plan, "quick", lambda *_: None)


def numbers_are_not_proven_to_exist(patch: Patch) -> None:
    """SELECT of a number that no connection was in goes into the transaction, where its failure stops nothing."""
    patch.setattr(ConnectionBase, "highest", property(lambda _: 2**31, lambda *_: None))


def forks_go_unnoticed(patch: Patch) -> None:
    """A child takes its parent's connections for its own."""
    patch.setattr(fork, "_watched", weakref.WeakSet())
    swap(patch, SharedConnection, "_abandon_after_fork", lambda self: setattr(self, "born", fork.generation))
    swap(patch, AsyncSharedConnection, "_abandon_after_fork", lambda self: setattr(self, "born", fork.generation))


def a_walk_hands_on_what_it_waits_for(patch: Patch) -> None:
    """Its connection goes back to the pool while replies are due on it."""

    give_back, agive_back = lease.Lease.give_back, lease.AsyncLease.give_back

    def settle(connection: Any, db: int) -> bool:
        connection.owed, connection.selected = 0, db
        return bool(connection.is_connected)

    def certain(connection: Any, db: int | None) -> int | None:
        return connection.selected if db is None and connection is not None else db

    swap(patch, lease, "_settle", settle)
    swap(patch, lease.Lease, "give_back", lambda self, db: give_back(self, certain(self.connection, db)))
    swap(patch, lease.AsyncLease, "give_back", lambda self, db: agive_back(self, certain(self._connection, db)))


def a_walk_keeps_to_itself_where_it_went(patch: Patch) -> None:
    """The database that its connection is in is not taken down."""
    swap(patch, lease, "_settle", lambda connection, _db: connection.is_connected and not connection.doubtful)


def a_walk_takes_a_refused_page_for_its_tenants(patch: Patch) -> None:
    """A SELECT that was refused goes unnoticed: the page that follows is of the database before."""
    feed = ReplyReader.feed

    def fed(self: ReplyReader, data: Any, size: int) -> Any:
        come = feed(self, data, size)
        lied = b"OK" if come and isinstance(come[-1], bytes) else "OK"
        return come and [lied if isinstance(reply, redis.ResponseError) else reply for reply in come]

    swap(patch, ReplyReader, "feed", fed)


MUTATIONS: dict[Callable[[Patch], None], str] = {
    connections_in_doubt_are_kept: "rest_and_interrupt",
    the_database_is_not_tracked: "rotate",
    a_reply_is_left_unread: "rotate_slowly",
    a_refused_select_is_overlooked: "refuse",
    select_is_sent_ahead_of_any_command: "refuse",
    numbers_are_not_proven_to_exist: "go_beyond",
    forks_go_unnoticed: "fork",
    a_walk_hands_on_what_it_waits_for: "walk_and_leave",
    a_walk_keeps_to_itself_where_it_went: "walk_and_leave",
    a_walk_takes_a_refused_page_for_its_tenants: "walk_beyond",
}
"""Each with the drill that must show it."""


def swap(patch: Patch, owner: Any, name: str, stand_in: Callable[..., Any]) -> None:
    """Put a function in another's place.

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
