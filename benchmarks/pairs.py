"""Timing two ways of doing one thing so that the ratio can be trusted on a machine that is not quiet.

Blocks of both alternate, in the order A B B A and the next round B A A B, so that whatever slows the machine down for a
while, or steadily, slows both. Blocks are short, a few milliseconds, since such whiles are. A round gives one ratio; the
figure is the median of the rounds' ratios, and the quartiles say how much they differ among themselves. Garbage collection
is off meanwhile.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeAlias

import attrs

Block: TypeAlias = Callable[[int], None]
"""Does its work so many times."""
AsyncBlock: TypeAlias = Callable[[int], Awaitable[None]]

FEWEST = 4
"""Rounds below which there is no figure."""


@attrs.frozen
class Figure:
    """What came of one comparison.

    Attributes:
        ratio: ours over the peer's, the median over the rounds.
        low, high: the quartiles of the rounds' ratios.
        ours, peer: microseconds for one, the median over the rounds.
        rounds: how many rounds there were, of four blocks each.
    """

    ratio: float
    low: float
    high: float
    ours: float
    peer: float
    rounds: int


class _Tally:
    def __init__(self, repeat: int) -> None:
        self._repeat = repeat
        self._ours: list[float] = []
        self._peer: list[float] = []

    def add(self, ours: float, peer: float) -> None:
        self._ours.append(ours)
        self._peer.append(peer)

    def figure(self) -> Figure:
        ratios = [ours / peer for ours, peer in zip(self._ours, self._peer, strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
        one = 2 * self._repeat / 1e6  # each round has two blocks of each side
        ours, peer = statistics.median(self._ours) / one, statistics.median(self._peer) / one
        return Figure(statistics.median(ratios), low, high, ours, peer, len(ratios))


def _order(number: int) -> str:
    return "ABBA" if number % 2 == 0 else "BAAB"


def _numbers(seconds: float) -> Iterator[int]:
    """Count rounds until their time is up; the first, for warming up, is number -1."""
    gc.collect()
    gc.disable()
    try:
        ends = time.perf_counter() + seconds
        number = -1
        while number < FEWEST or time.perf_counter() < ends:
            yield number
            number += 1
    finally:
        gc.enable()


def compare(ours: Block, peer: Block, *, seconds: float, repeat: int) -> Figure:
    """Time two blocking ways.

    Args:
        ours, peer: the blocks.
        seconds: how long to go on, once there are rounds enough.
        repeat: how often a block does its work.
    """
    blocks, tally = {"A": ours, "B": peer}, _Tally(repeat)
    for number in _numbers(seconds):
        spent = {"A": 0.0, "B": 0.0}
        for side in _order(number):
            started = time.perf_counter()
            blocks[side](repeat)
            spent[side] += time.perf_counter() - started
        if number >= 0:
            tally.add(spent["A"], spent["B"])
    return tally.figure()


async def acompare(ours: AsyncBlock, peer: AsyncBlock, *, seconds: float, repeat: int) -> Figure:
    """Time two asyncio ways, as :func:`compare`, both on the running event loop."""
    blocks, tally = {"A": ours, "B": peer}, _Tally(repeat)
    for number in _numbers(seconds):
        spent = {"A": 0.0, "B": 0.0}
        for side in _order(number):
            started = time.perf_counter()
            await blocks[side](repeat)
            spent[side] += time.perf_counter() - started
        if number >= 0:
            tally.add(spent["A"], spent["B"])
    return tally.figure()
