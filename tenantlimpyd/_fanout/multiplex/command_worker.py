"""A lane that calls: one command or script, for many databases in one write.

A SELECT that the server refuses does not keep it from carrying out what comes next, in the database of the tenant before.
So a write is one transaction, whose MULTI was answered before: ``SELECT``, the command, for each tenant, and ``EXEC``. Where
a SELECT or a command is refused, EXEC carries out nothing; its tenant has failed, and the others are asked again. A number
that is out of range would be refused too late for that: so a lane first goes to the highest number it has work for, and
where that fails, to each one. A write is short, so that nothing comes between its parts (:mod:`tenantlimpyd._connections.select_plan`).

For users who may not send MULTI or EXEC, and for what is too long, each SELECT is answered before its command is sent.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import redis
from redis.exceptions import NoScriptError

from tenantlimpyd._connections.select_plan import SHORT
from tenantlimpyd._fanout.multiplex.command_call import CommandCall, EncodedStep
from tenantlimpyd._fanout.multiplex.protocol import LEAVE, Progress, SendRequest, Step, TenantDone, UnreachableError
from tenantlimpyd._fanout.multiplex.reply_reader import UnfinishedTransactionError
from tenantlimpyd._fanout.multiplex.scheduler import WorkGroup
from tenantlimpyd._fanout.multiplex.worker import SLOW_TRIP, Worker
from tenantlimpyd._fanout.outcomes import still, timed_out
from tenantlimpyd._fanout.plan import PER_SERVER
from tenantlimpyd._operations.steps import Command, Script
from tenantlimpyd._resp import pack

__all__ = ["CommandWorker"]

FIRST_BATCH, LARGEST_BATCH = 16, 128
"""Databases in one transaction, at first and at most: the server serves nobody else meanwhile."""

_MULTI, _EXEC, _DISCARD = pack(b"MULTI"), pack(b"EXEC"), pack(b"DISCARD")
_OK, _QUEUED = b"OK", b"QUEUED"


class CommandWorker(Worker[CommandCall]):
    """One connection's part in a fan-out."""

    def __init__(self, group: WorkGroup[CommandCall], step: Command | Script) -> None:
        super().__init__(group, FIRST_BATCH)
        self._wording = EncodedStep(group.clients.server, step)
        self._highest = -1  # a number that the server is known to have
        self._open = False  # whether the connection is in a transaction that nothing was put in
        self._singly = False  # the user may send no transactions
        self._loaded = False  # the server has had the script's source
        self._queued = 0  # how many connections were in a transaction that can't be ended
        self._again: list[CommandCall] = []  # what is asked next
        self._work: list[CommandCall] = []

    def hands(self) -> list[CommandCall]:
        """Return the work in this lane's hands."""
        return list(dict.fromkeys([*self._work, *self._again]))

    def _steps(self) -> Generator[Step, Any, None]:
        while True:
            self._work, self._again = self._again[: self.batch], self._again[self.batch :]
            self._work = self._work or self.take_fresh()
            if not self._work:
                return
            if ends := self._gone():
                yield Progress(ends=ends)
            if self._work and not self._singly and max(call.db for call in self._work) > self._highest:
                ends = yield from self._verify()
                if ends:
                    yield Progress(ends=ends)
            if self._work:
                ends = yield from (self._one_by_one() if self._singly else self._ask())
                if ends:
                    yield Progress(ends=ends)
            if self.crowded:
                self.group.fresh.extend(self._again)
                return

    def _gone(self) -> list[TenantDone]:
        ends: list[TenantDone] = []
        for call in self._work:
            try:
                still(call.jobs[0])
            except Exception as error:  # noqa: BLE001 - becomes the tenant's outcome
                ends.append(TenantDone(call.jobs[0], None, error, call.seconds))
        if ends:
            gone = {end.job for end in ends}
            self._work = [call for call in self._work if call.jobs[0] not in gone]
        return ends

    def _sent(
        self, payload: list[bytes], replies: int, *, inside: bool = False, opens: bool = False
    ) -> Generator[Step, Any, list[Any] | list[TenantDone]]:
        """Send something on behalf of the work at hand; return the replies, or the ends where the connection failed."""
        allowed = self.left(self._work)
        started = self.clock()
        error: Exception | None = None
        received: list[Any] = []
        self._open = False
        try:
            yield from self.connect(allowed)
            left = max(0.0, allowed - (self.clock() - started))
            received = yield SendRequest(payload, replies, left, inside=inside, opens=opens)
        except Exception as raised:  # noqa: BLE001 - becomes the tenants' outcome
            error = raised
        took = self.clock() - started
        work = self._work
        if error is None:
            for call in work:
                call.seconds += took
            self.heard()
            self._open = opens and received[-1] == _OK
            if inside:
                self.batch = max(1, self.batch // 2) if took > SLOW_TRIP else min(LARGEST_BATCH, 2 * self.batch)
            return received
        self._work = []
        self._left()
        unreachable = isinstance(error, UnreachableError)
        if unreachable and isinstance(error.__cause__, Exception):
            error = error.__cause__
        if self.crowded_out(error) or self._not_begun(error):
            self._again = [*work, *self._again]
            return []
        for call in work:
            call.seconds += took
        late = took >= 0.9 * allowed and isinstance(error, redis.RedisError)
        if late:  # what was sent may have been done: nothing is sent again
            error = timed_out(allowed if self.group.timeout is None else self.group.timeout, error)
        dead = self.dead_for(took, self._again, hopeless=unreachable or late)
        self._again = [call for call in self._again if call not in dead]
        return self.ends(work + dead, error)

    def _not_begun(self, error: Exception) -> bool:
        """Return whether a connection was in a transaction that can't be ended: nothing was carried out, others may do."""
        self._queued += isinstance(error, UnfinishedTransactionError)
        return isinstance(error, UnfinishedTransactionError) and self._queued <= 2 * PER_SERVER

    def _left(self) -> None:
        """Take down that the connection is closed."""
        self._highest, self.db, self.connected, self._open = -1, None, False, False

    def _verify(self) -> Generator[Step, Any, list[TenantDone]]:
        """See that every number at hand can be selected, and open a transaction, where the user may."""
        highest = max(planned.clients.db for planned in (*self._work, *self.group.fresh))
        self.db = None
        replies = yield from self._sent([_select(highest), _MULTI, _DISCARD, _MULTI], 4, opens=True)
        if not self._work:
            return replies
        if not self._open:  # the user may not begin a transaction, or not end one
            self._singly = True
            if replies[1] == _OK:
                self._left()
                yield LEAVE
            return []
        if replies[0] == _OK:
            self._highest = self.db = highest
            return []
        replies = yield from self._sent(
            [*(_select(call.db) for call in self._work), _MULTI], len(self._work) + 1, opens=True
        )
        if not self._work:
            return replies
        refused = {call: reply for call, reply in zip(self._work, replies, strict=False) if reply != _OK}
        self._work = [call for call in self._work if call not in refused]
        if self._work:
            self._highest, self.db = max(call.db for call in self._work), self._work[-1].db
        return [end for call, reply in refused.items() for end in self.ends([call], _as_error(reply))]

    def _one_by_one(self) -> Generator[Step, Any, list[TenantDone]]:
        """Ask one database, after its SELECT has been answered: two round trips."""
        call, *others = self._work
        self._work, self._again, self.db = [call], [*others, *self._again], None
        replies = yield from self._sent([_select(call.db)], 1)
        if not self._work:
            return replies
        if replies[0] != _OK:
            return self.ends([call], _as_error(replies[0]))
        self.db = call.db
        replies = yield from self._sent([self._asked(call)], 1)
        return self._answer(call, replies[0]) if self._work else replies

    def _ask(self) -> Generator[Step, Any, list[TenantDone]]:
        if not self._open:
            replies = yield from self._sent([_MULTI], 1, opens=True)
            if not self._work:
                return replies
            if not self._open:
                self._singly = True
                return (yield from self._one_by_one())
        payload = self._transaction()
        if not payload:  # it is long by itself
            return (yield from self._one_by_one())
        where, self.db = self.db, None
        replies = yield from self._sent(payload, 2 * len(self._work) + 2, inside=True, opens=True)
        if not self._work:
            return replies
        self.db = where
        ends: list[TenantDone] = []
        work = self._work
        executed = replies[-2]
        queued = {call: replies[2 * place : 2 * place + 2] for place, call in enumerate(work)}
        if any(reply != _QUEUED and not isinstance(reply, Exception) for pair in queued.values() for reply in pair):
            raise redis.InvalidResponse("the server did not queue what it was sent inside MULTI")
        if not isinstance(executed, list):
            return (yield from self._not_executed(queued, executed))
        for place, call in enumerate(work):
            selected, reply = executed[2 * place : 2 * place + 2]
            if isinstance(selected, Exception):  # rights, or the server's databases, are others than a moment ago
                ends += self.ends([call], selected)
                self.db = None
                continue
            self.db = call.db
            ends += self._answer(call, reply)
        if self.db is None:
            self._left()
            yield LEAVE
        return ends

    def _transaction(self) -> list[bytes]:
        """Return the write for the work at hand, or for as much as is short; nothing, where the first alone is long."""
        payload: list[bytes] = []
        size = 0
        for place, call in enumerate(self._work):
            asked = (_select(call.db), self._asked(call, first=not place))
            size += sum(map(len, asked))
            if size > SHORT:
                sent = max(1, place)
                self._work, self._again = self._work[:sent], [*self._work[sent:], *self._again]
                break
            payload += asked
        return [*payload, _EXEC, _MULTI] if payload else []

    def _not_executed(
        self, queued: dict[CommandCall, list[Any]], executed: Any
    ) -> Generator[Step, Any, list[TenantDone]]:
        """Sort out a transaction that was not carried out: who is to blame has failed, the others are asked again."""
        ends: list[TenantDone] = []
        for call, pair in queued.items():
            error = next((reply for reply in pair if isinstance(reply, Exception)), None)
            if error is None:
                self._again.append(call)
            else:
                ends += self.ends([call], error)
        if not ends or not isinstance(executed, redis.exceptions.ExecAbortError):
            self._singly = self._singly or not ends
            self._left()
            yield LEAVE  # it may be in the transaction still
        return ends

    def _asked(self, call: CommandCall, *, first: bool = True) -> bytes:
        """Return what is sent for a tenant: a script's source once, and after that its digest."""
        return self._wording.packed(whole=call.whole or (first and not self._loaded))

    def _answer(self, call: CommandCall, reply: Any) -> list[TenantDone]:
        """Return the end of a tenant that was answered; nothing, where it must be asked again."""
        if isinstance(reply, NoScriptError) and not call.whole:
            call.whole = True
            self._again.append(call)
            return []
        self._loaded = self._loaded or not isinstance(reply, Exception)
        return [self._end(call, reply)]

    def _end(self, call: CommandCall, reply: Any) -> TenantDone:
        if isinstance(reply, Exception):
            return TenantDone(call.jobs[0], None, reply, call.seconds)
        try:
            value = self._wording.value(reply)
        except Exception as error:  # noqa: BLE001 - such as a reply that is not UTF-8: this tenant's alone
            return TenantDone(call.jobs[0], None, error, call.seconds)
        return TenantDone(call.jobs[0], value, None, call.seconds)


def _select(db: int) -> bytes:
    return pack(b"SELECT", b"%d" % db)


def _as_error(reply: Any) -> Exception:
    return reply if isinstance(reply, Exception) else redis.InvalidResponse("the server answered SELECT with no OK")
