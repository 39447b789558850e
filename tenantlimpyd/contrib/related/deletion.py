"""Deleting an object together with the links to it, in two round trips for up to a thousand links.

The change that deletes the object has among its contents the index sets of all fields that may link to it, and knows no value
of them. If one has a pk, the script writes nothing and returns what is there. This is the first round trip, and the only one if
there are no links. The second is a transaction: a change for each link, which removes it and its entries, and then the
deletion again. It succeeds only if no link is left, so that links made meanwhile are found and removed too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import attrs

from tenantlimpyd._operations.steps import Operation, Reply, Script, Transaction
from tenantlimpyd.atomic import Change, Content, KnownValues, StaleError, perform
from tenantlimpyd.collection import CollectionManager
from tenantlimpyd.collection.filters import ParsedFilter, parse
from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.indexes.pk_sources import Whole

__all__ = ["AT_ONCE", "delete_linked", "unlink"]

AT_ONCE: Final = 1000
"""How many links are removed in one transaction, which keeps the server from anything else meanwhile."""

_READ: Final = {"set": ("SMEMBERS",), "zset": ("ZRANGE", 0, -1)}


@attrs.frozen(eq=False)
class _Links:
    """The links to an object by one field of a model.

    Attributes:
        field: the field's declaration.
        target: the object.
        pk: its pk.
        source: where the pks of those that link to it are.
    """

    field: Any
    target: Any
    pk: str
    source: Any

    @classmethod
    def by(cls, field: Any, target: Any) -> _Links:
        model, placement = field._model, target._placement
        pk = target.known_pk
        parsed = parse(model, field.name, pk, placement)
        assert isinstance(parsed, ParsedFilter), "a related field is no pk"  # noqa: S101
        return cls(field, target, pk, parsed.source(model.storage_name(placement.database.key_prefix), {}))

    @property
    def key(self) -> str | None:
        """The key that holds the pks of those that link to the object; None where that is part of another key."""
        return self.source.key if isinstance(self.source, Whole) else None

    @property
    def of_itself(self) -> frozenset[str]:
        """The object's own pk, if it may link to itself: such a link goes with the object."""
        return frozenset({self.pk} if self.field._model is type(self.target) else ())

    def owners(self) -> Operation[list[str]]:
        """Return the pks of those that link to the object."""
        model = self.field._model
        # A manager of the model's own may leave objects out.
        found = model._collection_at(self.target._placement, {self.field.name: self.pk}, CollectionManager)
        return (yield from found._list())  # type: ignore[no-any-return]

    def removal(self, owner_pk: str) -> Operation[Any]:
        """Remove the links of one object. That may be gone, and its index entries be all that is left of it."""
        model = self.field._model
        owner = model._placed(self.target._placement, owner_pk)
        field = owner._bound_field(self.field.name)

        def plan(known: KnownValues) -> Change:
            change: Change = owner._new_change("any")
            field.unlinking(change, known, self.pk)
            return change

        return perform(plan, repr(owner))


class _Removals:
    """Links being removed."""

    def __init__(self, links: Sequence[_Links]) -> None:
        self._links = links
        self._running: dict[tuple[_Links, str], tuple[Operation[Any], Script]] = {}
        self._times: Counter[tuple[_Links, str]] = Counter()
        self._staying: dict[str, set[str]] = {
            links.key: set(links.of_itself) for links in links if links.key is not None
        }

    def begin(self, links: _Links, owners: Iterable[str]) -> None:
        """Let the links of these be removed next."""
        for pk in owners:
            if (links, pk) not in self._running:
                operation = links.removal(pk)
                self._running[links, pk] = operation, operation.send(None)  # type: ignore[assignment]

    def next(self) -> list[tuple[_Links, str]]:
        """Return whose links are removed next."""
        return list(self._running)[:AT_ONCE]

    def steps(self, which: Iterable[tuple[_Links, str]]) -> Iterator[Script]:
        """Yield the steps that remove them."""
        return (self._running[each][1] for each in which)

    def receive(self, which: Sequence[tuple[_Links, str]], replies: Sequence[Reply]) -> set[tuple[_Links, str]]:
        """Take the replies of :meth:`steps`; return whose links are removed. The others' are planned again."""
        done = set()
        errors: list[Exception] = []
        for each, reply in zip(which, replies, strict=True):
            operation, _ = self._running.pop(each)
            try:
                step = operation.throw(reply) if isinstance(reply, Exception) else operation.send(reply)
            except StopIteration:
                done.add(each)
                self._times[each] += 1
            except Exception as error:  # noqa: BLE001 - the first is raised, when all have theirs
                errors.append(error)
            else:
                self._running[each] = operation, step  # type: ignore[assignment]
        if errors:
            raise errors[0]
        return done

    def __bool__(self) -> bool:
        return bool(self._running)

    def require_none(self, change: Change) -> None:
        """Let a change be stale while there are links."""
        for key, staying in self._staying.items():
            kind = next(links.source.kind for links in self._links if links.key == key)
            change.contents[key] = Content(key, kind, _READ[kind], frozenset(staying))

    def found(self, known: KnownValues, done: set[tuple[_Links, str]]) -> bool:
        """Begin to remove what a stale change has found; return whether it was anything.

        Args:
            known: what is stored.
            done: whose links were removed in the same transaction.
        """
        news = False
        for links in self._links:
            if links.key is None:
                continue
            there = set(known.affected.get(links.key, ())) - self._staying[links.key]
            # What was removed and is still there stands for a link to another object, which an index takes for the same.
            staying = {pk for pk in there if (links, pk) in done or self._times[links, pk] > 1}
            self._staying[links.key] |= staying
            self.begin(links, there - staying)
            news = news or bool(there)
        return news


def _begun(target: Any, fields: Iterable[Any], *, reading: bool) -> Operation[_Removals]:
    """Return the removal of the links to an object; those it is not told of by a guard are read."""
    links = [_Links.by(field, target) for field in fields]
    removals = _Removals(links)
    for each in links:
        if reading or each.key is None:
            removals.begin(each, (yield from each.owners()))
    return removals


def _sent(steps: list[Script]) -> Operation[list[Reply]]:
    """Send steps as one transaction; a step alone is one anyway."""
    if len(steps) == 1:
        return [(yield steps[0])]
    return (yield Transaction(steps))  # type: ignore[no-any-return]


def unlink(target: Any, fields: Iterable[Any]) -> Operation[None]:
    """Remove all links to an object.

    Args:
        target: the object.
        fields: the declarations of the fields that link to it.
    """
    removals = yield from _begun(target, fields, reading=True)
    while removals:
        which = removals.next()
        removals.receive(which, (yield from _sent(list(removals.steps(which)))))


def delete_linked(target: Any, removal: Callable[[KnownValues], Change], fields: Iterable[Any]) -> Operation[None]:
    """Delete an object together with all links to it.

    The change that deletes it holds only if there are no links, and tells which there are. So it is sent again behind the
    changes that remove them, in the same transaction: the object goes when the last link does, and not before. Where no
    other client interferes that is two round trips, one if there are no links, and one more for each :data:`AT_ONCE`
    links beyond the first.

    Args:
        target: the object.
        removal: plans the change that deletes it.
        fields: the declarations of the fields that link to it.
    """
    removals = yield from _begun(target, fields, reading=False)
    known = KnownValues()
    while True:
        which = removals.next()
        steps = list(removals.steps(which))
        if len(which) == AT_ONCE:
            removals.receive(which, (yield from _sent(steps)))
            continue
        change = removal(known)
        removals.require_none(change)
        deletion = perform(lambda _, change=change: change, repr(target), once=True)  # type: ignore[misc]
        replies = yield from _sent([*steps, deletion.send(None)])  # type: ignore[list-item]
        done = removals.receive(which, replies[:-1])
        try:
            reply = replies[-1]
            _ = deletion.throw(reply) if isinstance(reply, Exception) else deletion.send(reply)
        except StopIteration:
            return
        except StaleError as stale:
            found = removals.found(stale.known, done)
            if not (found or removals) and stale.known == known and known.before == change.guards:
                raise ImplementationError(
                    f"what is stored of {target!r} can't be read back as it is: nothing was written."
                ) from None
            known = stale.known
