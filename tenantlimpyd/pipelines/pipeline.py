"""``Pipeline``: what queues the commands of its block, and carries them out."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Coroutine, Generator, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, Self

from tenantlimpyd._operations import drivers
from tenantlimpyd._operations.steps import Command, Operation, Transaction
from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.pipelines.active import Place, enter, here, leave
from tenantlimpyd.pipelines.queue import Queue, Queued, gathered, owner_of
from tenantlimpyd.pipelines.watching import Watching

if TYPE_CHECKING:
    from types import TracebackType

    from tenantlimpyd._registry.host import Placement

__all__ = ["Pipeline"]


class Pipeline(Watching):
    """Queues what objects and fields of its database are told to do, and redis-py's commands called on itself.

    Made by ``database.pipeline()``, and used in a ``with`` or ``async with`` block. What is queued gives the pipeline
    itself in place of a result; :meth:`execute` carries it out and returns the results in order. New objects have their
    pk then. Leaving the block drops what is still queued.

    With ``transaction=True`` all commands run as one MULTI/EXEC. Two kinds of steps are outside of it: those that
    prepare (looking up a lazy object, allocating a pk) come before it; and an indexed write that was computed from values
    another client has changed, or nobody has read, writes nothing in it and is computed again for a MULTI/EXEC of its own.
    A command that fails stops none of the others.

    After :meth:`watch`, commands run at once until :meth:`multi`, as in redis-py.

    redis-py's commands, such as ``pipe.incr("key")``, know nothing of the database's ``key_prefix``.

    Attributes:
        database: the database it belongs to.
        shared: whether it queues the commands of all tasks and threads.
        place: the thread and task whose commands it queues otherwise.
        entered: whether this is inside its block.
    """

    _event_dispatcher: Any = None  # part of what redis-py calls a client, for events of pools

    __iter__ = None
    """A pipeline in place of a value is easily taken for a sequence, and looping over it would never end."""

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
        """Be there at once: ``await pipe.set(...)`` is allowed, as with redis-py's own asyncio pipelines."""
        yield from ()
        return self

    def _no_value(self, *_: Any) -> NoReturn:
        raise ImplementationError("a pipeline is not the value: that is among the results of execute()")

    __getitem__ = __setitem__ = __delitem__ = __contains__ = _no_value

    # Its block

    def _enter(self, *, awaits: bool) -> Self:
        if self.entered:
            raise ImplementationError("this pipeline is entered already: make another one for a block inside")
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
            ImplementationError: it is not entered.
            WrongTenantError: another tenant of its router is current.
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
        """Whether commands are queued now, not run at once: not while it watches keys without :meth:`multi`."""
        if self._executing is not None and self._executing == here():  # an object's own hooks
            return False
        return self._explicit or (self._watch is None and self._awatch is None)

    def take(self, operation: Operation[Any]) -> Self:
        """Queue an operation of the database.

        Raises:
            ImplementationError: its result is needed at once.
        """
        self._check()
        owner = owner_of(operation)
        if owner is not self.database and not hasattr(owner, "_instance") and not hasattr(owner, "has_pk"):
            name = getattr(operation, "__qualname__", "this").replace("._", ".")
            operation.close()
            raise ImplementationError(
                f"{name} can't be queued: its result is needed at once, and in a pipeline there is none before execute(). "
                "Do it before the pipeline's block, or between pipe.watch(...) and pipe.multi(); an object whose pk is "
                "known needs no look-up: Model.lazy_connect(pk)."
            )
        queued = Queued.of(operation, owner)
        with self._lock:
            self._queue.add(queued)
            if queued.stored is not None:
                self._placements.add(queued.stored._placement)
        return self

    def atake(self, operation: Operation[Any]) -> Coroutine[Any, Any, Self]:
        """Queue an operation as :meth:`take`, now; return what gives the pipeline when it is awaited."""
        self.take(operation)
        return self._itself()

    async def _itself(self) -> Self:
        return self

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Queue a command as redis-py sends it; while keys are watched, run it at once."""
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
        """Drop what is queued, and watch nothing."""
        self._drop()
        self._unwatch()

    async def areset(self) -> None:
        """Drop what is queued, and watch nothing, awaiting."""
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
        """Yield what is queued, for execution; whatever of it is not done afterwards is dropped."""
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
        """Carry out what is queued.

        Args:
            raise_on_error: False: let errors of commands stand among the results.

        Returns:
            The results of the commands, in order. One for each, whatever it takes; None for an object's creation.

        Raises:
            redis.WatchError: a watched key has changed; nothing was carried out.
            redis.RedisError: the first error of a command; the others were carried out.
            WrongTenantError: another tenant of its router is current; nothing was carried out, all is still queued.
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
        """Carry out what is queued as :meth:`execute`, awaiting."""
        if self._watch is not None:
            raise ImplementationError(
                "keys were watched with watch(): execute() goes with that, aexecute() with awatch()"
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
            raise ImplementationError("keys were watched with awatch(): write `await pipe.aexecute()`")

    # What redis-py's command methods ask a client for

    @property
    def connection_pool(self) -> Any:
        """The pool of the database's blocking client."""
        return self.database._clients.client.connection_pool

    def get_encoder(self) -> Any:
        """Return what turns values into bytes."""
        return self.database._clients.client.get_encoder()


def _sent(command: Command) -> Operation[Any]:
    return (yield command)


def _commands(watch: Any, steps: list[Any]) -> list[Command]:
    """Begin a MULTI on the watching connection; return the commands it is for. It adds MULTI and EXEC itself."""
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
