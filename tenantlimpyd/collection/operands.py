"""What may stand on the right of a filter besides plain values: fields of objects, and objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from tenantlimpyd._operations.steps import Batch, Command, Operation
from tenantlimpyd._registry.placement import Placement
from tenantlimpyd.exceptions import ImplementationError, WrongTenantError, shown
from tenantlimpyd.fields.base import RedisField, SingleValueField
from tenantlimpyd.fields.pk import PKField

__all__ = ["ReadValues", "check_same_tenant", "is_instance", "read_fields", "resolved", "right_hand"]

ReadValues: TypeAlias = Mapping[int, Any]
"""Values read of bound fields, by the fields' ``id``."""


def is_instance(value: Any) -> bool:
    """Return whether a value is an object of a model."""
    return not isinstance(value, type) and hasattr(value, "_placement") and hasattr(value, "_class_fields")


def check_same_tenant(mine: Placement, other: Placement, what: str) -> None:
    """Raise unless something of ``other`` may be used in a collection that lives at ``mine``.

    Raises:
        WrongTenantError: If the two belong to different tenants.
    """
    if mine.tenant is not None and other.tenant is not None and mine.tenant != other.tenant:
        raise WrongTenantError(
            f"{what} belongs to tenant {other.tenant!r}, and this collection to {mine.tenant!r}. What is of one tenant can't "
            "select objects of another."
        )


def check_same_database(mine: Placement, other: Placement, what: str) -> None:
    """Raise unless something that is read together with a collection is where that is.

    Raises:
        WrongTenantError: If the two belong to different tenants.
        ImplementationError: If they are in different databases.
    """
    check_same_tenant(mine, other, what)
    if mine.database is not other.database:
        raise ImplementationError(
            f"{what} is in another database than this collection, and Redis compares nothing across databases. Read it "
            "first, and give its value."
        )


def right_hand(value: Any, placement: Placement, name: str) -> Any:
    """Return what a filter keeps for the value it is given: for an object its pk; a bound field as it is.

    Raises:
        ValueError: If the value is a field of a class, or of many values.
        DoesNotExist: If the value is an object that is not stored.
        WrongTenantError: If the value is a field or an object of another tenant.
    """
    if isinstance(value, RedisField):
        instance = value._instance
        if instance is None or not value.single_value:
            raise ValueError(
                f"{name} takes a value, an object, or a field of one value of an object, not {value!r}"
                + ("" if instance is not None else f" of the class {value._model.__name__}")
            )
        if isinstance(value, PKField):
            value = instance
        else:
            check_same_database(placement, instance._placement, f"the field {value.name!r} given for {name}")
            instance.require_pk()
            return value
    if is_instance(value):
        check_same_tenant(placement, value._placement, f"the object given for {name}")
        return value.known_pk
    if isinstance(value, type) and hasattr(value, "_class_fields"):
        raise ValueError(f"{name} takes a value, not the class {shown(value.__name__)}")
    return value


def resolved(value: Any, known: ReadValues) -> Any:
    """Return a filter's value with bound fields replaced by what was read of them."""
    if isinstance(value, tuple):
        every = [resolved(each, known) for each in value]
        return tuple(each for each in every if each is not None)
    return known[id(value)] if isinstance(value, RedisField) else value


def read_fields(values: Iterable[Any]) -> Operation[dict[int, Any]]:
    """Return the values of the bound fields among the values of filters, read in one round trip; without any, none."""
    flat = [one for each in values for one in (each if isinstance(each, tuple) else (each,))]
    fields = list({id(each): each for each in flat if isinstance(each, SingleValueField)}.values())
    if not fields:
        return {}
    steps = []
    for field in fields:
        slot = field.slot(field._bound().key_base)
        steps.append(Command("GET", slot.key) if slot.field is None else Command("HGET", slot.key, slot.field))
    replies = yield Batch(steps)
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return {id(field): reply for field, reply in zip(fields, replies, strict=True)}
