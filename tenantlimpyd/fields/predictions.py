"""What a command will probably make of a value.

An indexed write computes its index entries before it is sent. Where the guess is wrong, the server undoes the write and
says what the value became, so a guess costs a round trip, never a wrong index.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeAlias

from tenantlimpyd.atomic import Stored
from tenantlimpyd.indexes import stored_text

__all__ = ["Guess", "added", "added_float", "appended", "unchanged"]

Guess: TypeAlias = Callable[[Stored], Any]
"""What a value becomes, from what it is."""


_LARGEST_EXPONENT = 5000  # a long double's is 4932: beyond it the server refuses, so nothing needs to be written out


def unchanged(old: Stored) -> Stored:
    """Guess that nothing changes: for commands on bytes, whose outcome the server tells."""
    return old


def appended(value: Any) -> Callable[[Stored], Stored]:
    """Guess the outcome of APPEND."""
    return lambda old: (old or "") + stored_text(value)


def added(amount: int) -> Callable[[Stored], Stored]:
    """Guess the outcome of adding a whole number. A value that is none is left to the server to refuse."""

    def guess(old: Stored) -> Stored:
        try:
            return str(int(old or 0) + amount)
        except ValueError:
            return old

    return guess


def added_float(amount: float) -> Callable[[Stored], Stored]:
    """Guess the outcome of adding a number, as Redis writes it: without exponent or trailing zeros."""

    def guess(old: Stored) -> Stored:
        try:
            total = Decimal(old or 0) + Decimal(repr(amount) if isinstance(amount, float) else str(amount))
        except ArithmeticError:  # no number, or one far beyond what Redis can hold
            return old
        if total.is_finite() and total.adjusted() > _LARGEST_EXPONENT:
            return old
        text = f"{total:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text

    return guess
