"""Invariant 5: ``use_tenant`` as a decorator of functions of every kind, and what it refuses."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect

import pytest

from tenantlimpyd import current_tenant
from tenantlimpyd.context import frames
from tenantlimpyd.exceptions import UnknownTenantError


def test_function_runs_under_the_tenant(paper):
    @paper.use_tenant("a")
    def work(x, *, y=2):
        """Work."""
        if x == "raise":
            raise ValueError(current_tenant())
        return current_tenant(), x, y

    assert work(1, y=3) == ("a", 1, 3)
    assert (work.__name__, work.__doc__) == ("work", "Work.")
    with pytest.raises(ValueError, match="a"):
        work("raise")
    assert frames.get() is None


def test_recursive_function_runs_under_the_tenant(paper):
    @paper.use_tenant("a")
    def down(depth):
        return [current_tenant(), *(down(depth - 1) if depth else [])]

    with paper.use_tenant("b"):
        assert down(3) == ["a"] * 4
        assert current_tenant() == "b"


async def test_coroutine_function_runs_under_the_tenant(paper):
    @paper.use_tenant("a")
    async def work(x):
        await asyncio.sleep(0)
        if x == "raise":
            raise ValueError
        return current_tenant(), x

    assert inspect.iscoroutinefunction(work)
    coroutine = work(1)
    assert current_tenant() is None
    with paper.use_tenant("b"):
        assert await coroutine == ("a", 1)
        assert current_tenant() == "b"
    with pytest.raises(ValueError):
        await work("raise")
    assert await asyncio.gather(*(work(number) for number in range(20))) == [("a", number) for number in range(20)]
    task = asyncio.create_task(work(1))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert frames.get() is None


def talk(log):
    """A generator that answers what it is sent, survives one ValueError, and returns a value."""
    received = None
    try:
        while received != "stop":
            try:
                received = yield (current_tenant(), received)
            except ValueError as error:
                received = f"caught {error}"
        return current_tenant()
    finally:
        log.append(current_tenant())


def test_generator_runs_under_the_tenant_for_send_throw_and_return(paper):
    log = []
    decorated = paper.use_tenant("a")(talk)
    assert inspect.isgeneratorfunction(decorated)
    generator = decorated(log)
    with paper.use_tenant("b"):
        assert next(generator) == ("a", None)
        assert current_tenant() == "b"
        assert generator.send("x") == ("a", "x")
        assert generator.throw(ValueError("y")) == ("a", "caught y")
        with pytest.raises(StopIteration) as stopped:
            generator.send("stop")
        assert stopped.value.value == "a"
        assert current_tenant() == "b"
    assert log == ["a"]


def test_generator_closed_early_runs_its_cleanup_under_the_tenant(paper):
    log = []
    generator = paper.use_tenant("a")(talk)(log)
    next(generator)
    generator.close()
    assert log == ["a"]
    generator = paper.use_tenant("a")(talk)(log)
    next(generator)
    del generator
    gc.collect()
    assert log == ["a", "a"]
    assert frames.get() is None


def test_generator_that_raises_restores_the_tenant(paper):
    @paper.use_tenant("a")
    def broken():
        yield 1
        raise LookupError(current_tenant())

    generator = broken()
    next(generator)
    with pytest.raises(LookupError, match="a"):
        next(generator)
    assert frames.get() is None
    generator = broken()
    next(generator)
    with pytest.raises(KeyError):
        generator.throw(KeyError("k"))


def test_tenant_entered_inside_a_generator_is_not_current_outside(paper):
    @paper.use_tenant("a")
    def entering():
        with paper.use_tenant("b"):
            yield current_tenant()
            yield current_tenant()
        yield current_tenant()

    one, two = entering(), entering()
    with paper.use_tenant("c"):
        assert [next(one), current_tenant(), next(two), next(one), current_tenant()] == ["b", "c", "b", "b", "c"]
    assert [next(one), current_tenant(), next(two), next(two)] == ["a", None, "b", "a"]
    assert list(one) == list(two) == []
    assert frames.get() is None


def test_interleaved_generators_keep_their_own_tenants(paper):
    generators = [paper.use_tenant(name)(talk)([]) for name in "abcabc"]
    for _ in range(3):
        assert [next(generator)[0] for generator in generators] == list("abcabc")
        assert current_tenant() is None


def test_yield_from_a_decorated_generator_keeps_both_tenants(paper):
    def outer():
        returned = yield from paper.use_tenant("a")(talk)([])
        yield returned, current_tenant()

    generator = outer()
    next(generator)
    assert generator.send("stop") == ("a", None)


def test_generator_of_an_unknown_tenant_fails_at_its_first_step(paper):
    generator = paper.use_tenant("nobody")(talk)([])
    with pytest.raises(UnknownTenantError):
        next(generator)
    assert frames.get() is None


async def atalk(log):
    received = None
    try:
        while received != "stop":
            try:
                await asyncio.sleep(0)
                received = yield (current_tenant(), received)
            except ValueError as error:
                received = f"caught {error}"
    finally:
        await asyncio.sleep(0)
        log.append(current_tenant())


async def test_async_generator_runs_under_the_tenant_for_send_throw_and_close(paper):
    log = []
    decorated = paper.use_tenant("a")(atalk)
    assert inspect.isasyncgenfunction(decorated)
    generator = decorated(log)
    with paper.use_tenant("b"):
        assert await anext(generator) == ("a", None)
        assert current_tenant() == "b"
        assert await generator.asend("x") == ("a", "x")
        assert await generator.athrow(ValueError("y")) == ("a", "caught y")
        with pytest.raises(StopAsyncIteration):
            await generator.asend("stop")
        half = decorated(log)
        await anext(half)
        await half.aclose()
        assert current_tenant() == "b"
    assert log == ["a", "a"]
    never = decorated(log)
    await never.aclose()
    assert frames.get() is None


async def test_tenant_entered_inside_an_async_generator_is_not_current_outside(paper):
    @paper.use_tenant("a")
    async def entering():
        async with paper.use_tenant("b"):
            yield current_tenant()
            await asyncio.sleep(0)
            yield current_tenant()
        yield current_tenant()

    with paper.use_tenant("c"):
        seen = [(tenant, current_tenant()) async for tenant in entering()]
    assert seen == [("b", "c"), ("b", "c"), ("a", "c")]
    assert frames.get() is None


async def test_abandoned_async_generator_runs_its_cleanup_under_the_tenant(paper):
    log = []

    async def consume():
        async for _ in paper.use_tenant("a")(atalk)(log):
            break

    await consume()
    gc.collect()
    for _ in range(200):
        if log:
            break
        await asyncio.sleep(0.005)
    assert log == ["a"]
    assert frames.get() is None


async def test_async_generator_consumed_in_another_task_keeps_its_tenant(paper):
    log = []
    generator = paper.use_tenant("a")(atalk)(log)
    assert (await anext(generator))[0] == "a"
    assert await asyncio.create_task(generator.asend("x")) == ("a", "x")
    await asyncio.create_task(generator.aclose())
    assert log == ["a"]
    assert frames.get() is None


async def test_async_generator_cancelled_inside_a_step_restores_the_tenant(paper):
    log = []

    @paper.use_tenant("a")
    async def slow():
        try:
            yield 1
            await asyncio.sleep(30)
        finally:
            log.append(current_tenant())

    generator = slow()
    await anext(generator)
    task = asyncio.create_task(anext(generator))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["a"]
    assert frames.get() is None


def test_methods_of_every_kind_run_under_the_tenant(paper):
    class Service:
        @paper.use_tenant("a")
        def plain(self):
            return self, current_tenant()

        @staticmethod
        @paper.use_tenant("b")
        def static():
            return current_tenant()

        @classmethod
        @paper.use_tenant("c")
        def of_class(cls):
            return cls, current_tenant()

    service = Service()
    assert service.plain() == (service, "a")
    assert Service.static() == "b"
    assert service.of_class() == (Service, "c")
    assert paper.use_tenant("b")(service.plain)() == (service, "a")


def test_partial_and_builtin_functions_run_under_the_tenant(paper):
    def work(x):
        return x, current_tenant()

    assert paper.use_tenant("a")(functools.partial(work, 1))() == (1, "a")
    assert paper.use_tenant("a")(len)("xyz") == 3
    generator = paper.use_tenant("a")(functools.partial(talk, []))()
    assert next(generator) == ("a", None)
    generator.close()


class Caller:
    def __call__(self):
        return current_tenant()


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        (Caller, "not the class Caller"),
        (Caller(), "not an object of type Caller"),
        (staticmethod(talk), "can't wrap a staticmethod: put it below"),
        (classmethod(talk), "can't wrap a classmethod"),
        (property(talk), "can't wrap a property"),
        (functools.partial(Caller), "not the class"),
        (functools.lru_cache(talk), "not an object of type"),
        ("text", "not an object of type str"),
        (None, "not an object of type NoneType"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_that_are_not_functions_are_refused(paper, thing, said):
    with pytest.raises(TypeError, match="use_tenant") as caught:
        paper.use_tenant("a")(thing)
    assert said in str(caught.value)


def test_function_that_returns_a_coroutine_or_generator_is_refused_when_called(paper):
    async def coroutine():
        pytest.fail("ran")

    async def async_generator():
        yield pytest.fail("ran")

    loop = asyncio.new_event_loop()
    for made in (coroutine, functools.partial(talk, []), async_generator, loop.create_future):

        @paper.use_tenant("a")
        def work(made=made):
            return made()

        with pytest.raises(TypeError, match="would run after the tenant was left"):
            work()
        assert frames.get() is None
    loop.close()


def test_plain_iterators_and_lists_may_be_returned(paper):
    assert paper.use_tenant("a")(lambda: [current_tenant()])() == ["a"]
    assert list(paper.use_tenant("a")(lambda: iter("xy"))()) == ["x", "y"]


def test_use_no_tenant_decorates_too(paper):
    with paper.use_tenant("a"):
        assert paper.use_no_tenant()(current_tenant)() is None
        assert current_tenant() == "a"
