"""Run scenarios on one library and record the result of each call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import redis

from integration.parity.keyspace import LEFTOVER, content_of
from integration.parity.libraries import Library
from integration.parity.schema import make_models

__all__ = ["Side", "Sides"]


class Side:
    """One library on its own database: models ``m``, a raw client, and a journal of replies."""

    def __init__(self, library: Library, settings: dict[str, Any], db: int) -> None:
        self.library = library
        self.database = library.connect(settings, db)
        self.m = make_models(library, self.database)
        self.raw = redis.Redis(**settings, db=db)
        self.journal: list[tuple[str, Any]] = []

    def __repr__(self) -> str:
        return self.library.name

    def __call__(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call something, and write down what came of it; return the result, or None where it raised."""
        what = f"{getattr(call, '__qualname__', call)}{args}{kwargs or ''}"
        try:
            result = call(*args, **kwargs)
            self.journal.append((what, self.plain(result)))
        except Exception as error:  # noqa: BLE001 - compared with what the other library raises
            self.journal.append((what, type(error).__name__))
            return None
        return result

    def plain(self, value: Any) -> Any:
        """Return a reply as plain data; objects as class and pk; what has no order, sorted."""
        if isinstance(value, self.library.model.RedisModel):
            return type(value).__name__, value.pk.get()
        if isinstance(value, Iterator | set):
            return sorted(self.plain(each) for each in value)
        if isinstance(value, list | tuple):
            return [self.plain(each) for each in value]
        if type(value).__name__.startswith("CollectionManager"):
            return sorted(self.plain(each) for each in value)
        return value

    @property
    def content(self) -> dict[bytes, tuple[bytes, Any]]:
        """What is in the database."""
        return content_of(self.raw)

    def clear(self) -> None:
        """Empty the database and the journal."""
        self.raw.flushdb()
        self.journal.clear()

    def close(self) -> None:
        """Close all connections."""
        self.library.disconnect(self.database)
        self.raw.close()


class Sides:
    """Both libraries, each on a database of its own."""

    def __init__(self, limpyd: Side, ours: Side) -> None:
        self.limpyd = limpyd
        self.ours = ours

    def __iter__(self) -> Iterator[Side]:
        return iter((self.limpyd, self.ours))

    def clear(self) -> None:
        """Empty both."""
        for side in self:
            side.clear()

    def run(self, scenario: Callable[[Side], Any]) -> None:
        """Run a scenario on both."""
        for side in self:
            scenario(side)

    def compare(self) -> None:
        """Raise unless the replies were the same, and both databases hold the same."""
        differences = self.differences()
        assert not differences, "\n".join(differences)

    def differences(self) -> list[str]:
        """Return what is not the same, in words; calls are told by what our side called them."""
        ours, limpyds = self.ours.journal, self.limpyd.journal
        calls = [
            f"{what}: {mine!r}, and limpyd: {theirs!r}"
            for (what, mine), (_, theirs) in zip(ours, limpyds, strict=True)
            if mine != theirs
        ]
        mine = self.ours.content
        theirs = {key: held for key, held in self.limpyd.content.items() if LEFTOVER not in key}
        keys = [
            f"key {key!r}: {mine.get(key)}, and limpyd: {theirs.get(key)}"
            for key in sorted(mine.keys() | theirs.keys())
            if mine.get(key) != theirs.get(key)
        ]
        if calls or keys:
            ran = [f"  {what} -> {result!r}" for what, result in ours]
            return [*calls, *keys, "our journal:", *ran]
        return []
