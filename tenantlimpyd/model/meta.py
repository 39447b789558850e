"""How a model class is made: its fields, its pk, its name, its registration."""

from __future__ import annotations

import sys
from typing import Any

from tenantlimpyd.exceptions import ImplementationError
from tenantlimpyd.fields.base import RedisField
from tenantlimpyd.fields.instancehash import InstanceHashField
from tenantlimpyd.fields.pk import AutoPKField, PKField
from tenantlimpyd.hosting import ModelHost
from tenantlimpyd.keys import make_key

__all__ = ["MetaRedisModel"]


class MetaRedisModel(type):
    """The class of model classes."""

    _name: str
    _fields: list[str]
    _instancehash_fields: list[str]
    _class_fields: dict[str, RedisField]
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
        cls._attach(_inherited(cls, own), own)
        if cls.abstract:
            return cls
        host = getattr(cls, "database", None)
        if not isinstance(host, ModelHost):
            given = "none" if host is None else f"a {type(host).__name__}"
            raise ImplementationError(
                f"the model {name} needs a database: a RedisDatabase or a DatabaseRouter, and has {given}. "
                "Write `database = ...` in its body or a base's, or `abstract = True`."
            )
        return host._add_model(cls)  # type: ignore[arg-type]

    def _attach(cls, inherited: dict[str, RedisField], own: dict[str, RedisField]) -> None:
        """Give the class its own copies of all its fields, the pk first."""
        given = _one_pk(cls, inherited, own)
        inherited = {key: field for key, field in inherited.items() if key not in own}
        ordered = [*inherited, *sorted(own, key=lambda key: own[key]._creation_order)]
        if given is None:
            pk = AutoPKField()
            pk.auto_added = True
            fields: dict[str, RedisField] = {"pk": pk}
        else:
            fields = {given: {**inherited, **own}[given]}
        every = {**inherited, **own}
        fields.update((key, every[key]) for key in ordered if not isinstance(every[key], PKField))
        cls._class_fields = {}
        for key, field in fields.items():
            _check_name(cls, key, field)
            attached = field.attached_copy(cls, key)  # type: ignore[arg-type]
            cls._class_fields[key] = attached
            setattr(cls, key, attached)
            setattr(cls, f"_redis_attr_{key}", attached)
        cls._pk_name = next(iter(fields))
        cls._redis_attr_pk = cls._class_fields[cls._pk_name]
        if cls._pk_name != "pk":
            cls.pk = _PkAlias()
        cls._fields = list(fields)
        cls._instancehash_fields = [
            key for key, field in cls._class_fields.items() if isinstance(field, InstanceHashField)
        ]
        for field in cls._class_fields.values():
            if field.indexable and not field.index_classes:
                field.index_classes = list(_default_indexes(cls, field))
            if field.indexable and not field.index_classes:
                raise ImplementationError(
                    f"the field {field.name!r} of {cls.__name__} is indexable, and no index is given"
                )

    def _same_definition(cls, other: MetaRedisModel) -> bool:
        """Return whether another class is the same statement run again (a module imported twice) to the same effect."""
        return (
            cls.__name__ == other.__name__
            and cls._creation_source == other._creation_source
            and [_definition(field) for field in cls._class_fields.values()]
            == [_definition(field) for field in other._class_fields.values()]
        )


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


def _inherited(cls: MetaRedisModel, own: dict[str, RedisField]) -> dict[str, RedisField]:
    """Return the fields of all bases, models and plain mixins, nearest first where a name is there twice."""
    found: dict[str, RedisField] = {}
    for base in reversed(cls.__mro__[1:]):
        declared = base._class_fields if isinstance(base, MetaRedisModel) else _of_mixin(base)
        for key, field in declared.items():
            found.pop(key, None)
            found[key] = field
    hidden = [key for key in found if key in cls.__dict__ and key not in own]
    for key in hidden:  # `name = None` in the body takes an inherited field away
        if cls.__dict__[key] is not None:
            raise ImplementationError(f"{cls.__name__}.{key} hides the field {key!r} of a base: give it another name")
        del found[key]
        delattr(cls, key)
    return found


def _of_mixin(base: type) -> dict[str, RedisField]:
    return {
        key: field for key, field in vars(base).items() if isinstance(field, RedisField) and not key.startswith("_")
    }


def _one_pk(cls: MetaRedisModel, inherited: dict[str, RedisField], own: dict[str, RedisField]) -> str | None:
    """Return the name of the declared pk field; None where there is none.

    Raises:
        ImplementationError: there are two.
    """
    declared = [
        key
        for key, field in {**inherited, **own}.items()
        if isinstance(field, PKField) and not (field.auto_added and key in inherited and key not in own)
    ]
    if len(declared) > 1:
        raise ImplementationError(f"{cls.__name__} has more than one primary key: {', '.join(declared)}")
    return declared[0] if declared else None


def _check_name(cls: MetaRedisModel, key: str, field: RedisField) -> None:
    if key == "pk" and not isinstance(field, PKField):
        raise ImplementationError(f"a field of {cls.__name__} is named 'pk', which is the primary key's name")
    if key == "hash" or "__" in key:
        raise ImplementationError(
            f"a field of {cls.__name__} can't be named {key!r}: "
            + (
                "its key would be that of the instance hash"
                if key == "hash"
                else "'__' separates the parts of a filter"
            )
        )
    taken = getattr(MetaRedisModel, key, None) if key in _RESERVED else None
    if key in _RESERVED or taken is not None:
        raise ImplementationError(f"a field of {cls.__name__} can't be named {key!r}: models have that attribute")


_RESERVED = frozenset(
    {"collection", "connected", "connection", "create", "database", "delete", "fields", "key", "namespace"}
)


def _default_indexes(cls: MetaRedisModel, field: RedisField) -> list[Any]:
    """Return the default index classes: the field class's, else the model's, else the database's, else limpyd's own."""
    if field.default_indexes is not None:
        return field.default_indexes
    of_model = getattr(cls, "default_indexes", None)
    if of_model is not None:
        return list(of_model)
    host = getattr(cls, "database", None)
    return (host if isinstance(host, ModelHost) else ModelHost).get_default_indexes()


def _definition(field: RedisField) -> tuple[Any, ...]:
    return (
        field.name,
        type(field).__qualname__,
        field.indexable,
        field.unique,
        repr(getattr(field, "default", None)),
        [(index.__qualname__, index.key, index.prefix) for index in field.index_classes],
    )
