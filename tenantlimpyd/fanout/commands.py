"""A lane that calls: one command or script, pipelined over many databases.

A SELECT that the server refuses does not keep it from carrying out what comes next, in the database of the tenant before.
So each tenant's command is sent as ``MULTI``, ``SELECT``, the command, ``EXEC``: where the user may not select the database,
EXEC carries out nothing. A number that is out of range would be refused too late for that: so a lane first goes to the
highest number it has work for, and where that fails, to each one.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import attrs
import redis
from redis.client import NEVER_DECODE
from redis.exceptions import NoScriptError

from tenantlimpyd.exceptions import ImplementationError, shown
from tenantlimpyd.fanout.lanes import Chunk, End, Group, Lane, Step, Trip, UnreachableError
from tenantlimpyd.fanout.outcomes import Job, timed_out
from tenantlimpyd.fanout.sources import pack, still
from tenantlimpyd.links import Link
from tenantlimpyd.operations import Command, Script

__all__ = ["Call", "CallLane", "checked_step"]

_MULTI, _EXEC, _DISCARD = pack(b"MULTI"), pack(b"EXEC"), pack(b"DISCARD")
_REFUSED = frozenset(
    {
        *("SELECT", "RESET", "AUTH", "HELLO", "CLIENT", "QUIT", "MONITOR", "READONLY", "READWRITE", "SHUTDOWN"),
        *("MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH", "SYNC", "PSYNC", "SWAPDB", "MOVE"),
        *("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"),
        *("BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "WAIT", "WAITAOF"),
    }
)
"""Commands that alter a connection, wait, or reach beyond the database they are sent to."""


def checked_step(step: Command | Script) -> Command | Script:
    """Return a step if it can be sent to many databases over one connection.

    Raises:
        ImplementationError: it can't.
    """
    if isinstance(step, Command):
        name = step.args[0] if step.args else ""
        text = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
        word = (text.upper().split() or [""])[0]
        if not word or word in _REFUSED:
            raise ImplementationError(
                f"{shown(text)} can't be sent to many databases over one connection: it alters the connection, waits, or "
                "reaches beyond its database. Give fan_out a function, which has a connection of the tenant's own."
            )
    return step


@attrs.define(eq=False)
class Call:
    """What is to be asked of one tenant's database."""

    jobs: list[Job]
    db: int
    link: Link
    seconds: float = 0.0
    restarts: int = 0
    whole: bool = False  # the script's source must be sent

    @classmethod
    def of(cls, planned: Job | Call) -> Call:
        """Return what is to be asked for a job, or what was laid down."""
        return cls([planned], planned.link.db, planned.link) if isinstance(planned, Job) else planned


class CallLane(Lane[Call]):
    """One connection's part in a fan-out."""

    def __init__(self, group: Group[Call], step: Command | Script) -> None:
        super().__init__(group)
        self._step = step
        self._highest = -1
        self._crowded = False  # there is no connection for this lane
        self._again: list[Call] = []
        self._work: list[Call] = []

    def hands(self) -> list[Call]:
        """Return the work in this lane's hands."""
        return list(dict.fromkeys([*self._work, *self._again]))

    def _steps(self) -> Generator[Step, Any, None]:
        highest = max((planned.link.db for planned in self.group.fresh), default=0)
        while not self._crowded:
            self._work, self._again = self._again, []
            self._work = self._work or self.take_fresh()
            if not self._work:
                return
            ends = self._gone()
            if self._work and self._highest < 0:
                ends += yield from self._verify(highest)
            if self._work:
                ends += yield from self._ask()
            if ends:
                yield Chunk(ends=ends)
        self.group.fresh.extend(self._again)

    def _gone(self) -> list[End]:
        ends: list[End] = []
        for call in self._work:
            try:
                still(call.jobs[0])
            except Exception as error:  # noqa: BLE001 - becomes the tenant's outcome
                ends.append(End(call.jobs[0], None, error, call.seconds))
        if ends:
            gone = {end.job for end in ends}
            self._work = [call for call in self._work if call.jobs[0] not in gone]
        return ends

    def _sent(self, payload: list[bytes], replies: int) -> Generator[Step, Any, list[Any] | list[End]]:
        """Send something on behalf of the work at hand; return the replies, or the ends where the connection failed."""
        allowed = self.left(self._work)
        started = self.clock()
        error: Exception | None = None
        received: list[Any] = []
        try:
            yield from self.connect(allowed)
            received = yield Trip(payload, replies, max(0.0, allowed - (self.clock() - started)))
        except Exception as raised:  # noqa: BLE001 - becomes the tenants' outcome
            error = raised
        took = self.clock() - started
        work = self._work
        for call in work:
            call.seconds += took
        if error is None:
            self.heard()
            return received
        self._work = []
        self._highest, self.db, self.connected = -1, None, False
        unreachable = isinstance(error, UnreachableError)
        if unreachable and isinstance(error.__cause__, Exception):
            error = error.__cause__
        if self.crowded_out(error):
            self.group.fresh.extend(work)
            self._crowded = True
            return []
        late = took >= 0.9 * allowed and isinstance(error, redis.RedisError)
        if late:  # what was sent may have been done: nothing is sent again
            error = timed_out(allowed if self.group.timeout is None else self.group.timeout, error)
        return self.ends(work + self.dead_for(took, hopeless=unreachable or late), error)

    def _verify(self, highest: int) -> Generator[Step, Any, list[End]]:
        """See that every number at hand can be selected, and that MULTI is allowed."""
        replies = yield from self._sent([_select(highest), _MULTI, _DISCARD], 3)
        if not self._work:
            return replies
        if isinstance(replies[1], Exception):
            return (yield from self._one_by_one())
        if not isinstance(replies[0], Exception):
            self._highest, self.db = highest, highest
            return []
        replies = yield from self._sent([_select(call.db) for call in self._work], len(self._work))
        if not self._work:
            return replies
        refused = {call: reply for call, reply in zip(self._work, replies, strict=True) if isinstance(reply, Exception)}
        self._work = [call for call in self._work if call not in refused]
        return [end for call, reply in refused.items() for end in self.ends([call], reply)]

    def _one_by_one(self) -> Generator[Step, Any, list[End]]:
        """Ask each database after its SELECT has been answered: two round trips each, for users who may not send MULTI."""
        ends: list[End] = []
        work = self._work
        for place, call in enumerate(work):
            self._work = [call]
            replies = yield from self._sent([_select(call.db)], 1)
            if self._work and isinstance(replies[0], Exception):
                replies, self._work = self.ends([call], replies[0]), []
            if self._work:
                replies = yield from self._sent([self._packed(self._whole())], 1)
            if self._work:
                self.db = call.db
                ends.append(self._end(call, replies[0]))
            else:
                ends += replies
            if self._crowded:
                self._again += work[place + 1 :]
                break
        self._work = []
        return ends

    def _ask(self) -> Generator[Step, Any, list[End]]:
        payload: list[bytes] = []
        whole = self._packed(self._whole())
        short = self._packed(self._step.by_digest()) if isinstance(self._step, Script) else whole
        for place, call in enumerate(self._work):
            payload += (_MULTI, _select(call.db), whole if call.whole or not place else short, _EXEC)
        replies = yield from self._sent(payload, 4 * len(self._work))
        if not self._work:
            return replies
        ends: list[End] = []
        self.db = self._work[-1].db
        for place, call in enumerate(self._work):
            begun, selected, queued, executed = replies[4 * place : 4 * place + 4]
            refused = next((each for each in (begun, selected, queued) if isinstance(each, Exception)), None)
            if refused is not None:
                ends += self.ends([call], refused)
                self.db = None
            elif not isinstance(executed, list):
                ends += self.ends([call], _as_error(executed))
                self.db = None
            elif isinstance(executed[0], Exception):
                ends += self.ends([call], executed[0])
                self.db = None
            elif isinstance(executed[1], NoScriptError) and not call.whole:
                call.whole = True
                self._again.append(call)
            else:
                ends.append(self._end(call, executed[1]))
        self._work = []
        self.batch = min(512, 4 * self.batch)
        return ends

    def _whole(self) -> Command:
        return self._step.by_source() if isinstance(self._step, Script) else self._step

    def _packed(self, command: Command) -> bytes:
        encoder: Any = self.group.link.server.client.connection_pool.get_encoder()
        words: list[bytes] = []
        for place, word in enumerate(command.args):  # a name such as CONFIG GET is two words
            parts = str(word).split() if place == 0 and isinstance(word, str) else [word]
            words += [bytes(encoder.encode(part)) for part in parts]
        return pack(*words)

    def _end(self, call: Call, reply: Any) -> End:
        if isinstance(reply, Exception):
            return End(call.jobs[0], None, reply, call.seconds)
        try:
            value = self._parsed(reply)
        except Exception as error:  # noqa: BLE001 - such as a reply that is not UTF-8: this tenant's alone
            return End(call.jobs[0], None, error, call.seconds)
        return End(call.jobs[0], value, None, call.seconds)

    def _parsed(self, reply: Any) -> Any:
        if isinstance(self._step, Script):
            return _text(reply)
        options = dict(self._step.options)
        if not options.pop(NEVER_DECODE, False):
            reply = _text(reply)
        callbacks: dict[Any, Any] = self.group.link.server.client.response_callbacks
        callback = callbacks.get(self._step.args[0])
        return reply if callback is None else callback(reply, **options)


def _select(db: int) -> bytes:
    return pack(b"SELECT", b"%d" % db)


def _as_error(reply: Any) -> Exception:
    return reply if isinstance(reply, Exception) else redis.ResponseError("the server discarded the command")


def _text(reply: Any) -> Any:
    """Return a reply with its bytes as text."""
    if isinstance(reply, bytes):
        return reply.decode()
    if isinstance(reply, list):
        return [_text(each) for each in reply]
    if isinstance(reply, dict):
        return {_text(name): _text(value) for name, value in reply.items()}
    if isinstance(reply, set):
        return {_text(each) for each in reply}
    return reply
