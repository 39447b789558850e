"""``RelatedCollection``: what an object has for each field that may link to it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Generic, cast

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
            DoesNotExist: If the object is not stored, so that nothing can link to it.
        """
        field = self.related_field
        wanted = {**filters, field.name: self.instance.known_pk}
        found = field._model._collection_at(self.instance._placement, wanted)
        return cast("ExtendedCollectionManager[O, str]", found)

    def remove_instance(self) -> None:
        """Remove all links to the object by this field.

        It is called before the object is deleted where a subclass overrides it, and its twin, to do something else.
        """
        self.instance._resolve().run(self.instance._unlink(self.related_field), self.instance)

    def aremove_instance(self) -> Coroutine[Any, Any, None]:
        """Remove all links to the object by this field, in asyncio."""
        runner = self.instance._resolve()
        return runner.arun(self.instance._unlink(self.related_field), self.instance)  # type: ignore[no-any-return]
