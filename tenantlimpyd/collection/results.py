"""What evaluating a collection gives: pks, or objects, in a sequence that is iterated over once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Generic, TypeVar, overload

__all__ = ["CollectionResults"]

T = TypeVar("T")


class CollectionResults(Generic[T]):
    """Results that are there already: indexing, slicing and iterating ask Redis for nothing."""

    MAX_REPR_ITEMS: ClassVar[int] = 20
    """How many items a ``repr`` shows."""

    def __init__(self, items: Sequence[T]) -> None:
        self._items = list(items)
        self._iterator: Iterator[T] | None = None

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def __next__(self) -> T:
        if self._iterator is None:
            self._iterator = iter(self._items)
        return next(self._iterator)

    def __len__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        return bool(self._items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        return self._items[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, CollectionResults):
            return self._items == other._items
        if isinstance(other, set):
            return set(self._items) == other
        return self._items == other if isinstance(other, list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown: list[Any] = self._items[: self.MAX_REPR_ITEMS]
        more = ", ..." if len(self._items) > self.MAX_REPR_ITEMS else ""
        return f"<CollectionResults [{', '.join(map(repr, shown))}{more}]>"
