"""Invariant 5: ``use_tenant`` with ``with`` and ``async with``, in tasks and threads."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading

import pytest
import structlog

from tenantlimpyd import context, current_tenant
from tenantlimpyd.context import TenantThreadPoolExecutor, carry_tenant, frames
from tenantlimpyd.exceptions import InvalidTenantError, UnknownTenantError
from tenantlimpyd.router import DatabaseRouter


@pytest.mark.invariant(5)
async def test_nested_tenants_are_restored(call, paper):
    assert current_tenant() is None
    async with call.enter(paper.use_tenant("a")) as entered:
        assert entered == "a" == current_tenant() == paper.current_tenant()
        async with call.enter(paper.use_tenant("b")):
            assert current_tenant() == "b"
            async with call.enter(paper.use_no_tenant()) as nobody:
                assert nobody is None is current_tenant()
                async with call.enter(paper.use_tenant("a")):
                    assert current_tenant() == "a"
                assert current_tenant() is None
            assert current_tenant() == "b"
            with paper.use_tenant("c"):
                assert current_tenant() == "c"
        assert current_tenant() == "a"
    assert current_tenant() is None
    assert frames.get() is None


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
@pytest.mark.invariant(5)
async def test_previous_tenant_is_restored_after_every_exception(paper, error):
    with paper.use_tenant("a"):
        with pytest.raises(error), paper.use_tenant("b"):
            raise error
        assert current_tenant() == "a"
        with pytest.raises(error):
            async with paper.use_tenant("b"):
                raise error
        assert current_tenant() == "a"


@pytest.mark.invariant(5)
async def test_previous_tenant_is_restored_after_cancellation(paper):
    seen = []

    async def work():
        with paper.use_tenant("a"):
            try:
                async with paper.use_tenant("b"):
                    await asyncio.sleep(30)
            finally:
                seen.append(current_tenant())

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["a"]


@pytest.mark.invariant(5)
def test_leaving_out_of_order_keeps_the_tenant_entered_later(paper):
    one, two, three = (paper.use_tenant(name) for name in "abc")
    for scope in (one, two, three):
        scope.__enter__()
    two.__exit__(None, None, None)
    assert current_tenant() == "c"
    three.__exit__(None, None, None)
    assert current_tenant() == "a"
    one.__exit__(None, None, None)
    assert frames.get() is None


@pytest.mark.invariant(5)
def test_scope_left_in_another_context_changes_only_that_context(paper):
    """Streamed responses are closed in another context than the one that made them."""
    scope = paper.use_tenant("a")
    elsewhere = contextvars.copy_context()
    elsewhere.run(scope.__enter__)
    scope.__exit__(None, None, None)  # nothing to restore here
    assert current_tenant() is None
    inherited = elsewhere.copy()
    inherited.run(scope.__exit__, None, None, None)
    assert inherited.run(current_tenant) is None
    assert elsewhere.run(current_tenant) == "a"


@pytest.mark.invariant(5)
def test_leaving_twice_is_harmless(paper):
    scope = paper.use_tenant("a")
    with paper.use_tenant("b"):
        with scope:
            pass
        scope.__exit__(None, None, None)
        assert current_tenant() == "b"


@pytest.mark.invariant(5)
def test_scope_can_be_nested_in_itself(paper):
    scope = paper.use_tenant("a")
    with scope, paper.use_tenant("b"):
        with scope:
            assert current_tenant() == "a"
        assert current_tenant() == "b"
    assert frames.get() is None


@pytest.mark.invariant(5)
async def test_scope_can_be_entered_by_many_tasks(paper):
    scopes = {name: paper.use_tenant(name) for name in "abc"}
    wrong = []

    async def work(number):
        name = "abc"[number % 3]
        for _ in range(5):
            async with scopes[name]:
                await asyncio.sleep(0)
                if current_tenant() != name:
                    wrong.append(number)
            if current_tenant() is not None:
                wrong.append(number)

    await asyncio.gather(*(work(number) for number in range(60)))
    assert wrong == []


@pytest.mark.invariant(5)
def test_scope_can_be_entered_by_many_threads(paper):
    scope, wrong, gate = paper.use_tenant("a"), [], threading.Barrier(8)

    def work():
        gate.wait(5)
        for _ in range(100):
            with scope:
                if current_tenant() != "a":
                    wrong.append(1)
            if current_tenant() is not None:
                wrong.append(2)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert wrong == []


@pytest.mark.invariant(5)
async def test_tasks_inherit_the_tenant_and_do_not_change_that_of_their_parent(paper):
    async def child():
        inherited = current_tenant()
        paper.use_tenant("b").__enter__()  # never left: it ends with the task
        return inherited, current_tenant()

    with paper.use_tenant("a"):
        task = asyncio.create_task(child())
    with paper.use_tenant("c"):
        assert await task == ("a", "b")
        assert current_tenant() == "c"
        assert await asyncio.to_thread(current_tenant) == "c"


@pytest.mark.invariant(5)
def test_threads_start_without_tenant(paper):
    seen = []
    with paper.use_tenant("a"):
        thread = threading.Thread(target=lambda: seen.append(current_tenant()))
        thread.start()
        thread.join(5)
        assert current_tenant() == "a"
    assert seen == [None]


@pytest.mark.invariant(5)
def test_carry_tenant_keeps_the_tenant_in_a_thread(paper):
    seen = []
    other = contextvars.ContextVar("other", default="unset")

    def note(word, *, more):
        seen.append((current_tenant(), other.get(), word, more))

    with paper.use_tenant("a"):
        other.set("set")
        carried = carry_tenant(note)
        other.set("later")
    assert carried.__name__ == "note"
    threads = [threading.Thread(target=carried, args=("w",), kwargs={"more": number}) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    with paper.use_tenant("b"):
        carried("w", more=3)
        assert current_tenant() == "b"
    assert sorted(seen, key=str) == [("a", "set", "w", number) for number in range(4)]


@pytest.mark.invariant(5)
def test_concurrent_carried_functions_have_their_own_tenants(paper):
    gate, seen = threading.Barrier(4), []

    def work(name):
        with paper.use_tenant(name):
            gate.wait(5)
            seen.append((name, current_tenant()))
            gate.wait(5)
        return current_tenant()

    with paper.use_tenant("a"), TenantThreadPoolExecutor(4) as pool:
        outer = list(pool.map(work, "abca"))
        assert pool.submit(current_tenant).result(5) == "a"
    assert outer == ["a"] * 4
    assert all(name == current for name, current in seen)
    with TenantThreadPoolExecutor(1) as pool:
        assert pool.submit(current_tenant).result(5) is None


async def _coroutine():
    pass


def _generator():
    yield


async def _async_generator():
    yield


@pytest.mark.parametrize("function", [_coroutine, _generator, _async_generator])
def test_carry_tenant_refuses_coroutine_and_generator_functions(function):
    with pytest.raises(TypeError, match="carry_tenant takes plain functions"):
        carry_tenant(function)


async def test_tenant_executor_in_an_event_loop_keeps_the_tenant(paper):
    loop = asyncio.get_running_loop()
    with TenantThreadPoolExecutor(1) as pool, paper.use_tenant("b"):
        assert await loop.run_in_executor(pool, current_tenant) == "b"


def test_current_tenants_of_two_routers_are_independent(paper):
    other = DatabaseRouter({"x": paper.database_for("a"), "a": paper.database_for("b")})
    with paper.use_tenant("a"):
        assert (current_tenant(), paper.current_tenant(), other.current_tenant()) == ("a", "a", None)
        with other.use_tenant("x"):
            assert (current_tenant(), paper.current_tenant(), other.current_tenant()) == ("x", "a", "x")
            assert other.database is paper.database
            with paper.use_no_tenant():
                assert (current_tenant(), paper.current_tenant(), other.current_tenant()) == (None, None, "x")
        assert current_tenant() == "a"


def test_tenant_id_is_validated_at_once_and_resolved_on_entry(paper):
    for wrong in (None, "", "*", b"a", 5):
        with pytest.raises(InvalidTenantError):
            paper.use_tenant(wrong)
    scope = paper.use_tenant("unknown")
    with pytest.raises(UnknownTenantError, match="'unknown'"):
        scope.__enter__()
    assert frames.get() is None


async def test_unknown_tenant_is_not_entered_async(paper):
    with pytest.raises(UnknownTenantError) as caught:
        async with paper.use_tenant("unknown"):
            pytest.fail("entered")
    assert caught.value.tenant == "unknown"
    assert frames.get() is None


def test_failing_log_processor_does_not_leave_the_tenant_entered(paper):
    def broken(*_):
        raise OSError("disk full")

    with structlog_configured([broken]), pytest.raises(OSError, match="disk full"), paper.use_tenant("a"):
        pytest.fail("entered")
    assert frames.get() is None


@contextlib.contextmanager
def structlog_configured(processors):
    structlog.configure(processors=processors)
    try:
        yield
    finally:
        structlog.reset_defaults()


def test_repr_of_a_scope_names_the_tenant(paper):
    scope = paper.use_tenant("a")
    assert repr(scope) == "<TenantScope of 'a'>"
    assert scope.tenant == "a"
    assert paper.use_no_tenant().tenant is None


def test_lookup_of_the_request_does_not_search_the_stack(router):
    """Each frame knows the request below it: a deep stack is not searched."""
    for _ in range(3000):
        context.enter("acme", router, object())
    top = context.frames.get()
    assert context.request_entry_of(router) is None
    assert top.request_below is None
    context.frames.set(None)
