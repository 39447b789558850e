"""Operations: conversations with Redis as generators of steps, written once and run blocking or awaiting.

An operation is a generator. It yields *steps*, is sent the reply of each, and returns its result; it knows no socket, no
event loop and no context variable. What it may yield is the closed list below. The drivers
(:mod:`tenantlimpyd._operations.drivers`) run it; :func:`twins` makes the pair of public methods from it::

    def _getset(self, value: str) -> Operation[str | None]:
        return (yield Command("GETSET", self.key, value))

    getset, agetset = twins(_getset)

Several operations run together through :func:`together`, itself an operation: at each round the next steps of all of them
travel as one :class:`Batch`, so a thousand operations of two steps are two round trips. Pipelines build on that.

An operation sets no ``ContextVar``: while a generator is suspended, its caller would see the change.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar

import attrs

__all__ = ["Batch", "Command", "Operation", "Reply", "Runner", "Script", "Step", "Transaction", "together", "twins"]

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="Resolves")

Reply: TypeAlias = Any
"""What redis-py returns for a command; in the replies of a :class:`Batch`, an exception where the command failed."""


class Command:
    """One Redis command: its words as they go to the server.

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
    """One run of a Lua script: atomic on the server.

    Alone, it is sent by its digest, and once more with its source where the server doesn't have it yet. In a batch, the
    first run of each script carries the source, so that no run depends on what the server remembers.

    Attributes:
        source: the Lua text.
        keys: every key the script touches.
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
        """The digest Redis knows the script by."""
        return _sha(self.source)

    def by_digest(self) -> Command:
        """Return the command that runs the script if the server has it."""
        return Command("EVALSHA", self.sha, len(self.keys), *self.keys, *self.args)

    def by_source(self) -> Command:
        """Return the command that runs the script in any case."""
        return Command("EVAL", self.source, len(self.keys), *self.keys, *self.args)


@attrs.frozen(eq=False)
class Transaction:
    """Commands and scripts run as one MULTI/EXEC. The reply is the list of theirs; errors stand in it as exceptions."""

    steps: Sequence[Command | Script]


@attrs.frozen(eq=False)
class Batch:
    """Steps that travel together in one round trip. The reply is the list of theirs; errors stand in it as exceptions.

    A failing connection raises instead: then nothing is known of any of them.
    """

    steps: Sequence[Command | Script | Transaction]


Step: TypeAlias = Command | Script | Transaction | Batch
Operation: TypeAlias = Generator[Step, Reply, T]


class Runner(Protocol):
    """Runs operations against one database, from their first step to their last."""

    def run(self, operation: Operation[T], /) -> T:
        """Run it, blocking."""
        ...

    def arun(self, operation: Operation[T], /) -> Coroutine[Any, Any, T]:
        """Run it, awaiting."""
        ...


class Resolves(Protocol):
    """An object whose operations run on one database, decided at each call and never during one."""

    def _resolve(self) -> Runner: ...


def twins(
    body: Callable[Concatenate[S, P], Operation[T]],
) -> tuple[Callable[Concatenate[S, P], T], Callable[Concatenate[S, P], Coroutine[Any, Any, T]]]:
    """Return the blocking and the asyncio method of an operation.

    The object's database is resolved once, when the method is called (for the asyncio twin too: not when its coroutine is
    first awaited, by which time another tenant may be current).

    Args:
        body: a method that is an operation.

    Returns:
        Two methods with the operation's arguments and result: one that blocks, one that returns a coroutine. Both carry
        the operation's docstring.
    """

    @functools.wraps(body)
    def blocking(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._resolve().run(body(self, *args, **kwargs))

    @functools.wraps(body)
    def awaiting(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        return self._resolve().arun(body(self, *args, **kwargs))

    name = body.__name__.lstrip("_")
    for method, prefix in ((blocking, ""), (awaiting, "a")):
        method.__name__ = prefix + name
        method.__qualname__ = body.__qualname__.removesuffix(body.__name__) + prefix + name
    return blocking, awaiting


def together(operations: Iterable[Operation[T]]) -> Operation[list[T | Exception]]:
    """Run several operations side by side, their steps of each round travelling in one batch.

    Args:
        operations: operations that don't depend on one another; they must all be of one database.

    Returns:
        Their results in order; where an operation raised, the exception.
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
        replies = (yield from _one_trip(steps)) if steps else []
    return results


def _one_trip(steps: list[Step]) -> Operation[list[Reply]]:
    """Send steps as one batch, batches among them laid flat; return one reply for each step."""
    flat: list[Command | Script | Transaction] = []
    for step in steps:
        flat.extend(step.steps if isinstance(step, Batch) else (step,))
    replies = iter((yield Batch(flat)))
    return [[next(replies) for _ in step.steps] if isinstance(step, Batch) else next(replies) for step in steps]
