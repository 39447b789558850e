"""``use_tenant``: entering a tenant with ``with``, ``async with``, or as a decorator of functions of every kind."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from types import BuiltinFunctionType, FunctionType, MethodType, TracebackType
from typing import Any, Protocol, TypeVar, cast

from tenantlimpyd import logs
from tenantlimpyd.context import TenantEntry, enter, frames, leave

__all__ = ["SuspendedStack", "TenantScope"]

F = TypeVar("F", bound=Callable[..., Any])


class TenantSource(Protocol):
    """What a scope asks of its router: whether the tenant may be entered here, and where it lives."""

    def _admit(self, tenant: str | None, *, allow_switch: bool) -> object: ...

    async def _aadmit(self, tenant: str | None, *, allow_switch: bool) -> object: ...


class TenantScope:
    """Enters a tenant, and on every way out brings back the one before.

    It can be entered many times, nested and side by side. As a decorator it wraps functions, coroutine functions,
    generator functions and asynchronous generator functions; a generator has the tenant while it runs, and its consumer
    never has it.
    """

    def __init__(
        self, router: TenantSource, tenant: str | None, *, allow_switch: bool = False, request: bool | None = None
    ) -> None:
        self._router = router
        self._tenant = tenant
        self._allow_switch = allow_switch
        self._request = request

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._tenant!r}>"

    @property
    def tenant(self) -> str | None:
        """The tenant id; None: expressly no tenant."""
        return self._tenant

    def _enter(self, held: object) -> None:
        # Told first: if an application's log processor raised after entering, nobody would leave.
        logs.emit("tenant_entered", tenant=self._tenant)
        enter(self._tenant, self._router, self, request=self._request, held=held)

    def __enter__(self) -> str | None:
        self._enter(self._router._admit(self._tenant, allow_switch=self._allow_switch))
        return self._tenant

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        leave(self)

    async def __aenter__(self) -> str | None:
        self._enter(await self._router._aadmit(self._tenant, allow_switch=self._allow_switch))
        return self._tenant

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        leave(self)

    def __call__(self, function: F) -> F:
        """Decorate ``function``: each call runs under the tenant.

        Raises:
            TypeError: what is given can't be wrapped so that all of it runs under the tenant: a class, a ``staticmethod``
                or ``classmethod`` object (decorate the function inside), any other object.
        """
        wrap = self._wrapper_for(function)
        return cast("F", functools.wraps(function)(wrap(self, function)))

    @staticmethod
    def _wrapper_for(function: Any) -> Callable[[TenantScope, Callable[..., Any]], Callable[..., Any]]:
        bare = function
        while isinstance(bare, functools.partial):
            bare = bare.func
        if isinstance(bare, staticmethod | classmethod | property):
            raise TypeError(f"use_tenant can't wrap a {type(bare).__name__}: put it below, on the function itself")
        if not isinstance(bare, FunctionType | MethodType | BuiltinFunctionType):
            kind = "the class" if isinstance(bare, type) else "an object of type"
            name = bare.__name__ if isinstance(bare, type) else type(bare).__name__
            raise TypeError(f"use_tenant wraps functions, not {kind} {name}: wrap a function that uses it")
        if inspect.isasyncgenfunction(bare):
            return _around_async_generator
        if inspect.iscoroutinefunction(bare):
            return _around_coroutine
        return _around_generator if inspect.isgeneratorfunction(bare) else _around_function


def _around_function(scope: TenantScope, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with scope:
            result = function(*args, **kwargs)
        if inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
            kind = type(result).__name__
            if inspect.iscoroutine(result) or inspect.isgenerator(result):
                result.close()
            raise TypeError(
                f"{function!r} returned a {kind}, which would run after the tenant was left. Decorate the function that "
                "is one (async def, or with yield), not one that returns it."
            )
        return result

    return call


def _around_coroutine(scope: TenantScope, function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        async with scope:
            return await function(*args, **kwargs)

    return call


def _around_generator(scope: TenantScope, function: Callable[..., Any]) -> Callable[..., Any]:
    # A generator function itself, since frameworks (fixtures, dependencies) ask whether it is one.
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        stack = SuspendedStack()
        with stack:
            scope.__enter__()
        return (yield from stack.generator(function(*args, **kwargs)))

    return call


def _around_async_generator(scope: TenantScope, function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        stack = SuspendedStack()
        with stack:
            await scope.__aenter__()
        inner = function(*args, **kwargs)
        step: Callable[[], Any] = functools.partial(_first_step, inner)
        try:
            while True:
                with stack:
                    try:
                        item = await step()
                    except StopAsyncIteration:
                        return
                try:
                    step = functools.partial(inner.asend, (yield item))
                except GeneratorExit:
                    raise
                except BaseException as error:  # noqa: BLE001 - thrown on into the generator
                    step = functools.partial(inner.athrow, error)
        finally:
            with stack:
                await inner.aclose()

    return call


def _first_step(generator: AsyncGenerator[Any, Any]) -> Any:
    """Start an async generator that the event loop does not track.

    The loop closes the generators it tracks at shutdown, and after the garbage collector found them, in a context without the
    tenant. This one is closed by the generator around it only, which enters the tenant for that.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return generator.__anext__()
    finally:
        sys.set_asyncgen_hooks(*hooks)


class SuspendedStack:
    """A stack of frames that is in force only while it is entered, and kept in between.

    What a generator enters inside one step is there again in its next, and its consumer sees none of it.
    """

    def __init__(self) -> None:
        self._inside: TenantEntry | None = frames.get()
        self._outside: list[TenantEntry | None] = []

    def __enter__(self) -> None:
        self._outside.append(frames.get())
        frames.set(self._inside)

    def __exit__(self, *_: object) -> None:
        self._inside = frames.get()
        frames.set(self._outside.pop())

    def generator(self, inner: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Run a generator, each step under this stack; values and exceptions sent go through."""
        step: Callable[[], Any] = functools.partial(next, inner)
        while True:
            with self:
                try:
                    item = step()
                except StopIteration as done:
                    return done.value
            try:
                step = functools.partial(inner.send, (yield item))
            except GeneratorExit:
                with self:
                    inner.close()
                raise
            except BaseException as error:  # noqa: BLE001 - thrown on into the generator
                step = functools.partial(inner.throw, error)
