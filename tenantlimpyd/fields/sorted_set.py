"""``SortedSetField``: a set of values with scores."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from tenantlimpyd._operations.steps import Operation, twins
from tenantlimpyd.exceptions import DataError, LimpydException, ResponseError, shown
from tenantlimpyd.fields.base import Value
from tenantlimpyd.fields.own_key import CHUNK, NAMES_VALUES, in_parts, need_any
from tenantlimpyd.fields.server_support import needing
from tenantlimpyd.fields.sort_arguments import sort_command
from tenantlimpyd.fields.sorted_set_ranges import Score, SortedSetRanges
from tenantlimpyd.fields.value_scan import aitems, items, pattern_words

__all__ = ["SortedSetField", "zadd_arguments"]

_NUMBER = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf(?:inity)?)", re.IGNORECASE)


def _pairs(raw: Sequence[Any]) -> list[tuple[str, float]]:
    """Return members and scores, from the shapes in which scripts, RESP2 and RESP3 return them."""
    if raw and isinstance(raw[0], list | tuple):
        return [(member, float(score)) for member, score in raw]
    return [(raw[at], float(raw[at + 1])) for at in range(0, len(raw), 2)]


def _checked(score: Any) -> Any:
    """Return a score if the server accepts it as a number, so that no score of several is refused after others are stored.

    Raises:
        redis.ResponseError: If the server would not accept it.
    """
    try:
        number = float(score)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(score, str | bytes):
        text = score.decode("latin-1") if isinstance(score, bytes) else score
        if not _NUMBER.fullmatch(text) or (math.isinf(number) and text[-1].isdecimal()):
            number = math.nan
    elif isinstance(score, bool) or not isinstance(score, int | float):
        return score  # redis-py refuses it by its type, before anything is sent
    if math.isnan(number):
        raise ResponseError(f"value is not a valid float: {shown(score)} is no score")
    return score


class SortedSetField(SortedSetRanges):
    """A set of values with scores, in a Redis sorted set of its own: ``{model}:{pk}:{field}``. Values are indexed."""

    kind: ClassVar[str] = "zset"
    store_word: ClassVar[str] = "ZADD"

    def content_words(self) -> tuple[Any, ...]:
        """Return the command, without its key, that reads all values."""
        return ("ZRANGE", 0, -1)

    def names(self, words: list[Any]) -> list[Any]:
        """Return the values, of scores and values given in turn."""
        return words[1::2]

    def given(self, value: Any) -> list[Any]:
        """Return scores and values in turn: for a mapping of values to scores.

        Raises:
            TypeError: If the value is not a mapping.
        """
        if not isinstance(value, Mapping):
            raise TypeError(f"the sorted set {self.name!r} takes a mapping of values to scores")
        return self._all_sendable(word for member, score in value.items() for word in (_checked(score), member))

    # Reading

    def _zmembers(self) -> Operation[list[str]]:
        """Return all values, by score."""
        return (yield from self._read("ZRANGE", 0, -1))  # type: ignore[no-any-return]

    zmembers, azmembers = twins(_zmembers)
    proxy_get, aproxy_get = zmembers, azmembers

    def _zcard(self) -> Operation[int]:
        """Return how many values there are."""
        return (yield from self._read("ZCARD"))  # type: ignore[no-any-return]

    zcard, azcard = twins(_zcard)

    def _zcount(self, min: Score, max: Score) -> Operation[int]:  # noqa: A002 - ZCOUNT's words
        """Return how many values have a score from ``min`` to ``max``."""
        return (yield from self._read("ZCOUNT", min, max))  # type: ignore[no-any-return]

    zcount, azcount = twins(_zcount)

    def _zlexcount(self, min: str, max: str) -> Operation[int]:  # noqa: A002
        """Return how many values are between two texts (``"[a"``, ``"(b"``, ``"-"``, ``"+"``), all scores being equal."""
        return (yield from self._read("ZLEXCOUNT", min, max))  # type: ignore[no-any-return]

    zlexcount, azlexcount = twins(_zlexcount)

    def _zscore(self, value: Value) -> Operation[float | None]:
        """Return the score of a value; None where it is not there."""
        return (yield from self._read("ZSCORE", self._sendable(value)))  # type: ignore[no-any-return]

    zscore, azscore = twins(_zscore)

    def _zmscore(self, members: Iterable[Value]) -> Operation[list[float | None]]:
        """Return the scores of several values."""
        values = self._all_sendable(members)
        need_any(values, "zmscore")
        return (yield from self._read("ZMSCORE", *values))  # type: ignore[no-any-return]

    zmscore, azmscore = twins(_zmscore)

    def _zrank(
        self, value: Value, withscore: bool = False, score_cast_func: Callable[[Any], Any] = float
    ) -> Operation[Any]:
        """Return the position of a value by score, from 0, or None; with ``withscore`` a pair of it and the score."""
        words = ("WITHSCORE",) if withscore else ()
        options: dict[str, Any] = {"withscore": withscore, "score_cast_func": score_cast_func}
        reading = self._read("ZRANK", self._sendable(value), *words, **options)
        return (yield from needing("ZRANK WITHSCORE", reading) if withscore else reading)

    zrank, azrank = twins(_zrank)

    def _zrevrank(
        self, value: Value, withscore: bool = False, score_cast_func: Callable[[Any], Any] = float
    ) -> Operation[Any]:
        """Return the position of a value by score, from the highest, or None."""
        words = ("WITHSCORE",) if withscore else ()
        options: dict[str, Any] = {"withscore": withscore, "score_cast_func": score_cast_func}
        reading = self._read("ZREVRANK", self._sendable(value), *words, **options)
        return (yield from needing("ZREVRANK WITHSCORE", reading) if withscore else reading)

    zrevrank, azrevrank = twins(_zrevrank)

    def _zrandmember(self, count: int | None = None, withscores: bool = False) -> Operation[Any]:
        """Return a value at random (None where there is none), or with ``count`` a list of that many at most."""
        words: list[Any] = [] if count is None else [count]
        if withscores:
            words.append("WITHSCORES")
        return (yield from self._read("ZRANDMEMBER", *words, reply=_pairs if withscores else None))

    zrandmember, azrandmember = twins(_zrandmember)

    def zscan(self, match: str | None = None, count: int | None = None) -> Iterator[tuple[str, float]]:
        """Iterate over values and scores, page by page; ``match`` is a glob pattern, ``count`` the size of a page."""
        return items(self, "ZSCAN", pattern_words(match, count), _each)

    def azscan(self, match: str | None = None, count: int | None = None) -> AsyncIterator[tuple[str, float]]:
        """Iterate as :meth:`zscan`, with ``async for``."""
        return aitems(self, "ZSCAN", pattern_words(match, count), _each)

    def _sort(self, /, **options: Any) -> Operation[Any]:
        """Return the values in order; options as for redis-py's ``sort``. ``store`` is a key as it stands in Redis."""
        self._bound().require_pk()
        reply = yield sort_command(self.key, **options)
        return self.post_command(self, "sort", reply, (), options)

    sort, asort = twins(_sort)

    # Adding

    def _zadd(self, mapping: Mapping[Any, Score] | None = None, ch: bool = False, /, **members: Any) -> Operation[int]:
        """Add values with their scores; return how many were new.

        Args:
            mapping: values to scores. ``zadd(value=score)`` and ``zadd(mapping={...})`` are possible too.
            ch: also count values whose score changed.
            **members: values to scores; ``ch=`` among them is the option.

        Raises:
            UniquenessError: If the field is unique, and another object has one of the values. None was added.
        """
        scores, changed = zadd_arguments(mapping, ch, members)
        words = self._all_sendable(word for member, score in scores.items() for word in (score, member))
        option, hooked = ("CH",) if changed else (), (scores,)
        if len(words) > CHUNK:
            for score in scores.values():
                _checked(score)
        parts = in_parts("ZADD", words, *option)
        if self.indexable:
            replies = (yield from self._perform(parts, words[1::2], adding=True, certain=True)).replies
        else:
            replies = yield from self._write_guarded(parts)
        return self.post_command(self, "zadd", sum(replies), hooked, {})  # type: ignore[no-any-return]

    zadd, azadd = twins(_zadd, NAMES_VALUES)

    def _proxy_set(self, value: Any) -> Operation[int]:
        """Add the values of a mapping of values to scores; return how many were new."""
        self.given(value)
        return (yield from self._zadd(value))

    proxy_set, aproxy_set = twins(_proxy_set)

    def _zincrby(self, amount: float, value: Value) -> Operation[float]:
        """Add ``amount`` to the score of a value, which is added where it is not there; return the new score."""
        member = self._sendable(value)
        return (  # type: ignore[no-any-return]
            yield from self._changed("ZINCRBY", amount, member, values=[member], certain=True, reply=float)
        )

    zincrby, azincrby = twins(_zincrby, NAMES_VALUES)

    # Removing

    def _zrem(self, *values: Value) -> Operation[int]:
        """Remove values; return how many were there."""
        return (yield from self._named("ZREM", values, sum, adding=False))

    zrem, azrem = twins(_zrem, NAMES_VALUES)

    def _zremrangebyrank(self, start: int, end: int) -> Operation[int]:
        """Remove the values from position ``start`` to ``end``; return how many."""
        return (  # type: ignore[no-any-return]
            yield from self._changed("ZREMRANGEBYRANK", start, end, adding=False, affected=("ZRANGE", start, end))
        )

    zremrangebyrank, azremrangebyrank = twins(_zremrangebyrank)

    def _zremrangebyscore(self, min: Score, max: Score) -> Operation[int]:  # noqa: A002
        """Remove the values with a score from ``min`` to ``max``; return how many."""
        return (  # type: ignore[no-any-return]
            yield from self._changed("ZREMRANGEBYSCORE", min, max, adding=False, affected=("ZRANGEBYSCORE", min, max))
        )

    zremrangebyscore, azremrangebyscore = twins(_zremrangebyscore)

    def _zremrangebylex(self, min: str, max: str) -> Operation[int]:  # noqa: A002
        """Remove the values between two texts, all scores being equal; return how many."""
        return (  # type: ignore[no-any-return]
            yield from self._changed("ZREMRANGEBYLEX", min, max, adding=False, affected=("ZRANGEBYLEX", min, max))
        )

    zremrangebylex, azremrangebylex = twins(_zremrangebylex)

    def _zpopmin(self, count: int | None = None) -> Operation[list[tuple[str, float]]]:
        """Remove the values with the lowest scores, one or ``count``; return them with their scores."""
        number = () if count is None else (count,)
        lowest = ("ZRANGE", 0, (1 if count is None else count) - 1) if count != 0 else ()
        return (yield from self._changed("ZPOPMIN", *number, adding=False, affected=lowest, reply=_pairs))  # type: ignore[no-any-return]

    zpopmin, azpopmin = twins(_zpopmin)

    def _zpopmax(self, count: int | None = None) -> Operation[list[tuple[str, float]]]:
        """Remove the values with the highest scores, one or ``count``; return them with their scores."""
        number = () if count is None else (count,)
        highest = ("ZREVRANGE", 0, (1 if count is None else count) - 1) if count != 0 else ()
        return (yield from self._changed("ZPOPMAX", *number, adding=False, affected=highest, reply=_pairs))  # type: ignore[no-any-return]

    zpopmax, azpopmax = twins(_zpopmax)


def _each(page: Any) -> Iterator[tuple[str, float]]:
    return ((member, float(score)) for member, score in page)


def zadd_arguments(
    mapping: Mapping[Any, Score] | None, ch: bool, members: dict[str, Any]
) -> tuple[dict[Any, Score], bool]:
    """Return values to scores, and CH, of the forms that zadd can be called in.

    Raises:
        redis.DataError: If no value is given.
        LimpydException: options that would make it uncertain what is added, or a mapping and more.
    """
    if refused := sorted(members.keys() & {"nx", "xx", "incr"}):
        raise LimpydException(f"zadd takes no {', '.join(refused)}: use zincrby, or zscore first")
    changed = bool(members.pop("ch", ch))
    if mapping is not None and "mapping" in members:
        raise LimpydException("zadd takes one mapping of values to scores: given positionally or as mapping=, not both")
    given = members.pop("mapping", mapping)
    if given is None and members:
        given, members = members, {}
    if not given and not members and (given is None or isinstance(given, Mapping)):
        raise DataError("zadd needs at least one value with its score")
    if not isinstance(given, Mapping) or members:
        raise LimpydException("zadd takes a mapping of values to scores, or value=score, and besides that only ch")
    return dict(given), changed
