"""Finding objects: the class methods of a model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, overload

from tenantlimpyd._operations.steps import Batch, Command, Operation
from tenantlimpyd.exceptions import DoesNotExist, UniquenessError

if TYPE_CHECKING:
    from tenantlimpyd._registry.host import ModelHost
    from tenantlimpyd._registry.placement import Database, Placement
    from tenantlimpyd.collection import CollectionManager

__all__ = ["ModelQueries"]

C = TypeVar("C", bound="CollectionManager[Any, Any]")


class ModelQueries:
    """The part of a model that finds objects.

    Each method resolves the database when it is called; what it returns stays with that database.
    """

    if TYPE_CHECKING:
        database: ClassVar[ModelHost]
        collection_manager: ClassVar[type[CollectionManager[Any, Any]]]
        _pk: str | None
        _pk_name: str

        _placement: Placement
        _connected: bool

        def _blank(self, placement: Placement) -> None: ...
        def _verify(self) -> Operation[None]: ...
        def _create(self, values: dict[str, Any]) -> Operation[None]: ...
        def _resolve(self) -> Any: ...
        @classmethod
        def get_class_field(cls, name: str) -> Any: ...
        @classmethod
        def collection_key(cls, prefix: str = "") -> str: ...

    @classmethod
    def lazy_connect(cls, pk: Any) -> Self:
        """Return the object with this pk without looking it up.

        Its getters read what is there; its first write looks it up.
        """
        instance = cls._placed(cls.database._current_placement())
        instance._pk = cls.get_class_field("pk").normalize(pk)
        return instance

    @overload
    @classmethod
    def collection(cls, manager: None = None, **filters: Any) -> CollectionManager[Self, str]: ...
    @overload
    @classmethod
    def collection(cls, manager: type[C], **filters: Any) -> C: ...
    @classmethod
    def collection(cls, manager: type[CollectionManager[Any, Any]] | None = None, **filters: Any) -> Any:
        """Return the objects that match all filters, as a lazy collection of their pks.

        Args:
            manager: another class than the model's ``collection_manager``. Type checkers don't know the model's: give it
                where they are to, as ``Person.collection(ExtendedCollectionManager[Person, str], ...)``.
            **filters: ``field=value``, ``field__eq=value``, ``pk=value``.

        Raises:
            AttributeError: If a field is unknown.
            ImplementationError: If a field is not indexed, or has no index for the filter.
        """
        return cls._collection_at(cls.database._current_placement(), filters, manager)

    @classmethod
    def _collection_at(
        cls, placement: Placement, filters: dict[str, Any], manager: type[CollectionManager[Any, Any]] | None = None
    ) -> CollectionManager[Self, str]:
        made = (manager or cls.collection_manager)(cls)
        made.place(placement)
        return made(**filters)

    @classmethod
    def instances(cls, lazy: bool = False, **filters: Any) -> CollectionManager[Self, Self]:
        """Return the objects that match all filters, as a lazy collection of instances.

        Args:
            lazy: True: don't check that each object is still there.
            **filters: as for :meth:`collection`.
        """
        return cls._collection_at(cls.database._current_placement(), filters).instances(lazy=lazy)

    @classmethod
    def _find(cls, instance: Self, args: tuple[Any, ...], filters: dict[str, Any]) -> Operation[Self]:
        """Return the one object that is meant, in ``instance`` if that is not stored yet."""
        given = [*args, *filters.values()]
        if len(args) > 1 or not given:
            raise ValueError(f"{cls.__name__}.get takes one pk, or filters by field name")
        if args and filters:
            raise ValueError(f"{cls.__name__}.get takes a pk or filters, not both: write get(pk=..., field=...)")
        if args or (len(filters) == 1 and filters.keys() <= {"pk", cls._pk_name}):
            instance._pk = cls.get_class_field("pk").normalize(given[0])
            yield from instance._verify()
            return instance
        found: list[str] = yield from cls._collection_at(instance._placement, filters).first(2)
        if not found:
            raise DoesNotExist(f"there is no {cls.__name__} with these values of {', '.join(filters)}")
        if len(found) > 1:
            raise ValueError(f"there is more than one {cls.__name__} with these values of {', '.join(filters)}")
        instance._pk = found[0]
        instance._connected = True
        return instance

    @classmethod
    def get(cls, *args: Any, **filters: Any) -> Self:
        """Return the one object with a pk, or with values of indexed fields.

        Args:
            *args: the pk.
            **filters: as for :meth:`collection`.

        Raises:
            DoesNotExist: If no object matches.
            ValueError: If more than one object matches; or if neither a pk nor filters are given, or both.
        """
        instance = cls._placed(cls.database._current_placement())
        return instance._resolve().run(cls._find(instance, args, filters))  # type: ignore[no-any-return]

    @classmethod
    def aget(cls, *args: Any, **filters: Any) -> Coroutine[Any, Any, Self]:
        """Return the one object as :meth:`get`, in asyncio."""
        instance = cls._placed(cls.database._current_placement())
        return instance._resolve().arun(cls._find(instance, args, filters))  # type: ignore[no-any-return]

    @classmethod
    def _find_or_create(cls, instance: Self, values: dict[str, Any]) -> Operation[tuple[Self, bool]]:
        try:
            return (yield from cls._find(instance, (), values)), False
        except DoesNotExist:
            instance._pk = None
        try:
            yield from instance._create(values)
        except UniquenessError as taken:
            try:
                return (yield from cls._find(instance, (), values)), False  # somebody was faster
            except DoesNotExist:
                raise taken from None  # one of the values is an object's whose other values are different
        return instance, True

    @classmethod
    def get_or_connect(cls, **values: Any) -> tuple[Self, bool]:
        """Return the object with these values, stored now if there is none, and whether it was.

        With a unique field or a given pk among the values, no two objects come of it, however many callers there are.

        Args:
            **values: values of indexed fields, or the pk.
        """
        instance = cls._placed(cls.database._current_placement())
        return instance._resolve().run(cls._find_or_create(instance, values))  # type: ignore[no-any-return]

    @classmethod
    def aget_or_connect(cls, **values: Any) -> Coroutine[Any, Any, tuple[Self, bool]]:
        """Return or create the object as :meth:`get_or_connect`, in asyncio."""
        instance = cls._placed(cls.database._current_placement())
        return instance._resolve().arun(cls._find_or_create(instance, values))  # type: ignore[no-any-return]

    @classmethod
    def _any(cls, filters: dict[str, Any]) -> tuple[Database, Operation[bool]]:
        if not filters:
            raise ValueError(f"{cls.__name__}.exists needs a pk or filters")
        found = cls.collection(**filters)

        def body() -> Operation[bool]:
            return bool((yield from found.first(1)))

        return found._resolve(), body()

    @classmethod
    def exists(cls, **filters: Any) -> bool:
        """Return whether an object matches all filters; ``pk`` is one of them."""
        runner, operation = cls._any(filters)
        return runner.run(operation)

    @classmethod
    def aexists(cls, **filters: Any) -> Coroutine[Any, Any, bool]:
        """Return whether an object matches all filters, in asyncio."""
        runner, operation = cls._any(filters)
        return runner.arun(operation)

    @classmethod
    def _living(cls, pks: list[str], prefix: str) -> Operation[list[str]]:
        if not pks:
            return []
        key = cls.collection_key(prefix)
        replies = yield Batch([Command("SISMEMBER", key, pk) for pk in pks])
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return [pk for pk, live in zip(pks, replies, strict=True) if live]

    @classmethod
    def from_pks(cls, pks: Iterable[Any], lazy: bool = False) -> Iterator[Self]:
        """Iterate over the objects with these pks; those that don't exist are left out.

        Args:
            pks: the pks, in the order wanted.
            lazy: True: take them all, without a look.
        """
        placement = cls.database._current_placement()
        field = cls.get_class_field("pk")
        wanted = [field.normalize(pk) for pk in pks]
        if not lazy:
            wanted = placement.runner().run(cls._living(wanted, placement.database.key_prefix))
        return (cls._placed(placement, pk, connected=not lazy) for pk in wanted)

    @classmethod
    def afrom_pks(cls, pks: Iterable[Any], lazy: bool = False) -> AsyncIterator[Self]:
        """Iterate as :meth:`from_pks`, with ``async for``."""
        placement = cls.database._current_placement()
        field = cls.get_class_field("pk")
        wanted = [field.normalize(pk) for pk in pks]

        async def objects() -> AsyncIterator[Self]:
            prefix = placement.database.key_prefix
            for pk in wanted if lazy else await placement.runner().arun(cls._living(wanted, prefix)):
                yield cls._placed(placement, pk, connected=not lazy)

        return objects()

    @classmethod
    def _placed(cls, placement: Placement, pk: str | None = None, *, connected: bool = False) -> Self:
        """Return an object that lives at ``placement``, whatever is current; ``__init__`` is called with no argument."""
        instance = cls.__new__(cls)
        instance._blank(placement)
        instance.__init__()  # type: ignore[misc]  # for what subclasses set up in theirs
        instance._pk = pk
        instance._connected = connected
        return instance
