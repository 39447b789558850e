"""Run operations: one sync loop and one async loop, which alone call redis-py's clients for them.

A step's error is thrown into the operation at the ``yield`` it came from, so an operation handles failures with
``try``/``except``, sync and async alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import redis
from redis.exceptions import NoScriptError, ResponseError

from tenantlimpyd._operations.steps import Batch, Command, Operation, Script, Step, Transaction

if TYPE_CHECKING:
    import redis.asyncio

__all__ = ["arun", "run"]

T = TypeVar("T")


def run(operation: Operation[T], client: redis.Redis) -> T:
    """Run an operation on a sync client, from its first step to its result."""
    try:
        step = operation.send(None)
        while True:
            try:
                if type(step) is Command:
                    reply = client.execute_command(*step.args, **step.options)
                else:
                    reply = _perform(step, client)
            except BaseException as error:  # noqa: BLE001 - thrown on, where the operation waits
                step = operation.throw(error)
            else:
                step = operation.send(reply)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


async def arun(operation: Operation[T], client: redis.asyncio.Redis) -> T:
    """Run an operation on an asyncio client, from its first step to its result."""
    try:
        step = operation.send(None)
        while True:
            try:
                if type(step) is Command:
                    reply = await client.execute_command(*step.args, **step.options)
                else:
                    reply = await _aperform(step, client)
            except BaseException as error:  # noqa: BLE001 - a cancellation too: the operation may have to clean up
                step = operation.throw(error)
            else:
                step = operation.send(reply)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


def _perform(step: Step, client: redis.Redis) -> Any:
    if isinstance(step, Script):
        try:
            return client.execute_command("EVALSHA", step.sha, len(step.keys), *step.keys, *step.args)
        except NoScriptError:
            return client.execute_command(*step.by_source().args)
    layout = BatchLayout(step)
    with client.pipeline(transaction=False) as pipeline:
        for command in layout.commands:
            pipeline.execute_command(*command.args, **command.options)
        return layout.replies(pipeline.execute(raise_on_error=False), client.response_callbacks)


async def _aperform(step: Step, client: redis.asyncio.Redis) -> Any:
    if isinstance(step, Script):
        try:
            return await client.execute_command("EVALSHA", step.sha, len(step.keys), *step.keys, *step.args)
        except NoScriptError:
            return await client.execute_command(*step.by_source().args)
    layout = BatchLayout(step)
    async with client.pipeline(transaction=False) as pipeline:
        for command in layout.commands:
            pipeline.execute_command(*command.args, **command.options)
        return layout.replies(await pipeline.execute(raise_on_error=False), client.response_callbacks)


def _queued(command: Command) -> Command:
    """Return a command of a transaction, whose first reply is QUEUED.

    redis-py finds response callbacks by the name as text. A name as bytes has none, so that QUEUED is not parsed.
    """
    return Command(str(command.args[0]).encode(), *command.args[1:], **command.options)


class BatchLayout:
    """Convert a batch or transaction to the flat list of commands of one round trip, and their replies back.

    MULTI and EXEC are sent as separate commands. redis-py's pipeline would allow one transaction in a round trip, and would
    raise the first error in it, so that the other replies were lost.
    """

    def __init__(self, step: Step) -> None:
        self.step = step
        self.commands: list[Command] = []
        self._sourced: set[str] = set()
        for part in self._parts():
            if isinstance(part, Transaction):
                self.commands.append(Command("MULTI"))
                self.commands.extend(_queued(self._command(step)) for step in part.steps)
                self.commands.append(Command("EXEC"))
            else:
                self.commands.append(self._command(part))

    def _parts(self) -> tuple[Command | Script | Transaction, ...]:
        return tuple(self.step.steps) if isinstance(self.step, Batch) else (self.step,)

    def transaction_commands(self) -> list[Command]:
        """Return the commands between MULTI and EXEC, for a pipeline of redis-py that adds these."""
        return [
            Command(command.args[0].decode(), *command.args[1:], **command.options) for command in self.commands[1:-1]
        ]

    def _command(self, step: Command | Script) -> Command:
        if isinstance(step, Command):
            return step
        if step.sha in self._sourced:
            return step.by_digest()
        self._sourced.add(step.sha)
        return step.by_source()

    def replies(self, raw: list[Any], callbacks: Any) -> Any:
        incoming = iter(raw)
        replies: list[Any] = []
        for part in self._parts():
            if isinstance(part, Transaction):
                next(incoming)  # MULTI's OK
                queued = [next(incoming) for _ in part.steps]
                executed = next(incoming)
                replies.append(self._transaction(part, queued, executed, callbacks))
            else:
                replies.append(next(incoming))
        if isinstance(self.step, Transaction):
            if isinstance(replies[0], Exception):
                raise replies[0]
            return replies[0]
        return replies

    @staticmethod
    def _transaction(part: Transaction, queued: list[Any], executed: Any, callbacks: Any) -> Any:
        """Return the replies of a transaction, parsed as redis-py parses each; or the error by which the server refused it."""
        if isinstance(executed, list):
            return [_parsed(step, reply, callbacks) for step, reply in zip(part.steps, executed, strict=True)]
        refused = next((reply for reply in queued if isinstance(reply, Exception)), None)
        if refused is not None:
            return refused
        return executed if isinstance(executed, Exception) else ResponseError("the server discarded the transaction")


def _parsed(step: Command | Script, reply: Any, callbacks: Any) -> Any:
    if isinstance(step, Script) or isinstance(reply, Exception) or step.args[0] not in callbacks:
        return reply
    return callbacks[step.args[0]](reply, **step.options)
