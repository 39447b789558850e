"""Context managers for objects with ``close`` and ``aclose``."""

from __future__ import annotations

from types import TracebackType
from typing import Self

__all__ = ["AsyncCloseOnExit", "CloseOnExit"]


class CloseOnExit:
    """A base class that closes the object at the end of a ``with`` block."""

    __slots__ = ()

    def close(self) -> None:
        """Close the object."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncCloseOnExit:
    """A base class that closes the object at the end of an ``async with`` block."""

    __slots__ = ()

    async def aclose(self) -> None:
        """Close the object; the async version of ``close``."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
