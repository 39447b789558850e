"""What fields of many values have in common: content in one key, and index entries for each value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from tenantlimpyd._operations.steps import Operation, twins
from tenantlimpyd.atomic import Change, Content, KnownValues, Performed, may_create_key, perform
from tenantlimpyd.fields.own_key import ContentField, in_parts, need_any
from tenantlimpyd.indexes import Entry, stored_text
from tenantlimpyd.indexes.multi_field import Held, Spanning

__all__ = ["MultiValuesField"]


class MultiValuesField(ContentField):
    """A field of many values, in one key. Each value has index entries of its own."""

    kind: ClassVar[str]
    store_word: ClassVar[str]
    """The command that adds values."""

    def content_words(self) -> tuple[Any, ...]:
        """Return the command, without its key, that reads all values."""
        raise NotImplementedError

    def given(self, value: Any) -> list[Any]:
        """Return the words of the command that stores what an argument of the constructor, or a default, stands for."""
        return self._all_sendable(value if isinstance(value, list | tuple | set | frozenset) else [value])

    def names(self, words: list[Any]) -> list[Any]:
        """Return the values that are indexed, of those words."""
        return words

    # Indexes

    def _texts(self, values: Iterable[Any]) -> list[str]:
        return list(dict.fromkeys(stored_text(self.from_python(value)) for value in values))

    def given_texts(self, value: Any) -> list[str]:
        """Return the values that are indexed, as texts, of what an argument of the constructor stands for."""
        return self._texts(self.names(self.given(value)))

    def _entries(self, values: Iterable[str], joint: Mapping[Spanning, Held]) -> dict[str, set[Entry]]:
        """Return the entries of each value; ``joint`` are the other fields' values, for indexes over several fields."""
        instance = self._bound()
        storage, pk = instance._storage, instance.known_pk
        found: dict[str, set[Entry]] = {}
        for value in values:
            found[value] = {entry for index in self.indexes for entry in index.entries(storage, pk, value)}
            for each, held in joint.items():
                found[value] |= each.all_entries(storage, pk, {**held, self.name: value})
        return found

    @property
    def _whole(self) -> bool:
        """Whether two values can share an entry, so that all of them must be known to take one away."""
        return not all(index.injective for index in self.indexes)

    def settle(
        self,
        change: Change,
        known: KnownValues,
        *,
        values: Sequence[str] = (),
        adding: bool,
        certain: bool = False,
        affected: tuple[Any, ...] = (),
        must_hold: Sequence[str] = (),
    ) -> None:
        """Add to a change what indexes have to follow when this field's content changes.

        Args:
            change: the change.
            known: what is known.
            values: the values the command names, as texts.
            adding: whether the command may add them.
            certain: whether they will be there, unless the command fails.
            affected: a command, without its key, that reads the values the command may take away.
            must_hold: values that must be there, or the change is computed again.
        """
        if not self.indexable:
            return
        named = list(values)
        instance = self._bound()
        spanning = [] if change.whole else [each for index in self.indexes for each in index.spanning()]
        joint: dict[Spanning, Held] = {
            each: instance._row(change, known, each, without=self.name) for each in dict.fromkeys(spanning)
        }
        if adding:
            for index in self.indexes:
                for value in named:
                    index.check_value(value)
            for each, held in joint.items():
                instance._claimed(change, each, {**held, self.name: named})
        if self.unique and adding:
            storage, index = instance._storage, self.unique_index()
            change.claims += [(claim, self.name) for value in named for claim in index.claims(storage, value)]
        if certain:
            change.move(set(), set().union(*self._entries(named, joint).values()))
            if not affected:
                return
            if not self._whole:
                named = []  # their entries are theirs alone; where they are not, what goes away may have shared them
        if self._whole:
            affected = self.content_words()
        everything = dict.fromkeys([*named, *known.affected.get(self.key, ())])
        change.contents[self.key] = Content(self.key, self.kind, affected, frozenset(everything), tuple(must_hold))
        change.settle(self.key, self._entries(everything, joint))

    def creation(self, change: Change, value: Any) -> None:
        """Add to a change what stores ``value`` in a new object."""
        words = self.given(value)
        change.writes += [(word, self.key, *rest) for word, *rest in in_parts(self.store_word, words)]
        self.settle(change, KnownValues(), values=self._texts(self.names(words)), adding=True, certain=True)

    def removal(self, change: Change, known: KnownValues) -> None:
        """Add to a change what deletes the field of an object."""
        change.contents[self.key] = Content(self.key, self.kind)
        self.settle(change, known, adding=False, affected=self.content_words())
        change.writes.append(("DEL", self.key))

    # Commands

    def _changed(
        self,
        word: str,
        *args: Any,
        values: Sequence[Any] = (),
        adding: bool = True,
        certain: bool = False,
        affected: tuple[Any, ...] = (),
        reply: Callable[[Any], Any] | None = None,
        name: str | None = None,
    ) -> Operation[Any]:
        """Send a command that changes the content; where the field is indexed, with its entries in one atomic step.

        Args:
            word: the command.
            *args: its arguments after the key.
            values: the values it names.
            adding: whether it may add them.
            certain: whether they will be there, unless it fails.
            affected: a command, without its key, that reads the values it may take away.
            reply: makes the result, of redis-py's reply and of the script's alike.
            name: the command's name for the hook.
        """
        if not self.indexable:
            return (yield from self._write(word, *args, reply=reply, name=name))
        performed = yield from self._perform([(word, *args)], values, adding=adding, certain=certain, affected=affected)
        result = performed.replies[0] if reply is None else reply(performed.replies[0])
        return self.post_command(self, name or word.lower(), result, args, {})

    def _perform(
        self,
        writes: Sequence[tuple[Any, ...]],
        values: Sequence[Any],
        *,
        adding: bool,
        certain: bool = False,
        affected: tuple[Any, ...] = (),
    ) -> Operation[Performed]:
        """Carry out writes, given without their key; for the other arguments see :meth:`settle`."""
        instance = self._bound()
        texts = self._texts(values)
        yield from instance.ready_to_change()

        def plan(known: KnownValues) -> Change:
            change = instance._new_change("live")
            self.settle(change, known, values=texts, adding=adding, certain=certain, affected=affected)
            change.writes += [(word, self.key, *rest) for word, *rest in writes]
            return change

        performed = yield from perform(plan, instance)
        instance._seen()
        return performed

    def _named(
        self,
        word: str,
        values: Sequence[Any],
        reply: Callable[[list[Any]], int],
        *,
        adding: bool,
        certain: bool = False,
    ) -> Operation[int]:
        """Send a command that adds or removes the values it names, in as many parts as the script needs.

        Args:
            word: the command.
            values: the values.
            reply: makes one reply of those of the parts.
            adding: whether it may add them.
            certain: whether they will be there.
        """
        need_any(values, word.lower())
        words = self._all_sendable(values)
        if self.indexable:
            performed = yield from self._perform(in_parts(word, words), words, adding=adding, certain=certain)
            replies = performed.replies
        elif may_create_key(word):
            replies = yield from self._write_guarded(in_parts(word, words))
        else:
            return (yield from self._write(word, *words))  # type: ignore[no-any-return]
        return self.post_command(self, word.lower(), reply(replies), tuple(words), {})  # type: ignore[no-any-return]

    def _delete(self) -> Operation[int]:
        """Delete all values; return 1, or 0 where there was none."""
        return (  # type: ignore[no-any-return]
            yield from self._changed("DEL", adding=False, affected=self.content_words(), name="delete")
        )

    delete, adelete = twins(_delete)
