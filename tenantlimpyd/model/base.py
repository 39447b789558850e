"""``RedisModel``: objects whose fields live in Redis."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tenantlimpyd._registry.host import ModelHost
from tenantlimpyd._registry.placement import Database, Placement
from tenantlimpyd.collection import CollectionManager
from tenantlimpyd.exceptions import DoesNotExist, shown
from tenantlimpyd.fields.base import RedisField
from tenantlimpyd.fields.pk import PKField
from tenantlimpyd.indexes import BaseIndex
from tenantlimpyd.keys import escape_glob, make_key
from tenantlimpyd.model.instance_hash import InstanceHashCommands
from tenantlimpyd.model.lifecycle import Lifecycle
from tenantlimpyd.model.metaclass import MetaRedisModel
from tenantlimpyd.model.queries import ModelQueries

if TYPE_CHECKING:
    from tenantlimpyd.fields import AutoPKField

__all__ = ["RedisModel"]


class _ClassOrInstanceMethod:
    """One method on the class, and another under the same name on its objects."""

    def __init__(self, on_class: str, on_object: str) -> None:
        self._on_class, self._on_object = on_class, on_object

    def __get__(self, instance: Any, owner: type) -> Any:
        return getattr(owner, self._on_class) if instance is None else getattr(instance, self._on_object)


class RedisModel(ModelQueries, InstanceHashCommands, Lifecycle, metaclass=MetaRedisModel):
    """A model: subclass it, give it a ``database`` and fields.

    An object belongs to the database that was current when it was made (for a router: the current tenant's), for as long
    as it lives. Making one with values stores it; with a pk alone, it is looked up; with nothing, it is stored by its first
    write::

        Person(name="Ann")        # stored
        Person(1)                 # the one with pk 1, or DoesNotExist
        await Person.acreate(name="Ann")

    Attributes:
        database: a ``RedisDatabase`` or a ``DatabaseRouter``.
        namespace: the first part of the names of keys.
        abstract: True for a base that stores nothing itself; not inherited.
        collection_manager: the class :meth:`collection` makes.
        default_indexes: index classes of fields that name none; None: the database's.
    """

    abstract = True
    namespace: ClassVar[str | None] = None
    database: ClassVar[ModelHost]
    lockable: ClassVar[bool] = True
    collection_manager: ClassVar[type[CollectionManager[Any, Any]]] = CollectionManager
    default_indexes: ClassVar[list[type[BaseIndex]] | None] = None
    DoesNotExist: ClassVar[type[DoesNotExist]] = DoesNotExist

    if TYPE_CHECKING:
        pk: AutoPKField | PKField
        fetched: dict[str, str | None]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Look up, or store, an object.

        Args:
            *args: the pk of an object to look up.
            **kwargs: values of fields for a new object.

        Raises:
            DoesNotExist: If no object has this pk.
            UniquenessError: If another object has the pk or a unique value. Nothing was stored.
            ValueError: If a field is unknown, or a pk and values are given together.
            NoTenantError: If the model is bound to a router, and no tenant is current.
        """
        if not hasattr(self, "_placement"):  # it has one already when it was made by a query
            self._blank(type(self).database._current_placement())
        if len(args) > 1:
            raise ValueError(f"{type(self).__name__} takes one pk, or values by field name, not {len(args)} values")
        if args and kwargs:
            raise ValueError(
                f"{type(self).__name__}(pk, field=value) is neither a look-up nor a creation: to find the object with this "
                f"pk and value, write {type(self).__name__}.get(pk=..., field=...)"
            )
        if args:
            self._pk = self._pk_field().normalize(args[0])
            self._resolve().run(self._verify(), self)
        elif kwargs:
            self._resolve().run(self._create(kwargs), self)

    def _blank(self, placement: Placement) -> None:
        """Make this an object that is not stored yet."""
        self._placement = placement
        self._fields_bound: dict[str, RedisField] = {}
        self._pk: str | None = None
        self._connected = False
        self._deleted = False
        self.created_here = False
        self._known: dict[Any, str | None] = {}

    @classmethod
    def acreate(cls, **kwargs: Any) -> Coroutine[Any, Any, Self]:
        """Store a new object and return it, as ``Model(**kwargs)``, in asyncio."""
        instance = cls._placed(cls.database._current_placement())
        runner = instance._resolve()
        return instance._created(runner.arun(instance._create(kwargs), instance) if kwargs else None)

    async def _created(self, storing: Coroutine[Any, Any, None] | None) -> Self:
        if storing is not None:
            await storing
        return self

    # Where it is

    def _resolve(self) -> Database:
        return self._placement.runner()

    @property
    def connection(self) -> Any:
        """The sync redis-py client of the object's database."""
        return self._resolve().connection

    @classmethod
    def get_connection(cls) -> Any:
        """Return the sync redis-py client of the current database."""
        return cls.database._current_placement().runner().connection

    @classmethod
    def use_database(cls, database: ModelHost) -> list[type[RedisModel]]:
        """Move the model, and its submodels that share its database, to another database or router.

        New objects and queries use the new one. Objects already made stay where they were made. No key is copied.

        Args:
            database: a ``RedisDatabase`` or a ``DatabaseRouter``.

        Returns:
            The models that were moved.

        Raises:
            ImplementationError: If the new host already has a model with one of the names. Nothing was moved.
        """
        if not isinstance(database, ModelHost):
            raise TypeError(f"use_database takes a RedisDatabase or a DatabaseRouter, not {shown(database)}")
        return database._use_for_model(cls)

    # Keys

    @classmethod
    def make_key(cls, *parts: object) -> str:
        """Return the parts joined by ``:``."""
        return make_key(*parts)

    @classmethod
    def storage_name(cls, prefix: str = "") -> str:
        """Return what the model's keys start with, after a database's prefix: ``namespace:name``."""
        return prefix + cls._name

    @classmethod
    def collection_key(cls, prefix: str = "") -> str:
        """Return the key of the set of live pks."""
        return make_key(prefix + cls._name, "collection")

    @classmethod
    def sort_wildcard(cls) -> str:
        """Return the pattern of the instance hashes of all objects, for SORT."""
        return make_key(cls.storage_name(cls.database._current_placement().database.key_prefix), "*", "hash")

    @functools.cached_property
    def _storage(self) -> str:
        """What the model's keys start with in this object's database, which it never leaves."""
        return f"{self._placement.database.key_prefix}{type(self)._name}"

    @property
    def key_base(self) -> str:
        """What the object's own keys start with: ``namespace:name:pk``.

        Raises:
            DoesNotExist: If the object has no pk (yet).
        """
        return f"{self._storage}:{self.known_pk}"

    @property
    def key(self) -> str:
        """The name of the hash of the object's instance hash fields.

        Raises:
            DoesNotExist: If the object has no pk (yet).
        """
        return make_key(self.key_base, "hash")

    @classmethod
    def scan_model_keys(cls, count: int | None = None) -> Iterator[str]:
        """Iterate over all keys of the model, objects' and indexes'; see ``RedisDatabase.scan_keys``."""
        database: Any = cls.database._current_placement().runner()
        return database.scan_keys(make_key(escape_glob(cls._name), "*"), count)  # type: ignore[no-any-return]

    @classmethod
    def ascan_model_keys(cls, count: int | None = None) -> AsyncIterator[str]:
        """Iterate as :meth:`scan_model_keys`, with ``async for``."""
        database: Any = cls.database._current_placement().runner()
        return database.ascan_keys(make_key(escape_glob(cls._name), "*"), count)  # type: ignore[no-any-return]

    def scan_keys(self, count: int | None = None) -> Iterator[str]:
        """Iterate over the keys of this object; see ``RedisDatabase.scan_keys``."""
        database: Any = self._resolve()
        return database.scan_keys(self._keys_pattern(), count)  # type: ignore[no-any-return]

    def ascan_keys(self, count: int | None = None) -> AsyncIterator[str]:
        """Iterate as :meth:`scan_keys`, with ``async for``."""
        database: Any = self._resolve()
        return database.ascan_keys(self._keys_pattern(), count)  # type: ignore[no-any-return]

    def _keys_pattern(self) -> str:
        return make_key(escape_glob(make_key(type(self)._name, self.known_pk)), "*")

    # Fields

    @classmethod
    def has_field(cls, name: str) -> bool:
        """Return whether the model has this field; ``pk`` always."""
        return name == "pk" or name in cls._class_fields

    @classmethod
    def get_class_field(cls, name: str) -> Any:
        """Return a field's declaration.

        Raises:
            AttributeError: If the model has no such field.
        """
        field = cls._class_fields.get(cls._pk_name if name == "pk" else name)
        if field is None:
            raise AttributeError(f"{cls.__name__} has no field {shown(name)}: it has {', '.join(cls._fields)}")
        return field

    if TYPE_CHECKING:

        @classmethod
        def get_field(cls, name: str) -> Any: ...
        @classmethod
        def get_fields(cls) -> Iterator[RedisField]: ...
    else:
        get_field = _ClassOrInstanceMethod("get_class_field", "get_instance_field")
        get_fields = _ClassOrInstanceMethod("get_class_fields", "get_instance_fields")

    @classmethod
    def get_class_fields(cls) -> Iterator[RedisField]:
        """Iterate over the declarations, the pk first."""
        return iter(cls._class_fields.values())

    def get_instance_field(self, name: str) -> Any:
        """Return a field of this object, by name.

        Raises:
            AttributeError: If the model has no such field.
        """
        return self._bound_field(type(self).get_class_field(name).name)

    def get_instance_fields(self) -> Iterator[RedisField]:
        """Iterate over the fields of this object, the pk first."""
        return (self._bound_field(name) for name in type(self)._fields)

    @property
    def fields(self) -> list[RedisField]:
        """The fields of this object, the pk first."""
        return list(self.get_instance_fields())

    def _bound_field(self, name: str) -> Any:
        bound = self._fields_bound.get(name)
        if bound is None:
            bound = self._fields_bound[name] = type(self)._class_fields[name].bound_to(self)
        return bound

    def _pk_field(self) -> PKField:
        return self._bound_field(type(self)._pk_name)  # type: ignore[no-any-return]

    @classmethod
    def get_default_indexes(cls) -> Iterable[type[BaseIndex]]:
        """Return the index classes of fields that name none: the model's, else the database's."""
        return cls.default_indexes if cls.default_indexes is not None else cls.database.get_default_indexes()

    def post_command(self, sender: Any, name: str, result: Any, args: Any, kwargs: Any) -> Any:  # noqa: ARG002 - a hook
        """Hook: called with the result of each command of the object and its fields; what it returns is the result.

        Args:
            sender: the field, or the object for commands on its instance hash.
            name: the command's name on a redis-py client, such as ``set``, ``incrby`` or ``delete``.
            result: its reply.
            args: its arguments after the key.
            kwargs: empty; kept for limpyd's signature.
        """
        return result

    # As a Python object: none of this asks Redis

    def __repr__(self) -> str:
        tenant = f" of {self._placement.tenant!r}" if self._placement.tenant is not None else ""
        pk = "deleted" if self._deleted else "not stored" if self._pk is None else ascii(self._pk)
        return f"<{type(self).__name__} {pk}{tenant}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RedisModel):
            return NotImplemented
        if self is other:
            return True
        return (
            type(self) is type(other)
            and self._placement.database is other._placement.database
            and self._pk is not None
            and str(self._pk) == str(other._pk)  # `normalize` of a pk field may return any type
        )

    def __hash__(self) -> int:
        if self._pk is None:
            raise TypeError(f"{self!r} has no hash: it has no pk")
        return hash((type(self), id(self._placement.database), str(self._pk)))

    def __reduce__(self) -> Any:
        raise TypeError(f"{self!r} can't be pickled: it holds a database. Send its pk, and look it up there.")
