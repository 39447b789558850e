"""The primary key: not stored in a key of its own, but in the set of live pks and in the names of all other keys."""

from __future__ import annotations

from collections.abc import Coroutine
from collections.abc import Set as AbstractSet  # `set` is a method here
from typing import Any

from tenantlimpyd._operations.steps import Command, Operation, twins
from tenantlimpyd._registry.placement import Database
from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.fields.base import RedisField
from tenantlimpyd.indexes import stored_text

__all__ = ["AutoPKField", "PKField"]


class PKField(RedisField):
    """A primary key that the application gives.

    Whatever its name, it is also reached as ``pk``. Its options are none: it always is unique, and a filter.
    """

    single_value = True
    auto: bool = False

    def __init__(self) -> None:
        super().__init__()

    def normalize(self, value: Any) -> str:
        """Return a pk as it is stored: text.

        Raises:
            ValueError: If the value is None or empty text.
        """
        text = "" if value is None else stored_text(value)
        if not text:
            raise ValueError(f"the pk {self.name!r} of {self._model.__name__} can't be None or empty")
        return text

    @property
    def collection_key(self) -> str:
        """The key of the set of live pks, including the key prefix."""
        return self._model.collection_key(self._prefix())

    @property
    def key(self) -> str:
        """Refuse to return a key: a pk has none.

        Raises:
            ImplementationError: Always.
        """
        raise ImplementationError(f"the pk {self.name!r} has no key of its own: see collection_key")

    def _get(self) -> Operation[str]:
        """Return the pk. If the object is not stored yet and its pk is allocated automatically, store the object.

        Raises:
            ValueError: If the object is not stored yet, and its pk must be given by the application.
            DoesNotExist: If the object was deleted.
        """
        instance = self._bound()
        if not instance.has_pk:
            yield from instance._create_empty()
        return instance.known_pk

    get, aget = twins(_get)
    proxy_get, aproxy_get = get, aget

    def _set(self, value: Any) -> Operation[bool]:
        """Give an object that is not stored yet its pk, which stores it with its default values.

        Raises:
            ValueError: If the object already has a pk, or its pk is allocated automatically.
            ImplementationError: If the object is stored: its pk can't be changed.
            UniquenessError: If another object has the pk.
            DoesNotExist: If the object was deleted.
        """
        instance = self._bound()
        instance.refuse_deleted()
        if self.auto:
            if value is not None:
                raise ValueError(f"the pk {self.name!r} of {self._model.__name__} is allocated, not given")
        elif instance.has_pk and instance.created_here:
            raise ValueError(f"the pk of {instance!r} is set already")
        elif instance.has_pk:
            raise ImplementationError(f"the pk of {instance!r} can't be changed: make a new object")
        if not instance.has_pk:
            yield from instance._create({} if value is None else {"pk": value})
        return True

    set, aset = twins(_set)
    proxy_set, aproxy_set = set, aset

    def _place(self) -> tuple[Database, str]:
        """Return what runs a command on the set of live pks, and its key: both of one database, whatever is current later."""
        placement = self._model.database._current_placement() if self._instance is None else self._instance._placement
        return placement.runner(), self._model.collection_key(placement.database.key_prefix)

    def _asked(self, value: Any) -> str | None:
        if self._instance is not None:
            return self._instance.known_pk if self._instance.has_pk else None
        if value is None:
            raise ValueError("on the class, exists needs a pk")
        return self.normalize(value)

    def exists(self, value: Any = None) -> bool:
        """Return whether a pk is in the database: the object's own, or on the class the one given."""
        runner, key = self._place()
        return runner.run(_is_member(key, self._asked(value)))

    def aexists(self, value: Any = None) -> Coroutine[Any, Any, bool]:
        """Return whether a pk is in the database as :meth:`exists`, in asyncio."""
        runner, key = self._place()
        return runner.arun(_is_member(key, self._asked(value)))

    def collection(self) -> AbstractSet[str]:
        """Return all live pks."""
        runner, key = self._place()
        return runner.run(_members(key))

    def acollection(self) -> Coroutine[Any, Any, AbstractSet[str]]:
        """Return all live pks, in asyncio."""
        runner, key = self._place()
        return runner.arun(_members(key))

    def delete(self) -> None:
        """Raise: an object is deleted, not its pk.

        Raises:
            ImplementationError: Always.
        """
        raise ImplementationError(f"the pk {self.name!r} can't be deleted: delete the object")


class AutoPKField(PKField):
    """A primary key that Redis allocates: 1, 2, 3... from the counter ``{model}:max_pk``."""

    auto = True


def _is_member(key: str, pk: str | None) -> Operation[bool]:
    return pk is not None and bool((yield Command("SISMEMBER", key, pk)))


def _members(key: str) -> Operation[AbstractSet[str]]:
    return set((yield Command("SMEMBERS", key)))
