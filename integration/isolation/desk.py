"""One checked operation at a time: what it asks under a tenant, and whether the answer is that tenant's."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from integration.isolation.keyspaces import KEYS
from tenantlimpyd import DatabaseRouter, fields, model
from tenantlimpyd.exceptions import NoTenantError

__all__ = ["HealthProbe", "Tally"]


class Tally:
    """What was done and what went astray, in one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.checked: Counter[str] = Counter()
        self.hits: Counter[str] = Counter()
        self.strays: list[str] = []
        self.lost = 0

    def add(self, kind: str, number: int = 1) -> None:
        with self._lock:
            self.checked[kind] += number

    def hit(self, tenant: str) -> None:
        with self._lock:
            self.hits[tenant] += 1

    def lose(self) -> None:
        with self._lock:
            self.lost += 1

    def stray(self, what: str) -> None:
        with self._lock:
            self.strays.append(what)


class HealthProbe:
    """Does checked operations. What tenant should be current is said by the caller, never asked of the library."""

    def __init__(
        self, router: DatabaseRouter, tenants: list[str], kind: str, chooser: random.Random, tally: Tally
    ) -> None:
        self.router = router
        self.tenants = tenants
        self.kind = kind
        self.chooser = chooser
        self.tally = tally
        self.given_up = False

        class Thing(model.RedisModel):
            database = router
            namespace = f"stress{id(self):x}"
            code = fields.PKField()
            owner = fields.StringField(indexable=True)
            note = fields.StringField()

        self.model = Thing

    def any_tenant(self) -> str:
        return self.chooser.choice(self.tenants)

    def compare(self, what: str, tenant: str, expected: Any, answer: Any) -> None:
        self.tally.add(self.kind)
        if answer != expected:
            self.tally.stray(f"{self.kind}: {what} under {tenant} gave {answer!r}, not {expected!r}")

    def expect_none(self) -> None:
        """Check that no tenant is current."""
        try:
            database: Any = self.router.database
        except NoTenantError:
            database = None
        self.compare("router.database without a tenant", "none", None, database)

    # Blocking

    def touch(self, tenant: str) -> None:
        """Do one operation under ``tenant``."""
        number = self.chooser.randrange(KEYS)
        chance = self.chooser.random()
        if chance < 0.45:
            database = self.router.database
            answer = database.connection.get(f"{database.key_prefix}me:{number}")
            self.compare("get", tenant, f"{tenant}:{number}", answer)
        elif chance < 0.9:
            database = self.router.database
            database.connection.hincrby(f"{database.key_prefix}hits:{number}", tenant, 1)
            self.tally.hit(tenant)
            self.compare("current_tenant", tenant, tenant, self.router.current_tenant())
        else:
            self.use_models(tenant, number)

    def use_models(self, tenant: str, number: int) -> None:
        code = f"{tenant}-{number}"
        thing, _ = self.model.get_or_connect(code=code)
        thing.owner.set(tenant)
        self.compare("owner", tenant, tenant, thing.owner.get())
        thing.note.set(f"{tenant}:{self.kind}")
        found = list(self.model.collection(owner=tenant))
        self.compare("collection", tenant, [], [pk for pk in found if not pk.startswith(f"{tenant}-")])

    # Awaiting

    async def atouch(self, tenant: str) -> None:
        """Do as :meth:`touch`, awaiting."""
        number = self.chooser.randrange(KEYS)
        chance = self.chooser.random()
        if chance < 0.45:
            database = self.router.database
            answer = await database.aconnection.get(f"{database.key_prefix}me:{number}")
            self.compare("get", tenant, f"{tenant}:{number}", answer)
        elif chance < 0.9:
            database = self.router.database
            await database.aconnection.hincrby(f"{database.key_prefix}hits:{number}", tenant, 1)
            self.tally.hit(tenant)
            self.compare("current_tenant", tenant, tenant, self.router.current_tenant())
        else:
            await self.ause_models(tenant, number)

    async def ause_models(self, tenant: str, number: int) -> None:
        code = f"{tenant}-{number}"
        thing, _ = await self.model.aget_or_connect(code=code)
        await thing.owner.aset(tenant)
        self.compare("owner", tenant, tenant, await thing.owner.aget())
        await thing.note.aset(f"{tenant}:{self.kind}")
        found = [pk async for pk in self.model.collection(owner=tenant)]
        self.compare("collection", tenant, [], [pk for pk in found if not pk.startswith(f"{tenant}-")])

    def until(self, operations: int) -> Callable[[], bool]:
        """Return what tells whether this kind of work is still to go on.

        It ends after two minutes in any case, so that what hangs is reported as too few operations.
        """
        goal = self.tally.checked[self.kind] + operations
        deadline = time.monotonic() + 120
        return lambda: not self.given_up and self.tally.checked[self.kind] < goal and time.monotonic() < deadline
