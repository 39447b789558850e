"""What related fields have in common, whatever they are stored in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeAlias

from tenantlimpyd._operations.steps import Operation, twins
from tenantlimpyd._registry.relations import Relation
from tenantlimpyd.atomic import Change, KnownValues
from tenantlimpyd.collection.operands import is_instance, read_fields
from tenantlimpyd.contrib.collection import ExtendedCollectionManager
from tenantlimpyd.contrib.related.link_values import check_model, check_place
from tenantlimpyd.contrib.related.metaclass import RelatedFieldMetaclass
from tenantlimpyd.contrib.related.naming import check_target, related_name_of, target_of
from tenantlimpyd.contrib.related.reverse import RelatedCollection
from tenantlimpyd.exceptions import DataError, DoesNotExist, ImplementationError
from tenantlimpyd.fields.base import RedisField, SingleValueField, Value
from tenantlimpyd.fields.multi_value import MultiValuesField

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from tenantlimpyd._registry.placement import Placement
    from tenantlimpyd.model import RedisModel

    M = TypeVar("M", bound=RedisModel, default=Any)
else:
    from typing import TypeVar

    M = TypeVar("M")

__all__ = [
    "DatabaseClients",
    "M",
    "MultiValuesRelatedFieldMixin",
    "RelatedFieldMixin",
    "SimpleValueRelatedFieldMixin",
]


class RelatedFieldMixin(RedisField, Generic[M], metaclass=RelatedFieldMetaclass):
    """The part of a field that lets it stand for objects of another model. Such a field is always indexed.

    Args:
        to: the model: a ``RelatedModel``, the name of one of the same namespace, ``"namespace:Name"``, or ``"self"``.
            Names may be those of models that are defined later.
        related_name: the attribute by which objects of that model find those that link to them; ``%(namespace)s`` and
            ``%(model)s`` in it stand for those of the field's model. None: ``%(model)s_set``.
        indexable: kept for limpyd's sake; links have to be found.
        **options: those of the field.

    Attributes:
        related_to: the storage name of the model it stands for (on an abstract model: ``to``).
        related_collection_class: what objects of that model have under the related name.
    """

    _commands_with_single_value_from_python: ClassVar[list[str]] = []
    _commands_with_many_values_from_python: ClassVar[list[str]] = []
    related_collection_class: ClassVar[type[RelatedCollection[Any]]] = RelatedCollection

    related_to: Any
    related_name: str | None

    def __init__(
        self, to: type[M] | str, *, related_name: str | None = None, indexable: bool = True, **options: Any
    ) -> None:
        del indexable
        super().__init__(indexable=True, **options)
        check_target(to)
        self.related_to = self._to = to
        self.related_name = self._related_name = related_name

    def attached_copy(self, model: type[RedisModel], name: str) -> Self:
        """Return a declaration like this one, for a model."""
        field = super().attached_copy(model, name)
        field.related_to, field.related_name, field.relation = self._to, self._related_name, None
        if not model.abstract:
            source: Any = getattr(self, "_model", None)
            inherited = source is not None and not source.abstract
            field.related_to = target_of(self._to, model)
            field.related_name = related_name_of(self._related_name, model, inherited=inherited)
            field.relation = Relation(model._name, name, field.related_to, field.related_name)
        return field

    @property
    def related_model(self) -> Any:
        """The model whose objects it stands for.

        Raises:
            ImplementationError: If the host of the field's model has no such model (yet).
        """
        host = self._model.database
        target = host._related_model(self.related_to) if self.relation is not None else None
        if target is None:
            raise ImplementationError(
                f"{self.name!r} of {self._model.__name__} stands for objects of {self.related_to!r}, and there is no such "
                "model in its database. Define or import it, or move it there too: both sides of a relation are hosted by "
                "the same database or router."
            )
        return target

    # Objects as values

    def _check_object(self, value: RedisModel, placement: Placement | None) -> None:
        what = f"an object of {type(value).__name__}"
        if placement is not None:
            check_place(self, placement, value._placement, what)
        check_model(self, type(value), what)

    def _check_related(self, value: SimpleValueRelatedFieldMixin[Any], placement: Placement) -> None:
        what = f"what {value.name!r} of {value._model.__name__} links to"
        check_place(self, placement, value._bound()._placement, what)
        check_model(self, value.related_model, what)

    def check_operand(self, value: Any, placement: Any, name: str) -> None:
        """Raise if ``value`` can't be that of a filter ``name`` of a collection that lives at ``placement``."""
        del name
        if is_instance(value):
            self._check_object(value, placement)
        elif isinstance(value, SimpleValueRelatedFieldMixin):
            self._check_related(value, placement)

    def from_python(self, value: Any) -> Any:
        """Return ``value`` as it is indexed: for an object its pk."""
        if not is_instance(value):
            return super().from_python(value)
        self._check_object(value, None if self._instance is None else self._instance._placement)
        return value.known_pk

    def from_python_many(self, *values: Any) -> list[Any]:
        """Return each of ``values`` by :meth:`from_python`."""
        return [self.from_python(value) for value in values]

    def stored(self, value: Any) -> Any:
        """Return what is sent to Redis for ``value``: for an object its pk.

        Raises:
            WrongTenantError: If an object belongs to another tenant.
            ImplementationError: If an object is of another model, or in another database.
            DoesNotExist: If an object is not stored.
            redis.DataError: a field; those of one value are taken where a link is added or removed.
        """
        if isinstance(value, RedisField):
            raise DataError(f"{self.name!r} takes objects and pks here, not the field {value.name!r}: give its value")
        return self.from_python(value) if is_instance(value) else value

    def linked(self, value: Any) -> Operation[Any]:
        """Return what is sent for ``value``: a pk for an object, or for a field that links to one, which is read."""
        return (yield from self.all_linked((value,)))[0]

    def all_linked(self, values: Iterable[Any]) -> Operation[list[Any]]:
        """Return the pk that is sent for each of ``values``; fields among them are read in one round trip.

        Raises:
            DoesNotExist: If a field links to no object, or an object is not stored.
        """
        every = list(values)
        fields: dict[int, Any] = {}
        pks: list[Any] = []
        for at, value in enumerate(every):  # all of them, before anything is sent
            if isinstance(value, SimpleValueRelatedFieldMixin):
                self._check_related(value, self._bound()._placement)
                fields[at] = value
            pks.append(None if at in fields else self.stored(value))
        if fields:
            known = yield from read_fields(fields.values())
            for at, field in fields.items():
                pks[at] = known[id(field)]
                if pks[at] is None:
                    raise DoesNotExist(f"{field.name!r} of {field._bound()!r} links to nothing")
        return pks

    def link_given(self, value: Any) -> Operation[Any]:
        """Return a value as a new object is given it, with pks in the place of objects."""
        raise NotImplementedError

    def _arguments(self, value: Any) -> list[tuple[Any, ...]]:
        if self.many_values and not isinstance(value, str | bytes) and not is_instance(value):
            return [(self.stored(each),) for each in value]
        return super()._arguments(self.stored(value))

    # Links that go

    def unlinking(self, change: Change, known: KnownValues, pk: str) -> None:
        """Add to a change what removes the link to the object ``pk``, or its index entries where there is no link."""
        raise NotImplementedError


class SimpleValueRelatedFieldMixin(RelatedFieldMixin[M], SingleValueField):
    """A related field that links to one object: a foreign key."""

    def link_given(self, value: Any) -> Operation[Any]:
        """Return a value as a new object is given it, with pks in the place of objects."""
        return (yield from self.linked(value))

    def _linked_instance(self, lazy: bool = False) -> Operation[M]:
        """Return the object it links to.

        Args:
            lazy: True: don't look whether it is there.

        Raises:
            DoesNotExist: If the field links to no object, or to one that does not exist.
        """
        owner = self._bound()
        owner.require_pk()
        target = self.related_model
        pk = (yield from read_fields([self]))[id(self)]
        if pk is None:
            raise DoesNotExist(f"{self.name!r} of {owner!r} links to nothing")
        found = target._placed(owner._placement, pk)
        if not lazy:
            yield from found._verify()
        return found  # type: ignore[no-any-return]

    instance, ainstance = twins(_linked_instance)

    def unlinking(self, change: Change, known: KnownValues, pk: str) -> None:
        """Add to a change what removes the link to the object ``pk``, or its index entries where there is no link."""
        owner = self._bound()
        slot = self.slot(owner.key_base)
        there = known.before.get(slot, pk)
        if there == pk:
            owner._remember(slot, pk)
            change.writes.append(self.clear_words(slot))
            owner._reindex(change, known, [self.turn(owner.key_base, None)])
            return
        change.guards[slot] = there
        stale = {entry for index in self.indexes for entry in owner._entries(index, self.turn("", pk), pk)}
        right = {entry for index in self.indexes for entry in owner._entries(index, self.turn("", there), there)}
        change.move(stale, right)


class MultiValuesRelatedFieldMixin(RelatedFieldMixin[M], MultiValuesField):
    """A related field that links to many objects.

    Called, it is the collection of those of them that match filters::

        group.members(city="Rome")
    """

    def _unlink_words(self, pk: str) -> tuple[Any, ...]:
        """Return the command, without its key, that removes all links to an object."""
        raise NotImplementedError

    def link_given(self, value: Any) -> Operation[Any]:
        """Return a value as a new object is given it, with pks in the place of objects."""
        if isinstance(value, Mapping):
            pks = yield from self.all_linked(value)
            return dict(zip(pks, value.values(), strict=True))
        if isinstance(value, list | tuple | set | frozenset):
            return (yield from self.all_linked(value))
        return (yield from self.linked(value))

    def __call__(self, **filters: Any) -> ExtendedCollectionManager[M, str]:
        """Return the collection of the objects it links to that are there and match all filters; lazy, as all are.

        Args:
            **filters: as for ``Model.collection``.
        """
        target = self.related_model
        manager = target.collection_manager
        if not issubclass(manager, ExtendedCollectionManager):
            manager = ExtendedCollectionManager
        found = target._collection_at(self._bound()._placement, filters, manager)
        return found.intersect(self)  # type: ignore[no-any-return]

    collection = __call__

    def unlinking(self, change: Change, known: KnownValues, pk: str) -> None:
        """Add to a change what removes the link to the object ``pk``, or its index entries where there is no link."""
        word, *rest = self._unlink_words(pk)
        self.settle(change, known, values=[pk], adding=False)
        change.writes.append((word, self.key, *rest))


DatabaseClients: TypeAlias = Value | M | SimpleValueRelatedFieldMixin[M]
"""What a link is made to: an object, its pk, or a field that links to it."""
