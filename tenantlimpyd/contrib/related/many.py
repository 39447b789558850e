"""Fields that link to many objects: in a set, a list, or a sorted set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from tenantlimpyd._operations.steps import Operation, twins
from tenantlimpyd.contrib.related.mixins import DatabaseClients, M, MultiValuesRelatedFieldMixin
from tenantlimpyd.fields.list import ListField
from tenantlimpyd.fields.set import SetField
from tenantlimpyd.fields.sorted_set import SortedSetField, zadd_arguments
from tenantlimpyd.fields.sorted_set_ranges import Score

__all__ = ["M2MListField", "M2MSetField", "M2MSortedSetField"]


class M2MSetField(MultiValuesRelatedFieldMixin[M], SetField):
    """Links to many objects, in a set."""

    _commands_with_single_value_from_python: ClassVar[list[str]] = ["sismember"]
    _commands_with_many_values_from_python: ClassVar[list[str]] = ["sadd", "srem"]

    def _unlink_words(self, pk: str) -> tuple[Any, ...]:
        return "SREM", pk

    def _sismember(self, value: DatabaseClients[M]) -> Operation[bool]:
        """Return whether an object is linked to."""
        return (yield from super()._sismember((yield from self.linked(value))))

    sismember, asismember = twins(_sismember)

    def _smismember(self, *values: DatabaseClients[M]) -> Operation[list[bool]]:
        """Return for each object whether it is linked to."""
        return (yield from super()._smismember(*(yield from self.all_linked(values))))

    smismember, asmismember = twins(_smismember)

    def _sadd(self, *values: DatabaseClients[M]) -> Operation[int]:
        """Link to objects, given as themselves, by their pks or as fields that link to them; return how many links are new.

        Raises:
            WrongTenantError: If an object belongs to another tenant. No link was added.
            ImplementationError: If an object is of another model, or in another database.
        """
        return (yield from super()._sadd(*(yield from self.all_linked(values))))

    sadd, asadd = twins(_sadd)

    def _proxy_set(self, value: Any) -> Operation[int]:
        """Link to an object, or to all of a list, tuple or set; return how many links are new."""
        return (yield from super()._proxy_set((yield from self.link_given(value))))

    proxy_set, aproxy_set = twins(_proxy_set)

    def _srem(self, *values: DatabaseClients[M]) -> Operation[int]:
        """Remove the links to objects; return how many there were."""
        return (yield from super()._srem(*(yield from self.all_linked(values))))

    srem, asrem = twins(_srem)


class M2MListField(MultiValuesRelatedFieldMixin[M], ListField):
    """Links to many objects, in a list; there can be several to one object."""

    _commands_with_single_value_from_python: ClassVar[list[str]] = ["lpushx", "rpushx"]
    _commands_with_many_values_from_python: ClassVar[list[str]] = ["lpush", "rpush"]

    def _unlink_words(self, pk: str) -> tuple[Any, ...]:
        return "LREM", 0, pk

    def _rpush(self, *values: DatabaseClients[M]) -> Operation[int]:
        """Append links to objects; return how many links there are then.

        Raises:
            WrongTenantError: If an object belongs to another tenant. No link was added.
            ImplementationError: If an object is of another model, or in another database.
        """
        return (yield from super()._rpush(*(yield from self.all_linked(values))))

    rpush, arpush = twins(_rpush)

    def _proxy_set(self, value: Any) -> Operation[int]:
        """Append a link to an object, or links to all of a list, tuple or set; return how many links there are then."""
        return (yield from super()._proxy_set((yield from self.link_given(value))))

    proxy_set, aproxy_set = twins(_proxy_set)

    def _lpush(self, *values: DatabaseClients[M]) -> Operation[int]:
        """Prepend links to objects, one after another; return how many links there are then."""
        return (yield from super()._lpush(*(yield from self.all_linked(values))))

    lpush, alpush = twins(_lpush)

    def _rpushx(self, *values: DatabaseClients[M]) -> Operation[int]:
        """Append links to objects if there is any link; return how many there are then."""
        return (yield from super()._rpushx(*(yield from self.all_linked(values))))

    rpushx, arpushx = twins(_rpushx)

    def _lpushx(self, *values: DatabaseClients[M]) -> Operation[int]:
        """Prepend links to objects if there is any link; return how many there are then."""
        return (yield from super()._lpushx(*(yield from self.all_linked(values))))

    lpushx, alpushx = twins(_lpushx)

    def _linsert(self, where: str, refvalue: DatabaseClients[M], value: DatabaseClients[M]) -> Operation[int]:
        """Insert a link ``before`` or ``after`` the first one to another object; return how many there are then, or -1."""
        reference, new = yield from self.all_linked((refvalue, value))
        return (yield from super()._linsert(where, reference, new))

    linsert, alinsert = twins(_linsert)

    def _lset(self, index: int, value: DatabaseClients[M]) -> Operation[bool]:
        """Replace the link at a position; return True."""
        return (yield from super()._lset(index, (yield from self.linked(value))))

    lset, alset = twins(_lset)

    def _lrem(self, count: int, value: DatabaseClients[M]) -> Operation[int]:
        """Remove ``count`` links to an object (from the end where it is negative; 0: all); return how many were removed."""
        return (yield from super()._lrem(count, (yield from self.linked(value))))

    lrem, alrem = twins(_lrem)

    def _lpos(
        self, value: DatabaseClients[M], rank: int | None = None, count: int | None = None, maxlen: int | None = None
    ) -> Operation[Any]:
        """Return the position of a link to an object, or None; with ``count`` the positions of that many (0: all)."""
        return (yield from super()._lpos((yield from self.linked(value)), rank, count, maxlen))

    lpos, alpos = twins(_lpos)

    def _lrank(self, value: DatabaseClients[M]) -> Operation[int | None]:
        """Return the position of the first link to an object, or None."""
        return (yield from super()._lrank((yield from self.linked(value))))

    lrank, alrank = twins(_lrank)

    def _lcontains(self, value: DatabaseClients[M]) -> Operation[bool]:
        """Return whether an object is linked to."""
        return (yield from super()._lcontains((yield from self.linked(value))))

    lcontains, alcontains = twins(_lcontains)

    def _lcount(self, value: DatabaseClients[M]) -> Operation[int]:
        """Return how many links to an object there are."""
        return (yield from super()._lcount((yield from self.linked(value))))

    lcount, alcount = twins(_lcount)


class M2MSortedSetField(MultiValuesRelatedFieldMixin[M], SortedSetField):
    """Links to many objects, each with a score."""

    _commands_with_single_value_from_python: ClassVar[list[str]] = ["zscore", "zrank", "zrevrank"]
    _commands_with_many_values_from_python: ClassVar[list[str]] = ["zrem"]

    def _unlink_words(self, pk: str) -> tuple[Any, ...]:
        return "ZREM", pk

    def _zscore(self, value: DatabaseClients[M]) -> Operation[float | None]:
        """Return the score of the link to an object; None where there is none."""
        return (yield from super()._zscore((yield from self.linked(value))))

    zscore, azscore = twins(_zscore)

    def _zmscore(self, members: Iterable[DatabaseClients[M]]) -> Operation[list[float | None]]:
        """Return the scores of the links to several objects."""
        return (yield from super()._zmscore((yield from self.all_linked(members))))

    zmscore, azmscore = twins(_zmscore)

    def _zrank(
        self, value: DatabaseClients[M], withscore: bool = False, score_cast_func: Callable[[Any], Any] = float
    ) -> Operation[Any]:
        """Return the position of the link to an object by score, from 0, or None."""
        return (yield from super()._zrank((yield from self.linked(value)), withscore, score_cast_func))

    zrank, azrank = twins(_zrank)

    def _zrevrank(
        self, value: DatabaseClients[M], withscore: bool = False, score_cast_func: Callable[[Any], Any] = float
    ) -> Operation[Any]:
        """Return the position of the link to an object by score, from the highest, or None."""
        return (yield from super()._zrevrank((yield from self.linked(value)), withscore, score_cast_func))

    zrevrank, azrevrank = twins(_zrevrank)

    def _zadd(self, mapping: Mapping[Any, Score] | None = None, ch: bool = False, /, **members: Any) -> Operation[int]:
        """Link to objects with scores, given by object, pk, or field that links to one; return how many links are new.

        Args:
            mapping: objects to scores. ``zadd(pk=score)`` and ``zadd(mapping={...})`` are possible too.
            ch: also count links whose score changed.
            **members: pks to scores; ``ch=`` among them is the option.

        Raises:
            WrongTenantError: If an object belongs to another tenant. No link was added.
            ImplementationError: If an object is of another model, or in another database.
        """
        scores, changed = zadd_arguments(mapping, ch, members)
        return (yield from super()._zadd((yield from self.link_given(scores)), changed))

    zadd, azadd = twins(_zadd)

    def _proxy_set(self, value: Any) -> Operation[int]:
        """Link to the objects of a mapping of them to scores; return how many links are new."""
        return (yield from super()._proxy_set((yield from self.link_given(value))))

    proxy_set, aproxy_set = twins(_proxy_set)

    def _zincrby(self, amount: float, value: DatabaseClients[M]) -> Operation[float]:
        """Add ``amount`` to the score of the link to an object, which is added where there is none; return the new score."""
        return (yield from super()._zincrby(amount, (yield from self.linked(value))))

    zincrby, azincrby = twins(_zincrby)

    def _zrem(self, *values: DatabaseClients[M]) -> Operation[int]:
        """Remove the links to objects; return how many there were."""
        return (yield from super()._zrem(*(yield from self.all_linked(values))))

    zrem, azrem = twins(_zrem)
