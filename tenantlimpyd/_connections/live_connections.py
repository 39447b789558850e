"""The connections that exist. Limits are counted from them, so that whatever is lost frees its permit.

An interrupt (a signal handler that raises, such as a worker's time limit) can come between any two steps, also after a
connection was handed out and before its user has a name for it. A counter would stay too high for ever. Here only
weak references are kept: an object that nobody has any more is no longer counted.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any, Protocol

__all__ = ["Countable", "LiveConnections", "Permit"]


class Countable(Protocol):
    """A connection, or the permit to make one.

    Attributes:
        user: the borrower that uses it; None while it is idle.
        reference: the weak reference by which it is counted.
    """

    user: Any
    reference: weakref.ref[Any] | None


class Permit:
    """The permit to make a connection. It is counted as one until the connection exists.

    Attributes:
        user: the borrower that may make the connection.
        reference: the weak reference by which it is counted.
    """

    __slots__ = ("__weakref__", "reference", "user")

    def __init__(self, user: Any) -> None:
        self.user = user
        self.reference: weakref.ref[Any] | None = None


class LiveConnections:
    """The connections of a pool that exist, idle and in use, and the permits to make further ones.

    Args:
        whole: the references of all pools that share a budget.
        lost: called when an object was lost: freed without :meth:`discard`. Any thread may call it, at any point.
    """

    def __init__(self, whole: set[weakref.ref[Any]], lost: Callable[[], object]) -> None:
        self._references: set[weakref.ref[Any]] = set()
        self._whole = whole
        self._lost = lost

    def __len__(self) -> int:
        return len(self._references)

    def __contains__(self, item: Countable) -> bool:
        return item.reference in self._references

    def __iter__(self) -> Iterator[Any]:
        for reference in list(self._references):
            item = reference()
            if item is not None:
                yield item

    def add(self, item: Countable) -> None:
        """Count an object."""
        item.reference = reference = weakref.ref(item, self._forget)
        self._references.add(reference)
        self._whole.add(reference)

    def discard(self, item: Countable) -> None:
        """Count an object no longer."""
        reference = item.reference
        if reference is not None:
            self._references.discard(reference)
            self._whole.discard(reference)

    def remove_lost(self) -> None:
        """Remove what was lost while an interrupt kept it from being removed at once."""
        lost = {reference for reference in list(self._references) if reference() is None}
        self._references -= lost
        self._whole -= lost

    def clear(self) -> None:
        """Count nothing any more."""
        self._whole -= self._references
        self._references.clear()

    def _forget(self, reference: weakref.ref[Any]) -> None:
        if reference in self._whole:
            self._references.discard(reference)
            self._whole.discard(reference)
            self._lost()
