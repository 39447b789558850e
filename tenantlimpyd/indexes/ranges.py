"""Indexes for order: one sorted set for all values of a field."""

from __future__ import annotations

import math
import re
from typing import Any, ClassVar

from tenantlimpyd.exceptions import shown
from tenantlimpyd.indexes.base import BaseIndex
from tenantlimpyd.indexes.entries import Claim, Entry
from tenantlimpyd.indexes.lexical import equal_to, lex_range
from tenantlimpyd.indexes.pk_sources import AnyOf, Nothing, ScoreRange, Source, SplitScoreRange

_WHOLE = re.compile(r"\s*[+-]?[0-9]+\s*")

__all__ = ["BaseRangeIndex", "NumberRangeIndex", "TextRangeIndex"]


class BaseRangeIndex(BaseIndex):
    """What indexes for order have in common: one key for all values (of a sub-key), a sorted set."""

    handled_suffixes: ClassVar[frozenset[str | None]] = frozenset({None, "eq", "gt", "gte", "lt", "lte", "in"})
    supported_key_types: ClassVar[frozenset[str]] = frozenset({"set", "zset"})

    @property
    def ends_with_value(self) -> bool:
        """Whether keys of the index end with a value: no, all values are in one key."""
        return False

    def storage_key(self, name: str, *args: Any, transform_value: bool = True) -> str:  # noqa: ARG002 - of the value
        """Return ``{name}:{field}[:sub-key][:prefix]:{key}``; the value (the last of ``args``) takes no part in it."""
        return self.base_key(name, *args[:-1])

    def source(self, name: str, suffix: str | None, value: Any, *subkeys: Any) -> Source:
        """Return the part of the sorted set that a filter asks for."""
        if suffix != "in":
            return self.part(self.base_key(name, *subkeys), suffix or "eq", value)
        values = list(dict.fromkeys(value))
        return AnyOf(tuple(self.source(name, "eq", each, *subkeys) for each in values)) if values else Nothing()

    def part(self, key: str, suffix: str, value: Any) -> Source:
        """Return a part of the sorted set ``key``; ``suffix`` is one of the comparisons, and not ``in``."""
        raise NotImplementedError


class TextRangeIndex(BaseRangeIndex):
    """Finds objects by the order of a field's values as text, byte by byte, and by how they start.

    A sorted set of ``{value}:TEXT-RANGE-SEPARATOR:{pk}``, all with score 0.
    """

    handled_suffixes: ClassVar[frozenset[str | None]] = BaseRangeIndex.handled_suffixes | {"startswith"}
    key: ClassVar[str | None] = "text-range"
    separator: ClassVar[str] = ":TEXT-RANGE-SEPARATOR:"

    def check_value(self, *args: Any) -> None:
        """Raise where a value could be taken for another one with another pk.

        Raises:
            ValueError: If the value contains the separator.
        """
        text = self.normalize_value(args[-1])
        if (text + self.separator).find(self.separator) != len(text):
            raise ValueError(
                f"{shown(text)} for the field {self.field.name!r} contains {self.separator!r}, by which its range index "
                "tells values from pks: store another value, or take an EqualIndex"
            )

    def entries(self, name: str, pk: str, *args: Any) -> set[Entry]:
        """Return the one entry of a value."""
        text = self.normalize_value(args[-1])
        return {Entry(self.storage_key(name, *args), f"{text}{self.separator}{pk}", 0)}

    def part(self, key: str, suffix: str, value: Any) -> Source:
        """Return the members with texts that compare so with a value."""
        return lex_range(key, suffix, self.normalize_value(value, transform=False), self.separator)

    def claim(self, name: str, *args: Any) -> Claim:
        """Return how to tell that no other object has a value: the members that start with it and the separator."""
        text = self.normalize_value(args[-1])
        cut = len((text + self.separator).encode())
        words = ("ZRANGEBYLEX", *equal_to(text, self.separator))
        return Claim(self.storage_key(name, *args), words, args[-1], cut)


def _is_exact(value: Any, number: float) -> bool:
    """Return whether a float has the same value as a whole number, given as int or text.

    Other values count as exact, unless they are finite and beyond floats, as ``1e400`` is.
    """
    if math.isinf(number) and isinstance(value, str) and "inf" not in value.lower():
        return False
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        if len(value) > 400:
            return False
        value = int(value)
    return not isinstance(value, int) or number == value


class NumberRangeIndex(BaseRangeIndex):
    """Finds objects by the order of a field's values as numbers.

    A sorted set of pks, with the values as scores. What is no number counts as 0, unless ``raise_if_not_float``: then
    storing it raises. A field of many values has several numbers for a pk: there the members are
    ``{number}:NUMBER-RANGE-SEPARATOR:{pk}``.
    """

    key: ClassVar[str | None] = "number-range"
    separator: ClassVar[str] = ":NUMBER-RANGE-SEPARATOR:"
    raise_if_not_float: ClassVar[bool] = False
    configurable_attrs: ClassVar[frozenset[str]] = BaseRangeIndex.configurable_attrs | {"raise_if_not_float"}

    @property
    def injective(self) -> bool:
        """Whether two different values never share an entry: no, ``1`` and ``1.0`` do."""
        return False

    def number(self, value: Any, *, transform: bool = True, strict: bool = False) -> float:
        """Return a value as a number.

        Args:
            value: the value.
            transform: whether it has to be transformed first.
            strict: whether to raise an error for a value that is not a number, if the index is configured to refuse it.

        Raises:
            ValueError: If ``strict`` is true, and the index refuses the value, which is not a number.
        """
        if transform:
            value = self.transform_value(value)
        held = self.field.from_python(value)
        try:
            number = float(held) + 0.0  # -0.0 becomes 0.0, which Redis takes for the same
        except OverflowError:
            number = math.inf if held > 0 else -math.inf
        except (TypeError, ValueError):
            if strict and self.raise_if_not_float:
                raise ValueError(
                    f"{shown(value)} for the field {self.field.name!r} is no number, as its index needs"
                ) from None
            return 0.0
        if strict and not _is_exact(held, number):
            raise ValueError(
                f"{shown(value)} for the field {self.field.name!r} is not stored exactly by its number index, whose scores "
                "are floats: whole numbers are exact up to 2**53. Store a smaller number, or use a TextRangeIndex over text "
                "of equal length."
            )
        return number

    @property
    def _many(self) -> bool:
        return self.field.many_values

    def check_value(self, *args: Any) -> None:
        """Raise an error if a value is not a number, and the index refuses such values or the field is unique.

        Raises:
            ValueError: If the value is not a number and is refused.
        """
        number = self.number(args[-1], strict=True)
        if math.isnan(number):
            raise ValueError(f"{shown(args[-1])} for the field {self.field.name!r} is no number that has an order")
        if number == 0 and self.field.unique and self.field.unique_index().keeper() is self:
            try:
                float(self.field.from_python(self.transform_value(args[-1])))
            except (TypeError, ValueError):
                raise ValueError(
                    f"{shown(args[-1])} for the unique field {self.field.name!r} is no number: its index keeps numbers apart"
                ) from None

    def entries(self, name: str, pk: str, *args: Any) -> set[Entry]:
        """Return the one entry of a value; none where it has no order."""
        number = self.number(args[-1])
        if math.isnan(number):
            return set()
        member = f"{number!r}{self.separator}{pk}" if self._many else pk
        return {Entry(self.storage_key(name, *args), member, number)}

    def part(self, key: str, suffix: str, value: Any) -> Source:
        """Return the members with scores that compare so with a value."""
        number = self.number(value, transform=False, strict=True)
        if math.isnan(number):
            raise ValueError(
                f"{shown(value)} is no number that has an order: {self.field.name!r} can't be filtered by it"
            )
        text = repr(number)
        low, high = {
            "eq": (text, text),
            "gt": (f"({text}", "+inf"),
            "gte": (text, "+inf"),
            "lt": ("-inf", f"({text}"),
            "lte": ("-inf", text),
        }[suffix]
        return SplitScoreRange(key, low, high, self.separator) if self._many else ScoreRange(key, low, high)

    def claim(self, name: str, *args: Any) -> Claim:
        """Return how to tell that no other object has a number: the members with this score."""
        number = repr(self.number(args[-1]))
        cut = len(number + self.separator) if self._many else 0
        return Claim(self.storage_key(name, *args), ("ZRANGEBYSCORE", number, number), args[-1], cut)
