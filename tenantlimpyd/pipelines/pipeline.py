"""``Pipeline``: queue the commands of a block, and execute them together."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Coroutine, Generator, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, Self

from tenantlimpyd._abc import Queueable, QueueTarget
from tenantlimpyd._operations import drivers
from tenantlimpyd._operations.steps import PLAIN, Command, Operation, Traits, Transaction
from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.pipelines.active import Place, enter, here, leave
from tenantlimpyd.pipelines.queue import Queue, Queued, gathered
from tenantlimpyd.pipelines.watching import Watching

if TYPE_CHECKING:
    from types import TracebackType

    from tenantlimpyd._registry.placement import Placement

__all__ = ["Pipeline"]


class Pipeline(Watching):
    """Queue the calls of objects and fields of one database, and redis-py's commands that are called on the pipeline.

    ``database.pipeline()`` makes a pipeline, which is used in a ``with`` or ``async with`` block. A queued call returns the
    pipeline in place of a result. :meth:`execute` executes the queue and returns the results in order; new objects have
    their pk then. When the block is left, calls that are still queued are dropped.

    With ``transaction=True`` all commands run as one MULTI/EXEC, with two exceptions. Steps that only prepare (the look-up
    of a lazy object, the allocation of a pk) are sent before it. An indexed write that was computed from values which
    another client has changed, or which were not read yet, writes nothing in it; it is computed again and sent in another
    MULTI/EXEC. A command that fails does not stop the others.

    After :meth:`watch`, commands run at once until :meth:`multi`, as in redis-py.

    redis-py's commands, such as ``pipe.incr("key")``, do not add the database's ``key_prefix``.

    Attributes:
        database: the database of the pipeline.
        shared: whether it queues the commands of all tasks and threads.
        place: the thread and task that entered it, whose commands it queues if it is not shared.
        entered: whether its block has been entered and not left.
    """

    _event_dispatcher: Any = None  # part of what redis-py calls a client, for events of pools

    __iter__ = None
    """Not iterable: in code that expects a value, a loop over a pipeline would never end."""

    def __init__(self, placement: Placement, *, transaction: bool = True, share_in_threads: bool = False) -> None:
        super().__init__()
        self._placement = placement
        self._transaction = transaction
        self.database: Any = placement.database
        self.shared = share_in_threads
        self.place: Place | None = None
        self.entered = False
        self._awaits = False
        self._queue = Queue()
        self._placements = {placement}
        self._executing: Place | None = None
        self._lock = threading.RLock()  # a shared pipeline is filled by many threads

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} commands for {self.database!r}>"

    def __len__(self) -> int:
        return len(self._queue.entries)

    def __bool__(self) -> bool:
        return True

    def __await__(self) -> Generator[Any, None, Self]:
        """Return the pipeline at once: ``await pipe.set(...)`` is allowed, as with redis-py's asyncio pipelines."""
        yield from ()
        return self

    def _no_value(self, *_: Any) -> NoReturn:
        raise ImplementationError(
            "a queued call returns the pipeline, which has no items: the value is among the results of execute()"
        )

    __getitem__ = __setitem__ = __delitem__ = __contains__ = _no_value

    # Its block

    def _enter(self, *, awaits: bool) -> Self:
        if self.entered:
            raise ImplementationError(
                "this pipeline is already entered: for a block inside its block, make another one with database.pipeline()"
            )
        self._placement.runner()
        self.entered, self._awaits, self.place = True, awaits, here()
        enter(self)
        return self

    def _leave(self) -> None:
        self.entered = False
        leave(self)
        self._drop()

    def __enter__(self) -> Self:
        return self._enter(awaits=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()
        self._unwatch()

    async def __aenter__(self) -> Self:
        return self._enter(awaits=True)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()
        self._unwatch()
        await self._aunwatch()

    def _check(self) -> None:
        """Raise unless the pipeline may be used here.

        Raises:
            ImplementationError: If the pipeline is not entered.
            WrongTenantError: If another tenant of its router is current.
        """
        if not self.entered:
            raise ImplementationError(
                "this pipeline is not entered, or was left: write `with database.pipeline() as pipe:` (or `async with`), "
                "and use it inside that block"
            )
        for placement in tuple(self._placements):
            placement.runner()

    # Queueing

    @property
    def queueing(self) -> bool:
        """Whether commands are queued; False after :meth:`watch` and before :meth:`multi`, when they run at once."""
        if self._executing is not None and self._executing == here():  # an object's own hooks
            return False
        return self._explicit or (self._watch is None and self._awatch is None)

    def take(self, operation: Operation[Any], owner: Any = None, traits: Traits = PLAIN) -> Self:
        """Queue an operation of the database.

        Raises:
            ImplementationError: If the operation's result is needed at once, or the pipeline is not entered.
            WrongTenantError: If another tenant of the router is current.
        """
        self._check()
        target = QueueTarget() if owner is self.database else _target_of(owner)
        if target is None:
            name = getattr(operation, "__qualname__", "this").replace("._", ".")
            operation.close()
            raise ImplementationError(
                f"{name} can't be queued: its result is needed at once, and in a pipeline there is none before execute(). "
                "Do it before the pipeline's block, or between pipe.watch(...) and pipe.multi(); an object whose pk is "
                "known needs no look-up: Model.lazy_connect(pk)."
            )
        queued = Queued.of(operation, target, traits)
        with self._lock:
            self._queue.add(queued)
            if queued.stored is not None:
                self._placements.add(queued.stored._placement)
        return self

    def atake(self, operation: Operation[Any], owner: Any = None, traits: Traits = PLAIN) -> Coroutine[Any, Any, Self]:
        """Queue an operation as :meth:`take`, before the first ``await``; return a coroutine whose result is the pipeline."""
        self.take(operation, owner, traits)
        return self._itself()

    async def _itself(self) -> Self:
        return self

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Queue a command with the arguments that redis-py would send; before :meth:`multi` of a watch, run it at once."""
        self._check()
        if self.queueing:
            options.pop("keys", None)  # for redis-py's cache, which has no part in pipelines
            with self._lock:
                self._queue.add(Queued(_sent(Command(*args, **options))))
            return self
        clients = self.database._clients
        client = clients.client if self._awatch is None else clients.aclient
        return client.execute_command(*args, **options)

    # Carrying out

    def reset(self) -> None:  # type: ignore[override]  # RESET itself would alter a connection of the pool
        """Drop the queued commands, and end the watch."""
        self._drop()
        self._unwatch()

    async def areset(self) -> None:
        """Drop the queued commands and end the watch, as :meth:`reset`, in asyncio."""
        self._drop()
        self._unwatch()
        await self._aunwatch()

    def _drop(self) -> None:
        with self._lock:
            queue, self._queue = self._queue, Queue()
            self._placements = {self._placement}
        queue.abandon()
        self._explicit = False

    @contextlib.contextmanager
    def _taken(self) -> Iterator[Queue]:
        """Yield the queue for execution; operations that are not done afterwards are dropped."""
        self._check()
        with self._lock:
            queue, self._queue = self._queue, Queue()
            self._placements = {self._placement}
        self._executing = here()
        try:
            yield queue
        finally:
            self._executing = None
            queue.abandon()
            self._explicit = False

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Execute the queued commands.

        Args:
            raise_on_error: whether to raise the first error of a command; False: return errors among the results.

        Returns:
            One result for each queued call, in order; None for the creation of an object.

        Raises:
            redis.WatchError: If a watched key has changed. Nothing was executed.
            redis.RedisError: If a command fails, and ``raise_on_error`` is true. The others were executed.
            ImplementationError: If the pipeline is not entered, or keys were watched with :meth:`awatch`.
            WrongTenantError: If another tenant of its router is current. Nothing was executed, and all is still queued.
        """
        self._refuse_awatch()
        transaction = self._transaction or self._explicit
        with self._taken() as queue:
            client = self.database._clients.client
            try:
                if self._watch is not None:
                    drivers.run(queue.prepare(), client)
                    waiting = queue.waiting()
                    for command in _commands(self._watch, queue.steps(waiting)):
                        self._watch.execute_command(*command.args, **command.options)
                    replies = self._watch.execute(raise_on_error=False)
                    queue.deliver(waiting, list(gathered(waiting, replies, nested=False)))
                drivers.run(queue.rounds(transaction=transaction), client)
            finally:
                self._unwatch()
        return _results(queue, raise_on_error=raise_on_error)

    async def aexecute(self, raise_on_error: bool = True) -> list[Any]:
        """Execute the queued commands as :meth:`execute`, in asyncio."""
        if self._watch is not None:
            raise ImplementationError(
                "aexecute() can't end a watch that was begun with watch(): call execute(), or watch with awatch()"
            )
        transaction = self._transaction or self._explicit
        with self._taken() as queue:
            client = self.database._clients.aclient
            try:
                if self._awatch is not None:
                    await drivers.arun(queue.prepare(), client)
                    waiting = queue.waiting()
                    for command in _commands(self._awatch, queue.steps(waiting)):
                        self._awatch.execute_command(*command.args, **command.options)
                    replies = await self._awatch.execute(raise_on_error=False)
                    queue.deliver(waiting, list(gathered(waiting, replies, nested=False)))
                await drivers.arun(queue.rounds(transaction=transaction), client)
            finally:
                await self._aunwatch()
        return _results(queue, raise_on_error=raise_on_error)

    def _refuse_awatch(self) -> None:
        if self._awatch is not None:
            raise ImplementationError(
                "execute() can't end a watch that was begun with awatch(): write `await pipe.aexecute()`"
            )

    # What redis-py's command methods ask a client for

    @property
    def connection_pool(self) -> Any:
        """The connection pool of the database's sync client."""
        return self.database._clients.client.connection_pool

    def get_encoder(self) -> Any:
        """Return redis-py's encoder, which converts values to bytes."""
        return self.database._clients.client.get_encoder()


def _sent(command: Command) -> Operation[Any]:
    return (yield command)


def _commands(watch: Any, steps: list[Any]) -> list[Command]:
    """Begin a transaction on the watching connection, and return its commands without MULTI and EXEC, which redis-py adds."""
    watch.multi()
    return drivers.BatchLayout(Transaction(steps)).transaction_commands()


def _results(queue: Queue, *, raise_on_error: bool) -> list[Any]:
    results = queue.results()
    if raise_on_error:
        for number, result in enumerate(results, 1):
            if isinstance(result, Exception):
                result.add_note(f"In a pipeline, command {number} of {len(results)}; the others were carried out.")
                raise result
    return results


def _target_of(owner: Queueable | None) -> QueueTarget | None:
    """Return what operations of a field or object are about; None if the owner is neither."""
    target = getattr(type(owner), "_queue_target", None)
    return None if target is None else target(owner)
