"""Guards of shared connections switched off, one at a time. A seam that is no longer there is an error, not a silence."""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import redis

from tenantlimpyd import forks, pools, switching
from tenantlimpyd.fanout import leases
from tenantlimpyd.fanout.replies import Replies
from tenantlimpyd.guards.awaiting import AsyncGuarded
from tenantlimpyd.guards.blocking import Guarded
from tenantlimpyd.guards.owing import Owing

__all__ = ["MUTATIONS"]

Patch = pytest.MonkeyPatch


def connections_in_doubt_are_kept(patch: Patch) -> None:
    """No disconnect on doubt."""
    patch.setattr(Owing, "doubtful", False)


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
        connection._reading = connection._planned = None
        return True

    read, aread = Guarded.read_response, AsyncGuarded.read_response

    def read_response(self: Any, *args: Any, **options: Any) -> Any:
        if forgetting(self):
            raise Forgotten
        return read(self, *args, **options)

    async def aread_response(self: Any, *args: Any, **options: Any) -> Any:
        if forgetting(self):
            raise Forgotten
        return await aread(self, *args, **options)

    patch.setattr(Guarded, "read_response", read_response)
    patch.setattr(AsyncGuarded, "read_response", aread_response)


class Forgotten(redis.RedisError):
    """Ends a command whose reply nobody reads."""


def a_refused_select_is_overlooked(patch: Patch) -> None:
    """What says that SELECT failed is taken for its success."""
    trip, led = switching.settle_trip, switching.Lead.settle

    def settled(replies: Any) -> list[Any]:
        return [b"OK" if isinstance(reply, redis.exceptions.NoPermissionError) else reply for reply in replies]

    patch.setattr(switching, "settle_trip", lambda at, commands, replies: trip(at, commands, settled(replies)))
    patch.setattr(switching.Lead, "settle", lambda self, at, replies: led(self, at, settled(replies)))


def select_is_sent_ahead_of_any_command(patch: Patch) -> None:
    """As redis-py's users do by hand: SELECT and the command in one write, in no transaction."""

    def plan(at: Any, commands: Any) -> switching.Plan:
        ahead = [("SELECT", at.db)] if at.selected != at.db else []
        return switching.Plan((), [*ahead, *commands], switching.Lead(ahead, commands))

    patch.setattr(switching, "plan", plan)
    patch.setattr(switching, "quick", lambda *_: None)


def numbers_are_not_proven_to_exist(patch: Patch) -> None:
    """SELECT of a number that no connection was in goes into the transaction, where its failure stops nothing."""
    patch.setattr(Owing, "highest", property(lambda _: 2**31, lambda *_: None))


def forks_go_unnoticed(patch: Patch) -> None:
    """A child takes its parent's connections for its own."""
    patch.setattr(forks, "_watched", weakref.WeakSet())
    patch.setattr(Guarded, "_leave_to_parent", lambda self: setattr(self, "born", forks.generation))
    patch.setattr(AsyncGuarded, "_leave_to_parent", lambda self: setattr(self, "born", forks.generation))


def a_walk_hands_on_what_it_waits_for(patch: Patch) -> None:
    """Its connection goes back to the pool while replies are due on it."""

    def settle(connection: Any, _replies: Any, _db: Any) -> bool:
        connection.owed = 0
        return bool(connection.is_connected)

    patch.setattr(leases, "_settle", settle)


def a_walk_keeps_to_itself_where_it_went(patch: Patch) -> None:
    """The database that its connection is in is not taken down."""
    patch.setattr(leases, "_settle", lambda connection, _replies, db: connection.is_connected and db is not None)


def a_walk_takes_a_refused_page_for_its_tenants(patch: Patch) -> None:
    """A SELECT that was refused goes unnoticed: the page that follows is of the database before."""
    feed = Replies.feed

    def fed(self: Replies, data: Any, size: int) -> Any:
        come = feed(self, data, size)
        lied = b"OK" if come and isinstance(come[-1], bytes) else "OK"
        return come and [lied if isinstance(reply, redis.ResponseError) else reply for reply in come]

    patch.setattr(Replies, "feed", fed)


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


def _on_lending(patch: Patch, change: Callable[[Any], None]) -> None:
    lend, alend = pools.Pool.lend, pools.AsyncPool.lend

    @functools.wraps(lend)
    def lent(self: Any, user: Any) -> Any:
        connection = lend(self, user)
        change(connection)
        return connection

    @functools.wraps(alend)
    async def alent(self: Any, user: Any) -> Any:
        connection = await alend(self, user)
        change(connection)
        return connection

    patch.setattr(pools.Pool, "lend", lent)
    patch.setattr(pools.AsyncPool, "lend", alent)
