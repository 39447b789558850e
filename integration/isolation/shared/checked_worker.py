"""A worker in a thread or task: performs operations for tenants, checks the replies, and tells expected errors from others."""

from __future__ import annotations

import contextlib
import inspect
import random
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, TypeVar

import redis

from integration.isolation.shared.ledger import Ledger
from integration.isolation.shared.sites import Site
from tenantlimpyd import DatabaseRouter, RedisDatabase, fields, model

__all__ = ["CheckedWorker", "Thing", "make_model", "run_sync"]

T = TypeVar("T")
Thing = type[model.RedisModel]


def make_model(router: DatabaseRouter) -> Thing:
    """Return a model of the router's, with an index."""

    class Stock(model.RedisModel):
        database = router
        namespace = "soak"
        code = fields.PKField()
        owner = fields.StringField(indexable=True)
        note = fields.InstanceHashField()

    return Stock


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, because its calls block."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError("a blocking operation waited for an event loop")


REFUSALS = "ACL", "can't run this command", "EXEC without"
"""Messages of servers that refuse a command for lack of rights and do not say NOPERM."""


class CheckedWorker:
    """Performs operations one at a time, each for a random tenant.

    Args:
        router: the tenants' databases.
        sites: the tenants.
        things: the model of :func:`make_model`.
        name: unlike any other worker's.
        awaits: whether it works in asyncio, else it blocks.
        operations: coroutine functions ``(worker, site)`` and how often each is chosen.
        chooser: by what chance.

    Attributes:
        ledger: what it noted.
        known: all tenants, by id, whatever its ``sites`` are later.
        site: the tenant of now.
    """

    def __init__(
        self,
        router: DatabaseRouter,
        sites: list[Site],
        things: Thing,
        name: str,
        operations: Mapping[Any, int],
        chooser: random.Random,
        *,
        awaits: bool,
    ) -> None:
        self.router = router
        self.sites = sites
        self.known = {site.tenant: site for site in sites}
        self.things = things
        self.name = name
        self.awaits = awaits
        self.chooser = chooser
        self.ledger = Ledger()
        self.kind = ""
        self.site = sites[0]
        self._choices = list(operations), list(operations.values())
        self._serial = 0

    # One operation

    async def operate(self) -> None:
        """Perform one operation, and record its result or error."""
        site = self.site = self.chooser.choice(self.sites)
        (operation,) = self.chooser.choices(*self._choices)
        self.kind = f"{operation.__name__}{' (asyncio)' if self.awaits else ''}"
        try:
            with self.router.use_tenant(site.tenant):
                before = self._answers
                await operation(self, site)
                if site.beyond and self._answers > before:
                    self.ledger.stray(f"{self.kind}: {site.tenant} got answers from a database that isn't there")
        except Exception as error:  # noqa: BLE001 - what is no fault's doing is reported
            self.fail(error)

    @property
    def _answers(self) -> int:
        """The number of replies, without errors about missing databases that work for many tenants collects."""
        return self.ledger.checked.total() - self.ledger.checked["no such database"]

    def fail(self, error: BaseException, of: Site | None = None) -> None:
        """Record an error: a lost reply, or one that the tenant's server and rights explain."""
        site = of or self.site
        text = str(error)
        kind = type(error).__name__
        refused = isinstance(error, redis.exceptions.NoPermissionError | redis.exceptions.ExecAbortError)
        # A script's command, or MULTI, may have been refused: then EXEC has nothing to carry out.
        refused = refused or (isinstance(error, redis.ResponseError) and any(part in text for part in REFUSALS))
        absent = isinstance(error, redis.ResponseError) and "out of range" in text
        if isinstance(error, redis.ConnectionError | redis.TimeoutError | TimeoutError):
            self.ledger.lost[kind] += 1
        elif refused and site.limited:
            self.ledger.lost["refused"] += 1
        elif absent and site.beyond:
            self.ledger.checked["no such database"] += 1
        elif refused or absent:
            self.ledger.stray(f"{self.kind}: {site.tenant} got another one's error, {kind}: {text}")
        else:
            self.ledger.broken.append(f"{self.kind}: {site.tenant}: {kind}: {text}")

    def compare(self, what: str, expected: Any, answer: Any, tenant: str | None = None) -> None:
        """Count a reply, and record it if it is not the tenant's."""
        if isinstance(answer, redis.RedisError) and not isinstance(expected, Wrong):
            self.fail(answer)
        else:
            self.ledger.compare(self.kind, what, tenant or self.site.tenant, expected, answer)

    # What operations are made of

    @property
    def database(self) -> RedisDatabase:
        return self.router.database

    @property
    def client(self) -> Any:
        """The current tenant's redis-py client, sync or async as the worker."""
        return self.database.aconnection if self.awaits else self.database.connection

    async def settle(self, result: Any) -> Any:
        """Return the result of a sync or async call."""
        return await result if inspect.isawaitable(result) else result

    async def call(self, owner: Any, method: str, *args: Any, **options: Any) -> Any:
        """Call a method of tenantlimpyd, sync or async as the worker."""
        return await self.settle(getattr(owner, f"{'a' if self.awaits else ''}{method}")(*args, **options))

    @contextlib.asynccontextmanager
    async def entered(self, manager: Any) -> AsyncIterator[Any]:
        """Enter a context manager, sync or async as the worker."""
        if self.awaits:
            async with manager as value:
                yield value
        else:
            with manager as value:
                yield value

    def fresh(self) -> str:
        """Return a unique text that names the tenant."""
        self._serial += 1
        return f"{self.site.tenant}|{self.name}|{self._serial}"

    def count(self) -> str:
        """Return the field of a command that is about to add 1 to it. No other command has that field."""
        mark = self.ledger.mark(self.site.tenant, self.name)
        mark.attempted += 1
        return f"{self.site.tenant}|{self.name}|{mark.attempted}"

    def counted(self, field: str, reply: Any) -> None:
        """Check the reply of a counted command: 1, since it ran once."""
        self.compare("a count", 1, reply)
        if reply == 1:
            self.ledger.mark(self.site.tenant, self.name).acknowledged.add(int(field.rpartition("|")[2]))


class Wrong:
    """Stands for the error of a command on a key of the wrong type."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, redis.ResponseError) and str(other).startswith("WRONGTYPE")

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "WRONGTYPE"
