"""Operations: generators that yield commands as data, written once and run by a sync or an async driver.

An operation is a generator. It yields *steps*, is sent the reply to each, and returns its result. It uses no socket, no
event loop and no context variable. It may yield the four types of :data:`Step` only. The drivers
(:mod:`tenantlimpyd._operations.drivers`) run it, and :func:`twins` makes the two public methods from it::

    def _getset(self, value: str) -> Operation[str | None]:
        return (yield Command("GETSET", self.key, value))

    getset, agetset = twins(_getset)

:func:`together` runs several operations as one. In each round it sends the next steps of all of them as one
:class:`Batch`, so a thousand operations of two steps take two round trips. Pipelines work in the same way.

An operation sets no ``ContextVar``: while a generator is suspended, its caller would see the change.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar

import attrs

__all__ = [
    "PLAIN",
    "Batch",
    "Command",
    "Operation",
    "Reply",
    "Runner",
    "Script",
    "Step",
    "Traits",
    "Transaction",
    "together",
    "twins",
]

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="Resolves")

Reply: TypeAlias = Any
"""What redis-py returns for a command; in the replies to a :class:`Batch`, the exception if the command failed."""


class Command:
    """One Redis command: the words that are sent to the server.

    Attributes:
        args: the command's name, its key, its arguments.
        options: options of redis-py for the reply (``NEVER_DECODE``, ``withscores``...); mostly empty.
    """

    __slots__ = ("args", "options")

    def __init__(self, *args: Any, **options: Any) -> None:
        if not args:
            raise TypeError('Command needs the command\'s name and its arguments: Command("GET", "key")')
        self.args = args
        self.options = options

    def __repr__(self) -> str:
        return f"<Command {self.args[0]} of {len(self.args) - 1} arguments>"


@functools.lru_cache(maxsize=1024)
def _sha(source: str) -> str:
    return hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class Script:
    """One run of a Lua script, which is atomic on the server (https://redis.io/docs/latest/commands/evalsha/).

    A single script is sent by its digest, and repeated with its source if the server does not have it. In a batch, the
    first run of each script is sent with its source, so that it does not depend on the server's script cache.

    Attributes:
        source: the Lua source.
        keys: every key that the script reads or writes.
        args: its other arguments.
    """

    __slots__ = ("args", "keys", "source")

    def __init__(self, source: str, keys: Sequence[Any] = (), args: Sequence[Any] = ()) -> None:
        self.source = source
        self.keys = keys
        self.args = args

    def __repr__(self) -> str:
        return f"<Script {self.sha[:8]} of {len(self.keys)} keys and {len(self.args)} arguments>"

    @property
    def sha(self) -> str:
        """The SHA-1 digest of the source, by which EVALSHA finds the script."""
        return _sha(self.source)

    def by_digest(self) -> Command:
        """Return the command that runs the script if the server has it."""
        return Command("EVALSHA", self.sha, len(self.keys), *self.keys, *self.args)

    def by_source(self) -> Command:
        """Return the command that runs the script whether or not the server has it."""
        return Command("EVAL", self.source, len(self.keys), *self.keys, *self.args)


@attrs.frozen(eq=False)
class Transaction:
    """Commands and scripts that run as one MULTI/EXEC. The reply is the list of their replies, with errors as exceptions."""

    steps: Sequence[Command | Script]


@attrs.frozen(eq=False)
class Batch:
    """Steps that are sent in one round trip. The reply is the list of their replies, with errors as exceptions.

    If the connection fails, the error is raised instead: it is not known which of the steps were executed.
    """

    steps: Sequence[Command | Script | Transaction]


Step: TypeAlias = Command | Script | Transaction | Batch
Operation: TypeAlias = Generator[Step, Reply, T]


@attrs.frozen
class Traits:
    """What a pipeline has to know of an operation before it runs it.

    Attributes:
        names_values: whether its arguments are the values that it changes, so that most often it needs no stored value.
        barrier: whether later operations on the same object wait until it is done.
        prepares: the name of a command by which it only finds out what its main command is; None: there is none.
    """

    names_values: bool = False
    barrier: bool = False
    prepares: str | None = None


PLAIN = Traits()
"""The traits of most operations."""


class Runner(Protocol):
    """An object that runs operations on one database."""

    def run(self, operation: Operation[T], owner: Any = None, traits: Traits = PLAIN, /) -> T:
        """Run the operation with the sync driver, and return its result.

        Args:
            operation: the operation.
            owner: the object whose method it is; None: it belongs to none. A pipeline queues only operations of fields and
                of objects, and of its database.
            traits: what a pipeline has to know of it.
        """
        ...

    def arun(self, operation: Operation[T], owner: Any = None, traits: Traits = PLAIN, /) -> Coroutine[Any, Any, T]:
        """Return a coroutine that runs the operation with the async driver; the arguments are those of :meth:`run`."""
        ...


class Resolves(Protocol):
    """An object whose operations run on one database, which is resolved at each call and stays the same during it."""

    def _resolve(self) -> Runner: ...


def twins(
    body: Callable[Concatenate[S, P], Operation[T]], traits: Traits = PLAIN, /
) -> tuple[Callable[Concatenate[S, P], T], Callable[Concatenate[S, P], Coroutine[Any, Any, T]]]:
    """Return the sync and the async method of an operation.

    The object's database is resolved once, when the method is called. This also holds for the async method: another tenant
    may be current when its coroutine is first awaited.

    Args:
        body: a method that is an operation.
        traits: what a pipeline has to know of it.

    Returns:
        Two methods with the operation's arguments, result and docstring: one that blocks, and one that returns a coroutine.
    """

    @functools.wraps(body)
    def blocking(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._resolve().run(body(self, *args, **kwargs), self, traits)

    @functools.wraps(body)
    def awaiting(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        return self._resolve().arun(body(self, *args, **kwargs), self, traits)

    name = body.__name__.lstrip("_")
    for method, prefix in ((blocking, ""), (awaiting, "a")):
        method.__name__ = prefix + name
        method.__qualname__ = body.__qualname__.removesuffix(body.__name__) + prefix + name
    return blocking, awaiting


def together(operations: Iterable[Operation[T]]) -> Operation[list[T | Exception]]:
    """Run several operations at the same time, and send their next steps as one batch in each round.

    Args:
        operations: operations of the same database that don't depend on one another.

    Returns:
        Their results in order; for an operation that raised an exception, the exception.
    """
    running: list[tuple[int, Operation[T]]] = list(enumerate(operations))
    results: list[T | Exception] = [LookupError("not run")] * len(running)
    replies: list[Reply] = [None] * len(running)
    while running:
        waiting: list[tuple[int, Operation[T]]] = []
        steps: list[Step] = []
        for (number, operation), reply in zip(running, replies, strict=True):
            try:
                failed = isinstance(reply, Exception)
                steps.append(operation.throw(reply) if failed else operation.send(reply))
            except StopIteration as done:
                results[number] = done.value
            except Exception as error:  # noqa: BLE001 - kept as this operation's result
                results[number] = error
            else:
                waiting.append((number, operation))
        running = waiting
        replies = (yield from _one_round_trip(steps)) if steps else []
    return results


def _one_round_trip(steps: list[Step]) -> Operation[list[Reply]]:
    """Send steps as one flat batch, and return one reply for each step; a list of replies for a batch."""
    flat: list[Command | Script | Transaction] = []
    for step in steps:
        flat.extend(step.steps if isinstance(step, Batch) else (step,))
    replies = iter((yield Batch(flat)))
    return [[next(replies) for _ in step.steps] if isinstance(step, Batch) else next(replies) for step in steps]
