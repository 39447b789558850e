"""A field's indexes: which there are, and adding, removing and building again the entries of stored values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tenantlimpyd._operations.steps import Batch, Command, Operation, Runner, together, twins
from tenantlimpyd.atomic import Change, Content, KnownValues, perform
from tenantlimpyd.exceptions import DoesNotExist, ImplementationError, UniquenessError, shown
from tenantlimpyd.fields.owner import ModelInstance, OwnerClass
from tenantlimpyd.indexes import BaseIndex, Entry
from tenantlimpyd.indexes.maintenance import DEFAULT_CHUNK, placed_twins
from tenantlimpyd.indexes.multi_field import AtSubkey
from tenantlimpyd.utils import NotProvided

__all__ = ["Indexing"]

_DELETED_AT_ONCE = 1000


class Indexing:
    """The part of a field that looks after its indexes."""

    if TYPE_CHECKING:
        name: str
        indexable: bool
        unique: bool
        single_value: ClassVar[bool]
        index_classes: list[type[BaseIndex]]
        _indexes: list[BaseIndex] | None
        _model: OwnerClass
        _instance: ModelInstance | None

        def _bound(self) -> ModelInstance: ...
        def _resolve(self) -> Runner: ...

    # Which there are

    @property
    def indexes(self) -> list[BaseIndex]:
        """The index objects of the declaration, made once."""
        if self._indexes is None:
            declaration = self._model.get_class_field(self.name)
            if declaration._indexes is None:
                declaration._indexes = [index(declaration) for index in declaration.index_classes]
            self._indexes = declaration._indexes
        return self._indexes

    @property
    def many_values(self) -> bool:
        """Whether the field holds values without sub-keys, of which each is indexed: a set, a list, a sorted set."""
        return hasattr(self, "content_words")

    @property
    def has_subkeys(self) -> bool:
        """Whether the field holds values by sub-key, and is indexed by them."""
        return not self.single_value and not self.many_values

    def get_index(self, index_class: Any = NotProvided, key: Any = NotProvided, prefix: Any = NotProvided) -> BaseIndex:
        """Return the one index of this field that has the given class, key and prefix.

        Args:
            index_class: the class; an index of exactly this class has precedence over those of subclasses.
            key: the key; None: an index without one.
            prefix: the prefix; None: an index without one.

        Raises:
            ValueError: If no index matches, or more than one.
        """
        found = [
            index
            for index in self.indexes
            if (index_class is NotProvided or isinstance(index, index_class))
            and (key is NotProvided or index.key == key)
            and (prefix is NotProvided or index.prefix == prefix)
        ]
        exact = [index for index in found if type(index) is index_class]
        found = exact or found
        if len(found) != 1:
            raise ValueError(
                f"{len(found) or 'no'} indexes of the field {self.name!r} fit: say which by index_class, key and prefix"
            )
        return found[0]

    def get_unique_index(self) -> BaseIndex:
        """Return the index that keeps this field unique.

        Raises:
            ImplementationError: If the field is not unique, or none of its indexes supports uniqueness.
        """
        if not self.unique:
            raise ImplementationError(f"the field {self.name!r} is not unique")
        return self.unique_index()

    def unique_index(self) -> BaseIndex:
        """Return the first index of this field that supports uniqueness, even if the field is not unique.

        Raises:
            ImplementationError: If none of its indexes supports uniqueness.
        """
        for index in self.indexes:
            if index.handle_uniqueness:
                return index
        raise ImplementationError(f"no index of the unique field {self.name!r} can keep it unique")

    # Where the field is

    def placed(self) -> Any:
        """Return where the field is: its instance's place, or for a declaration the current one."""
        return self._instance._placement if self._instance is not None else self._model.database._current_placement()

    def at(self, placement: Any, pk: Any) -> Self:
        """Return this field of the object with a pk."""
        declaration = self._model.get_class_field("pk")
        instance = self._model._placed(placement, declaration.normalize(pk))
        return instance._bound_field(self.name)  # type: ignore[no-any-return]

    def get_for_instance(self, pk: Any) -> Self:
        """Return this field of the object with a pk, which is not looked up before its first write.

        Args:
            pk: the object's; where the field is an object's, that object's database is meant, else the current one.
        """
        return self.at(self.placed(), pk)

    def _indexed(self) -> None:
        if not self.indexable:
            raise ImplementationError(
                f"the field {self.name!r} of {self._model.__name__} has no index: it is not indexable"
            )

    # Entries of given values

    def _arguments(self, value: Any) -> list[tuple[Any, ...]]:
        """Return the arguments of an index for what a value stands for: itself, or what is in it."""
        if self.has_subkeys:
            return list(value.items())
        if self.single_value:
            return [(value,)]
        return [(each,) for each in ([value] if isinstance(value, str | bytes) else value)]

    def put(
        self, indexes: Sequence[Any], arguments: Iterable[tuple[Any, ...]], *, adding: bool, claiming: bool = True
    ) -> Operation[None]:
        """Add, or remove, the entries of values, whatever is stored.

        Args:
            indexes: the indexes.
            arguments: for each value what an index takes: the value, after the sub-key for fields that have them.
            adding: True: add; False: remove.
            claiming: whether unique values of other objects are refused.
        """
        instance = self._bound()
        every = list(arguments)

        def plan(known: KnownValues) -> Change:
            change = instance._new_change("live")
            self._enter(change, known, indexes, every, adding=adding, claiming=claiming)
            return change

        yield from perform(plan, instance)

    def _enter(
        self,
        change: Change,
        known: KnownValues,
        indexes: Sequence[BaseIndex],
        arguments: list[tuple[Any, ...]],
        *,
        adding: bool,
        claiming: bool,
    ) -> None:
        instance = self._bound()
        entries: set[Entry] = set()
        for index in indexes:
            for args in arguments:
                if adding:
                    index.check_value(*args)
                entries |= index.entries(instance._storage, instance.known_pk, *args)
                if adding and claiming and self.unique and index.handle_uniqueness:
                    change.claims += [(claim, self.name) for claim in index.claims(instance._storage, *args)]
            for spanning in index.spanning():
                if spanning.field.name == self.name and arguments:
                    held = instance._row(change, known, spanning, without=self.name if self.many_values else None)
                    row = {
                        **held,
                        self.name: tuple(AtSubkey(*each) if self.has_subkeys else each[0] for each in arguments),
                    }
                    if adding and claiming:
                        entries |= instance._claimed(change, spanning, row)
                    else:
                        entries |= spanning.all_entries(instance._storage, instance.known_pk, row)
        change.move(*((set(), entries) if adding else (entries, set())))

    def _index(self, value: Any = None, only_index: BaseIndex | None = None) -> Operation[None]:
        """Add the index entries of a value, or of the stored value, in one atomic step.

        Args:
            value: a value; for fields of many values an iterable of them, for a hash a mapping. None: what is stored.
            only_index: one of the field's indexes; None: all.

        Raises:
            UniquenessError: If another object has a unique value. Nothing was added.
        """
        yield from self._indexing(value, only_index, adding=True)

    def _deindex(self, value: Any = None, only_index: BaseIndex | None = None) -> Operation[None]:
        """Remove the index entries of a value, or of what is stored; arguments as for :meth:`index`."""
        yield from self._indexing(value, only_index, adding=False)

    def _indexing(self, value: Any, only_index: BaseIndex | None, *, adding: bool) -> Operation[None]:
        self._indexed()
        self._bound().require_pk()
        indexes = self.indexes if only_index is None else [only_index]
        if value is None:
            yield from self.follow(indexes, adding=adding)
        else:
            yield from self.put(indexes, self._arguments(value), adding=adding)

    def _check_uniqueness(self, value: Any) -> Operation[None]:
        """Raise an error if another object has a value of this unique field. For other fields, and for None, do nothing.

        Args:
            value: a value; for fields of many values an iterable of them.

        Raises:
            UniquenessError: If the field is unique, and another object has a value.
        """
        if self.unique and value is not None:
            yield from self.find_owner([self.get_unique_index()], self._arguments(value))

    def find_owner(self, indexes: Sequence[Any], arguments: Iterable[tuple[Any, ...]]) -> Operation[None]:
        """Raise if another object has one of some values, given as for :meth:`put`."""
        storage = self._model.storage_name(self.placed().database.key_prefix)
        claims = [claim for args in arguments for index in indexes for claim in index.claims(storage, *args)]
        if not claims:
            return
        replies = yield Batch([Command(claim.words[0], claim.key, *claim.words[1:]) for claim in claims])
        mine = self._instance._pk if self._instance is not None else None
        for claim, reply in zip(claims, replies, strict=True):
            if isinstance(reply, Exception):
                raise reply
            owners = {member.encode()[claim.cut :].decode() for member in reply} - {mine}
            if owners:
                raise UniquenessError(
                    f"{shown(claim.value)} for the unique field {self.name!r} of {self._model.__name__} belongs to pk "
                    f"{', '.join(map(shown, sorted(owners)))} already."
                )

    # Entries of what is stored

    def follow(self, indexes: Sequence[BaseIndex], *, adding: bool) -> Operation[None]:
        """Add, or remove, the entries of what is stored, in one atomic step."""
        instance = self._bound()

        def plan(known: KnownValues) -> Change:
            change = instance._new_change("live")
            self._enter(change, known, indexes, self._held(change, known), adding=adding, claiming=True)
            return change

        yield from perform(plan, instance)

    def _held(self, change: Change, known: KnownValues) -> list[tuple[Any, ...]]:
        """Return what is known to be stored, and let the change depend on it."""
        field: Any = self
        instance = self._bound()
        if self.single_value:
            slot = field.slot(instance.key_base)
            value = change.guards.setdefault(slot, known.before.get(slot, instance._known_value(slot)))
            return [] if value is None else [(value,)]
        if self.has_subkeys:
            return list(field.held_values(change, known).items())
        values = list(dict.fromkeys(known.affected.get(field.key, ())))
        change.contents[field.key] = Content(
            field.key, field.kind, field.content_words(), frozenset(values), tuple(values)
        )
        return [(value,) for value in values]

    # Of all objects

    def _clear_indexes(  # noqa: D417 - callers give no placement
        self, placement: Any, chunk_size: int = DEFAULT_CHUNK, aggressive: bool = False
    ) -> Operation[None]:
        """Remove the index entries of all objects. Call it on the field of the class (``Model.get_field(name)``).

        Args:
            chunk_size: the number of objects that are processed together, in a few round trips.
            aggressive: whether to delete all keys of the indexes, which a scan of the database finds, with all entries.

        Raises:
            ImplementationError: If the field is that of an instance, or not indexable.
        """
        yield from self.clear_these(self.indexes, placement, chunk_size, aggressive=aggressive)

    def _rebuild_indexes(  # noqa: D417
        self, placement: Any, chunk_size: int = DEFAULT_CHUNK, aggressive_clear: bool = False
    ) -> Operation[None]:
        """Add the index entries of all objects' stored values. Call it on the field of the class.

        The entries of an object are added in one atomic step, if its value is still the one that they were computed from.
        So other clients may write meanwhile. Entries without a value remain unless the indexes are cleared first.

        Args:
            chunk_size: the number of objects that are processed together, in a few round trips.
            aggressive_clear: whether to delete all keys of the indexes first, with all entries.

        Raises:
            UniquenessError: If two objects have the same unique value. The other objects of the chunk are indexed.
            ImplementationError: If the field is that of an instance, or not indexable.
        """
        yield from self.rebuild_these(self.indexes, placement, chunk_size, aggressive=aggressive_clear)

    def clear_these(
        self, indexes: Sequence[Any], placement: Any, chunk_size: int, *, aggressive: bool
    ) -> Operation[None]:
        """Remove the entries of all objects in some of the indexes."""
        self._declared(chunk_size)
        if not aggressive:
            yield from self._each_page(indexes, placement, chunk_size, adding=False)
            return
        for index in indexes:
            keys = sorted((yield from index._get_all_storage_keys(placement)))
            for at in range(0, len(keys), _DELETED_AT_ONCE):
                yield Command("DEL", *keys[at : at + _DELETED_AT_ONCE])

    def rebuild_these(
        self, indexes: Sequence[Any], placement: Any, chunk_size: int, *, aggressive: bool
    ) -> Operation[None]:
        """Add the entries of all objects in some of the indexes."""
        self._declared(chunk_size)
        if aggressive:
            yield from self.clear_these(indexes, placement, chunk_size, aggressive=True)
        yield from self._each_page(indexes, placement, chunk_size, adding=True)

    def _declared(self, chunk_size: int) -> None:
        if self._instance is not None:
            raise ImplementationError(
                f"all objects' indexes belong to the class: write {self._model.__name__}.get_field({self.name!r})"
            )
        self._indexed()
        if not isinstance(chunk_size, int) or isinstance(chunk_size, bool) or chunk_size < 1:
            raise ValueError(f"chunk_size must be a whole number of at least 1, not {shown(chunk_size)}")

    def _each_page(
        self, indexes: Sequence[BaseIndex], placement: Any, chunk_size: int, *, adding: bool
    ) -> Operation[None]:
        live = self._model.collection_key(placement.database.key_prefix)
        cursor = 0
        while True:
            cursor, page = yield Command("SSCAN", live, cursor, "COUNT", chunk_size)
            pks = list(dict.fromkeys(page))
            for at in range(0, len(pks), chunk_size):
                fields = [self.at(placement, pk) for pk in pks[at : at + chunk_size]]
                for result in (yield from together(field.follow(indexes, adding=adding) for field in fields)):
                    if isinstance(result, Exception) and not isinstance(
                        result, DoesNotExist
                    ):  # deleted meanwhile: gone
                        raise result
            if not int(cursor):
                return

    index, aindex = twins(_index)
    deindex, adeindex = twins(_deindex)
    check_uniqueness, acheck_uniqueness = twins(_check_uniqueness)
    clear_indexes, aclear_indexes = placed_twins(_clear_indexes)
    rebuild_indexes, arebuild_indexes = placed_twins(_rebuild_indexes)
