"""In which order a collection's items come."""

from __future__ import annotations

import attrs

from tenantlimpyd.collection.plan import Words

__all__ = ["OWN", "Order"]

_FAR = 1 << 40  # beyond any set's end, and within the numbers SORT takes


@attrs.frozen
class Order:
    """What SORT is told, or by which scores to sort.

    Attributes:
        by: a pattern of keys, ``nosort``; None: the pks themselves.
        desc: from the end.
        alpha: as text, not as numbers.
        scores: the key of a sorted set to take scores from, in place of ``by``.
        own: nothing was asked for. Then sorted sets and lists keep their order, and sets are sorted by pk.
        start: the position of the first item; for whole results only.
        number: how many items; -1: all.
    """

    by: str | None = None
    desc: bool = False
    alpha: bool = False
    scores: str | None = None
    own: bool = False
    start: int = 0
    number: int = -1

    @property
    def reversible(self) -> bool:
        """Whether sorting the other way round gives the exact reverse. Text that is equal comes in any order."""
        return self.by is None or (self.by != "nosort" and not self.alpha)

    def reversed(self) -> Order:
        """Return the other way round."""
        return attrs.evolve(self, desc=not self.desc)

    def part(self, start: int, number: int) -> Order:
        """Return this for ``number`` items (-1: all) from ``start`` on."""
        return attrs.evolve(self, start=min(start, _FAR), number=min(number, _FAR))

    def tell(self, words: Words) -> None:
        """Add this to the words of a run of the script."""
        if self.scores is not None:
            words.say("score", self.alpha, self.desc)
            words.keys.append(self.scores)
            words.temporary()
        else:
            words.say("own" if self.own else "sort", self.desc)
            words.say_list(
                [*(("BY", self.by) if self.by is not None else ()), *["DESC"] * self.desc, *["ALPHA"] * self.alpha]
            )
            words.say(self.by is None and not self.alpha)
        words.say(self.start, self.number)


OWN = Order(own=True)
"""The order where nothing was asked for."""
