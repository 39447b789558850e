"""What a filter asks an index for: sets of pks, described as data. Collections turn them into commands."""

from __future__ import annotations

from typing import TypeAlias

import attrs

__all__ = ["AnyOf", "LexRange", "Nothing", "ScoreRange", "Source", "SplitScoreRange", "Whole"]


@attrs.frozen
class Whole:
    """All members of a key.

    Attributes:
        key: a set or sorted set of pks, database prefix included.
        kind: ``set`` or ``zset``.
    """

    key: str
    kind: str = "set"


@attrs.frozen
class LexRange:
    """The pks of some members of a sorted set whose members are texts followed by a separator and a pk.

    Attributes:
        key: the sorted set.
        ranges: bounds for ZRANGEBYLEX, each a pair.
        separator: what stands between text and pk.
        without: texts whose members don't belong, though they are in a range.
    """

    key: str
    ranges: tuple[tuple[str, str], ...]
    separator: str
    without: tuple[str, ...] = ()


@attrs.frozen
class ScoreRange:
    """The members of a sorted set of pks with scores between two bounds, as ZRANGEBYSCORE takes them."""

    key: str
    low: str
    high: str


@attrs.frozen
class SplitScoreRange:
    """As :class:`ScoreRange`, of a sorted set whose members are a number, a separator and a pk.

    Attributes:
        key: the sorted set.
        low: the lower bound, as ZRANGEBYSCORE takes it.
        high: the upper one.
        separator: what stands between number and pk. The pk begins after its first occurrence.
    """

    key: str
    low: str
    high: str
    separator: str


@attrs.frozen
class AnyOf:
    """Pks that are in at least one of several sources."""

    sources: tuple[Source, ...]


@attrs.frozen
class Nothing:
    """No pk."""


Source: TypeAlias = Whole | LexRange | ScoreRange | SplitScoreRange | AnyOf | Nothing
