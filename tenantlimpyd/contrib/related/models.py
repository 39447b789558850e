"""``RelatedModel``: objects that know which others link to them."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, overload

from tenantlimpyd._operations.steps import Operation, Traits, twins
from tenantlimpyd._registry.relations import Relation
from tenantlimpyd.collection import CollectionManager
from tenantlimpyd.contrib.collection import ExtendedCollectionManager
from tenantlimpyd.contrib.related.deletion import delete_linked, unlink
from tenantlimpyd.contrib.related.reverse import RelatedCollection
from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.model import RedisModel

__all__ = ["RelatedModel"]

C = TypeVar("C", bound=CollectionManager[Any, Any])


class RelatedModel(RedisModel):
    """A model whose objects others may link to.

    Each object has a :class:`RelatedCollection` for each field that stands for objects of its model, under the field's
    related name. Deleting an object removes the links to it.
    """

    abstract = True
    collection_manager: ClassVar[type[CollectionManager[Any, Any]]] = ExtendedCollectionManager
    _knows_relations: ClassVar[bool] = True

    if TYPE_CHECKING:

        @overload
        @classmethod
        def collection(cls, manager: None = None, **filters: Any) -> ExtendedCollectionManager[Self, str]: ...
        @overload
        @classmethod
        def collection(cls, manager: type[C], **filters: Any) -> C: ...
        @classmethod
        def collection(cls, manager: type[CollectionManager[Any, Any]] | None = None, **filters: Any) -> Any:
            """Return a collection as those of all models; see ``RedisModel.collection``."""

    else:

        def __getattr__(self, name: str) -> Any:
            """Return the collection of a related name: a relation may be defined long after this class was."""
            relation = None if name.startswith("_") else self._relation(name)
            return object.__getattribute__(self, name) if relation is None else self._related(relation)

    @classmethod
    def _relations(cls) -> list[Relation]:
        return [] if cls.abstract else cls.database._relations_to(cls)

    @classmethod
    def _relation(cls, related_name: str) -> Relation | None:
        return next((each for each in cls._relations() if each.related_name == related_name), None)

    def _related(self, relation: Relation) -> RelatedCollection[Any]:
        field: Any = type(self).database._models[relation.owner].get_class_field(relation.field)
        return field.related_collection_class(self, field)  # type: ignore[no-any-return]

    @property
    def related_collections(self) -> list[str]:
        """The names under which the object has collections of others that link to it."""
        return [relation.related_name for relation in self._relations()]

    def _unlink(self, field: Any) -> Operation[None]:
        """Remove all links to the object by a field, given as its declaration."""
        self.require_pk()
        yield from unlink(self, [field])

    def _delete(self) -> Operation[None]:
        """Delete the object together with the links to it.

        Up to 1,000 links go in one transaction with the object, more in several before that. Objects that linked to it stay.

        Raises:
            DoesNotExist: If the object is not in the database (any more).
        """
        self.require_pk()
        fields = [self._related(relation).related_field for relation in self._relations()]
        if fields:
            yield from delete_linked(self, self._removal, fields)
            self._gone()
        else:
            yield from super()._delete()

    _delete_now, _adelete_now = twins(_delete, Traits(barrier=True))

    def delete(self) -> None:
        """Delete the object together with the links to it.

        Up to 1,000 links go in one transaction with the object, more in several before that. Objects that linked to it stay.

        Raises:
            DoesNotExist: If the object is not in the database (any more).
        """
        for collection in self._with_own_removal():
            collection.remove_instance()
        self._delete_now()

    def adelete(self) -> Coroutine[Any, Any, None]:
        """Delete the object as :meth:`delete`, in asyncio."""
        own = self._with_own_removal()
        for collection in own:
            if "aremove_instance" not in _overridden(collection):
                raise ImplementationError(
                    f"{type(collection).__name__} overrides remove_instance, and not aremove_instance, which adelete needs"
                )
        deleting = self._adelete_now()
        return self._adelete_after(own, deleting) if own else deleting

    @staticmethod
    async def _adelete_after(own: list[RelatedCollection[Any]], deleting: Coroutine[Any, Any, None]) -> None:
        try:
            for collection in own:
                await collection.aremove_instance()
        except BaseException:
            deleting.close()
            raise
        await deleting

    def _with_own_removal(self) -> list[RelatedCollection[Any]]:
        """Return the collections whose class does something of its own before an object is deleted."""
        every = [self._related(relation) for relation in self._relations()]
        return [each for each in every if _overridden(each)]


def _overridden(collection: Any) -> list[str]:
    """Return which of the methods that remove links are a subclass's own."""
    return [
        name
        for name in ("remove_instance", "aremove_instance")
        if getattr(type(collection), name) is not getattr(RelatedCollection, name)
    ]
