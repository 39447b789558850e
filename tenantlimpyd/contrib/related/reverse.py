"""``RelatedCollection``: what an object has for each field that may link to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, cast

from tenantlimpyd.contrib.related.deleting import unlink
from tenantlimpyd.operations import Operation, Runner, twins

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from tenantlimpyd.contrib.collection import ExtendedCollectionManager
    from tenantlimpyd.model import RedisModel

    O = TypeVar("O", bound=RedisModel, default=Any)  # noqa: E741 - the owners of the field
else:
    from typing import TypeVar

    O = TypeVar("O")  # noqa: E741

__all__ = ["RelatedCollection"]


class RelatedCollection(Generic[O]):
    """The objects of a model that link to an object by one of its fields.

    Called, it is a collection of them::

        person.books()
        person.books(year="1999")

    For type checkers, a model names those it has: ``books: RelatedCollection["Book"]`` in its body.

    Attributes:
        instance: the object that is linked to.
        related_field: the declaration of the field that links to it.
    """

    def __init__(self, instance: Any, related_field: Any) -> None:
        self.instance = instance
        self.related_field = related_field

    def __repr__(self) -> str:
        field = self.related_field
        return f"<{type(self).__name__} of {field._model.__name__} by {field.name}>"

    def __call__(self, **filters: Any) -> ExtendedCollectionManager[O, str]:
        """Return the collection of the objects that link to this one and match all filters; lazy, as all are.

        It lives where the object does.

        Args:
            **filters: as for ``Model.collection``.

        Raises:
            DoesNotExist: the object is not stored: nothing can link to it.
        """
        field = self.related_field
        wanted = {**filters, field.name: self.instance.known_pk}
        found = field._model._collection_at(self.instance._placement, wanted)
        return cast("ExtendedCollectionManager[O, str]", found)

    def _resolve(self) -> Runner:
        return self.instance._resolve()  # type: ignore[no-any-return]

    def _remove_instance(self) -> Operation[None]:
        """Remove all links to the object by this field.

        A subclass may override it, and its twin, to do something else before the object is deleted.
        """
        yield from unlink(self.instance, [self.related_field])

    remove_instance, aremove_instance = twins(_remove_instance)
