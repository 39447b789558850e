"""One worker, a thread's or a task's: does checked operations under tenants, and knows which errors are its own."""

from __future__ import annotations

import contextlib
import inspect
import random
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, TypeVar

import redis

from integration.isolation.shared.ledger import Ledger
from integration.isolation.shared.spots import Spot
from tenantlimpyd import DatabaseRouter, RedisDatabase, fields, model

__all__ = ["Clerk", "Thing", "at_once", "things_of"]

T = TypeVar("T")
Thing = type[model.RedisModel]


def things_of(router: DatabaseRouter) -> Thing:
    """Return a model of the router's, with an index."""

    class Stock(model.RedisModel):
        database = router
        namespace = "soak"
        code = fields.PKField()
        owner = fields.StringField(indexable=True)
        note = fields.InstanceHashField()

    return Stock


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never has to wait: operations are written once, and blocking calls return at once."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError("a blocking operation waited for an event loop")


REFUSALS = "ACL", "can't run this command", "EXEC without"
"""What servers say, Redis 7.0 in other words, where it is no NOPERM that a user lacks rights."""


class Clerk:
    """Does operations one at a time, each under a tenant by chance.

    Args:
        router: the tenants' databases.
        spots: the tenants.
        things: the model of :func:`things_of`.
        name: unlike any other worker's.
        awaits: whether it works in asyncio, else it blocks.
        operations: coroutine functions ``(clerk, spot)`` and how often each is chosen.
        chooser: by what chance.

    Attributes:
        ledger: what it noted.
        known: all tenants, by id, whatever its ``spots`` are later.
        spot: the tenant of now.
    """

    def __init__(
        self,
        router: DatabaseRouter,
        spots: list[Spot],
        things: Thing,
        name: str,
        operations: Mapping[Any, int],
        chooser: random.Random,
        *,
        awaits: bool,
    ) -> None:
        self.router = router
        self.spots = spots
        self.known = {spot.tenant: spot for spot in spots}
        self.things = things
        self.name = name
        self.awaits = awaits
        self.chooser = chooser
        self.ledger = Ledger()
        self.kind = ""
        self.spot = spots[0]
        self._choices = list(operations), list(operations.values())
        self._serial = 0

    # One operation

    async def operate(self) -> None:
        """Do one operation; note what came of it, an error too."""
        spot = self.spot = self.chooser.choice(self.spots)
        (operation,) = self.chooser.choices(*self._choices)
        self.kind = f"{operation.__name__}{' (asyncio)' if self.awaits else ''}"
        try:
            with self.router.use_tenant(spot.tenant):
                before = self._answers
                await operation(self, spot)
                if spot.beyond and self._answers > before:
                    self.ledger.stray(f"{self.kind}: {spot.tenant} got answers from a database that isn't there")
        except Exception as error:  # noqa: BLE001 - what is no fault's doing is reported
            self.fail(error)

    @property
    def _answers(self) -> int:
        """How many answers there were; that there is no such database, which work for many tenants collects, is none."""
        return self.ledger.checked.total() - self.ledger.checked["no such database"]

    def fail(self, error: BaseException, of: Spot | None = None) -> None:
        """Note an error: it is a lost reply, or one that this tenant's own server and rights explain."""
        spot = of or self.spot
        text = str(error)
        kind = type(error).__name__
        refused = isinstance(error, redis.exceptions.NoPermissionError | redis.exceptions.ExecAbortError)
        # A script's command, or MULTI, may have been refused: then EXEC has nothing to carry out.
        refused = refused or (isinstance(error, redis.ResponseError) and any(part in text for part in REFUSALS))
        absent = isinstance(error, redis.ResponseError) and "out of range" in text
        if isinstance(error, redis.ConnectionError | redis.TimeoutError | TimeoutError):
            self.ledger.lost[kind] += 1
        elif refused and spot.limited:
            self.ledger.lost["refused"] += 1
        elif absent and spot.beyond:
            self.ledger.checked["no such database"] += 1
        elif refused or absent:
            self.ledger.stray(f"{self.kind}: {spot.tenant} got another one's error, {kind}: {text}")
        else:
            self.ledger.broken.append(f"{self.kind}: {spot.tenant}: {kind}: {text}")

    def compare(self, what: str, expected: Any, answer: Any, tenant: str | None = None) -> None:
        """Count a reply, and note it if it is not what the tenant must see."""
        if isinstance(answer, redis.RedisError) and not isinstance(expected, Wrong):
            self.fail(answer)
        else:
            self.ledger.compare(self.kind, what, tenant or self.spot.tenant, expected, answer)

    # What operations are made of

    @property
    def database(self) -> RedisDatabase:
        return self.router.database

    @property
    def client(self) -> Any:
        """The current tenant's redis-py client, of this worker's mode."""
        return self.database.aconnection if self.awaits else self.database.connection

    async def settle(self, result: Any) -> Any:
        """Return what a method of either mode gives."""
        return await result if inspect.isawaitable(result) else result

    async def call(self, owner: Any, method: str, *args: Any, **options: Any) -> Any:
        """Call a method of tenantlimpyd in this worker's mode."""
        return await self.settle(getattr(owner, f"{'a' if self.awaits else ''}{method}")(*args, **options))

    @contextlib.asynccontextmanager
    async def entered(self, manager: Any) -> AsyncIterator[Any]:
        """Enter what can be entered in both modes."""
        if self.awaits:
            async with manager as value:
                yield value
        else:
            with manager as value:
                yield value

    def fresh(self) -> str:
        """Return a text nobody has sent before, which names the tenant."""
        self._serial += 1
        return f"{self.spot.tenant}|{self.name}|{self._serial}"

    def count(self) -> str:
        """Return the field of a command that is about to add 1 to it. No other command has that field."""
        mark = self.ledger.mark(self.spot.tenant, self.name)
        mark.attempted += 1
        return f"{self.spot.tenant}|{self.name}|{mark.attempted}"

    def counted(self, field: str, reply: Any) -> None:
        """Check the count that a command was answered: 1, since it ran once."""
        self.compare("a count", 1, reply)
        if reply == 1:
            self.ledger.mark(self.spot.tenant, self.name).acknowledged.add(int(field.rpartition("|")[2]))


class Wrong:
    """Stands for the error of a command on a key of the wrong type."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, redis.ResponseError) and str(other).startswith("WRONGTYPE")

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "WRONGTYPE"
