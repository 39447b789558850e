"""How a model class is made: its fields, its pk, its name, its registration."""

from __future__ import annotations

import sys
from typing import Any

from tenantlimpyd._registry.host import ModelHost
from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.fields.base import RedisField
from tenantlimpyd.fields.instance_hash import InstanceHashField
from tenantlimpyd.fields.pk import AutoPKField, PKField
from tenantlimpyd.keys import make_key
from tenantlimpyd.model.multi_field_indexes import join_fields, parted
from tenantlimpyd.model.redefinition import same_model

__all__ = ["MetaRedisModel"]


class MetaRedisModel(type):
    """The class of model classes."""

    _name: str
    _fields: list[str]
    _instancehash_fields: list[str]
    _class_fields: dict[str, RedisField]
    _own_fields: frozenset[str]
    _spanned_fields: tuple[str, ...]
    _related_fields: tuple[str, ...]
    _registered: bool
    _creation_source: tuple[str, int]
    _pk_name: str
    abstract: bool
    namespace: str | None
    database: ModelHost

    def __new__(mcs, name: str, bases: tuple[type, ...], body: dict[str, Any], **options: Any) -> Any:
        """Make a model class, or return the one made before from the same source with the same fields."""
        own = {key: value for key, value in body.items() if isinstance(value, RedisField) and not key.startswith("_")}
        rest = {key: value for key, value in body.items() if key not in own}
        cls = super().__new__(mcs, name, bases, rest, **options)
        cls.abstract = bool(body.get("abstract", False))
        cls._creation_source = _class_statement()
        cls._name = make_key(getattr(cls, "namespace", None) or "", name.lower())
        cls._own_fields = frozenset(own)
        cls._attach(_inherited(cls), own)
        if cls.abstract:
            return cls
        host = getattr(cls, "database", None)
        if not isinstance(host, ModelHost):
            given = "none" if host is None else f"a {type(host).__name__}"
            raise ImplementationError(
                f"the model {name} needs a database: a RedisDatabase or a DatabaseRouter, and has {given}. "
                "Write `database = ...` in its body or a base's, or `abstract = True`."
            )
        # A body with super() or __class__ makes Python insist on the new class.
        registered: Any = host._add_model(cls, replacing="__classcell__" in body)  # type: ignore[arg-type]
        if registered is cls:
            cls._registered = True
        return registered

    def _attach(cls, inherited: dict[str, RedisField], own: dict[str, RedisField]) -> None:
        """Give the class its own copies of all its fields, the pk first."""
        given = _one_pk(cls, inherited, own)
        inherited = {key: field for key, field in inherited.items() if key not in own}
        ordered = [*inherited, *sorted(own, key=lambda key: own[key]._creation_order)]
        if given is None:
            pk = AutoPKField()
            fields: dict[str, RedisField] = {"pk": pk}
        else:
            fields = {given: {**inherited, **own}[given]}
        every = {**inherited, **own}
        fields.update((key, every[key]) for key in ordered if not isinstance(every[key], PKField))
        cls._class_fields = {}
        for key, field in fields.items():
            _check_name(cls, key, field)
            _check_overrides(cls, key, field)
            attached = field.attached_copy(cls, key)
            cls._class_fields[key] = attached
            setattr(cls, key, attached)
            setattr(cls, f"_redis_attr_{key}", _Declaration(attached))
        cls._pk_name = next(iter(fields))
        cls._redis_attr_pk = _Declaration(cls._class_fields[cls._pk_name])
        if cls._pk_name != "pk":
            cls.pk = _PkAlias()
        cls._fields = list(fields)
        cls._instancehash_fields = [
            key for key, field in cls._class_fields.items() if isinstance(field, InstanceHashField)
        ]
        cls._related_fields = tuple(key for key, field in cls._class_fields.items() if field.relation is not None)
        parted(cls._class_fields.values())
        for field in cls._class_fields.values():
            if field.indexable and not field.index_classes:
                field.index_classes = list(_default_indexes(cls, field))
            if field.indexable and not field.index_classes:
                raise ImplementationError(
                    f"the field {field.name!r} of {cls.__name__} is indexable, and no index is given"
                )
            if field.unique and not any(index.handle_uniqueness for index in field.index_classes):
                raise ImplementationError(
                    f"no index of the unique field {field.name!r} of {cls.__name__} can keep it unique"
                )
        # A base may name fields that only its submodels have.
        cls._spanned_fields = () if cls.abstract else join_fields(cls)

    def _same_definition(cls, other: MetaRedisModel) -> bool:
        """Return whether another class is the same statement run again (a module imported twice) to the same effect."""
        return cls._creation_source == other._creation_source and same_model(cls, other)


class _Declaration:
    """Gives a field's declaration under limpyd's private name for it, to classes and instances."""

    def __init__(self, field: RedisField) -> None:
        self._field = field

    def __get__(self, instance: Any, owner: type) -> RedisField:
        return self._field


class _PkAlias:
    """Reaches the pk field of an instance as ``pk`` where it has another name."""

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            raise AttributeError(f"{owner.__name__}.pk is no attribute: write {owner.__name__}.get_field('pk')")
        return instance._bound_field(owner._pk_name)  # type: ignore[attr-defined]

    def __set__(self, instance: Any, value: Any) -> None:
        raise AttributeError("the pk can't be assigned: give it when the object is made")


def _class_statement() -> tuple[str, int]:
    """Return the file and line of the class statement being run, metaclasses in between left out."""
    frame = sys._getframe(2)
    while frame.f_code.co_name == "__new__" and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def _inherited(cls: MetaRedisModel) -> dict[str, RedisField]:
    """Return the fields of all bases, models and plain mixins: each from where Python would find an attribute.

    Raises:
        ImplementationError: something that is no field hides one.
    """
    found: dict[str, RedisField] = {}
    for base in reversed(cls.__mro__):
        for key, value in vars(base).items():
            if isinstance(value, RedisField):
                if not key.startswith("_") and (not isinstance(base, MetaRedisModel) or key in base._own_fields):
                    found.pop(key, None)
                    found[key] = value
            elif key in found and value is None:  # `name = None` in a body takes an inherited field away
                del found[key]
            elif key in found and not isinstance(value, _PkAlias):
                raise ImplementationError(
                    f"{base.__name__}.{key} hides the field {key!r} of a base of {cls.__name__}: give it another name"
                )
    return found


def _one_pk(cls: MetaRedisModel, inherited: dict[str, RedisField], own: dict[str, RedisField]) -> str | None:
    """Return the name of the declared pk field; None where there is none.

    Raises:
        ImplementationError: there are two.
    """
    declared = [key for key, field in {**inherited, **own}.items() if isinstance(field, PKField)]
    if len(declared) > 1:
        raise ImplementationError(f"{cls.__name__} has more than one primary key: {', '.join(declared)}")
    return declared[0] if declared else None


def _check_name(cls: MetaRedisModel, key: str, field: RedisField) -> None:
    if key == "pk":
        if not isinstance(field, PKField):
            raise ImplementationError(f"a field of {cls.__name__} is named 'pk', which is the primary key's name")
    elif key == "hash" or "__" in key:
        raise ImplementationError(
            f"a field of {cls.__name__} can't be named {key!r}: "
            + (
                "its key would be that of the instance hash"
                if key == "hash"
                else "'__' separates the parts of a filter"
            )
        )
    elif key in _reserved(cls):
        raise ImplementationError(f"a field of {cls.__name__} can't be named {key!r}: models have that attribute")


_SETTERS = frozenset(
    {"set", "hset", "sadd", "zadd", "rpush", "lpush", "hmset", "proxy_set", "aset", "ahset", "asadd", "azadd", "arpush"}
    | {"alpush", "ahmset", "aproxy_set"}
)
"""Methods of fields that store values, and that the creation of an object does not call."""


def _is_ours(value: object) -> bool:
    """Return whether a method is the library's: inherited by name, or made by the metaclass of related fields."""
    return str(getattr(value, "__module__", "")).partition(".")[0] == "tenantlimpyd"


def _check_overrides(cls: MetaRedisModel, key: str, field: RedisField) -> None:
    """Raise if a field's class overrides a method that the creation of objects, and defaults, would ignore.

    Raises:
        ImplementationError: If it does.
    """
    for base in type(field).__mro__:
        if base.__module__.partition(".")[0] == "tenantlimpyd":
            return
        own = {name for name, value in vars(base).items() if not _is_ours(value)}
        if ignored := sorted(_SETTERS & own):
            raise ImplementationError(
                f"{base.__name__}, the class of the field {key!r} of {cls.__name__}, overrides {', '.join(ignored)}, which new "
                "objects, defaults and get_or_connect do not call. Override stored(value), which every write calls."
            )


def _reserved(cls: MetaRedisModel) -> set[str]:
    """Return the names that mean something on every model: those of ``RedisModel`` itself, and of its instances."""
    root = [base for base in cls.__mro__ if isinstance(base, MetaRedisModel)][-1]
    return {"database", "created_here"}.union(*map(vars, root.__mro__))


def _default_indexes(cls: MetaRedisModel, field: RedisField) -> list[Any]:
    """Return the default index classes: the field class's, else the model's, else the database's, else limpyd's own."""
    if field.default_indexes is not None:
        return field.default_indexes
    of_model = getattr(cls, "default_indexes", None)
    if of_model is not None:
        return list(of_model)
    host = getattr(cls, "database", None)
    return (host if isinstance(host, ModelHost) else ModelHost).get_default_indexes()
