"""The commands that read ranges of a sorted set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from tenantlimpyd._operations.steps import Operation, twins
from tenantlimpyd.exceptions import DataError
from tenantlimpyd.fields.multi_value import MultiValuesField

__all__ = ["Score", "SortedSetRanges"]

Score: TypeAlias = int | float | str
"""A number; in ranges also ``"-inf"``, ``"+inf"``, and ``"(5"`` for a bound that is not included."""


def _limit(offset: int | None, num: int | None) -> list[Any]:
    if (offset is None) != (num is None):
        raise DataError("a range takes both where to start and how many, or neither")
    return [] if offset is None else ["LIMIT", offset, num]


def _range_words(
    start: Any,
    end: Any,
    desc: bool,
    withscores: bool,
    score_cast_func: Callable[[Any], Any],
    byscore: bool,
    bylex: bool,
    offset: int | None,
    num: int | None,
) -> tuple[list[Any], dict[str, Any]]:
    """Return ZRANGE's words and redis-py's options for its reply.

    Raises:
        redis.DataError: If options exclude one another.
    """
    if byscore and bylex:
        raise DataError("a range is by score or by text, not both")
    if bylex and withscores:
        raise DataError("a range by text has no scores")
    words: list[Any] = [start, end]
    words += ["BYSCORE"] * byscore + ["BYLEX"] * bylex + ["REV"] * desc + _limit(offset, num)
    words += ["WITHSCORES"] * withscores
    return words, {"withscores": withscores, "score_cast_func": score_cast_func}


def _reverse_words(
    start: Any,
    end: Any,
    withscores: bool,
    score_cast_func: Callable[[Any], Any],
    offset: int | None = None,
    num: int | None = None,
) -> tuple[list[Any], dict[str, Any]]:
    """Return the words of ZREVRANGE, ZRANGEBYSCORE and their like, and redis-py's options for their reply."""
    words = [start, end, *_limit(offset, num), *["WITHSCORES"] * withscores]
    return words, {"withscores": withscores, "score_cast_func": score_cast_func}


class SortedSetRanges(MultiValuesField):
    """The part of a sorted set that reads ranges of it."""

    def _zrange(
        self,
        start: Any,
        end: Any,
        desc: bool = False,
        withscores: bool = False,
        score_cast_func: Callable[[Any], Any] = float,
        byscore: bool = False,
        bylex: bool = False,
        offset: int | None = None,
        num: int | None = None,
    ) -> Operation[list[Any]]:
        """Return the values from position ``start`` to ``end``; by score or by text, where that is asked for.

        Args:
            start: a position, or with ``byscore`` or ``bylex`` a bound (the higher one with ``desc``).
            end: the other.
            desc: from the highest down.
            withscores: pairs of value and score.
            score_cast_func: makes scores of the server's text.
            byscore: bounds are scores.
            bylex: bounds are texts.
            offset: how many to leave out, with ``num``.
            num: how many at most, with ``offset``.
        """
        words, options = _range_words(start, end, desc, withscores, score_cast_func, byscore, bylex, offset, num)
        return (yield from self._read("ZRANGE", *words, **options))  # type: ignore[no-any-return]

    zrange, azrange = twins(_zrange)

    def _zrevrange(
        self, start: int, end: int, withscores: bool = False, score_cast_func: Callable[[Any], Any] = float
    ) -> Operation[list[Any]]:
        """Return the values from position ``start`` to ``end``, the highest score first."""
        words, options = _reverse_words(start, end, withscores, score_cast_func)
        return (yield from self._read("ZREVRANGE", *words, **options))  # type: ignore[no-any-return]

    zrevrange, azrevrange = twins(_zrevrange)

    def _zrangebyscore(
        self,
        min: Score,  # noqa: A002
        max: Score,  # noqa: A002
        start: int | None = None,
        num: int | None = None,
        withscores: bool = False,
        score_cast_func: Callable[[Any], Any] = float,
    ) -> Operation[list[Any]]:
        """Return the values with a score from ``min`` to ``max``."""
        words, options = _reverse_words(min, max, withscores, score_cast_func, start, num)
        return (yield from self._read("ZRANGEBYSCORE", *words, **options))  # type: ignore[no-any-return]

    zrangebyscore, azrangebyscore = twins(_zrangebyscore)

    def _zrevrangebyscore(
        self,
        max: Score,  # noqa: A002
        min: Score,  # noqa: A002
        start: int | None = None,
        num: int | None = None,
        withscores: bool = False,
        score_cast_func: Callable[[Any], Any] = float,
    ) -> Operation[list[Any]]:
        """Return the values with a score from ``max`` down to ``min``."""
        words, options = _reverse_words(max, min, withscores, score_cast_func, start, num)
        return (yield from self._read("ZREVRANGEBYSCORE", *words, **options))  # type: ignore[no-any-return]

    zrevrangebyscore, azrevrangebyscore = twins(_zrevrangebyscore)

    def _zrangebylex(
        self,
        min: str,  # noqa: A002
        max: str,  # noqa: A002
        start: int | None = None,
        num: int | None = None,
    ) -> Operation[list[str]]:
        """Return the values between two texts, all scores being equal."""
        words, _ = _reverse_words(min, max, False, float, start, num)
        return (yield from self._read("ZRANGEBYLEX", *words))  # type: ignore[no-any-return]

    zrangebylex, azrangebylex = twins(_zrangebylex)

    def _zrevrangebylex(
        self,
        max: str,  # noqa: A002
        min: str,  # noqa: A002
        start: int | None = None,
        num: int | None = None,
    ) -> Operation[list[str]]:
        """Return the values between two texts, from the last down, all scores being equal."""
        words, _ = _reverse_words(max, min, False, float, start, num)
        return (yield from self._read("ZREVRANGEBYLEX", *words))  # type: ignore[no-any-return]

    zrevrangebylex, azrevrangebylex = twins(_zrevrangebylex)
