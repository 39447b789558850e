"""The worker that sends one command or script to many databases in one write.

A server that refuses SELECT still runs the next command, in the database of the previous tenant. Therefore each write is one
transaction whose MULTI was confirmed before, on a connection whose server has passed the probe
(:mod:`tenantlimpyd._connections.transaction_probe`): for each tenant ``SELECT`` and the command, then ``EXEC``. If the
server refuses a SELECT or a command, EXEC runs nothing: that tenant has failed, and the calls of the others are sent again. A
database number that is out of range would be refused only inside EXEC. Therefore a worker first selects the highest number
it has work for, and if that fails, each number. Writes are short, so that the server does not process other clients between
their parts (:mod:`tenantlimpyd._connections.select_plan`).

If the server does not pass the probe, or a command is too long, the worker waits for the reply to each SELECT.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import redis
from redis.exceptions import NoPermissionError, NoScriptError, OutOfMemoryError

from tenantlimpyd._connections.select_plan import SHORT_BYTES
from tenantlimpyd._connections.transaction_probe import PROBE, refusal
from tenantlimpyd._fanout.multiplex.command_call import CommandCall, EncodedStep
from tenantlimpyd._fanout.multiplex.protocol import (
    DISCONNECT,
    Progress,
    SendRequest,
    Step,
    TenantDone,
    UnreachableError,
)
from tenantlimpyd._fanout.multiplex.reply_reader import UnfinishedTransactionError
from tenantlimpyd._fanout.multiplex.worker import SLOW_ANSWER_SECONDS, Worker, WorkGroup
from tenantlimpyd._fanout.outcomes import check_still_valid, timed_out
from tenantlimpyd._fanout.plan import PER_SERVER
from tenantlimpyd._operations.steps import Command, Script
from tenantlimpyd._resp import pack, pack_select

__all__ = ["CommandWorker"]

FIRST_BATCH, LARGEST_BATCH = 16, 128
"""Databases per transaction, at first and at most: the server serves no other client during EXEC."""

_MULTI, _EXEC = pack(b"MULTI"), pack(b"EXEC")
_PROBE = [pack(*(str(word).encode() for word in command)) for command in PROBE]
_OK, _QUEUED = b"OK", b"QUEUED"


class CommandWorker(Worker[CommandCall]):
    """Sends a command or script to the databases of a group."""

    def __init__(self, group: WorkGroup[CommandCall], step: Command | Script) -> None:
        super().__init__(group, FIRST_BATCH)
        self._encoded_step = EncodedStep(group.clients.server, step)
        self._highest = -1  # the highest database number that the server is known to have
        self._open = False  # whether an empty transaction is open on the connection
        self._proven = False  # the server of the connection has passed the probe of its transactions
        self._without_transactions = False  # the user may not send transactions
        self._loaded = False  # the server has the script's source
        self._queued = 0  # connections found in a transaction that can't be discarded
        self._retry: list[CommandCall] = []  # calls to send next
        self._work: list[CommandCall] = []

    def held_work(self) -> list[CommandCall]:
        """Return the calls that this worker has taken and not finished."""
        return list(dict.fromkeys([*self._work, *self._retry]))

    def _steps(self) -> Generator[Step, Any, None]:
        while True:
            self._work, self._retry = self._retry[: self.batch], self._retry[self.batch :]
            self._work = self._work or self.take_new_work()
            if not self._work:
                return
            if results := self._drop_removed_tenants():
                yield Progress(finished=results)
            if self._work and not self._without_transactions and max(call.db for call in self._work) > self._highest:
                results = yield from self._verify()
                if results:
                    yield Progress(finished=results)
            if self._work:
                results = yield from (self._one_by_one() if self._without_transactions else self._run_transaction())
                if results:
                    yield Progress(finished=results)
            if self.out_of_permits:
                self.group.pending.extend(self._retry)
                return

    def _drop_removed_tenants(self) -> list[TenantDone]:
        results: list[TenantDone] = []
        for call in self._work:
            try:
                check_still_valid(call.jobs[0])
            except Exception as error:  # noqa: BLE001 - becomes the outcome of the tenant
                results.append(TenantDone(call.jobs[0], None, error, call.seconds))
        if results:
            gone = {end.job for end in results}
            self._work = [call for call in self._work if call.jobs[0] not in gone]
        return results

    def _sent(
        self, payload: list[bytes], replies: int, *, inside: bool = False, opens: bool = False
    ) -> Generator[Step, Any, list[Any] | list[TenantDone]]:
        """Send commands for the current calls. Return the replies, or the tenants' results if the connection failed."""
        allowed = self.seconds_left(self._work)
        started = self.clock()
        error: Exception | None = None
        received: list[Any] = []
        self._open = False
        try:
            yield from self.connect(allowed)
            left = max(0.0, allowed - (self.clock() - started))
            received = yield SendRequest(payload, replies, left, inside=inside, opens=opens, proven=self._proven)
        except Exception as raised:  # noqa: BLE001 - becomes the outcome of the tenants
            error = raised
        took = self.clock() - started
        work = self._work
        if error is None:
            for call in work:
                call.seconds += took
            self.record_answer()
            self._open = opens and received[-1] == _OK
            if inside:
                self.batch = (
                    max(1, self.batch // 2) if took > SLOW_ANSWER_SECONDS else min(LARGEST_BATCH, 2 * self.batch)
                )
            return received
        self._work = []
        self._left()
        unreachable = isinstance(error, UnreachableError)
        if unreachable and isinstance(error.__cause__, Exception):
            error = error.__cause__
        if self.is_out_of_permits(error) or self._not_begun(error):
            self._retry = [*work, *self._retry]
            return []
        for call in work:
            call.seconds += took
        late = took >= 0.9 * allowed and isinstance(error, redis.RedisError)
        if late:  # the commands may have run: they are not sent again
            error = timed_out(allowed if self.group.timeout is None else self.group.timeout, error)
        unreachable_work = self.take_unreachable_work(took, self._retry, hopeless=unreachable or late)
        self._retry = [call for call in self._retry if call not in unreachable_work]
        return self.failures(work + unreachable_work, error)

    def _not_begun(self, error: Exception) -> bool:
        """Return whether nothing ran because the connection was in a transaction that can't be discarded."""
        self._queued += isinstance(error, UnfinishedTransactionError)
        return isinstance(error, UnfinishedTransactionError) and self._queued <= 2 * PER_SERVER

    def _left(self) -> None:
        """Reset what is known of the connection, which is closed."""
        self._highest, self.db, self.connected, self._open, self._proven = -1, None, False, False, False

    def _verify(self) -> Generator[Step, Any, list[TenantDone]]:
        """Check that the databases of the current calls can be selected, and open a transaction if the user may."""
        highest = max(planned.clients.db for planned in (*self._work, *self.group.pending))
        self.db = None
        replies = yield from self._sent([*_PROBE, pack_select(highest), _MULTI], len(_PROBE) + 2, opens=True)
        if not self._work:
            return replies
        if not self._open or refusal(replies[: len(_PROBE)]) is not None:
            selected, work = replies[-2], self._work
            self._left()
            yield DISCONNECT  # the connection may be in a transaction
            if isinstance(selected, NoPermissionError):
                self._work = []
                return self.failures(work, selected)
            self._without_transactions = True
            return []
        self._proven = True
        if replies[-2] == _OK:
            self._highest = self.db = highest
            return []
        replies = yield from self._sent(
            [*(pack_select(call.db) for call in self._work), _MULTI], len(self._work) + 1, opens=True
        )
        if not self._work:
            return replies
        refused = {call: reply for call, reply in zip(self._work, replies, strict=False) if reply != _OK}
        self._work = [call for call in self._work if call not in refused]
        if self._work:
            self._highest, self.db = max(call.db for call in self._work), self._work[-1].db
        return [end for call, reply in refused.items() for end in self.failures([call], _as_error(reply))]

    def _one_by_one(self) -> Generator[Step, Any, list[TenantDone]]:
        """Send one call after its SELECT was confirmed: two round trips."""
        call, *others = self._work
        self._work, self._retry, self.db = [call], [*others, *self._retry], None
        replies = yield from self._sent([pack_select(call.db)], 1)
        if not self._work:
            return replies
        if replies[0] != _OK:
            return self.failures([call], _as_error(replies[0]))
        self.db = call.db
        replies = yield from self._sent([self._encoded(call)], 1)
        return self._answer(call, replies[0]) if self._work else replies

    def _run_transaction(self) -> Generator[Step, Any, list[TenantDone]]:
        if not self._open:
            replies = yield from self._sent([_MULTI], 1, opens=True)
            if not self._work:
                return replies
            if not self._open:
                self._without_transactions = True
                return (yield from self._one_by_one())
        payload = self._transaction()
        if not payload:  # the first call alone is too long
            return (yield from self._one_by_one())
        where, self.db = self.db, None
        replies = yield from self._sent(payload, 2 * len(self._work) + 2, inside=True, opens=True)
        if not self._work:
            return replies
        self.db = where
        results: list[TenantDone] = []
        work = self._work
        executed = replies[-2]
        queued = {call: replies[2 * position : 2 * position + 2] for position, call in enumerate(work)}
        if any(reply != _QUEUED and not isinstance(reply, Exception) for pair in queued.values() for reply in pair):
            raise redis.InvalidResponse("the server did not queue a command inside MULTI")
        if not isinstance(executed, list):
            return (yield from self._not_executed(queued, executed))
        for position, call in enumerate(work):
            selected, reply = executed[2 * position : 2 * position + 2]
            if isinstance(selected, Exception):  # the user's permissions changed in the meantime
                results += self.failures([call], selected)
                self.db = None
                continue
            self.db = call.db
            results += self._answer(call, reply)
        if self.db is None:
            self._left()
            yield DISCONNECT
        return results

    def _transaction(self) -> list[bytes]:
        """Return a write for as many of the current calls as fit; nothing if the first one is too long."""
        payload: list[bytes] = []
        size = 0
        for position, call in enumerate(self._work):
            asked = (pack_select(call.db), self._encoded(call, first=not position))
            size += sum(map(len, asked))
            if size > SHORT_BYTES:
                sent = max(1, position)
                self._work, self._retry = self._work[:sent], [*self._work[sent:], *self._retry]
                break
            payload += asked
        return [*payload, _EXEC, _MULTI] if payload else []

    def _not_executed(
        self, queued: dict[CommandCall, list[Any]], executed: Any
    ) -> Generator[Step, Any, list[TenantDone]]:
        """Handle a transaction that did not run: fail the refused calls and send the others again."""
        results: list[TenantDone] = []
        aborted = isinstance(executed, redis.exceptions.ExecAbortError)
        if aborted and any(isinstance(reply, OutOfMemoryError) for pair in queued.values() for reply in pair):
            # Redis up to 7.2 at maxmemory queues nothing, not even commands that need no memory.
            self._without_transactions = True
            self._retry.extend(queued)
            self._left()
            yield DISCONNECT
            return results
        for call, pair in queued.items():
            error = next((reply for reply in pair if isinstance(reply, Exception)), None)
            if error is None:
                self._retry.append(call)
            else:
                results += self.failures([call], error)
        if not results or not aborted:
            self._without_transactions = self._without_transactions or not results
            self._left()
            yield DISCONNECT  # the connection may still be in the transaction
        return results

    def _encoded(self, call: CommandCall, *, first: bool = True) -> bytes:
        """Return the encoded command for a call: a script's source once, then its digest."""
        return self._encoded_step.packed(whole=call.whole or (first and not self._loaded))

    def _answer(self, call: CommandCall, reply: Any) -> list[TenantDone]:
        """Return the result of a call; nothing if it must be sent again with the script's source."""
        if isinstance(reply, NoScriptError) and not call.whole:
            call.whole = True
            self._retry.append(call)
            return []
        self._loaded = self._loaded or not isinstance(reply, Exception)
        return [self._result(call, reply)]

    def _result(self, call: CommandCall, reply: Any) -> TenantDone:
        if isinstance(reply, Exception):
            return TenantDone(call.jobs[0], None, reply, call.seconds)
        try:
            value = self._encoded_step.value(reply)
        except Exception as error:  # noqa: BLE001 - for example a reply that is not UTF-8: it affects this tenant only
            return TenantDone(call.jobs[0], None, error, call.seconds)
        return TenantDone(call.jobs[0], value, None, call.seconds)


def _as_error(reply: Any) -> Exception:
    return reply if isinstance(reply, Exception) else redis.InvalidResponse("the server's reply to SELECT is not OK")
