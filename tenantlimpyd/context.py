"""The current tenant: what this context (request, task, thread) says, and nothing else.

One ``ContextVar`` holds a stack of frames, innermost first, as an immutable linked list. Entering pushes a frame; leaving
takes that frame out of the stack *of the context where it is left*, wherever it stands in it. No token is kept, so
leaving works in another ``Context`` than the one entered (streamed responses, generators closed by the event loop), and
one ``use_tenant`` object can be entered many times, by many tasks, at once.

asyncio tasks start with the frames of the task that made them; threads start with none. :func:`carry_tenant` and
:class:`TenantThreadPoolExecutor` take the frames along on purpose.
"""

from __future__ import annotations

import concurrent.futures
import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any, ParamSpec, TypeVar

import attrs

__all__ = ["TenantThreadPoolExecutor", "carry_tenant", "current_tenant"]

P = ParamSpec("P")
R = TypeVar("R")


@attrs.frozen(eq=False)
class TenantEntry:
    """That a tenant (or, with None, expressly no tenant) of a router was entered.

    Attributes:
        tenant: the tenant id; None: the context says there is none.
        router: the router whose tenant it is; two routers don't see one another's frames.
        owner: the object that entered, which is how leaving finds its frame.
        request: for the frame of a request, whether another tenant inside it is refused; None: not a request's.
        outer: the frame below.
        request_below: the nearest frame of a request below, however deep.
        held: what the router found as the tenant was entered, so that it is there for as long as the tenant is.
    """

    tenant: str | None
    router: object
    owner: object
    request: bool | None
    outer: TenantEntry | None
    request_below: TenantEntry | None
    held: object = None

    @classmethod
    def above(
        cls,
        outer: TenantEntry | None,
        tenant: str | None,
        router: object,
        owner: object,
        request: bool | None,
        *,
        held: object = None,
    ) -> TenantEntry:
        """Return a frame on top of another."""
        below = outer if outer is None or outer.request is not None else outer.request_below
        return cls(tenant, router, owner, request, outer, below, held)


frames: ContextVar[TenantEntry | None] = ContextVar("tenantlimpyd.frames", default=None)


left_behind: list[ContextVar[Any]] = []
"""Context variables that belong to the work being done, and not to what it hands on to other threads: its deadline."""


def enter(
    tenant: str | None, router: object, owner: object, *, request: bool | None = None, held: object = None
) -> None:
    """Push a frame."""
    frames.set(TenantEntry.above(frames.get(), tenant, router, owner, request, held=held))


def leave(owner: object) -> None:
    """Take the innermost frame of ``owner`` out of this context's stack.

    Where the context has none (it is not the one that was entered), there is nothing to restore and nothing is done.
    """
    frames.set(_without(frames.get(), owner))


def _without(top: TenantEntry | None, owner: object) -> TenantEntry | None:
    above: list[TenantEntry] = []
    frame = top
    while frame is not None and frame.owner is not owner:
        above.append(frame)
        frame = frame.outer
    if frame is None:
        return top
    stack = frame.outer
    for kept in reversed(above):  # left out of order: the frames entered later stay
        stack = TenantEntry.above(stack, kept.tenant, kept.router, kept.owner, kept.request, held=kept.held)
    return stack


def entry_of(router: object) -> TenantEntry | None:
    """Return the innermost frame of ``router`` in this context, or None."""
    frame = frames.get()
    while frame is not None and frame.router is not router:
        frame = frame.outer
    return frame


def request_entry_of(router: object) -> TenantEntry | None:
    """Return the frame of the request this context is in, for ``router``, or None."""
    frame = frames.get()
    while frame is not None and (frame.request is None or frame.router is not router):
        frame = frame.request_below
    return frame


def current_tenant() -> str | None:
    """Return the id of the tenant entered last in this context, or None where there is none.

    With several routers in one process, ask the router: ``router.current_tenant()``.
    """
    frame = frames.get()
    return None if frame is None else frame.tenant


def carry_tenant(function: Callable[P, R]) -> Callable[P, R]:
    """Return ``function`` tied to the context of this call, for a thread or an executor to run.

    A new thread starts with no tenant. The function returned here sees the tenant (and every other context variable)
    that was current when ``carry_tenant`` was called, and may be called many times, from several threads at once::

        threading.Thread(target=carry_tenant(send_invoices)).start()
        executor.submit(carry_tenant(send_invoices), month)

    Args:
        function: a plain function. A coroutine function needs no help: tasks inherit the context.

    Returns:
        A function of the same signature.

    Raises:
        TypeError: a coroutine function, or a generator function: its body would run later, in another context.
    """
    for is_kind in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
        if is_kind(function):
            raise TypeError(
                "carry_tenant takes plain functions: the body of a coroutine or generator function runs later, in the "
                "context of whoever awaits it or iterates over it. Decorate it with router.use_tenant(...) instead."
            )
    context = copy_context()
    for variable in left_behind:
        context.run(variable.set, None)

    @functools.wraps(function)
    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        # A Context can't be entered twice at once, so each call runs in its own copy.
        return context.copy().run(function, *args, **kwargs)

    return carried


class TenantThreadPoolExecutor(concurrent.futures.ThreadPoolExecutor):
    """A ``ThreadPoolExecutor`` whose calls run under the tenant that was current when they were submitted."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> concurrent.futures.Future[R]:
        """Submit ``fn`` as the base class does, together with the context of this call."""
        return super().submit(carry_tenant(fn), *args, **kwargs)
