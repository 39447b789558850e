"""Iterating over the content of one key, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from tenantlimpyd._operations.steps import Command, Operation

__all__ = ["aitems", "items", "pattern_words"]

T = TypeVar("T")


class ScannedField(Protocol):
    """The field whose content is scanned."""

    @property
    def key(self) -> str:
        """The key that holds the content."""

    def _bound(self) -> Any:
        """Return the object of the field."""

    def _resolve(self) -> Any:
        """Return the database, once it may be used in this context."""


DEFAULT_PAGE = 1000


def pattern_words(match: str | None, count: int | None) -> list[Any]:
    """Return MATCH and COUNT as words of a SCAN command; COUNT is chosen for speed where it is not given."""
    words: list[Any] = [] if match is None else ["MATCH", match]
    return [*words, "COUNT", DEFAULT_PAGE if count is None else count]


def _page(word: str, key: str, cursor: int, words: list[Any]) -> Operation[tuple[int, Any]]:
    following, page = yield Command(word, key, cursor, *words)
    return int(following), page


def items(field: ScannedField, word: str, words: list[Any], each: Callable[[Any], Iterable[T]]) -> Iterator[T]:
    """Iterate over all of a field's content, blocking. Each page is asked for under the tenant of the field, or none.

    Raises:
        DoesNotExist: If the field's object has no pk; raised by this call.
        WrongTenantError: If another tenant is current, at this call or at a page.
    """
    key = _checked_key(field)

    def items() -> Iterator[T]:
        cursor = 0
        while True:
            cursor, page = field._resolve().run(_page(word, key, cursor, words))
            yield from each(page)
            if not cursor:
                return

    return items()


def aitems(field: ScannedField, word: str, words: list[Any], each: Callable[[Any], Iterable[T]]) -> AsyncIterator[T]:
    """Iterate as :func:`items`, with ``async for``."""
    key = _checked_key(field)

    async def items() -> AsyncIterator[T]:
        cursor = 0
        while True:
            cursor, page = await field._resolve().arun(_page(word, key, cursor, words))
            for item in each(page):
                yield item
            if not cursor:
                return

    return items()


def _checked_key(field: ScannedField) -> str:
    field._bound().require_pk()
    field._resolve()
    return field.key
