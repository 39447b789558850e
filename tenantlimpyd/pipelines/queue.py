"""Keep the operations of a pipeline in order, and execute them in rounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from tenantlimpyd._abc import QueueTarget
from tenantlimpyd._commands import row_of
from tenantlimpyd._operations.steps import (
    PLAIN,
    Batch,
    Command,
    Operation,
    Reply,
    Script,
    Step,
    Traits,
    Transaction,
)

__all__ = ["Queue", "Queued"]

_NOTHING_WRITTEN = frozenset({"gone", "owned", "taken"})
"""The statuses by which the script of an atomic change reports that it wrote nothing; see :mod:`tenantlimpyd.atomic`."""


@attrs.define(eq=False)
class Queued:
    """One operation of a pipeline.

    Attributes:
        operation: the operation.
        stored: the model instance that it reads or changes; None: there is none.
        field: the name of the field that it reads or changes; None: the whole object.
        many: whether ``field`` is an indexed field of many values.
        traits: what is known of the operation.
        step: the step whose reply it waits for; None: it has not begun, or is done.
        begun: whether it has begun.
        done: whether it has ended, so that ``result`` is set.
        barrier: whether later operations of its group wait until it is done.
        held: whether its step waits for an earlier operation.
        result: the value it returned, or the error it raised.
    """

    operation: Operation[Any]
    stored: Any = None
    field: str | None = None
    many: bool = False
    traits: Traits = PLAIN
    step: Step | None = None
    begun: bool = False
    done: bool = False
    barrier: bool = False
    held: bool = False
    result: Any = None

    @classmethod
    def of(cls, operation: Operation[Any], target: QueueTarget, traits: Traits) -> Queued:
        """Return the entry for an operation that has not begun, with the attributes that decide its order."""
        return cls(operation, *target, traits, barrier=traits.barrier)

    @property
    def group(self) -> Any:
        """The key of the operations that must keep their order, those of one object; None if the order does not matter.

        The key changes when an object gets its pk. A pk that the application chose is known once the creation has begun.
        """
        stored = self.stored
        if stored is None:
            return None
        return (type(stored), str(stored._pk)) if stored.has_pk else id(stored)

    @property
    def claims(self) -> bool:
        """Whether the operation may claim a unique value: it stores an object with unique fields, or writes one."""
        stored = self.stored
        if stored is None or not isinstance(self.step, Script):
            return False
        if self.field is None:
            return any(field.unique for field in type(stored)._class_fields.values())
        return bool(type(stored).get_class_field(self.field).unique)

    def begin(self) -> None:
        """Run the operation up to its first step."""
        self.begun = True
        if self.stored is not None and not self.stored.has_pk:
            self.barrier = True  # it is stored first
        self._go(None)

    def receive(self, reply: Reply) -> None:
        """Run the operation on to its next step."""
        self._go(reply)

    def _go(self, reply: Reply) -> None:
        self.step = None
        try:
            failed = isinstance(reply, Exception)
            self.step = self.operation.throw(reply) if failed else self.operation.send(reply)
        except StopIteration as stop:
            self.done, self.result = True, stop.value
        except Exception as error:  # noqa: BLE001 - kept as this operation's result
            self.done, self.result = True, error

    @property
    def guessing(self) -> bool:
        """Whether the step's guards may be out of date, so that later operations of the same field must wait."""
        return self.many and isinstance(self.step, Script) and not self.traits.names_values

    @property
    def preparing(self) -> bool:
        """Whether the step only reads what the operation needs for its main command."""
        step = self.step
        if self.stored is None or type(step) is not Command:
            return False
        word, key = step.args[0], step.args[1]
        return bool(
            (word == "SISMEMBER" and key == self.stored._live())
            or (word == "INCRBY" and key == f"{self.stored._storage}:max_pk")
            or word == self.traits.prepares
        )


class Queue:
    """Operations in the order they were queued."""

    def __init__(self) -> None:
        self.entries: list[Queued] = []
        self._open: list[Queued] = []
        self._order = _QueueOrder()

    def add(self, queued: Queued) -> None:
        """Append an operation. It begins at once unless it must wait, so that wrong arguments are reported by this call.

        Raises:
            Exception: If the operation refuses its arguments. It is not appended.
        """
        self._order.visit(queued)
        if queued.done and isinstance(queued.result, Exception):
            raise queued.result
        self.entries.append(queued)
        if not queued.done:
            self._open.append(queued)

    def results(self) -> list[Any]:
        """Return the results in order; for an operation that raised an exception, the exception."""
        return [queued.result for queued in self.entries]

    def abandon(self) -> None:
        """Drop the operations that are not done; those that have begun restore the state of their Python objects."""
        for queued in self._open:
            queued.operation.close()
        self._open = []

    def _visit(self) -> None:
        """Begin the operations that need not wait."""
        self._open = [queued for queued in self._open if not queued.done]
        self._order = _QueueOrder()
        for queued in self._open:
            self._order.visit(queued)
        self._open = [queued for queued in self._open if not queued.done]

    def prepare(self) -> Operation[None]:
        """Send the steps that only prepare, until none is left that may be sent now."""
        while True:
            self._visit()
            preparing = self._order.preparing
            if not preparing:
                return
            for queued, reply in zip(preparing, (yield Batch(_flat(preparing))), strict=True):
                queued.receive(reply)

    def waiting(self) -> list[Queued]:
        """Return the operations whose steps are to be sent next, in order."""
        return [queued for queued in self._open if queued.step is not None and not queued.held and not queued.preparing]

    def deliver(self, waiting: Sequence[Queued], replies: Sequence[Reply]) -> None:
        """Pass each operation the reply to its step.

        An operation that is not done then will write in a later round, after operations that were queued behind it. Of
        these, steps that only read the same field or object, and scripts that wrote nothing, are sent again.
        """
        late: set[tuple[Any, str | None]] = set()
        for queued, reply in zip(waiting, replies, strict=True):
            if late and _to_repeat(queued, reply, late):
                continue
            queued.receive(reply)
            if not queued.done:
                late.add((queued.group, queued.field))

    def rounds(self, *, transaction: bool) -> Operation[None]:
        """Execute all operations, in as many rounds as they need."""
        while True:
            yield from self.prepare()
            waiting = self.waiting()
            if not waiting:
                return
            if transaction:
                replies = yield from _in_transaction(_flat(waiting, nested=False))
            else:
                replies = yield Batch(_flat(waiting))
            self.deliver(waiting, list(gathered(waiting, replies, nested=not transaction)))

    def steps(self, waiting: Sequence[Queued]) -> list[Command | Script]:
        """Return the steps of operations for one transaction."""
        return _flat(waiting, nested=False)


class _QueueOrder:
    """Decide which operations must wait for an earlier one."""

    def __init__(self) -> None:
        self._blocked: set[Any] = set()
        self._guessing: set[tuple[Any, str | None]] = set()
        self._seen: set[Any] = set()
        self._changing: dict[Any, Any] = {}
        self._waiting: set[type] = set()  # models of operations that are held back
        self.preparing: list[Queued] = []

    def visit(self, queued: Queued) -> None:
        group, queued.held = queued.group, False
        if not queued.begun:
            if group is not None and self._holds(queued):
                self._block(queued, group)
                return
            queued.begin()
        if queued.done or group is None:
            return
        if queued.group != group:  # a creation, whose pk is known now
            group = queued.group
        if (group in self._blocked and queued.barrier) or (queued.claims and type(queued.stored) in self._waiting):
            # An earlier operation may delete the object, or free the value.
            queued.held = True
            self._block(queued, group)
            return
        if queued.preparing:
            if group not in self._seen:
                self.preparing.append(queued)
            self._blocked.add(group)
        if queued.barrier:
            self._blocked.add(group)
        if isinstance(queued.step, Script):
            self._changing[group] = queued.stored
        if queued.guessing:
            self._guessing.add((group, queued.field))
        self._seen.add(group)

    def _block(self, queued: Queued, group: Any) -> None:
        self._blocked.add(group)
        self._waiting.add(type(queued.stored))

    def _holds(self, queued: Queued) -> bool:
        """Return whether an operation waits for one before it."""
        group = queued.group
        return (
            group in self._blocked
            or (group, queued.field) in self._guessing
            # Two Python objects for one object in Redis may know different values, so that the guards of one match and
            # those of the other don't. Changes by one Python object match or fail together.
            or self._changing.get(group, queued.stored) is not queued.stored
        )


def _to_repeat(queued: Queued, reply: Reply, late: set[tuple[Any, str | None]]) -> bool:
    step = queued.step
    if isinstance(step, Script):
        return isinstance(reply, list) and bool(reply) and reply[0] in _NOTHING_WRITTEN
    if type(step) is not Command or queued.group is None or not row_of(step.args).reads:
        return False
    if queued.field is None:
        return any(group == queued.group for group, _ in late)
    return (queued.group, queued.field) in late or (queued.group, None) in late


def _flat(waiting: Sequence[Queued], *, nested: bool = True) -> list[Any]:
    """Return the steps as a flat list: the steps of batches and (unless ``nested``) of transactions replace them."""
    flat: list[Any] = []
    for queued in waiting:
        flat += _opened(queued.step, nested=nested)
    return flat


def _opened(step: Any, *, nested: bool) -> list[Any]:
    if isinstance(step, Batch) or (isinstance(step, Transaction) and not nested):
        return [part for inner in step.steps for part in _opened(inner, nested=nested)]
    return [step]


def gathered(waiting: Sequence[Queued], replies: Sequence[Reply], *, nested: bool) -> Iterator[Reply]:
    """Yield the reply to each operation's step, from the replies to the flat list of steps."""
    incoming = iter(replies)
    for queued in waiting:
        yield _closed(queued.step, incoming, nested=nested)


def _closed(step: Any, incoming: Iterator[Reply], *, nested: bool) -> Reply:
    if isinstance(step, Batch) or (isinstance(step, Transaction) and not nested):
        return [_closed(inner, incoming, nested=nested) for inner in step.steps]
    return next(incoming)


def _in_transaction(steps: list[Command | Script]) -> Operation[list[Reply]]:
    """Send steps as one MULTI/EXEC; if the server refuses the transaction, its error is the reply to each step."""
    (replies,) = yield Batch([Transaction(steps)])
    return [replies] * len(steps) if isinstance(replies, Exception) else replies
