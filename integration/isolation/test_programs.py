"""Random programs of entering, leaving, spawning, awaiting and writing, against an oracle that is a plain stack.

The oracle says in which tenant's keyspace each write must land; afterwards every keyspace holds exactly that.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantlimpyd import DatabaseRouter, RedisDatabase, current_tenant
from tenantlimpyd.context import TenantThreadPoolExecutor, carry_tenant
from tenantlimpyd.exceptions import NoTenantError
from tests.support.servers import ServerHandle

pytestmark = pytest.mark.timeout(120)

TENANTS = ("one", "two", "three")
WRITE = ("write",)
DEPTH = 32
"""Threads of the pool: more than programs are deep and wide, since a call in it may wait for another."""


class Left(Exception):  # noqa: N818 - nothing went wrong
    """Raised on purpose, to leave a block by an exception."""


def blocks(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    program = st.lists(inner, max_size=5)
    tenant = st.sampled_from([*TENANTS, None])
    return st.one_of(
        st.tuples(st.just("enter"), tenant, program),
        st.tuples(st.just("enter and raise"), tenant, program),
        st.tuples(st.just("decorated"), st.sampled_from(TENANTS), program),
        st.tuples(st.just("generator"), st.sampled_from(TENANTS), st.integers(1, 4), program),
        st.tuples(st.just("spawn"), program),
        st.tuples(st.just("thread"), program),
        st.tuples(st.just("carried"), program),
        st.tuples(st.just("pooled"), program),
        st.tuples(st.just("cancelled"), st.sampled_from(TENANTS), st.integers(0, 6)),
        st.tuples(st.just("together"), st.lists(program, max_size=3)),
    )


STEPS = st.recursive(st.just(WRITE) | st.just(("await",)), blocks, max_leaves=15)
PROGRAMS = st.lists(STEPS, min_size=1, max_size=6)


class Machine:
    """Runs programs; ``expected`` is the oracle's count of writes, by tenant; None: refused."""

    def __init__(self, router: DatabaseRouter, pool: TenantThreadPoolExecutor) -> None:
        self.router = router
        self.pool = pool
        self.expected: Counter[str | None] = Counter()
        self.refused = 0

    def _scope(self, tenant: str | None) -> Any:
        return self.router.use_no_tenant() if tenant is None else self.router.use_tenant(tenant)

    # Blocking

    def write(self, tenant: str | None) -> None:
        assert current_tenant() == tenant
        self.expected[tenant] += 1
        try:
            self.router.database.connection.incr("writes")
        except NoTenantError:
            assert tenant is None
            self.refused += 1
        else:
            assert tenant is not None

    def run(self, program: list[Any], tenant: str | None) -> None:
        for what, *rest in program:
            if what == "enter":
                with self._scope(rest[0]):
                    self.run(rest[1], rest[0])
            elif what == "enter and raise":
                with contextlib.suppress(Left), self._scope(rest[0]):
                    self.run(rest[1], rest[0])
                    raise Left
            elif what == "decorated":
                self.router.use_tenant(rest[0])(self.run)(rest[1], rest[0])
            elif what == "generator":
                for _ in self._steps(*rest):
                    self.write(tenant)
            elif what == "together":
                for each in rest[0]:
                    self.run(each, tenant)
            elif what in ("thread", "carried", "pooled"):
                self._elsewhere(what, rest[0], tenant)
            elif what in ("spawn", "cancelled"):
                pass  # there is nothing to spawn without a loop
            else:
                self.write(tenant)

    def _steps(self, tenant: str, number: int, program: list[Any]) -> Iterator[None]:
        @self.router.use_tenant(tenant)
        def steps() -> Iterator[None]:
            while True:
                self.run(program, tenant)
                yield

        items = steps()
        for _ in range(number):
            yield next(items)
        # left half-consumed

    def _elsewhere(self, what: str, program: list[Any], tenant: str | None) -> None:
        if what == "pooled":
            self.pool.submit(self._nested_in_a_thread, program, tenant).result(60)
            return
        errors: list[BaseException] = []

        def shared_connection_class(tenant: str | None) -> None:
            try:
                self.run(program, tenant)
            except BaseException as error:  # noqa: BLE001 - raised below
                errors.append(error)

        seen = None if what == "thread" else tenant
        thread = threading.Thread(
            target=shared_connection_class if what == "thread" else carry_tenant(shared_connection_class), args=(seen,)
        )
        thread.start()
        thread.join(60)
        if errors:
            raise errors[0]

    def _nested_in_a_thread(self, program: list[Any], tenant: str | None) -> None:
        self.run(program, tenant)

    # Awaiting

    async def awrite(self, tenant: str | None) -> None:
        assert current_tenant() == tenant
        self.expected[tenant] += 1
        try:
            await self.router.database.aconnection.incr("writes")
        except NoTenantError:
            assert tenant is None
            self.refused += 1
        else:
            assert tenant is not None

    async def arun(self, program: list[Any], tenant: str | None) -> None:
        for what, *rest in program:
            if what == "enter":
                async with self._scope(rest[0]):
                    await self.arun(rest[1], rest[0])
            elif what == "enter and raise":
                with contextlib.suppress(Left):
                    async with self._scope(rest[0]):
                        await self.arun(rest[1], rest[0])
                        raise Left
            elif what == "decorated":
                await self.router.use_tenant(rest[0])(self.arun)(rest[1], rest[0])
            elif what == "generator":
                await self._asteps(*rest, outside=tenant)
            elif what == "together":
                await asyncio.gather(*(self.arun(program, tenant) for program in rest[0]))
            elif what == "spawn":
                await asyncio.create_task(self.arun(rest[0], tenant))
            elif what == "cancelled":
                await self._cancelled(*rest)
            elif what in ("thread", "carried", "pooled"):
                await asyncio.to_thread(self._elsewhere, what, rest[0], tenant)
            elif what == "await":
                await asyncio.sleep(0)
            else:
                await self.awrite(tenant)

    async def _asteps(self, tenant: str, number: int, program: list[Any], *, outside: str | None) -> None:
        @self.router.use_tenant(tenant)
        async def steps() -> Any:
            while True:
                await self.arun(program, tenant)
                yield

        items = steps()
        for _ in range(number):
            await anext(items)
            await self.awrite(outside)

    async def _cancelled(self, tenant: str, steps: int) -> None:
        """Cancel a task that only waits inside a tenant: what it wrote is known."""

        inside = asyncio.Event()

        async def work() -> None:
            async with self.router.use_tenant(tenant):
                await self.awrite(tenant)
                inside.set()
                for _ in range(1000):
                    await asyncio.sleep(0.01)

        task = asyncio.create_task(work())
        await inside.wait()
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def router(server: ServerHandle) -> Iterator[DatabaseRouter]:
    tenants = {tenant: RedisDatabase(**server.settings, db=number) for number, tenant in enumerate(TENANTS, 1)}
    with DatabaseRouter(tenants) as router:
        yield router


def check(machine: Machine, server: ServerHandle) -> None:
    """Raise unless the writes are where the oracle says, and nowhere else."""
    assert current_tenant() is None
    assert machine.refused == machine.expected.pop(None, 0)
    found = Counter()
    with server.client() as client:
        for name in client.info("keyspace"):
            db = int(name[2:])
            with server.client(db=db) as there:
                assert there.keys() == [b"writes"]
                found[TENANTS[db - 1]] = int(there.get("writes"))
    assert found == +machine.expected


PROPERTY = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


@given(PROGRAMS)
@PROPERTY
def test_blocking_programs(router: DatabaseRouter, server: ServerHandle, program: list[Any]) -> None:
    with server.client() as client:
        client.flushall()
    with TenantThreadPoolExecutor(DEPTH) as pool:
        machine = Machine(router, pool)
        machine.run(program, None)
        check(machine, server)


@given(PROGRAMS)
@PROPERTY
def test_asyncio_programs(router: DatabaseRouter, server: ServerHandle, program: list[Any]) -> None:
    with server.client() as client:
        client.flushall()
    with TenantThreadPoolExecutor(DEPTH) as pool:
        machine = Machine(router, pool)
        asyncio.run(machine.arun(program, None))
        check(machine, server)


def test_the_oracle_can_disagree(router: DatabaseRouter, server: ServerHandle) -> None:
    with TenantThreadPoolExecutor(1) as pool:
        machine = Machine(router, pool)
        machine.run([("enter", "one", [WRITE])], None)
        with server.client(db=2) as client:
            client.incr("writes")
        with pytest.raises(AssertionError):
            check(machine, server)
