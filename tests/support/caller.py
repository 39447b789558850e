"""One spelling for a call that has a sync and an async form, so that a test is written once."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

__all__ = ["Caller"]


class Caller:
    """Call a method by its sync name, or await the method with the ``a`` before its name.

    Attributes:
        is_async: Whether async forms are called.
    """

    def __init__(self, *, is_async: bool) -> None:
        self.is_async = is_async

    async def __call__(self, target: Any, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call ``target.name(...)``, or await ``target.aname(...)``."""
        return await self.result(self.form(target, name)(*args, **kwargs))

    def form(self, target: Any, name: str) -> Callable[..., Any]:
        """Return the method ``target.name``, or ``target.aname``."""
        return getattr(target, f"a{name}" if self.is_async else name)

    def client(self, database: Any) -> Any:
        """Return the sync or the async redis-py client of a database."""
        return database.aconnection if self.is_async else database.connection

    @staticmethod
    async def result(value: Any) -> Any:
        """Return a result of such a client, awaited if it is awaitable."""
        return await value if inspect.isawaitable(value) else value

    @contextlib.asynccontextmanager
    async def enter(self, manager: Any) -> AsyncIterator[Any]:
        """Enter a context manager by ``with``, or by ``async with``."""
        if self.is_async:
            async with manager as entered:
                yield entered
        else:
            with manager as entered:
                yield entered

    async def concurrently(self, function: Callable[..., Any], afunction: Callable[..., Any], *args: Any) -> Any:
        """Call a sync function in a thread, or an async one in the event loop."""
        return await afunction(*args) if self.is_async else await asyncio.to_thread(function, *args)

    async def create(self, cls: Any, /, **values: Any) -> Any:
        """Create an object of a model."""
        return await cls.acreate(**values) if self.is_async else cls(**values)

    async def list(self, iterable: Any) -> list[Any]:
        """Return the items of a collection, or of another iterable that both forms can iterate over."""
        return [item async for item in iterable] if self.is_async else list(iterable)

    async def each(self, iterable: Any) -> AsyncIterator[Any]:
        """Iterate by ``for``, or by ``async for``."""
        if self.is_async:
            async for item in iterable:
                yield item
        else:
            for item in iterable:
                yield item

    async def next(self, iterator: Any) -> Any:
        """Return the next item of an iterator."""
        return await anext(iterator) if self.is_async else next(iterator)

    async def scan(self, target: Any, name: str, /, *args: Any, **kwargs: Any) -> set[Any]:
        """Return the keys that ``target.name(...)`` yields, or ``target.aname(...)``."""
        return set(await self.list(self.form(target, name)(*args, **kwargs)))

    async def count(self, collection: Any) -> int:
        """Return the length of a collection."""
        return await collection.acount() if self.is_async else len(collection)

    async def item(self, collection: Any, index: int) -> Any:
        """Return one item of a collection."""
        return await collection.aitem(index) if self.is_async else collection[index]

    async def slice(self, collection: Any, wanted: slice) -> list[Any]:
        """Return a slice of a collection."""
        if self.is_async:
            return list(await collection.aslice(wanted.start, wanted.stop, wanted.step))
        return list(collection[wanted])
