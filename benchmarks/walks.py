"""The walk over many databases, beside redis-py's clients one after another with the same COUNT."""

from __future__ import annotations

from collections.abc import Callable

import redis

from benchmarks.pairs import Block
from benchmarks.setting import DATABASES, KEYS
from tenantlimpyd import DatabaseRouter
from tenantlimpyd.scanning import DEFAULT_PAGE

TOTAL = 2 * DATABASES * KEYS
"""Keys a walk must give. They don't change meanwhile and the tables don't either, so each comes once."""


def counted(walk: Callable[[], int]) -> Block:
    """Return a block that walks, and raises if keys are missing: a fast walk that lost some would be no figure."""

    def block(repeat: int) -> None:
        for _ in range(repeat):
            if (found := walk()) < TOTAL:
                raise AssertionError(f"{found} keys of {TOTAL}")

    return block


def by_key(router: DatabaseRouter) -> Block:
    """Return a block that takes each key with its tenant."""
    return counted(lambda: sum(1 for _tenant, _key in router.scan_keys(match="invoice:*")))


def by_page(router: DatabaseRouter) -> Block:
    """Return a block that takes lists of keys with their tenant."""
    return counted(lambda: sum(len(keys) for _tenant, keys in router.scan_pages(match="invoice:*")))


def in_turn(peers: list[redis.Redis]) -> Block:
    """Return a block that takes each key of one redis-py client after another."""

    def walk() -> int:
        return sum(1 for peer in peers for _key in peer.scan_iter(match="invoice:*", count=DEFAULT_PAGE))

    return counted(walk)
